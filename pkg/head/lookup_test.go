package head

import (
	"errors"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
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
