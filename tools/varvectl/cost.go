package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

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

	URL       string `yaml:"url" help:"a running Varve to ask instead, such as http://127.0.0.1:9009; it has its own prices"`
	TokenFile string `yaml:"token_file" help:"file whose content is sent to it as bearer token; it needs the scope read"`

	Window       string `yaml:"window" help:"time of the report, FROM,TO in RFC 3339 or as dates: whole minutes, TO is not in it"`
	Timezone     string `yaml:"timezone" help:"zone of dates, and of days, weeks and months of step, such as Europe/Berlin; empty for UTC"`
	By           string `yaml:"by" help:"dimensions of the lines, by comma: cluster, namespace, controller, pod, uid, container, node, node_class, instance_type, region, zone, spot, qos, priority, label:NAME; for assets and utilization asset, class or cluster"`
	Step         string `yaml:"step" help:"length of time of each line: none, hour, day, week or month"`
	Method       string `yaml:"method" help:"how much a workload is said to hold: max-request-usage, request-only or usage-only"`
	Share        string `yaml:"share" help:"how costs that are nobody's are shared among workloads, by comma: idle=MODE, system=MODE, overhead=MODE, namespace:NAME=MODE, each none, even, weighted, quantity:NAME or, with url, metric:EXPRESSION; scope=node for idle and system"`
	Limit        string `yaml:"limit" help:"how many lines a page has at most; empty for all lines at once"`
	Cursor       string `yaml:"cursor" help:"which page: the next that the page before told of; empty for the first"`
	Prices       string `yaml:"prices" help:"file with the price book; empty for the built-in prices"`
	Format       string `yaml:"format" help:"table, json, csv or parquet"`
	Output       string `yaml:"output" help:"file for the answer; empty for standard output"`
	Progress     bool   `yaml:"progress" help:"tell how many hours were read and how long the rest takes, even if nobody sits at a terminal"`
	ClusterLabel string `yaml:"cluster_label" help:"label that has the cluster's name"`
}

const defaultClusterLabel = "cluster"

// ask is a question as it is put.
type ask struct {
	verb       cost.Verb
	parameters map[string]string // by the names of the HTTP API
}

// String is without the window.
func (a ask) String() string {
	text := string(a.verb)
	for _, name := range []string{"by", "step", "share"} {
		if value := a.parameters[name]; value != "" {
			text += " " + name + "=" + value
		}
	}
	return text
}

func (a ask) question() (*cost.Question, error) {
	q, err := cost.ParseQuestion(a.verb, func(name string) string { return a.parameters[name] })
	if err != nil {
		return nil, fmt.Errorf("-%w", err)
	}
	return q, nil
}

// cost answers a question about costs out of blocks, or asks a server.
func (p *program) cost(ctx context.Context, verb string, args []string) error {
	o := &costOptions{Tenant: tenant.Anonymous.String(), DataDir: "data", Bucket: bucket.Default(), Format: "table", ClusterLabel: defaultClusterLabel}
	a := asked{options: o, tenant: &o.Tenant, dataDir: &o.DataDir, bucket: &o.Bucket, instead: []*string{&o.Blocks, &o.URL}}
	return p.session(ctx, a, args, func(ctx context.Context, s *session) error {
		if verb == costVerify {
			asks := o.checks()
			texts := make([]bytes.Buffer, len(asks))
			if err := o.answer(ctx, s, asks, func(i int) (io.Writer, string) { return &texts[i], "json" }); err != nil {
				return err
			}
			return verifyCosts(s.out, asks, texts)
		}
		one := ask{cost.Verb(verb), map[string]string{
			"window": o.Window, "timezone": o.Timezone, "by": o.By, "step": o.Step, "method": o.Method, "share": o.Share, "limit": o.Limit, "cursor": o.Cursor,
		}}
		return o.write(ctx, s, one)
	})
}

// write writes the answer to where it is wanted. A file that is there stays as it is until the answer is whole.
func (o *costOptions) write(ctx context.Context, s *session, one ask) error {
	if err := cost.CheckFormat(o.Format); err != nil {
		return fmt.Errorf("-%w", err)
	}
	if o.Output == "" {
		if o.Format == "parquet" && isTerminal(s.out) {
			return errors.New("-format: parquet is not for terminals; name a file with -output")
		}
		return o.answer(ctx, s, []ask{one}, func(int) (io.Writer, string) { return s.out, o.Format })
	}
	f, err := os.Create(o.Output + ".partial")
	if err != nil {
		return fmt.Errorf("-output: %w", err)
	}
	err = o.answer(ctx, s, []ask{one}, func(int) (io.Writer, string) { return f, o.Format })
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), o.Output)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// isTerminal tells whether somebody looks at what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// costVerify is the verb that adds up again what others say.
const costVerify = "verify"

// answer writes the answer to each question to where it belongs, in the format that is wanted there.
func (o *costOptions) answer(ctx context.Context, s *session, asks []ask, to func(i int) (io.Writer, string)) error {
	var questions []*cost.Question
	for _, a := range asks {
		q, err := a.question()
		if err != nil {
			return err
		}
		questions = append(questions, q)
	}
	if o.URL == "" {
		return o.answerFromBlocks(ctx, s, questions, to)
	}
	remote, err := o.server()
	if err != nil {
		return err
	}
	for i, a := range asks {
		w, format := to(i)
		next, err := remote.ask(ctx, w, a, format, o.progress(s))
		if err != nil {
			return err
		}
		s.tellNext(next, format)
	}
	return nil
}

func (o *costOptions) answerFromBlocks(ctx context.Context, s *session, questions []*cost.Question, to func(i int) (io.Writer, string)) error {
	book, err := readPrices(o.Prices)
	if err != nil {
		return err
	}
	src, err := s.samples(ctx, o.Blocks)
	if err != nil {
		return err
	}
	options := join.Options{Tenant: s.tenant, ClusterLabel: o.ClusterLabel}
	for _, q := range questions {
		options.Labels = append(options.Labels, q.Query.LabelNames()...)
	}
	window := questions[0].Query
	ledgers := join.Ledgers(ctx, src, options, window)
	if p := o.progress(s); p != nil {
		ledgers = watched(ledgers, window, p)
	}
	all, err := answers(questions, book, ledgers)
	if err = errors.Join(err, src.Close()); err != nil {
		return err
	}
	for i, answer := range all {
		page, next, err := answer.Page(questions[i].Page)
		if err != nil {
			return fmt.Errorf("-%w", err)
		}
		w, format := to(i)
		if err := page.Write(w, format); err != nil {
			return err
		}
		s.tellNext(next, format)
	}
	return nil
}

// tellNext tells how to get the next page, where that isn't written on this one.
func (s *session) tellNext(next, format string) {
	if next != "" && (format == "csv" || format == "parquet") {
		fmt.Fprintf(s.notice, "there are more lines: -cursor=%s\n", next)
	}
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
