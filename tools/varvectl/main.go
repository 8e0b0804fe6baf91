// Command varvectl looks into a bucket, brings data into it, reports cost out of it, and asks a running Varve why writes were limited. On
// a bucket it works by itself and needs no running Varve; running ones see what it did at their next look at the catalog.
//
//	varvectl bucket ls      -bucket.dir=/var/lib/varve/bucket                  all tenants
//	varvectl bucket ls      -bucket.dir=... -tenant=team-a                     all blocks of one
//	varvectl bucket inspect -bucket.dir=... -tenant=team-a [BLOCK...]          the catalog, or blocks
//	varvectl bucket verify  -bucket.dir=... -tenant=team-a [BLOCK...]          read every byte of blocks
//	varvectl bucket remove  -bucket.dir=... -tenant=team-a BLOCK...            take blocks out of the catalog
//	varvectl tsdb import    -bucket.dir=... -tenant=team-a DATA_DIR|FILE       backfill
//	varvectl cost report    -bucket.dir=... -tenant=team-a -window=2026-01-01,2026-02-01 -by=namespace
//	varvectl cost verify    -url=http://127.0.0.1:9009 -tenant=team-a -window=...   add up every line again
//	varvectl explain-write  TENANT -url=http://127.0.0.1:9009[,...]            why writes were limited or dropped
//	varvectl certs          DIR NAME...                                        certificates for a cluster's members
//	varvectl config                                                            how to check a configuration
//
// The options of the bucket are those of the server, by the same names: as flags, in the environment
// (VARVE_BUCKET_S3_SECRET_KEY), or in the server's own file by -config.file, of which only data_dir and bucket are read.
//
// Exit status: 0 all is well; 1 damage was found, or something was not imported; 2 could not run.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/varve-io/varve/pkg/rpc"
)

const usage = `usage:
  varvectl bucket ls      [options]                     tenants; or, with -tenant, the blocks of one
  varvectl bucket inspect [options] [BLOCK...]          the state of a catalog; or all about blocks
  varvectl bucket verify  [options] [BLOCK...]          read blocks wholly and report damage
  varvectl bucket remove  [options] BLOCK...            take blocks out of the catalog; their data is deleted later
  varvectl tsdb import    [options] DATA_DIR|BLOCK|FILE backfill from a Prometheus data directory, a block, or OpenMetrics text
  varvectl cost report       [options]                  what clusters cost, and whose that was, out of blocks or, with -url, of a server
  varvectl cost assets       [options]                  what was paid for: nodes, volumes, load balancers
  varvectl cost utilization  [options]                  how much of the nodes was requested, held and used
  varvectl cost scale-events [options]                  how often workloads and nodes came and went, what headroom cost
  varvectl cost verify       [options]                  add up again every line of the bill, in several groupings
  varvectl explain-write  TENANT [-url=URL,...]         why a tenant's writes were limited or dropped; name each distributor
  varvectl certs          DIR NAME...                   make certificates for a cluster's members, named by host or address
  varvectl config                                       how to check a configuration

Each command of bucket, tsdb and cost prints its options with -help.
`

const configHelp = `The varve binary knows its own configuration:

  varve -config.file=FILE -config.check     say whether it is valid, and what is wrong
  varve -config.file=FILE -config.print     print every option with its value and where it came from
  varve -help                               all options
`

// errFound: the command ran, and found something wrong that it has already told.
var errFound = errors.New("problems were found")

// program is a run of varvectl: what came in and where output goes.
type program struct {
	environ     []string
	out, notice io.Writer // results; progress and errors
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := &program{environ: os.Environ(), out: os.Stdout, notice: os.Stderr}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// run gives the exit status.
func (p *program) run(ctx context.Context, args []string) int {
	err := p.command(ctx, args)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFound):
		return 1
	}
	fmt.Fprintln(p.notice, "varvectl:", err)
	return 2
}

func (p *program) command(ctx context.Context, args []string) error {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	switch name {
	case "config":
		fmt.Fprint(p.out, configHelp)
		return nil
	case "explain-write":
		return p.explainWrite(ctx, args[1:])
	case "certs":
		return p.certs(args[1:])
	case "help", "-h", "-help", "--help":
		fmt.Fprint(p.out, usage)
		return nil
	}
	if len(args) > 1 {
		switch name + " " + args[1] {
		case "bucket ls":
			return p.with(ctx, args[2:], list)
		case "bucket inspect":
			return p.with(ctx, args[2:], inspect)
		case "bucket verify":
			return p.with(ctx, args[2:], verify)
		case "bucket remove":
			return p.with(ctx, args[2:], remove)
		case "tsdb import":
			return p.importData(ctx, args[2:])
		case "cost report", "cost assets", "cost utilization", "cost scale-events", "cost verify":
			return p.cost(ctx, args[1], args[2:])
		}
	}
	return fmt.Errorf("no such command\n%s", usage)
}

// certs makes certificates; those that are there stay.
func (p *program) certs(args []string) error {
	if len(args) < 2 || strings.HasPrefix(args[0], "-") {
		return fmt.Errorf("certs: name a directory, and the host name or address of each member\n%s", usage)
	}
	if err := rpc.WriteCerts(args[0], args[1:]...); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%s has ca.crt, and NAME.crt and NAME.key for %s.\nA member needs ca.crt and its own two files; keep ca.key elsewhere.\n",
		args[0], strings.Join(args[1:], ", "))
	return nil
}
