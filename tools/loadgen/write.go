package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/varve-io/varve/tools/loadgen/load"
)

// writeOptions are the command line of write.
type writeOptions struct {
	load      load.Config
	writer    load.WriterConfig
	start     string
	interval  time.Duration
	duration  time.Duration
	proto     int
	ledger    string
	resume    bool
	pids      []int
	json      bool
	tokenFile string
}

func parseWrite(args []string) (*writeOptions, error) {
	o := &writeOptions{}
	f := flag.NewFlagSet("loadgen write", flag.ContinueOnError)
	f.StringVar(&o.writer.URL, "url", "http://127.0.0.1:9009/api/v1/push", "remote-write endpoint")
	f.StringVar(&o.load.Tenant, "tenant", "", "X-Scope-OrgID; none is sent if empty. With -tenants, the names are TENANT-0, TENANT-1 … (t-0 … if empty)")
	f.IntVar(&o.load.Tenants, "tenants", 1, "tenants to spread the series over; a request of many tenants has at most one scrape of one. Best a multiple of -senders, or a divisor")
	f.IntVar(&o.load.Series, "series", 100_000, "series at a time, over all tenants")
	f.IntVar(&o.load.Steps, "samples", 240, "samples per series; 0 = until -duration or a signal ends it")
	f.DurationVar(&o.interval, "interval", 15*time.Second, "time between two samples of a series")
	f.StringVar(&o.start, "start", "", "time of the first samples: RFC 3339, Unix seconds, now, or a duration before now as -2h (default: so that the last ones are of now; with -live now)")
	f.BoolVar(&o.writer.Live, "live", false, "send each sample at its time, as scrapes would")
	f.BoolVar(&o.writer.Live, "now", false, "the same as -live")
	f.Uint64Var(&o.load.Seed, "seed", 1, "decides all labels and values; every series has cluster=\"load-SEED\"")
	f.Float64Var(&o.load.Churn, "churn", 0, "percent of all series replaced per minute of sample time (whole pods at once)")
	f.Float64Var(&o.load.Histograms, "histograms", 0, "share of series that are native histograms, 0 to 1")
	f.Float64Var(&o.load.Exemplars, "exemplars", 0, "share of counters' and buckets' samples with an exemplar, 0 to 1")
	f.Float64Var(&o.load.OutOfOrder, "ooo", 0, "share of requests sent out of order, 1 to 10 intervals late, 0 to 1")
	f.IntVar(&o.writer.Senders, "senders", 8, "requests under way at once")
	f.IntVar(&o.writer.Batch, "batch", 2000, "samples per request")
	order := f.String("order", "scraped", "of a request's series: scraped, or shuffled anew for each request")
	f.IntVar(&o.proto, "proto", 1, "remote write 1 or 2 (for 1.0 and 2.0)")
	f.Float64Var(&o.writer.Rate, "rate", 0, "samples per second, whatever the answers: latency is from when a request is due; 0 = as fast as they are taken")
	f.DurationVar(&o.writer.Timeout, "timeout", 30*time.Second, "of one attempt")
	f.DurationVar(&o.writer.RetryFor, "retry-for", 0, "give a request up as unknown after so long; 0 = never")
	f.DurationVar(&o.duration, "duration", 0, "stop after so long; 0 = when all is sent")
	f.StringVar(&o.ledger, "ledger", "", "file that records what was acked; must not exist. In memory only if empty")
	f.BoolVar(&o.resume, "resume", false, "go on with the load of an existing -ledger; only sending options count then")
	f.StringVar(&o.tokenFile, "token-file", "", "file whose content is sent as bearer token")
	f.Func("server-pid", "process whose CPU time and memory to report; several by comma or repeated are added up", o.addPids)
	f.BoolVar(&o.json, "json", false, "print the summary as JSON")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	switch *order {
	case "scraped":
	case "shuffled":
		o.writer.Shuffle = true
	default:
		return nil, fmt.Errorf("-order is %q, want scraped or shuffled", *order)
	}
	return o, o.complete()
}

func (o *writeOptions) addPids(s string) error {
	for f := range strings.SplitSeq(s, ",") {
		if f == "" {
			continue
		}
		pid, err := strconv.Atoi(f)
		if err != nil {
			return err
		}
		o.pids = append(o.pids, pid)
	}
	return nil
}

