package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
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
	pids      string
	json      bool
	tokenFile string
}

func parseWrite(args []string) (*writeOptions, error) {
	o := &writeOptions{}
	f := flag.NewFlagSet("loadgen write", flag.ContinueOnError)
	f.StringVar(&o.writer.URL, "url", "http://127.0.0.1:9009/api/v1/push", "remote-write endpoint")
	f.StringVar(&o.load.Tenant, "tenant", "", "X-Scope-OrgID; none is sent if empty. With -tenants, the names are TENANT-0, TENANT-1 …")
	f.IntVar(&o.load.Tenants, "tenants", 1, "tenants to spread the series over")
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
	f.IntVar(&o.proto, "proto", 1, "remote write 1 or 2 (for 1.0 and 2.0)")
	f.Float64Var(&o.writer.Rate, "rate", 0, "samples per second; 0 = as fast as they are taken")
	f.DurationVar(&o.writer.Timeout, "timeout", 30*time.Second, "of one attempt")
	f.DurationVar(&o.writer.RetryFor, "retry-for", 0, "give a request up as unknown after so long; 0 = never")
	f.DurationVar(&o.duration, "duration", 0, "stop after so long; 0 = when all is sent")
	f.StringVar(&o.ledger, "ledger", "", "file that records what was acked; must not exist. In memory only if empty")
	f.BoolVar(&o.resume, "resume", false, "go on with the load of an existing -ledger; only sending options count then")
	f.StringVar(&o.tokenFile, "token-file", "", "file whose content is sent as bearer token")
	f.StringVar(&o.pids, "server-pid", "", "processes, by comma, whose CPU time and peak memory to report")
	f.BoolVar(&o.json, "json", false, "print the summary as JSON")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, o.complete()
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
	o.load.Lanes = min(max(o.writer.Senders, o.load.Tenants), o.load.Series)
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
	if err == flag.ErrHelp {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	pids, err := parsePids(o.pids)
	if err != nil {
		return false, err
	}
	before, err := load.ProcessUsage(pids)
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
	begin := time.Now()
	if err := runWriter(ctx, w, o.duration); err != nil {
		return false, err
	}
	sum, err := summarise(w.Stats(), time.Since(begin))
	if err != nil {
		return false, err
	}
	if after, err := load.ProcessUsage(pids); err != nil {
		fmt.Fprintln(os.Stderr, "loadgen: server's usage is unknown:", err)
	} else if len(pids) > 0 {
		sum.addServer(before, after)
	}
	if err := sum.print(o.json); err != nil {
		return false, err
	}
	return sum.Refused+sum.Partial+sum.Unknown+sum.Short == 0, ledger.Close()
}

func parsePids(s string) ([]int, error) {
	var pids []int
	for f := range strings.SplitSeq(s, ",") {
		if f == "" {
			continue
		}
		pid, err := strconv.Atoi(f)
		if err != nil {
			return nil, fmt.Errorf("-server-pid: %w", err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// runWriter runs the writer and prints a line each second.
func runWriter(ctx context.Context, w *load.Writer, d time.Duration) error {
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
	for {
		select {
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

// summary is what write prints at its end. CPU is in seconds per million samples.
type summary struct {
	Samples        int64   `json:"samples"`
	Acked          int64   `json:"acked"`
	Refused        int64   `json:"refused"`
	Partial        int64   `json:"partial"`
	Unknown        int64   `json:"unknown"`
	Short          int64   `json:"short"`
	Requests       int64   `json:"requests"`
	Retries        int64   `json:"retries"`
	WallSeconds    float64 `json:"wall_seconds"`
	Rate           float64 `json:"samples_per_second"`
	P50            float64 `json:"latency_p50_seconds"`
	P99            float64 `json:"latency_p99_seconds"`
	SentBytes      int64   `json:"sent_bytes"`
	BytesPerSample float64 `json:"sent_bytes_per_sample"`
	RawPerSample   float64 `json:"raw_bytes_per_sample"`
	OwnCPU         float64 `json:"loadgen_cpu_seconds_per_million"`
	ServerCPU      float64 `json:"server_cpu_seconds_per_million,omitempty"`
	ServerPeakRSS  int64   `json:"server_peak_rss_bytes,omitempty"`
	LastError      string  `json:"last_error,omitempty"`
}

func summarise(s load.Stats, wall time.Duration) (*summary, error) {
	own, err := load.OwnCPU()
	if err != nil {
		return nil, err
	}
	n := float64(max(s.Samples(), 1))
	return &summary{
		Samples: s.Samples(), Acked: s.Acked, Refused: s.Refused, Partial: s.Partial, Unknown: s.Unknown, Short: s.Short,
		Requests: s.Requests, Retries: s.Retries, WallSeconds: wall.Seconds(), Rate: float64(s.Acked) / wall.Seconds(),
		P50: s.Latency.Quantile(0.5).Seconds(), P99: s.Latency.Quantile(0.99).Seconds(),
		SentBytes: s.SentBytes, BytesPerSample: float64(s.SentBytes) / n, RawPerSample: float64(s.RawBytes) / n,
		OwnCPU: own.Seconds() * 1e6 / n, LastError: s.LastError,
	}, nil
}

func (s *summary) addServer(before, after load.Usage) {
	s.ServerCPU = (after.CPU - before.CPU).Seconds() * 1e6 / float64(max(s.Samples, 1))
	s.ServerPeakRSS = after.PeakRSS
}

func (s *summary) print(asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("samples", "%d (acked %d, refused %d, partial %d, unknown %d)", s.Samples, s.Acked, s.Refused, s.Partial, s.Unknown)
	row("wall", "%.2f s, %.0f acked samples/s", s.WallSeconds, s.Rate)
	row("requests", "%d, %d retries, p50 %.1f ms, p99 %.1f ms", s.Requests, s.Retries, s.P50*1e3, s.P99*1e3)
	row("sent", "%d bytes, %.1f per sample (%.1f before compression)", s.SentBytes, s.BytesPerSample, s.RawPerSample)
	row("loadgen CPU", "%.2f s per million samples", s.OwnCPU)
	if s.ServerPeakRSS > 0 {
		row("server CPU", "%.2f s per million samples", s.ServerCPU)
		row("server peak RSS", "%.0f MiB", float64(s.ServerPeakRSS)/(1<<20))
	}
	if s.Short > 0 {
		row("short", "%d samples acked that the server says it didn't write", s.Short)
	}
	if s.LastError != "" {
		row("last error", "%s", s.LastError)
	}
	return t.Flush()
}
