package main

import (
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/varve-io/varve/tools/loadgen/load"
)

// meter measures a run: as a whole, until every series had its first sample (creation), and from then on (steady).
type meter struct {
	w              *load.Writer
	pids           []int
	begin, created reading
}

// reading is what is known at one time.
type reading struct {
	at    time.Time
	stats load.Stats
	usage load.Usage
	err   error
}

func newMeter(w *load.Writer, pids []int) (*meter, error) {
	m := &meter{w: w, pids: pids}
	m.begin = m.read()
	return m, m.begin.err
}

func (m *meter) read() reading {
	usage, err := load.ProcessUsage(m.pids)
	return reading{time.Now(), m.w.Stats(), usage, err}
}

// create notes that every series has been created.
func (m *meter) create() { m.created = m.read() }

// phase is what happened between two readings. CPU is in seconds, of the server.
type phase struct {
	Samples       int64   `json:"samples"`
	Seconds       float64 `json:"wall_seconds"`
	Rate          float64 `json:"samples_per_second"` // acked
	P50           float64 `json:"latency_p50_seconds"`
	P99           float64 `json:"latency_p99_seconds"`
	Max           float64 `json:"latency_max_seconds"`
	ServerCPU     float64 `json:"server_cpu_seconds,omitempty"`
	CPUPerMillion float64 `json:"server_cpu_seconds_per_million,omitempty"`
	ServerRSS     int64   `json:"server_rss_bytes,omitempty"` // at the end
}

func between(a, b reading) phase {
	latency := b.stats.Latency.Sub(a.stats.Latency)
	p := phase{
		Samples: b.stats.Samples() - a.stats.Samples(), Seconds: b.at.Sub(a.at).Seconds(),
		P50: latency.Quantile(0.5).Seconds(), P99: latency.Quantile(0.99).Seconds(), Max: latency.Max().Seconds(),
	}
	p.Rate = float64(b.stats.Acked-a.stats.Acked) / max(p.Seconds, 1e-9)
	if a.err == nil && b.err == nil {
		p.ServerCPU = (b.usage.CPU - a.usage.CPU).Seconds()
		p.CPUPerMillion = p.ServerCPU * 1e6 / float64(max(p.Samples, 1))
		p.ServerRSS = b.usage.RSS
	}
	return p
}

// summary is what write prints at its end: the whole run and, where there was more than creation, both phases of it.
type summary struct {
	phase
	Creation *phase `json:"creation,omitempty"`
	Steady   *phase `json:"steady,omitempty"`

	Acked          int64   `json:"acked"`
	Refused        int64   `json:"refused"`
	Partial        int64   `json:"partial"`
	Unknown        int64   `json:"unknown"`
	Short          int64   `json:"short"`
	Requests       int64   `json:"requests"`
	Retries        int64   `json:"retries"`
	SentBytes      int64   `json:"sent_bytes"`
	BytesPerSample float64 `json:"sent_bytes_per_sample"`
	RawPerSample   float64 `json:"raw_bytes_per_sample"`
	OwnCPU         float64 `json:"loadgen_cpu_seconds_per_million"`
	ServerPeakRSS  int64   `json:"server_peak_rss_bytes,omitempty"`
	LastError      string  `json:"last_error,omitempty"`
}

func (m *meter) summary() (*summary, error) {
	end := m.read()
	if end.err != nil {
		fmt.Fprintln(os.Stderr, "loadgen: server's usage is unknown:", end.err)
	}
	own, err := load.OwnCPU()
	if err != nil {
		return nil, err
	}
	s := end.stats
	n := float64(max(s.Samples(), 1))
	if end.err != nil {
		end.usage = load.Usage{}
	}
	sum := &summary{
		phase: between(m.begin, end),
		Acked: s.Acked, Refused: s.Refused, Partial: s.Partial, Unknown: s.Unknown, Short: s.Short,
		Requests: s.Requests, Retries: s.Retries, SentBytes: s.SentBytes, BytesPerSample: float64(s.SentBytes) / n,
		RawPerSample: float64(s.RawBytes) / n, OwnCPU: own.Seconds() * 1e6 / n, ServerPeakRSS: end.usage.PeakRSS, LastError: s.LastError,
	}
	if steady := between(m.created, end); !m.created.at.IsZero() && steady.Samples > 0 {
		creation := between(m.begin, m.created)
		sum.Creation, sum.Steady = &creation, &steady
	}
	return sum, nil
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
	row("requests", "%d, %d retries", s.Requests, s.Retries)
	row("sent", "%d bytes, %.1f per sample (%.1f before compression)", s.SentBytes, s.BytesPerSample, s.RawPerSample)
	row("loadgen CPU", "%.2f s per million samples", s.OwnCPU)
	row("whole run", "%s", s.line())
	if s.Steady != nil {
		row("creation", "%s", s.Creation.line())
		row("steady", "%s", s.Steady.line())
	}
	if s.ServerPeakRSS > 0 {
		row("server RSS", "%.0f MiB at the end, peak %.0f MiB", float64(s.ServerRSS)/(1<<20), float64(s.ServerPeakRSS)/(1<<20))
	}
	if s.Short > 0 {
		row("short", "%d samples acked that the server says it didn't write", s.Short)
	}
	if s.LastError != "" {
		row("last error", "%s", s.LastError)
	}
	return t.Flush()
}

// line tells a phase in one line.
func (p *phase) line() string {
	line := fmt.Sprintf("%d samples in %.2f s, %.0f acked/s, ack p50 %.1f ms, p99 %.1f ms, max %.1f ms",
		p.Samples, p.Seconds, p.Rate, p.P50*1e3, p.P99*1e3, p.Max*1e3)
	if p.ServerRSS > 0 {
		line += fmt.Sprintf(", server CPU %.2f s per million samples", p.CPUPerMillion)
	}
	return line
}
