// Command clustergen makes the metrics of a simulated Kubernetes cluster, and the truth about it beside them.
//
//	clustergen blocks -nodes 100 -pods 2000 -from 2026-01-01 -to 2026-02-01 -dir blocks
//	clustergen write  -nodes 100 -pods 2000 -from -6h -to now -url http://127.0.0.1:9009/api/v1/push -tenant t
//	clustergen truth  -nodes 100 -pods 2000 -from 2026-01-01 -to 2026-01-02 > truth.jsonl
//	clustergen blocks -clusters 1000 -nodes 2 -pods 10 -from 2026-01-01 -to 2026-01-02 -dir blocks
//	clustergen blocks -openb DIR -interval 60s -width 24h -dir blocks
//
// Equal options make the same cluster, series, blocks and truth. Package cluster has the words and the promises; -help of each command its
// options. Exit status: 0 all is well, 2 it could not be done.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/varve-io/varve/tools/clustergen/cluster"
)

const usage = `usage:
  clustergen blocks [options]   write TSDB blocks into a directory
  clustergen write  [options]   send everything by remote write 2.0
  clustergen truth  [options]   print what is true of each hour, as JSON lines
`

func main() {
	debug.SetGCPercent(40) // a large cluster's description is most of the memory
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "clustergen:", err)
		os.Exit(2)
	}
}

// options are the command line.
type options struct {
	config   cluster.Config
	clusters int
	openb    string
	days     int
	dir      string
	width    time.Duration
	atOnce   int
	url      string
	tenant   string
	senders  int
	window   time.Duration
	from, to string
	interval time.Duration
	now      time.Time
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	verb := map[string]func(context.Context, *options, cluster.Fleet) error{"blocks": blocks, "write": write, "truth": truth}[args[0]]
	if verb == nil {
		return fmt.Errorf("no command %q\n%s", args[0], usage)
	}
	o := &options{now: time.Now()}
	if err := o.parse(args[0], args[1:]); err != nil {
		return err
	}
	f, err := o.fleet()
	if err != nil {
		return err
	}
	nodes, pods, volumes, all := 0, 0, 0, f.Watched()
	for _, c := range f {
		nodes, pods, volumes = nodes+len(c.Nodes), pods+len(c.Pods), volumes+len(c.Volumes)
	}
	fmt.Fprintf(os.Stderr, "%d clusters, %d nodes, %d pods, %d volumes, %s to %s\n", len(f), nodes, pods, volumes, clock(all.From), clock(all.To))
	return verb(ctx, o, f)
}

