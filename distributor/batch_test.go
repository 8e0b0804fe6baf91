package distributor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
)

// scale is an owner that weighs what it gets.
type scale struct {
	mu           sync.Mutex
	told         told
	largest      int // batch
	largestAgain int // of all definitions that a batch uses
	batches      int
	floats       int
	histograms   int
	exemplars    int
	families     map[string]bool
	refuse       int // this batch
	problems     []error
	broken       chan struct{}
}

func (s *scale) Dial(context.Context, ring.Owner) (Owner, error) { return s, nil }
func (s *scale) Broken() <-chan struct{}                         { return s.broken }
func (s *scale) Close()                                          {}

func (s *scale) Push(p []byte, free func()) (series.Receipt, error) {
	defer free()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.batches++; s.batches == s.refuse {
		return nil, errors.New("not this one")
	}
	b, err := series.ParseBatch(p)
	if err != nil {
		return nil, err
	}
	s.largest = max(s.largest, len(p))
	uses := map[series.Number]bool{}
	use := func(n series.Number) error {
		if s.told.series[n] == "" {
			return fmt.Errorf("batch %d: number %d is not defined", s.batches, n)
		}
		uses[n] = true
		return nil
	}
	_, err = s.told.read(&b)
	err = errors.Join(err,
		b.Histograms(func(h series.HistogramSample) error { s.histograms++; return use(h.Number) }),
		b.Exemplars(func(n series.Number, _ exemplar.Exemplar) error { s.exemplars++; return use(n) }),
		b.Metadata(func(m series.Metadata) error { s.families[m.Family] = true; return nil }),
	)
	for it := b.Floats(); ; s.floats++ {
		n, _, _, ok := it.Next()
		if !ok {
			break
		}
		err = errors.Join(err, use(n))
	}
	if err != nil {
		s.problems = append(s.problems, err)
	}
	again := 0
	for n := range uses {
		again += len(s.told.series[n])
	}
	s.largestAgain = max(s.largestAgain, again)
	return settled{}, nil
}

// newScale is a yard whose one owner is a scale.
func newScale(t *testing.T) (*yard, *scale) {
	s := &scale{told: told{series: map[series.Number]string{}}, families: map[string]bool{}, broken: make(chan struct{})}
	y := newYard(t, 1, "a")
	synctest.Wait()
	y.streams[0].close()
	y.streams[0] = newStream(0, s, y.versions)
	y.streams[0].follow(owners("a"))
	synctest.Wait()
	return y, s
}

