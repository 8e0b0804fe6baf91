package head

import (
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// What a lookup finds and makes is what Series does, label by label.
func TestLookup(t *testing.T) {
	var l Lookup // used again
	rapid.Check(t, func(t *rapid.T) {
		h, known := New(Options{}), map[string]*Series{}
		text := rapid.SampledFrom([]string{"a", "b", "c", "ab", "bc"})
		for range rapid.IntRange(1, 5).Draw(t, "batches") {
			all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) labels.Label {
				return labels.Label{Name: text.Draw(t, "name"), Value: text.Draw(t, "value")}
			}), 1, 100).Draw(t, "labels")
			if rapid.Bool().Draw(t, "listed") {
				h.index.listAll()
			}
			l.Begin(h, all)
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
			}
			l.Reset()
		}
		if h.NumSeries() != len(known) {
			t.Fatalf("%d series, not %d", h.NumSeries(), len(known))
		}
	})
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

func TestLookupInASealedHead(t *testing.T) {
	h := New(Options{})
	known, _, _ := h.Series(labels.FromStrings("a", "1"))
	h.Seal()
	var l Lookup
	l.Begin(h, []labels.Label{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}})
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