// complete derives what follows from other options.
func (o *writeOptions) complete() error {
	o.writer.Protocol = load.Protocol(o.proto)
	if o.proto != 1 && o.proto != 2 {
		return fmt.Errorf("-proto is %d, want 1 or 2", o.proto)
	}
	if o.load.Steps == 0 && !o.writer.Live && o.duration == 0 {
		return fmt.Errorf("-samples 0 needs -live or -duration")
	}
	o.load.IntervalMS = o.interval.Milliseconds()
	o.load.CustomBuckets = o.proto == 2
	if o.load.Tenants > 1 && o.load.Tenant == "" {
		o.load.Tenant = "t"
	}
	o.load.Lanes = lanes(o.writer.Senders, o.load.Tenants, o.load.Series)
	start, err := o.startTime(time.Now())
	o.load.Start = start.UnixMilli()
	if o.tokenFile != "" {
		header, err := bearer(o.tokenFile)
		if err != nil {
			return err
		}
		o.writer.Header = header
	}
	return err
}

// lanes is one for each sender, and equally many for each tenant, as far as there are series.
func lanes(senders, tenants, series int) int {
	if tenants < 1 {
		return senders
	}
	each := (max(senders, 1) + tenants - 1) / tenants
	if tenants*each > series {
		return min(max(senders, tenants), series)
	}
	return tenants * each
}

func bearer(file string) (http.Header, error) {
	token, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read token: %w", err)
	}
	return http.Header{"Authorization": {"Bearer " + strings.TrimSpace(string(token))}}, nil
}

func (o *writeOptions) startTime(now time.Time) (time.Time, error) {
	switch {
	case o.start == "" && o.writer.Live, o.start == "now":
		return now, nil
	case o.start == "":
		return now.Add(-time.Duration(o.load.Steps) * o.interval), nil
	}
	return parseTime(o.start, now)
}

// parseTime reads RFC 3339, Unix seconds, now, or a negative duration from now.
func parseTime(s string, now time.Time) (time.Time, error) {
	if s == "now" {
		return now, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(s); err == nil && strings.HasPrefix(s, "-") {
		return now.Add(d), nil
	}
	if sec, err := strconv.ParseFloat(s, 64); err == nil {
		return time.UnixMilli(int64(sec * 1000)), nil
	}
	return time.Time{}, fmt.Errorf("time %q: want RFC 3339, Unix seconds, now or -DURATION", s)
}

func (o *writeOptions) open() (*load.Ledger, error) {
	if !o.resume {
		return load.NewLedger(o.ledger, o.load)
	}
	l, err := load.ResumeLedger(o.ledger)
	if err == nil && l.Config().CustomBuckets && o.proto == 1 {
		return nil, fmt.Errorf("resume %s: this load has custom buckets and needs -proto 2", o.ledger)
	}
	return l, err
}

func write(ctx context.Context, args []string) (bool, error) {
	o, err := parseWrite(args)
	if errors.Is(err, flag.ErrHelp) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	ledger, err := o.open()
	if err != nil {
		return false, err
	}
	defer ledger.Close()
	w, err := load.NewWriter(ledger, o.writer)
	if err != nil {
		return false, err
	}
	m, err := newMeter(w, o.pids)
	if err != nil {
		return false, err
	}
	if err := runWriter(ctx, w, m, o.duration); err != nil {
		return false, err
	}
	sum, err := m.summary()
	if err != nil {
		return false, err
	}
	if err := sum.print(o.json); err != nil {
		return false, err
	}
	return sum.Refused+sum.Partial+sum.Unknown+sum.Short == 0, ledger.Close()
}

// runWriter runs the writer and prints a line each second.
func runWriter(ctx context.Context, w *load.Writer, m *meter, d time.Duration) error {
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	begin, last, lastTime := time.Now(), w.Stats(), time.Now()
	created := w.Created()
	for {
		select {
		case <-created:
			m.create()
			created = nil
		case err := <-done:
			return err
		case now := <-tick.C:
			s := w.Stats()
			lat := s.Latency.Sub(last.Latency)
			fmt.Fprintf(os.Stderr, "%4.0fs  %9.0f samples/s  acked %d  refused %d  partial %d  unknown %d  retries %d  p50 %s  p99 %s",
				now.Sub(begin).Seconds(), float64(s.Acked-last.Acked)/now.Sub(lastTime).Seconds(), s.Acked, s.Refused, s.Partial, s.Unknown,
				s.Retries, lat.Quantile(0.5), lat.Quantile(0.99))
			if s.LastError != last.LastError {
				fmt.Fprintf(os.Stderr, "  last error: %s", s.LastError)
			}
			fmt.Fprintln(os.Stderr)
			last, lastTime = s, now
		}
	}
}