// longLabels is a small request of 2.0 with one sample in each of many series, which share long values.
func longLabels(t *testing.T, count, each int, at time.Time) []byte {
	w := writev2.Request{Symbols: []string{"", "__name__", "m", "n", strings.Repeat("x", each)}}
	for n := range 8 {
		w.Symbols = append(w.Symbols, fmt.Sprint("l", n))
	}
	for n := range count {
		w.Symbols = append(w.Symbols, fmt.Sprint("v", n))
		refs := []uint32{1, 2}
		for n := range uint32(8) {
			refs = append(refs, 5+n, 4)
		}
		refs = append(refs, 3, uint32(len(w.Symbols)-1))
		w.Timeseries = append(w.Timeseries, writev2.TimeSeries{LabelsRefs: refs, Samples: []writev2.Sample{{Timestamp: at.UnixMilli()}}})
	}
	raw, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Whatever a request holds, its batches and what an owner logs again for them fit into the owner's log.
func TestBatchesAreBounded(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of every bubble
	v1 := func(w prompb.WriteRequest) []byte {
		raw, err := w.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	one := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "m"}}}
	floats, histograms, exemplars := one, one, one
	for n := range 450_000 {
		floats.Samples = append(floats.Samples, prompb.Sample{Timestamp: now.Add(-time.Duration(n%7777) * time.Second).UnixMilli(), Value: 1})
	}
	for n := range 4000 {
		histograms.Histograms = append(histograms.Histograms, prompb.FromFloatHistogram(now.UnixMilli()+int64(n), tsdbutil.GenerateTestFloatHistogram(int64(n))))
		histograms.Histograms[n].PositiveCounts = append(histograms.Histograms[n].PositiveCounts, make([]float64, 200)...)
		histograms.Histograms[n].PositiveSpans = append(histograms.Histograms[n].PositiveSpans, prompb.BucketSpan{Offset: 1, Length: 200})
	}
	for n := range 50_000 {
		exemplars.Exemplars = append(exemplars.Exemplars, prompb.Exemplar{Labels: []prompb.Label{{Name: "id", Value: strings.Repeat("ü", 100)}}, Timestamp: now.UnixMilli(), Value: float64(n)})
	}
	var families []prompb.MetricMetadata
	for n := range 2000 {
		families = append(families, prompb.MetricMetadata{MetricFamilyName: fmt.Sprint("f", n), Help: strings.Repeat("h", 4000)})
	}
	for _, tt := range []struct {
		name                                    string
		protocol                                remote.Protocol
		body                                    []byte
		floats, histograms, exemplars, families int
		batches                                 int // at least
	}{
		{"long labels of many series", remote.WriteV2, longLabels(t, 900, 3500, now), 900, 0, 0, 0, 6},
		{"labels that have numbers, of many series", remote.WriteV2, longLabels(t, 2500, 490, now), 2500, 0, 0, 0, 3},
		{"many floats", remote.WriteV1, v1(prompb.WriteRequest{Timeseries: []prompb.TimeSeries{floats}}), 450_000, 0, 0, 0, 2},
		{"many histograms", remote.WriteV1, v1(prompb.WriteRequest{Timeseries: []prompb.TimeSeries{histograms}}), 0, 4000, 0, 0, 2},
		{"many exemplars", remote.WriteV1, v1(prompb.WriteRequest{Timeseries: []prompb.TimeSeries{exemplars}}), 0, 0, 50_000, 0, 3},
		{"many families", remote.WriteV1, v1(prompb.WriteRequest{Metadata: families}), 0, 0, 0, 2000, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				y, s := newScale(t)
				for range 2 { // new series, then known ones
					s.batches, s.floats, s.histograms, s.exemplars = 0, 0, 0, 0
					w, err := newRequest(y.Distributor).push(t.Context(), tenant.Anonymous, tt.protocol, tt.body)
					if err != nil || w.Floats != tt.floats || w.Histograms != tt.histograms || w.Exemplars != tt.exemplars || w.Refused > 0 {
						t.Fatalf("%+v %v", w, err)
					}
					if s.floats != tt.floats || s.histograms != tt.histograms || s.exemplars != tt.exemplars || len(s.families) != tt.families {
						t.Errorf("the owner got %d floats, %d histograms, %d exemplars, %d families", s.floats, s.histograms, s.exemplars, len(s.families))
					}
					if s.batches < tt.batches {
						t.Errorf("%d batches, want at least %d", s.batches, tt.batches)
					}
				}
				if edge := batchBytes + 64<<10; s.largest > edge || s.largestAgain > edge || edge > wal.MaxRecordBytes/2 {
					t.Errorf("batch of %d bytes, %d bytes of definitions for one batch, want at most %d", s.largest, s.largestAgain, edge)
				}
				if len(s.problems) > 0 {
					t.Error(s.problems[0])
				}
			})
		})
	}
}

// An ack stands for all batches of a request.
func TestEveryBatchMustBeAcked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y, s := newScale(t)
		body := longLabels(t, 900, 3500, time.Now())
		for n := range 6 {
			s.batches, s.refuse = 0, n+1
			if w, err := newRequest(y.Distributor).push(t.Context(), tenant.Anonymous, remote.WriteV2, body); !errors.Is(err, ErrUnavailable) {
				t.Errorf("batch %d was refused: %+v %v", n, w, err)
			}
		}
		if s.refuse = 0; len(s.problems) > 0 { // a batch that came needs none that didn't
			t.Error(s.problems[0])
		}
		if w, err := newRequest(y.Distributor).push(t.Context(), tenant.Anonymous, remote.WriteV2, body); err != nil || w.Floats != 900 {
			t.Errorf("%+v %v", w, err)
		}
	})
}

