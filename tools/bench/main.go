// Command bench measures what writing, and counting costs, costs: real processes on 127.0.0.1, real loads, fresh directories, and at the end of
// each run the ledger: a run that lost, changed or invented a sample is an error, not a figure.
//
//	go run ./tools/bench -suite write,memory -runs 3
//
// It prints tables in Markdown, medians with the least and the greatest of the runs beside them. CPU time and memory are
// those of the server's processes, from /proc, so it runs on Linux only. Prometheus, VictoriaMetrics and Cortex are measured beside
// varve where the paths of their programs are given.
//
// Exit status: 0 all suites ran; 1 a suite failed, with the tables of the others printed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// suite measures one thing in some runs.
type suite struct {
	name, about string
	run         func(context.Context, *bench) ([]*table, error)
}

func suites() []suite {
	return []suite{
		{"write", "one process, remote write 1.0 and 2.0, beside the peers", writeSuite},
		{"rf3", "a cluster with three replicas", rf3Suite},
		{"memory", "memory per active series, and of a distributor", memorySuite},
		{"latency", "acks at half load, and over the number of senders", latencySuite},
		{"churn", "series that come and go", churnSuite},
		{"restart", "after kill -9", restartSuite},
		{"scale", "more series, more tenants", scaleSuite},
		{"cost-openb", "costs of a real cluster's trace, from samples to bill", openbSuite},
		{"cost-clusters", "costs of many small clusters in one report", clustersSuite},
		{"cost-hour", "costs of one hour of a large cluster", hourSuite},
		{"cost-building", "building cubes against compaction", buildingSuite},
		{"cost-year", "costs of a year of many workloads", yearSuite},
	}
}

// bench is what the suites share: the command line, and where to work.
type bench struct {
	varve string            // path of the program
	peers map[string]string // paths of the peers' programs by name
	dir   string            // holds a directory per server, while it runs
	out   string            // directory of pictures; none are made if empty

	runs, peerRuns         int
	series, steps, senders int           // 0 for the suite's own
	point                  time.Duration // of suite latency, for each number of senders
	verify                 bool

	// Of the suites of costs; 0 for the suite's own.
	openb                 string // directory of the trace
	days                  int    // of the trace, the last ones
	clusters, nodes, pods int
	scrape                time.Duration
	clustergen            string // path of the program, once it is built
	keep                  string // directory of blocks that were generated before, none if empty
}

// or returns v, or what the suite does by itself if v is 0.
func or(v, otherwise int) int {
	if v == 0 {
		return otherwise
	}
	return v
}

// scrapeOr returns the time between scrapes, or what the suite does by itself.
func (b *bench) scrapeOr(otherwise time.Duration) time.Duration {
	return time.Duration(or(int(b.scrape), int(otherwise)))
}

// say shows progress.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	b := &bench{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	names := f.String("suite", "write", "suites to run, by comma, or all, or cost for all of costs: "+suiteNames())
	file := f.String("out", "", "file for the figures of every run, as JSON")
	dir := f.String("dir", os.TempDir(), "directory for the servers' data, which is removed after each run")
	f.StringVar(&b.varve, "varve", "", "varve's program; built from this module if empty")
	f.StringVar(&b.out, "pictures", "", "directory for pictures (SVG)")
	f.IntVar(&b.runs, "runs", 3, "runs of each measurement")
	f.IntVar(&b.peerRuns, "peer-runs", 1, "runs of each peer's measurement")
	f.IntVar(&b.series, "series", 0, "series instead of the suite's own number")
	f.IntVar(&b.steps, "samples", 0, "samples per series instead of the suite's own number")
	f.IntVar(&b.senders, "senders", 0, "senders instead of the suite's own number")
	f.DurationVar(&b.point, "point", 4*time.Second, "how long suite latency writes with each number of senders; at half load it is five times that")
	f.BoolVar(&b.verify, "verify", true, "read everything back after each run and compare it with the ledger")
	f.StringVar(&b.openb, "openb", "", "directory with nodes.csv and pods.csv of the openb trace, for suite cost-openb")
	f.IntVar(&b.days, "days", 0, "days of suites of costs instead of the suite's own number; of the openb trace the last ones")
	f.IntVar(&b.clusters, "clusters", 0, "clusters of suite cost-clusters instead of its own number")
	f.IntVar(&b.nodes, "nodes", 0, "nodes of each cluster of suites of costs instead of the suite's own number")
	f.IntVar(&b.pods, "pods", 0, "pods of each cluster, in cost-year workloads, instead of the suite's own number")
	f.DurationVar(&b.scrape, "scrape", 0, "time between two scrapes of suites of costs instead of the suite's own")
	f.StringVar(&b.keep, "keep", "", "directory where suites of costs keep the blocks that they generate, and find them the next time; on -dir's file system")
	peers := map[string]*string{}
	for _, p := range peerNames() {
		peers[p] = f.String(strings.ToLower(p), "", "path of "+p+"'s program, to measure it too")
	}
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	chosen, err := choose(*names)
	if err != nil {
		return err
	}
	b.peers = map[string]string{}
	if b.openb, err = existing(b.openb); err != nil {
		return fmt.Errorf("-openb: %w", err)
	}
	if b.keep, err = existing(b.keep); err != nil {
		return fmt.Errorf("-keep: %w", err)
	}
	for name, path := range peers {
		if b.peers[name], err = existing(*path); err != nil {
			return fmt.Errorf("-%s: %w", strings.ToLower(name), err)
		}
	}
	if b.dir, err = os.MkdirTemp(*dir, "varve-bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	if err := b.build(ctx); err != nil {
		return err
	}
	return b.runAll(ctx, chosen, *file)
}

// existing makes a path absolute and looks whether something is there.
func existing(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

func suiteNames() string {
	var names []string
	for _, s := range suites() {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

func choose(names string) ([]suite, error) {
	if names == "all" {
		return suites(), nil
	}
	var chosen []suite
	for name := range strings.SplitSeq(names, ",") {
		if name == "cost" {
			chosen = append(chosen, slices.DeleteFunc(suites(), func(s suite) bool { return !strings.HasPrefix(s.name, "cost-") })...)
			continue
		}
		i := slices.IndexFunc(suites(), func(s suite) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-suite: there is no %q, only %s", name, suiteNames())
		}
		chosen = append(chosen, suites()[i])
	}
	return chosen, nil
}

// runAll runs suites one after the other. A failed one doesn't keep the others from running.
func (b *bench) runAll(ctx context.Context, chosen []suite, file string) error {
	var failed error
	all := map[string][]*table{}
	for _, s := range chosen {
		if ctx.Err() != nil {
			break
		}
		b.say("suite %s: %s", s.name, s.about)
		begin := time.Now()
		tables, err := s.run(ctx, b)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("suite %s: %w", s.name, err))
		}
		b.say("suite %s took %s", s.name, time.Since(begin).Round(time.Second))
		for _, t := range tables {
			fmt.Println(t.markdown())
		}
		all[s.name] = tables
	}
	failed = errors.Join(failed, ctx.Err())
	if file == "" {
		return failed
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return failed
}
