package ingester

import (
	"context"
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/series/sourcetest"
)

func TestSource(t *testing.T) {
	for name, fill := range map[string]func(*bed, []sourcetest.Series){
		"in the head":     func(b *bed, all []sourcetest.Series) { b.pushSeries(all, 0, 1) },
		"in local blocks": func(b *bed, all []sourcetest.Series) { b.pushSeries(all, 0, 1); b.flush() },
		"replayed":        func(b *bed, all []sourcetest.Series) { b.pushSeries(all, 0, 1); b.restart() },
		"in both": func(b *bed, all []sourcetest.Series) {
			b.pushSeries(all, 0, 2)
			b.flush()
			b.pushSeries(all, 1, 2)
		},
		"twice": func(b *bed, all []sourcetest.Series) {
			b.pushSeries(all, 0, 1)
			b.flush()
			b.pushSeries(all, 0, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sourcetest.Run(t, func(t *testing.T, all []sourcetest.Series) series.Source {
				b := newBed(t)
				fill(b, all)
				return source{b.Ingester}
			})
		})
	}
}

// source is an ingester without its standing.
type source struct{ i *Ingester }

func (s source) Select(ctx context.Context, q series.Query) (series.Set, error) {
	set, _, err := s.i.Select(ctx, q)
	return set, err
}

func (s source) LabelNames(ctx context.Context, q series.Query) ([]string, error) {
	names, _, err := s.i.LabelNames(ctx, q)
	return names, err
}

func (s source) LabelValues(ctx context.Context, name string, q series.Query) ([]string, error) {
	values, _, err := s.i.LabelValues(ctx, name, q)
	return values, err
}

func (b *bed) flush() {
	b.t.Helper()
	if err := b.Flush(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// pushSeries sends every step-th sample, from the first that is asked for.
func (b *bed) pushSeries(all []sourcetest.Series, first, step int) {
	b.t.Helper()
	b.push(func(bl *series.Builder) {
		for n, s := range all {
			bl.Define(series.Number(n), s.Labels)
			for i := first; i < len(s.Samples); i += step {
				addSample(bl, series.Number(n), s.Samples[i])
			}
		}
	})
}

func addSample(bl *series.Builder, n series.Number, x sourcetest.Sample) {
	switch x.Type() {
	case chunkenc.ValHistogram:
		bl.Histogram(n, x.T(), x.H())
	case chunkenc.ValFloatHistogram:
		bl.FloatHistogram(n, x.T(), x.FH())
	default:
		bl.Float(n, x.T(), x.F())
	}
}