// A few bytes can't become many batches, nor take memory that isn't there.
func TestWhatARequestWritesOutIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y, s := newScale(t)
		body := longLabels(t, 1300, 3500, time.Now())
		push := func(body []byte) error {
			_, err := newRequest(y.Distributor).push(t.Context(), tenant.Anonymous, remote.WriteV2, body)
			return err
		}
		if err := push(body); statusOf(err) != 413 || !strings.Contains(err.Error(), "distributor.max_request_bytes") || len(body) > 128<<10 {
			t.Errorf("%d bytes: %v", len(body), err)
		}
		if s.batches > 0 {
			t.Errorf("%d batches were sent", s.batches)
		}
		body = longLabels(t, 500, 3500, time.Now())
		other := newRequest(y.Distributor)
		other.holder = y.sender(tenant.Anonymous)
		if err := other.hold(int64(y.cfg.MaxInflightBytes - 16*config.MiB)); err != nil {
			t.Fatal(err)
		}
		if err := push(body); statusOf(err) != 503 || !strings.Contains(err.Error(), "max_inflight_bytes") {
			t.Errorf("without memory: %v", err)
		}
		other.release()
		y.cfg.MaxInflightBytes = config.MiB // whoever is alone goes through
		if err := push(body); err != nil {
			t.Error(err)
		}
		if y.inflight.free != int64(config.GiB) || other.holder.held != 0 {
			t.Error("memory was not given back")
		}
	})
}

// An owner that joins while a request is on its way has it built again: the tenant's rate isn't charged again.
func TestARequestIsChargedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		synctest.Wait()
		y.limits.set(func(l *tenant.Limits) { l.MaxSamplesPerSecond, l.MaxSamplesBurst = 1, 3 })
		r := newRequest(y.Distributor)
		r.sitDown()
		if err := r.decoder.Reset(remote.WriteV1, bodyOf(t, time.Now(), 1, "x", "y", "z")); err != nil {
			t.Fatal(err)
		}
		r.sender = y.sender(tenant.Anonymous)
		r.holder = r.sender
		for n := range 3 {
			if err := r.build(); err != nil {
				t.Fatalf("building %d: %v", n, err)
			}
			y.keepers.bounce("a")
			time.Sleep(time.Second / 2)
			synctest.Wait()
			if err := r.send(); !errors.Is(err, errStale) {
				t.Fatalf("building %d is not stale: %v", n, err)
			}
			r.decoder.Rewind()
		}
		r.release()
		if _, err := y.push(time.Now(), 1, "x", "y", "z"); !errors.Is(err, ErrRate) {
			t.Errorf("the rate was not charged at all: %v", err)
		}
	})
}

// Series that come too fast are late, and not lost: the sender is told to come again until all are in.
func TestNewSeriesThatComeTooFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		synctest.Wait()
		y.limits.set(func(l *tenant.Limits) { l.MaxNewSeriesPerSecond, l.MaxNewSeriesBurst = 2, 3 })
		at := time.Now()
		for _, stored := range []int{3, 5, 7, 8} {
			w, err := y.push(at, 1, "a", "b", "c", "d", "e", "f", "g", "h")
			if n := len(y.keepers["a"].samples); n != stored || w.Floats != stored {
				t.Fatalf("%d samples are stored, %d said to be, want %d: %v", n, w.Floats, stored, err)
			}
			if stored == 8 {
				if err != nil {
					t.Error(err)
				}
				break
			}
			if statusOf(err) != 503 || !strings.Contains(err.Error(), "max_new_series_per_second") || !strings.Contains(err.Error(), "the rest is stored") {
				t.Errorf("%d: %v", statusOf(err), err)
			}
			time.Sleep(time.Second)
		}
		y.limits.set(func(l *tenant.Limits) { l.MaxActiveSeries = 8 })
		if w, err := y.push(at, 1, "a", "z"); err != nil || w.Refused != 1 || !strings.Contains(w.Message, "max_active_series") {
			t.Errorf("over the number of series: %+v %v", w, err)
		}
		y.sound()
	})
}
