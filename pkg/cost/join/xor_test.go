package join

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/cost/quantity"
	"github.com/varve-io/varve/tools/clustergen/cluster"
)

var everything = window{from: math.MinInt64, to: math.MaxInt64}

// randomChunk is up to so many samples: constant or not, on a grid or not.
func randomChunk(rng *rand.Rand, most int) *chunkenc.XORChunk {
	c := chunkenc.NewXORChunk()
	app, err := c.Appender()
	if err != nil {
		panic(err)
	}
	at, v, step := rng.Int64N(1<<41), rng.Float64(), int64(15_000)
	for range rng.IntN(most + 1) {
		app.Append(0, at, v)
		switch rng.IntN(8) {
		case 0:
			step = 1 + rng.Int64N(1<<rng.IntN(40))
		case 1:
			v = math.Float64frombits(rng.Uint64())
		case 2:
			v = math.Float64frombits(value.StaleNaN)
		case 3, 4:
			v += float64(rng.IntN(100))
		}
		at += step
	}
	return c
}

// oracle is what Prometheus reads of a chunk; ok is false if it isn't in the order of time, or damaged.
func oracle(c chunkenc.Chunk, w window) (out []cluster.Sample, ok bool) {
	last, values := int64(math.MinInt64), int64(0)
	it := c.Iterator(nil)
	for it.Next() != chunkenc.ValNone {
		t, v := it.At()
		if t <= last {
			return nil, false
		}
		last = t
		if t < w.from || t >= w.to || w.most > 0 && values == w.most {
			continue
		}
		if !math.IsNaN(v) {
			values++
		}
		out = append(out, cluster.Sample{T: t, V: v})
	}
	return out, it.Err() == nil
}

func samplesOf(runs []quantity.Run) (out []cluster.Sample) {
	for _, r := range runs {
		for i := range r.N {
			out = append(out, cluster.Sample{T: r.T + i*r.Step, V: r.V})
		}
	}
	return out
}

// Chunks are read as Prometheus reads them, all of them or a window.
func TestChunks(t *testing.T) {
	for seed := range uint64(1000) {
		rng := rand.New(rand.NewPCG(seed, 3))
		c := randomChunk(rng, 200)
		all, _ := oracle(c, everything)
		w := everything
		if len(all) > 0 && seed%3 > 0 {
			w = window{from: all[rng.IntN(len(all))].T + rng.Int64N(3) - 1, to: all[rng.IntN(len(all))].T + rng.Int64N(3) - 1, most: rng.Int64N(2) * rng.Int64N(5)}
		}
		want, _ := oracle(c, w)
		x := xorReader{window: w}
		if err := x.read(c.Bytes()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if d := cmp.Diff(want, samplesOf(x.runs), cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); d != "" {
			t.Fatalf("seed %d, %+v: %s", seed, w, d)
		}
	}
}

// Each byte that lacks at the end of a chunk is found.
func TestCutChunks(t *testing.T) {
	for seed := range uint64(50) {
		p := randomChunk(rand.New(rand.NewPCG(seed, 5)), 50).Bytes()
		for n := range len(p) {
			x := xorReader{window: everything}
			if err := x.read(p[:n]); err == nil && binary.BigEndian.Uint16(p) > 0 {
				t.Fatalf("seed %d: %d of %d bytes are no error", seed, n, len(p))
			}
		}
	}
}

func FuzzChunk(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(randomChunk(rand.New(rand.NewPCG(seed, 4)), 30).Bytes())
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		x := xorReader{window: everything}
		if err := x.read(p); err != nil {
			return // Prometheus takes some chunks that lack bits at their end
		}
		c, e := chunkenc.FromData(chunkenc.EncXOR, p)
		if e != nil {
			t.Fatal(e)
		}
		want, ok := oracle(c, everything)
		if d := cmp.Diff(want, samplesOf(x.runs), cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); ok && d != "" {
			t.Fatal(d)
		}
	})
}
