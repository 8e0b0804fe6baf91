package series

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/varve-io/varve/pkg/tenant"
)

// Labels of a few names and values, so that many are shared, and some are alike but for where name and value meet.
func drawLabels(t *rapid.T) []labels.Label {
	text := rapid.SampledFrom([]string{"a", "b", "ab", "aa", "", strings.Repeat("long", 100)})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) labels.Label {
		return labels.Label{Name: text.Draw(t, "name"), Value: text.Draw(t, "value")}
	}), 0, together+4).Draw(t, "labels")
}

func TestDefinitionsComeBack(t *testing.T) {
	var (
		b    Builder // used again, as builders are
		read Definitions
	)
	rapid.Check(t, func(t *rapid.T) {
		b.Reset(StreamID{Distributor: 1}, tenant.Anonymous)
		series := rapid.SliceOfN(rapid.Custom(drawLabels), 0, 200).Draw(t, "series")
		for i, ls := range series {
			if i%2 == 0 {
				b.Define(Number(i*i), labels.New(ls...))
				ls = nil
				labels.New(series[i]...).Range(func(l labels.Label) { ls = append(ls, l) })
				series[i] = ls
				continue
			}
			before := b.Size()
			if most, size := b.DefineLabels(Number(i*i), ls), b.Size()-before; size > most {
				t.Fatalf("%v takes %d bytes, not at most %d", ls, size, most)
			}
		}
		batch, err := ParseBatch(b.AppendTo(nil))
		if err == nil {
			err = batch.Definitions(&read)
		}
		if err != nil || len(read.Numbers) != len(series) {
			t.Fatalf("%d definitions come back, not %d: %v", len(read.Numbers), len(series), err)
		}
		for i, want := range series {
			var got []labels.Label
			for _, place := range read.Labels(i) {
				got = append(got, read.Pairs[place])
			}
			if d := cmp.Diff(fmt.Sprint(want), fmt.Sprint(got)); d != "" || read.Numbers[i] != Number(i*i) {
				t.Fatalf("definition %d comes back as number %d: %s", i, read.Numbers[i], d)
			}
		}
	})
}

// Labels that come after many others are written, though their places are not remembered.
func TestManyDefinitions(t *testing.T) {
	const many = 70_000
	var b Builder
	b.Reset(StreamID{Distributor: 1}, tenant.Anonymous)
	label := func(i int) labels.Label { return labels.Label{Name: "a", Value: fmt.Sprint(i % many)} }
	for i := range many + 10 {
		b.DefineLabels(Number(i), []labels.Label{label(i), label(many - 1)})
	}
	var read Definitions
	batch, err := ParseBatch(b.AppendTo(nil))
	if err == nil {
		err = batch.Definitions(&read)
	}
	if err != nil || len(read.Numbers) != many+10 {
		t.Fatal(len(read.Numbers), err)
	}
	for i := range read.Numbers {
		if at := read.Labels(i); read.Pairs[at[0]] != label(i) || read.Pairs[at[1]] != label(many-1) {
			t.Fatalf("definition %d comes back as %v and %v", i, read.Pairs[at[0]], read.Pairs[at[1]])
		}
	}
}

func TestDefinitionsOfLabelsThatDontExist(t *testing.T) {
	for _, section := range []string{
		"\x01\x02\x01\x01",               // the first label, before there is one
		"\x01\x02\x02\x00\x01a\x01b\x02", // the second one of one
		"\x01\x02\x05\x00\x01a\x01b",     // five labels, one there
		"\x01\x02\x01\x00\x01a",          // no value
	} {
		b := Batch{definitions: []byte(section)}
		if err := b.Definitions(&Definitions{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%x: %v", section, err)
		}
	}
}

// Logs of version 1 are read, for as long as somebody may have one.
func TestDefinitionsOfVersion1(t *testing.T) {
	b, err := ParseLogged(golden(t, "definitions-v1.txt"))
	var d Definitions
	if err == nil {
		err = b.Definitions(&d)
	}
	want := []labels.Label{{Name: "__name__", Value: "up"}, {Name: "job", Value: "a"}}
	if err != nil || !cmp.Equal(d.Numbers, []Number{7}) || !cmp.Equal(d.Pairs, want) || !cmp.Equal(d.Labels(0), []uint32{0, 1}) {
		t.Errorf("%+v %v", d, err)
	}
}

func BenchmarkDefine(b *testing.B) {
	var bl Builder
	names := []string{"__name__", "cluster", "container", "id", "instance", "job", "namespace", "node", "pod", "uid"}
	all := make([][]labels.Label, 50)
	for i := range all {
		for k, name := range names {
			all[i] = append(all[i], labels.Label{Name: name, Value: fmt.Sprintf("a-value-as-long-as-most-%d", i%(1+5*k))})
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		bl.Reset(StreamID{Distributor: 1}, tenant.Anonymous)
		for i, ls := range all {
			bl.DefineLabels(Number(i), ls)
		}
	}
	b.ReportMetric(float64(bl.Size())/float64(len(all)), "B/series")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(all)), "ns/series")
}

func TestDefinitionsByLabelsComeBack(t *testing.T) {
	var (
		b    Builder
		read Definitions
	)
	number := rapid.OneOf(rapid.Uint32Range(0, 20), rapid.Uint32())
	rapid.Check(t, func(t *rapid.T) {
		b.Reset(StreamID{Distributor: 1}, tenant.Anonymous)
		series := rapid.SliceOfN(rapid.SliceOfN(number, 0, 20), 0, 100).Draw(t, "labels of series")
		for i, ls := range series {
			var ks []LabelNumber
			for _, k := range ls {
				ks = append(ks, LabelNumber(k))
			}
			b.DefineNumbered(Number(i*i), ks)
		}
		batch, err := ParseBatch(b.AppendTo(nil))
		read.Reset()
		if err == nil {
			err = batch.Numbered(&read, func(k LabelNumber) (uint32, error) { return uint32(k) ^ 1, nil })
		}
		if err != nil || len(read.Numbers) != len(series) || batch.Defines() != (len(series) > 0) {
			t.Fatalf("%d definitions come back, not %d: %v", len(read.Numbers), len(series), err)
		}
		for i, want := range series {
			got := slices.Clone(read.Labels(i))
			for at := range got {
				got[at] ^= 1
			}
			if fmt.Sprint(got) != fmt.Sprint(want) || read.Numbers[i] != Number(i*i) {
				t.Fatalf("definition %d comes back as number %d with %v, not %v", i, read.Numbers[i], got, want)
			}
		}
	})
}

func TestCorruptDefinitionsByLabels(t *testing.T) {
	for _, section := range []string{
		"\x01\x02\x03\x00",                 // three labels, one there
		"\x01\x02\x01\x01",                 // label -1
		"\x02\x02\x01\x00\x02\x01\x01",     // 0, and one less
		"\x01\x02\x01\x80\x80\x80\x80\x20", // 1<<32
		"\x01\x01\x00",                     // series -1
		"\x01",
	} {
		b := Batch{numbered: []byte(section)}
		if err := b.Numbered(&Definitions{}, func(LabelNumber) (uint32, error) { return 0, nil }); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%x: %v", section, err)
		}
	}
	for _, section := range []string{"\x01\x02\x01a", "\x01\x01\x01a\x00", "\x01\x02\x05a\x00", "\x01"} {
		b := Batch{labels: []byte(section)}
		if err := b.Labels(func(LabelNumber, labels.Label) error { return nil }); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%x: %v", section, err)
		}
	}
}
