package head

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// What a lookup finds and makes is what Series does, label by label, whichever of the labels' numbers are known.
func TestLookup(t *testing.T) {
	var l Lookup // used again
	rapid.Check(t, func(t *rapid.T) {
		h, byText := New(Options{}), New(Options{})
		known, numbers := map[string]*Series{}, map[labels.Label]uint32{}
		text := rapid.SampledFrom([]string{"a", "b", "c", "ab", "bc"})
		for range rapid.IntRange(1, 5).Draw(t, "batches") {
			all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) labels.Label {
				return labels.Label{Name: text.Draw(t, "name"), Value: text.Draw(t, "value")}
			}), 1, 100).Draw(t, "labels")
			if rapid.Bool().Draw(t, "listed") {
				h.index.listAll()
			}
			l.Begin(h, all, drawNumbers(t, numbers, all))
			for range rapid.IntRange(0, 20).Draw(t, "series") {
				places, ls := drawPlaces(t, all)
				soon, _ := drawPlaces(t, all)
				s, created, err := l.Series(places, soon)
				want := known[ls.String()]
				if err != nil || created != (want == nil) || want != nil && s != want || !labels.Equal(s.Labels(), ls) {
					t.Fatalf("%s: found %s, created %v, %v", ls, s.Labels(), created, err)
				}
				if again, created, err := h.Series(ls); again != s || created || err != nil {
					t.Fatalf("%s: not what Series finds: created %v, %v", ls, created, err)
				}
				known[ls.String()] = s
				byText.Series(ls)
			}
			checkNumbers(t, h, byText, &l, numbers)
			l.Reset()
		}
		if h.NumSeries() != len(known) {
			t.Fatalf("%d series, not %d", h.NumSeries(), len(known))
		}
	})
}

// drawNumbers draws which of the numbers that labels have are known, and some that no label can have.
func drawNumbers(t *rapid.T, numbers map[labels.Label]uint32, all []labels.Label) []uint32 {
	known := make([]uint32, rapid.SampledFrom([]int{0, len(all) / 2, len(all)}).Draw(t, "known"))
	for i := range known {
		known[i] = rapid.SampledFrom([]uint32{numbers[all[i]], numbers[all[i]], 0, 1000, math.MaxUint32}).Draw(t, "number")
	}
	return known
}

func labelOf(h *Head, number uint32) labels.Label { return h.index.pairs[number-1].Label }

// checkNumbers checks that the numbers that a lookup gives don't change and stand for its labels, and that what a head has by numbers is
// what it has by text.
func checkNumbers(t *rapid.T, h, byText *Head, l *Lookup, numbers map[labels.Label]uint32) {
	for i, label := range l.labels {
		n := l.Number(i)
		if n != 0 && numbers[label] == 0 {
			numbers[label] = n
		}
		if numbers[label] != n && n != 0 || n != 0 && labelOf(h, n) != label {
			t.Fatalf("%v has number %d, which stands for %v, and had %d", label, n, labelOf(h, n), numbers[label])
		}
	}
	if len(h.index.allPairs()) != len(numbers) {
		t.Fatalf("%d labels are in the head, %d have numbers", len(h.index.allPairs()), len(numbers))
	}
	if got, want := contents(t, h), contents(t, byText); !slices.Equal(got, want) {
		t.Fatalf("by numbers the index has %q, by text %q", got, want)
	}
}

// contents are the names, the values, and the series of each value in an index.
func contents(t *rapid.T, h *Head) (all []string) {
	for _, name := range h.index.labelNames() {
		for _, value := range h.index.labelValues(name) {
			all = append(all, name+"="+value)
			for p := h.index.union(context.Background(), h.index.withValues(name, []string{value})); p.Next(); {
				all = append(all, h.index.series.At(int(p.At()-1)).Labels().String())
			}
		}
	}
	return all
}

// drawPlaces draws a series of some of the labels.
func drawPlaces(t *rapid.T, all []labels.Label) ([]uint32, labels.Labels) {
	places := rapid.SliceOfNDistinct(rapid.Uint32Range(0, uint32(len(all)-1)), 0, 5, func(n uint32) string { return all[n].Name }).Draw(t, "places")
	slices.SortFunc(places, func(a, b uint32) int {
		if all[a].Name < all[b].Name {
			return -1
		}
		return 1
	})
	b := labels.NewScratchBuilder(len(places))
	for _, n := range places {
		b.Add(all[n].Name, all[n].Value)
	}
	return places, b.Labels()
}

