package series

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"pgregory.net/rapid"
)

// listSet is a Set over a slice.
type listSet struct {
	list   []Chunked
	at     int
	err    error
	closed int
}

func newListSet(list ...Chunked) *listSet { return &listSet{list: list, at: -1} }

func (s *listSet) Next() bool {
	s.at++
	return s.at < len(s.list)
}

func (s *listSet) At() Chunked { return s.list[s.at] }

func (s *listSet) Err() error {
	if s.at >= len(s.list) {
		return s.err
	}
	return nil
}

func (s *listSet) Close() error {
	s.closed++
	return nil
}

func floatRun(ts ...int64) []drawn {
	var run []drawn
	for _, t := range ts {
		run = append(run, drawn{t: t, kind: chunkenc.ValFloat, v: float64(t)})
	}
	return run
}

func TestMergeAgreesWithTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		model := map[string][]drawn{}
		var sets []Set
		for range rapid.IntRange(0, 5).Draw(rt, "sets") {
			var list []Chunked
			for _, n := range slices.Sorted(slices.Values(rapid.SliceOfNDistinct(rapid.IntRange(0, 6), 0, 6, rapid.ID).Draw(rt, "series"))) {
				ls := labels.FromStrings("n", fmt.Sprint(n))
				run := unique(rapid.SliceOfN(rapid.Custom(drawSample), 0, 6).Draw(rt, "run"))
				list = append(list, Chunked{Labels: ls, Chunks: encodeRun(t, run, 3)})
				model[ls.String()] = append(model[ls.String()], run...)
			}
			sets = append(sets, newListSet(list...))
		}
		m, seen, last := Merge(sets...), 0, labels.EmptyLabels()
		for ; m.Next(); seen++ {
			at := m.At()
			if seen > 0 && labels.Compare(last, at.Labels) >= 0 {
				t.Fatalf("%v after %v", at.Labels, last)
			}
			last = at.Labels
			want, ok := model[at.Labels.String()]
			if !ok {
				t.Fatalf("unknown series %v", at.Labels)
			}
			checkSame(t, unique(want), readAllSamples(t, NewIterator(at.Chunks, nil)))
		}
		if m.Err() != nil || seen != len(model) {
			t.Fatalf("%d series, want %d: %v", seen, len(model), m.Err())
		}
	})
}

func TestMergeDropsRepeatedChunks(t *testing.T) {
	ls := labels.FromStrings("a", "b")
	set := func(ts ...int64) Set {
		return newListSet(Chunked{Labels: ls, Chunks: encodeRun(t, floatRun(ts...), 2)})
	}
	m := Merge(set(1, 2, 3, 4), set(1, 2, 3, 5), set(1, 2, 3, 4))
	if !m.Next() {
		t.Fatal(m.Err())
	}
	var times [][2]int64
	for _, c := range m.At().Chunks {
		times = append(times, [2]int64{c.MinTime, c.MaxTime})
	}
	if want := [][2]int64{{1, 2}, {3, 4}, {3, 5}}; !slices.Equal(times, want) {
		t.Errorf("chunks %v, want %v", times, want)
	}
	if m.Next() {
		t.Error("a series more")
	}
}

func TestMergeLeavesItsSourcesAlone(t *testing.T) {
	ls := labels.FromStrings("a", "b")
	backing := make([]chunks.Meta, 0, 8)
	backing = append(backing, encodeRun(t, floatRun(5, 6), 2)...)
	m := Merge(newListSet(Chunked{Labels: ls, Chunks: backing}), newListSet(Chunked{Labels: ls, Chunks: encodeRun(t, floatRun(1), 2)}))
	for m.Next() {
	}
	if backing[:2][1].Chunk != nil || backing[0].MinTime != 5 {
		t.Error("merge wrote into a source's chunks")
	}
}

func TestMergeEndsOnAnError(t *testing.T) {
	boom := errors.New("boom")
	bad := newListSet(Chunked{Labels: labels.FromStrings("a", "1")})
	bad.err = boom
	good := newListSet(Chunked{Labels: labels.FromStrings("a", "1")}, Chunked{Labels: labels.FromStrings("a", "2")})
	m := Merge(good, bad)
	n := 0
	for m.Next() {
		n++
	}
	if n != 1 || !errors.Is(m.Err(), boom) {
		t.Errorf("%d series, error %v", n, m.Err())
	}
	if m.Next() {
		t.Error("a series after the error")
	}
	if err := m.Close(); err != nil || good.closed != 1 || bad.closed != 1 {
		t.Errorf("close: %v, %d, %d", err, good.closed, bad.closed)
	}
}

func TestSamplesAtTheEndsOfTime(t *testing.T) {
	run := floatRun(math.MinInt64, -1, 0, math.MaxInt64)
	it := NewIterator(slices.Concat(encodeRun(t, run, 120), encodeRun(t, run, 1)), nil)
	checkSame(t, run, readAllSamples(t, it))
}
