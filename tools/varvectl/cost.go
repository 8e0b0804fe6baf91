package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/join"
	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/tenant"
)

// costOptions are those of the cost commands.
type costOptions struct {
	Tenant  string        `yaml:"tenant" help:"tenant whose clusters are meant"`
	DataDir string        `yaml:"data_dir" help:"the server's data directory, in which a local bucket is unless bucket.dir says otherwise"`
	Bucket  bucket.Config `yaml:"bucket" help:"Where the blocks are."`
	Blocks  string        `yaml:"blocks" help:"directory of blocks, such as Prometheus' own, to read instead of a bucket"`

	Window       string `yaml:"window" help:"time of the report, FROM,TO in RFC 3339 or as dates: whole UTC hours, TO is not in it"`
	By           string `yaml:"by" help:"dimensions of the lines, by comma: cluster, namespace, controller, pod, uid, container, node, node_class, instance_type, region, zone, spot, qos, priority, label:NAME"`
	Step         string `yaml:"step" help:"length of time of each line: none, hour, day, week or month"`
	Method       string `yaml:"method" help:"how much a workload is said to hold: max-request-usage, request-only or usage-only"`
	Share        string `yaml:"share" help:"how costs that are nobody's are shared among workloads, by comma: idle=MODE, system=MODE, overhead=MODE, namespace:NAME=MODE, each none, even or weighted; scope=node for idle and system"`
	Prices       string `yaml:"prices" help:"file with the price book; empty for the built-in prices"`
	Format       string `yaml:"format" help:"table, json or csv"`
	ClusterLabel string `yaml:"cluster_label" help:"label that has the cluster's name"`
}

// parameter is an option by the name that it has in the HTTP API, too.
func (o *costOptions) parameter(name string) string {
	return map[string]string{"window": o.Window, "by": o.By, "step": o.Step, "method": o.Method, "share": o.Share}[name]
}

// costReport prints what a window cost, out of blocks.
func (p *program) costReport(ctx context.Context, args []string) error {
	o := &costOptions{Tenant: tenant.Anonymous.String(), DataDir: "data", Bucket: bucket.Default(), By: "namespace", Format: "table", ClusterLabel: "cluster"}
	a := asked{options: o, tenant: &o.Tenant, dataDir: &o.DataDir, bucket: &o.Bucket, instead: &o.Blocks}
	return p.session(ctx, a, args, func(ctx context.Context, s *session) error {
		q, err := cost.ParseQuery(o.parameter)
		if err != nil {
			return fmt.Errorf("-%w", err)
		}
		book, err := readPrices(o.Prices)
		if err != nil {
			return err
		}
		src, err := s.samples(ctx, o.Blocks)
		if err != nil {
			return err
		}
		r, err := s.report(ctx, src, q, book, o.ClusterLabel)
		if err = errors.Join(err, src.Close()); err != nil {
			return err
		}
		return r.Write(s.out, o.Format)
	})
}

func readPrices(file string) (*price.Book, error) {
	if file == "" {
		return price.Default(), nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read price book: %w", err)
	}
	book, err := price.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("price book %s: %w", file, err)
	}
	return book, nil
}

// report reads the window hour by hour.
func (s *session) report(ctx context.Context, src join.Source, q cost.Query, book *price.Book, clusterLabel string) (*cost.Report, error) {
	b, err := cost.NewBuilder(q, book)
	if err != nil {
		return nil, err
	}
	names, progress := cost.NewNames(), newProgress(s.notice)
	for start := q.From; start < q.To; start += time.Hour.Milliseconds() {
		progress.say("%s: %d %% read", cost.Time(start), 100*(start-q.From)/(q.To-q.From))
		h, err := join.Hour(ctx, src, join.Options{Tenant: s.tenant, Start: start, ClusterLabel: clusterLabel, Labels: q.LabelNames()})
		if err != nil {
			return nil, err
		}
		l, err := q.Method.Ledger(h, names)
		if err != nil {
			return nil, fmt.Errorf("hour %s: %w", cost.Time(start), err)
		}
		if err := b.Add(l); err != nil {
			return nil, err
		}
	}
	return b.Report()
}