func (o *options) parse(verb string, args []string) error {
	f := flag.NewFlagSet("clustergen "+verb, flag.ContinueOnError)
	f.IntVar(&o.config.Nodes, "nodes", 10, "machines")
	f.IntVar(&o.config.Pods, "pods", 100, "pods at a time, about")
	f.Uint64Var(&o.config.Seed, "seed", 1, "decides everything that isn't said")
	f.StringVar(&o.config.Name, "cluster", "sim", "value of the label cluster; with -clusters a number is added")
	f.IntVar(&o.clusters, "clusters", 1, "so many clusters, each with the nodes and pods")
	f.StringVar(&o.from, "from", "-6h", "begin: RFC 3339, a date, or a duration before now; of openb, when the trace begins")
	f.StringVar(&o.to, "to", "now", "end; not used with -openb")
	f.DurationVar(&o.interval, "interval", 15*time.Second, "time between two scrapes")
	life := f.Duration("life", 24*time.Hour, "of a pod on average")
	f.BoolVar(&o.config.NodeExporter, "node-exporter", false, "add node-exporter: three series for each CPU")
	f.BoolVar(&o.config.Classes, "classes", false, "add network-costs, Kubecost's daemon: where pods' traffic goes. Not with -openb")
	f.BoolVar(&o.config.Rest, "rest", false, "add what the exporters write beside what costs are counted from: about nine series in ten, with -node-exporter")
	f.BoolVar(&o.config.Faults, "faults", false, "let scrapers be down and scrapes fail")
	f.BoolVar(&o.config.Twins, "twins", false, "two scrapers with replica labels, two cAdvisor jobs, three shards of kube-state-metrics")
	f.StringVar(&o.openb, "openb", "", "directory with nodes.csv and pods.csv of the openb trace, instead of a random cluster. Usage is made up: the trace has none")
	f.IntVar(&o.days, "days", 0, "of openb, only so many days are watched, the last ones; 0 for all")
	switch verb {
	case "blocks":
		f.StringVar(&o.dir, "dir", "", "directory for the blocks")
		f.DurationVar(&o.width, "width", 2*time.Hour, "time of each block: 2h as they are written, up to 24h as they are after compaction")
		f.IntVar(&o.atOnce, "at-once", runtime.GOMAXPROCS(0), "blocks that are written at once")
	case "write":
		f.StringVar(&o.url, "url", "http://127.0.0.1:9009/api/v1/push", "remote-write endpoint")
		f.StringVar(&o.tenant, "tenant", "", "X-Scope-OrgID; none is sent if empty")
		f.IntVar(&o.senders, "senders", 4, "requests under way at once")
		f.DurationVar(&o.window, "window", 5*time.Minute, "of all series this much is sent before any later sample")
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if verb == "blocks" && o.dir == "" {
		return errors.New("-dir is needed")
	}
	if o.interval < time.Second || o.config.Nodes < 1 || o.config.Pods < 0 || verb == "write" && (o.senders < 1 || o.window < o.interval) {
		return errors.New("-interval is at least 1s, -nodes and -senders at least 1, -pods at least 0, -window at least -interval")
	}
	if verb == "blocks" && (o.width < time.Hour || o.width > 24*time.Hour || 24*time.Hour%o.width != 0 || o.atOnce < 1) {
		return errors.New("-width is a part of a day, at least an hour; -at-once is at least 1")
	}
	if o.clusters < 1 || o.clusters > 1 && o.openb != "" || o.days < 0 || o.days > 0 && o.openb == "" {
		return errors.New("-clusters is at least 1, and -openb is one; -days is of -openb")
	}
	o.config.Interval, o.config.Life = o.interval.Milliseconds(), life.Milliseconds()
	return nil
}

func (o *options) fleet() (cluster.Fleet, error) {
	var err error
	if o.config.From, err = parseTime(o.from, o.now); err != nil {
		return nil, fmt.Errorf("-from: %w", err)
	}
	if o.openb != "" {
		c, err := cluster.ReadOpenB(os.DirFS(o.openb), o.config)
		if err == nil && o.days > 0 {
			c.WatchLast(o.days)
		}
		return cluster.Fleet{c}, err
	}
	if o.config.To, err = parseTime(o.to, o.now); err != nil {
		return nil, fmt.Errorf("-to: %w", err)
	}
	if o.config.To <= o.config.From {
		return nil, errors.New("-to is not after -from")
	}
	if o.clusters == 1 {
		return cluster.Fleet{cluster.Random(o.config)}, nil
	}
	var all cluster.Fleet
	for n := range o.clusters {
		one := o.config
		one.Seed, one.Name = one.Seed+uint64(n), fmt.Sprintf("%s-%04d", one.Name, n)
		all = append(all, cluster.Random(one))
	}
	return all, nil
}

// parseTime reads RFC 3339, a date, Unix seconds, now, or a negative duration from now.
func parseTime(s string, now time.Time) (int64, error) {
	if s == "now" {
		return now.UnixMilli(), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UnixMilli(), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && strings.HasPrefix(s, "-") {
		return now.Add(d).UnixMilli(), nil
	}
	if sec, err := strconv.ParseInt(s, 10, 64); err == nil {
		return sec * 1000, nil
	}
	return 0, fmt.Errorf("time %q: want RFC 3339, a date, Unix seconds, now or -DURATION", s)
}

func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// blocks writes all of the clusters; a block that is in the directory is written anew, with the same bytes.
func blocks(ctx context.Context, o *options, f cluster.Fleet) error {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	begin, all, width := time.Now(), f.Watched(), o.width.Milliseconds()
	var samples atomic.Uint64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.atOnce)
	for from := all.From - all.From%width; from < all.To && ctx.Err() == nil; from += width {
		g.Go(func() error {
			m, err := writeBlock(ctx, f, o, from)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%4.0fs  %s  %s  %d series, %d samples; %d samples in all\n", time.Since(begin).Seconds(), clock(from), m.ULID,
				m.Stats.NumSeries, m.Stats.NumSamples, samples.Add(m.Stats.NumSamples))
			return nil
		})
	}
	return g.Wait()
}
