package ingester

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/pkg/wal"
)

// pushRounds sends n batches of two series, whose values have little in common. Every batch holds its own number as text.
func pushRounds(b *bed, n int) map[string]float64 {
	want := map[string]float64{}
	for i := range n {
		b.push(func(bl *series.Builder) {
			for s := range series.Number(2) {
				name := fmt.Sprint("m", s)
				if i == 0 {
					bl.Define(s, named(name))
				}
				v := math.Pow(1.7, float64(i)) + float64(s)
				bl.Float(s, int64(i+1), v)
				want[fmt.Sprintf("%s@%d", name, i+1)] = v
			}
			bl.Metadata(series.Metadata{Family: fmt.Sprintf("<%d>", i), Metadata: metadata.Metadata{Type: model.MetricTypeGauge}})
		})
	}
	return want
}

// spoil changes a byte of the log, in the record of a batch of pushRounds.
func (b *bed) spoil(batch int) {
	b.t.Helper()
	paths, err := filepath.Glob(filepath.Join(b.dir, "wal", "*", "*.wal"))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			b.t.Fatal(err)
		}
		if at := bytes.Index(data, fmt.Appendf(nil, "<%d>", batch)); at >= 0 {
			data[at] ^= 1
			if err := os.WriteFile(path, data, 0o644); err != nil {
				b.t.Fatal(err)
			}
			return
		}
	}
	b.t.Fatalf("batch %d is not in the log", batch)
}

// A record that is lost in the middle costs the samples up to where values begin anew, and never makes a wrong one.
func TestALostRecordMakesNoWrongValues(t *testing.T) {
	const rounds, lost = 150, 20
	b := newBed(t)
	want := pushRounds(b, rounds)
	b.stop()
	b.spoil(lost)
	b.start()
	for ts := lost + 1; ts <= lost+1+anewAfter+1; ts++ {
		for s := range 2 {
			key := fmt.Sprintf("m%d@%d", s, ts)
			if v, ok := b.content()[key]; ok && v != want[key] {
				t.Errorf("%s is %v, want %v or nothing", key, v, want[key])
			}
			delete(want, key)
		}
	}
	got := b.content()
	for key, v := range want {
		if w, ok := got[key]; !ok || w != v {
			t.Errorf("%s is %v (%v), want %v", key, w, ok, v)
		}
	}
	if len(got) < 2*lost || len(got) >= 2*rounds-2 {
		t.Errorf("%d of %d samples are there", len(got), 2*rounds)
	}
	if b.witness.since() == 0 {
		t.Error("the owner bears witness to what it has lost")
	}
}

// A log that an older process wrote has the batches as they came.
func TestALogOfWholeValuesIsReplayed(t *testing.T) {
	b := newBedOf(t, 0)
	l, err := wal.Open(wal.Options{Dir: filepath.Join(b.dir, "wal"), ReserveBytes: -1, LowWater: -1})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{}
	for i := range int64(5) {
		var bl series.Builder
		bl.Reset(series.StreamID{Distributor: 1, Generation: 1}, tenant.Anonymous)
		if i == 0 {
			bl.Define(0, named("a"))
		}
		bl.Float(0, i+1, float64(i)/3)
		want[fmt.Sprintf("a@%d", i+1)] = float64(i) / 3
		if _, err := l.Append(bl.AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- l.Run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.want(want)
}

// Values go on in later epochs, after a restart and after a number is defined once more.
func TestValuesOutliveEpochsAndRestarts(t *testing.T) {
	b := newBed(t)
	want := pushRounds(b, 40)
	b.flush()
	more := func(from, n int, stream uint32, define bool) {
		for i := from; i < from+n; i++ {
			b.pushAs(stream, func(bl *series.Builder) {
				if define {
					bl.Define(1, named("m1"))
				}
				bl.Float(1, int64(i+1), math.Sqrt(float64(i)))
				bl.Float(1, int64(i+1), math.Sqrt(float64(i)))
				want[fmt.Sprintf("m1@%d", i+1)] = math.Sqrt(float64(i))
			})
		}
	}
	more(40, 40, 1, false)
	b.want(want)
	b.restart()
	b.want(want)
	more(80, 3, 2, true)
	b.restart()
	b.want(want)
	if b.witness.since() != 0 {
		t.Error("something was lost")
	}
}
