package load

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grafana/regexp"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// receiver is Prometheus' own remote-write and remote-read handlers over its own TSDB.
func receiver(t *testing.T) *httptest.Server {
	t.Helper()
	opts := tsdb.DefaultOptions()
	opts.OutOfOrderTimeWindow = time.Hour.Milliseconds()
	opts.MinBlockDuration = (24 * time.Hour).Milliseconds()
	opts.MaxBlockDuration = opts.MinBlockDuration
	opts.RetentionDuration = 0
	db, err := tsdb.Open(t.TempDir(), promslog.NewNopLogger(), nil, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.DisableCompactions()
	t.Cleanup(func() { _ = db.Close() })
	reg := prometheus.NewRegistry()
	types := remoteapi.MessageTypes{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/write", remote.NewWriteHandler(promslog.NewNopLogger(), reg, db, types, false, false, false))
	mux.Handle("/api/v1/read", remote.NewReadHandler(promslog.NewNopLogger(), reg, db,
		func() config.Config { return config.Config{} }, 0, 10, 1<<20))
	mux.Handle("/api/v1/query", queryAPI(db))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

// queryAPI is Prometheus' own HTTP API; what is not needed for queries is left out.
func queryAPI(db *tsdb.DB) http.Handler {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e7, Timeout: time.Minute})
	api := v1.NewAPI(engine, db, nil, nil, nil, nil, nil, nil,
		func() config.Config { return config.Config{} }, nil, v1.GlobalURLOptions{},
		func(f http.HandlerFunc) http.HandlerFunc { return f },
		nil, "", false, false, 0, promslog.NewNopLogger(), nil, 0, 0, 0, false, regexp.MustCompile("^$"),
		nil, &v1.PrometheusVersion{}, nil, nil, prometheus.NewRegistry(), nil, nil, false, nil,
		false, false, false, false, 5*time.Minute, false, false, nil, nil, v1.OpenAPIOptions{}, parser.NewParser(parser.Options{}))
	router := route.New().WithPrefix("/api/v1")
	api.Register(router)
	return router
}

// rich is a load with everything in it.
func rich() Config {
	cfg := testConfig()
	cfg.Series, cfg.Steps = 700, 24
	cfg.Churn, cfg.Histograms, cfg.Exemplars, cfg.OutOfOrder = 30, 0.1, 0.05, 0.2
	return cfg
}

func writeAll(t *testing.T, cfg Config, url string, proto Protocol) *Ledger {
	t.Helper()
	ledger, err := NewLedger(filepath.Join(t.TempDir(), "ledger"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ledger.Close() })
	w, err := NewWriter(ledger, WriterConfig{URL: url, Protocol: proto, Senders: 4, Batch: 100})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.Stats()
	if s.Acked < int64(cfg.Series*cfg.Steps) || s.Samples() != s.Acked || s.Short != 0 {
		t.Fatalf("stats are %+v, want all acked", s)
	}
	return ledger
}

func verdict(t *testing.T, l *Ledger, s Source, cfg VerifierConfig) Verdict {
	t.Helper()
	v, err := NewVerifier(l, s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	d, err := v.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRealPrometheusHandlersKeepEverySample(t *testing.T) {
	for _, proto := range []Protocol{RemoteWrite1, RemoteWrite2} {
		t.Run(proto.version(), func(t *testing.T) {
			srv := receiver(t)
			cfg := rich()
			cfg.CustomBuckets = proto == RemoteWrite2
			ledger := writeAll(t, cfg, srv.URL+"/api/v1/write", proto)
			reopened, err := OpenLedger(ledger.file.Name())
			if err != nil {
				t.Fatal(err)
			}
			defer reopened.Close()
			src := &RemoteRead{HTTPSource{URL: srv.URL}}
			d := verdict(t, reopened, src, VerifierConfig{MaxSamples: 500, Exclusive: true})
			if !d.OK() || d.Found != d.Acked || d.Acked <= int64(cfg.Series*cfg.Steps) {
				t.Errorf("verdict is %+v, want all found, staleness markers too", d)
			}
			d = verdict(t, reopened, &Query{src.HTTPSource}, VerifierConfig{MaxSamples: 5000})
			if want := int64(cfg.Series * cfg.Steps); !d.OK() || d.Found != want {
				t.Errorf("verdict by queries is %+v, want %d found", d, want)
			}
			cut := cfg.Start + 7*cfg.IntervalMS + 3
			a, b := verdict(t, reopened, src, VerifierConfig{To: cut}), verdict(t, reopened, src, VerifierConfig{From: cut})
			if !a.OK() || !b.OK() || a.Found == 0 || b.Found == 0 || a.Found+b.Found <= int64(cfg.Series*cfg.Steps) {
				t.Errorf("verdicts before and after %d are %+v and %+v", cut, a, b)
			}
		})
	}
}

// spoiled lets a test change what a real source answers.
type spoiled struct {
	Source
	change func(*ReadSeries, func(*ReadSeries))
}

func (s *spoiled) Read(ctx context.Context, sel Selection, each func(*ReadSeries)) (bool, error) {
	return s.Source.Read(ctx, sel, func(r *ReadSeries) { s.change(r, each) })
}

func TestVerifierSeesEachFault(t *testing.T) {
	srv := receiver(t)
	ledger := writeAll(t, rich(), srv.URL+"/api/v1/write", RemoteWrite1)
	src := &RemoteRead{HTTPSource{URL: srv.URL}}
	for name, tc := range map[string]struct {
		change func(r *ReadSeries)
		want   Verdict
	}{
		"dropped":    {func(r *ReadSeries) { r.Samples = r.Samples[1:] }, Verdict{Lost: 1}},
		"duplicated": {func(r *ReadSeries) { r.Samples = append(r.Samples, r.Samples[0]) }, Verdict{Twice: 1}},
		"altered":    {func(r *ReadSeries) { flipBit(&r.Samples[0]) }, Verdict{Wrong: 1}},
		"moved":      {func(r *ReadSeries) { r.Samples[0].Timestamp++ }, Verdict{Lost: 1, Invented: 1}},
		"unsent": {func(r *ReadSeries) {
			r.Samples = append(r.Samples, prompb.Sample{Timestamp: r.Samples[0].Timestamp + 1})
		}, Verdict{Invented: 1}},
		"other series": {func(r *ReadSeries) {
			r.Labels = append(r.Labels, prompb.Label{Name: "zz", Value: "1"})
			r.Samples = r.Samples[:1]
		}, Verdict{Invented: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var once atomic.Bool
			d := verdict(t, ledger, &spoiled{src, func(r *ReadSeries, each func(*ReadSeries)) {
				if len(r.Samples) > 3 && once.CompareAndSwap(false, true) {
					if name == "other series" {
						each(r)
						r = &ReadSeries{TimeSeries: prompb.TimeSeries{Labels: slices.Clone(r.Labels), Samples: slices.Clone(r.Samples)}}
					}
					tc.change(r)
				}
				each(r)
			}}, VerifierConfig{})
			got := Verdict{Lost: d.Lost, Twice: d.Twice, Wrong: d.Wrong, Invented: d.Invented}
			if got.Lost != tc.want.Lost || got.Twice != tc.want.Twice || got.Wrong != tc.want.Wrong || got.Invented != tc.want.Invented || len(d.Examples) == 0 {
				t.Errorf("verdict is %+v, want %+v", d, tc.want)
			}
		})
	}
	t.Run("histogram altered", func(t *testing.T) {
		var once atomic.Bool
		d := verdict(t, ledger, &spoiled{src, func(r *ReadSeries, each func(*ReadSeries)) {
			for i := range r.Histograms {
				if h := &r.Histograms[i]; len(h.PositiveDeltas) > 0 && once.CompareAndSwap(false, true) {
					h.PositiveDeltas[0]++
				}
			}
			each(r)
		}}, VerifierConfig{})
		if d.Wrong != 1 || d.Lost+d.Invented+d.Twice != 0 {
			t.Errorf("verdict is %+v, want one wrong", d)
		}
	})
}

func flipBit(s *prompb.Sample) { s.Value = math.Float64frombits(math.Float64bits(s.Value) ^ 1) }

// TestAnswers drives the writer through the answers that a server may give.
func TestAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		status  []int // one after the other, the last for ever
		written string
		want    State
	}{
		"acked":                {[]int{204}, "", Acked},
		"acked after 503":      {[]int{503, 503, 204}, "", Acked},
		"refused":              {[]int{413}, "", Refused},
		"refused, none stored": {[]int{400}, "0", Refused},
		"some may be stored":   {[]int{400}, "", Partial},
		"refused after doubt":  {[]int{503, 400}, "0", Unknown},
		"given up":             {[]int{500}, "", Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Scope-OrgID") != "t" {
					t.Errorf("tenant is %q", r.Header.Get("X-Scope-OrgID"))
				}
				if tc.written != "" {
					w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", tc.written)
				}
				w.WriteHeader(tc.status[min(int(n.Add(1)), len(tc.status))-1])
			}))
			defer srv.Close()
			cfg := testConfig()
			cfg.Series, cfg.Lanes, cfg.Steps = 10, 1, 1
			ledger, err := NewLedger("", cfg)
			if err != nil {
				t.Fatal(err)
			}
			w, err := NewWriter(ledger, WriterConfig{URL: srv.URL, RetryFor: 200 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := ledger.State(0, 9); got != tc.want || ledger.State(0, 10) != Unsent {
				t.Errorf("state is %v, want %v; last error %s", got, tc.want, w.Stats().LastError)
			}
		})
	}
}

func TestSeriesAreDistinctAndCountersClimb(t *testing.T) {
	cfg := rich()
	cfg.Series = 5000
	gen, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	total := 0
	for slot := range cfg.Series {
		for gen0 := range int64(3) {
			ls := gen.Labels(slot, gen0)
			if tr := gen.track(slot); tr.life == 0 && gen0 > 0 {
				continue
			}
			total += ls.Len()
			if seen[ls.String()] {
				t.Fatalf("series %s exists twice", ls)
			}
			seen[ls.String()] = true
		}
		tr := gen.track(slot)
		if strings.HasSuffix(tr.fam.name, "_bucket") {
			for age := int64(1); age < 150; age++ {
				if tr.value(0, age) < tr.value(0, age-1) {
					t.Fatalf("%s falls at %d", gen.Labels(slot, 0), age)
				}
			}
		}
	}
	t.Logf("%.1f labels per series", float64(total)/float64(len(seen)))
}
