package distributor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/ingester"
	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
)

// bed is a distributor with one real ingester behind it.
type bed struct {
	*distributor.Distributor
	t        testing.TB
	ingester *ingester.Ingester
	limits   *limits
	now      time.Time // stands still
}

type limits struct {
	mu         sync.Mutex
	defaults   tenant.Limits
	tenants    map[tenant.ID]*tenant.Limits
	generation uint64
}

func newLimits() *limits {
	return &limits{defaults: tenant.DefaultLimits(tenant.Machine{Cores: 2, Memory: 1 << 30}), tenants: map[tenant.ID]*tenant.Limits{}}
}

func (l *limits) For(id tenant.ID) *tenant.Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	if own := l.tenants[id]; own != nil {
		return own
	}
	return &l.defaults
}

func (l *limits) Generation() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.generation
}

func (l *limits) Source(tenant.ID, tenant.LimitName) string { return "the test" }

// set changes a tenant's limits, as an edit of the file would.
func (l *limits) set(id tenant.ID, change func(*tenant.Limits)) {
	own := *l.For(id)
	change(&own)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tenants[id] = &own
	l.generation++
}

type viewOf struct{ view *ring.View }

func (v viewOf) View() *ring.View { return v.view }

// direct leads to an ingester in this process, whichever owner is asked for.
type direct struct{ i *ingester.Ingester }

func (d direct) Dial(context.Context, ring.Owner) (distributor.Owner, error) {
	return &directOwner{i: d.i, broken: make(chan struct{})}, d.i.Ready()
}

type directOwner struct {
	i      *ingester.Ingester
	once   sync.Once
	broken chan struct{}
}

func (o *directOwner) Push(batch []byte, free func()) (series.Receipt, error) {
	defer free()
	defer func() { // an ingester that keeps any of it would show
		for i := range batch {
			batch[i] = 0xff
		}
	}()
	r, err := o.i.Push(batch)
	if errors.Is(err, series.ErrUnknownNumber) || errors.Is(err, series.ErrCorrupt) {
		o.Close()
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (o *directOwner) Broken() <-chan struct{} { return o.broken }
func (o *directOwner) Close()                  { o.once.Do(func() { close(o.broken) }) }

// options are what a bed may have otherwise than usual.
type options struct {
	view   *ring.View
	tokens string // file
	change func(*distributor.Config)
	limits distributor.Limits // instead of those that a test sets
	dialer func(*ingester.Ingester) distributor.Dialer
}

func newBed(t testing.TB, o options) *bed {
	t.Helper()
	b := &bed{t: t, limits: newLimits(), now: time.Now().Truncate(time.Millisecond)}
	view := viewOf{ring.Single("a")}
	icfg := ingester.Default()
	icfg.HeadPeriod = config.Duration(24 * time.Hour)
	b.ingester = ingester.New(icfg, ingester.Dependencies{
		Dir: t.TempDir(), Instance: "a", Bucket: objstore.NewInMemBucket(), Ring: view,
		Logger: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Now: time.Now,
		WAL: wal.Options{ReserveBytes: -1, LowWater: -1},
	})
	b.run(b.ingester.Run)
	await(t, b.ingester.Ready)

	tokens, err := tenant.NewTokens(time.Now, tenant.Dependencies{File: o.tokens, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	cfg := distributor.Default()
	cfg.MaxInflightBytes, cfg.AckTimeout = config.GiB, config.Duration(5*time.Second)
	if o.change != nil {
		o.change(&cfg)
	}
	if o.view != nil {
		view.view = o.view
	}
	if o.limits == nil {
		o.limits = b.limits
	}
	var dialer distributor.Dialer = direct{b.ingester}
	if o.dialer != nil {
		dialer = o.dialer(b.ingester)
	}
	b.Distributor = distributor.New(cfg, distributor.Dependencies{
		Ring: view, Dialer: dialer, Limits: o.limits, Auth: tokens,
		Logger: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Now: func() time.Time { return b.now },
	})
	b.run(b.Run)
	if o.view == nil {
		await(t, b.Ready)
	}
	return b
}

// run runs something until the test ends.
func (b *bed) run(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
}

// await polls until a component is ready.
func await(t testing.TB, ready func() error) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(ready())
		}
	}
}

// serve sends one request.
func (b *bed) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

// request is a write request of a tenant with that body, packed.
func request(id string, v2 bool, packed []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/push", bytes.NewReader(packed))
	r.Header.Set("Content-Encoding", "snappy")
	r.Header.Set("Content-Type", "application/x-protobuf")
	if v2 {
		r.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
	}
	if id != "" {
		r.Header.Set(tenant.Header, id)
	}
	return r
}

// v1 is a packed request of remote write 1.0.
func v1(t testing.TB, w *prompb.WriteRequest) []byte {
	t.Helper()
	raw, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return s2.EncodeSnappy(nil, raw)
}

// v2 is a packed request of remote write 2.0.
func v2(t testing.TB, w *writev2.Request) []byte {
	t.Helper()
	raw, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return s2.EncodeSnappy(nil, raw)
}

// of is a series of that name, and perhaps more labels.
func of(name string, samples []prompb.Sample, more ...string) prompb.TimeSeries {
	s := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: name}}, Samples: samples}
	for i := 0; i < len(more); i += 2 {
		s.Labels = append(s.Labels, prompb.Label{Name: more[i], Value: more[i+1]})
	}
	return s
}

// at is a sample at a distance from now.
func (b *bed) at(d time.Duration, v float64) prompb.Sample {
	return prompb.Sample{Timestamp: b.now.Add(d).UnixMilli(), Value: v}
}

// stored is the bits of every float of a tenant, by its series and distance from now.
func (b *bed) stored(id string) map[string]uint64 {
	b.t.Helper()
	got := map[string]uint64{}
	b.each(id, func(series string, it chunkenc.Iterator, kind chunkenc.ValueType) {
		if kind != chunkenc.ValFloat {
			got[fmt.Sprintf("%s %v", series, kind)]++
			return
		}
		ts, v := it.At()
		got[fmt.Sprintf("%s %v", series, time.UnixMilli(ts).Sub(b.now))] = math.Float64bits(v)
	})
	return got
}

// each visits every sample that the ingester holds of a tenant.
func (b *bed) each(id string, visit func(string, chunkenc.Iterator, chunkenc.ValueType)) {
	b.t.Helper()
	parsed, err := tenant.Parse(id)
	if err != nil {
		b.t.Fatal(err)
	}
	set, _, err := b.ingester.Select(context.Background(), series.Query{Tenant: parsed, MinTime: math.MinInt64 / 2, MaxTime: math.MaxInt64 / 2})
	if err != nil {
		b.t.Fatal(err)
	}
	defer set.Close()
	var it chunkenc.Iterator
	for set.Next() {
		s := set.At()
		it = series.NewIterator(s.Chunks, it)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			visit(s.Labels.String(), it, kind)
		}
	}
	if set.Err() != nil {
		b.t.Fatal(set.Err())
	}
}