// Many series are listed while they are made. Each is found again, alone and by its labels, whether it was young or not.
func TestManySeries(t *testing.T) {
	const n = 2*unlisted + 100
	h, ctx := New(Options{}), t.Context()
	of := func(i int) labels.Labels {
		return labels.FromStrings("all", "1", "few", strconv.Itoa(i%7), "one", strconv.Itoa(i/2), "two", strconv.Itoa(i%2))
	}
	check := func(n int) {
		for i := range n {
			s, created, err := h.Series(of(i))
			if created || err != nil || int(s.Ref()) != i {
				t.Fatalf("%d of %d: created %v, %v", i, n, created, err)
			}
		}
		for i := range 7 {
			p := h.index.union(ctx, h.index.withValues("few", []string{strconv.Itoa(i)}))
			for ref := i + 1; ref <= n; ref += 7 {
				if !p.Next() || p.At() != storage.SeriesRef(ref) {
					t.Fatalf("%d of %d is not in its list, at %d", ref, n, p.At())
				}
			}
			if p.Next() {
				t.Fatalf("%d is in the list", p.At())
			}
		}
	}
	for i := range n {
		if _, created, err := h.Series(of(i)); !created || err != nil {
			t.Fatalf("%d: created %v, %v", i, created, err)
		}
		if i == 10 || i == unlisted+200 {
			check(i + 1)
		}
	}
	check(n)
}

// A label whose number is known is not looked at, and has the same series as by its text. That holds after Seal, too.
func TestKnownNumbers(t *testing.T) {
	h := New(Options{})
	want, _, _ := h.Series(labels.FromStrings("a", "1", "b", "2"))
	var l Lookup
	l.Begin(h, []labels.Label{{Name: "b", Value: "2"}, {Name: "a", Value: "1"}, {Name: "c", Value: "3"}}, nil)
	b, a := l.Number(0), l.Number(1)
	if none := l.Number(2); a == 0 || b == 0 || none != 0 {
		t.Fatalf("numbers are %d, %d, %d", b, a, none)
	}
	if s, created, err := l.Series([]uint32{1, 0, 2}, nil); !created || err != nil || s.Labels().String() != `{a="1", b="2", c="3"}` {
		t.Fatalf("made %v, %v, %v", s, created, err)
	}
	c := l.Number(2)
	h.Seal()
	l.Begin(h, []labels.Label{{}, {}, {Name: "b", Value: "2"}}, []uint32{a, c})
	if s, created, err := l.Series([]uint32{0, 2}, nil); s != want || created || err != nil {
		t.Errorf("found %v, %v, %v", s, created, err)
	}
	if _, _, err := l.Series([]uint32{0, 1}, nil); !errors.Is(err, ErrSealed) {
		t.Errorf("a new series: %v", err)
	}
}

// A number that the head doesn't have, because it is another's, is as good as none.
func TestNumbersOfALargerHead(t *testing.T) {
	h, larger := New(Options{}), New(Options{})
	for i := range 10 {
		larger.Series(labels.FromStrings("a", strconv.Itoa(i)))
	}
	var l Lookup
	all := []labels.Label{{Name: "a", Value: "9"}, {Name: "a", Value: "8"}}
	l.Begin(larger, all, nil)
	known := []uint32{l.Number(0), l.Number(1)}
	for range 2 {
		l.Begin(h, all, known)
		if s, _, err := l.Series([]uint32{0}, []uint32{1}); err != nil || !labels.Equal(s.Labels(), labels.FromStrings("a", "9")) {
			t.Fatalf("made %v, %v", s, err)
		}
		if n := l.Number(0); n != 1 || labelOf(h, n) != all[0] {
			t.Fatalf("its label is number %d, %v", n, labelOf(h, n))
		}
	}
	if n := h.NumSeries(); n != 1 {
		t.Errorf("%d series", n)
	}
}

func TestLookupInASealedHead(t *testing.T) {
	h := New(Options{})
	known, _, _ := h.Series(labels.FromStrings("a", "1"))
	h.Seal()
	var l Lookup
	l.Begin(h, []labels.Label{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}}, nil)
	if s, created, err := l.Series([]uint32{0}, nil); s != known || created || err != nil {
		t.Errorf("a known series: created %v, %v", created, err)
	}
	if _, _, err := l.Series([]uint32{1}, nil); !errors.Is(err, ErrSealed) {
		t.Errorf("a new series: %v", err)
	}
	if values := h.index.labelValues("a"); len(values) != 1 {
		t.Errorf("values are %v", values)
	}
}
