package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

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
	By           string `yaml:"by" help:"dimensions of the lines, by comma: cluster, namespace, controller, pod, uid, container, node, node_class, instance_type, region, zone, spot, qos, priority, label:NAME; for assets and utilization asset, class or cluster"`
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

// cost answers a question about costs out of blocks.
func (p *program) cost(ctx context.Context, verb cost.Verb, args []string) error {
	o := &costOptions{Tenant: tenant.Anonymous.String(), DataDir: "data", Bucket: bucket.Default(), Format: "table", ClusterLabel: "cluster"}
	a := asked{options: o, tenant: &o.Tenant, dataDir: &o.DataDir, bucket: &o.Bucket, instead: &o.Blocks}
	return p.session(ctx, a, args, func(ctx context.Context, s *session) error {
		q, err := cost.ParseQuestion(verb, o.parameter)
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
		hours := join.Ledgers(ctx, src, join.Options{Tenant: s.tenant, ClusterLabel: o.ClusterLabel, Labels: q.Query.LabelNames()}, q.Query)
		answer, err := q.Answer(book, s.watched(hours, q.Query))
		if err = errors.Join(err, src.Close()); err != nil {
			return err
		}
		return answer.Write(s.out, o.Format)
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

// watched tells how far the hours are.
func (s *session) watched(hours iter.Seq2[*cost.Ledger, error], q cost.Query) iter.Seq2[*cost.Ledger, error] {
	return func(yield func(*cost.Ledger, error) bool) {
		progress := newProgress(s.notice)
		for l, err := range hours {
			if l != nil {
				progress.say("read up to %s: %d %%", cost.Time(l.To), 100*(l.To-q.From)/(q.To-q.From))
			}
			if !yield(l, err) {
				return
			}
		}
	}
}
