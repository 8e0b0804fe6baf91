package block

import (
	"sync/atomic"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/series"
)

// To want that a label is there costs next to nothing where another matcher leaves few series: the lists of its values are not read.
func TestWantedLabelsAreCheap(t *testing.T) {
	dir := largeBlock(t, 5000)
	meta, err := ReadMeta(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := countingFiles{Dir(dir), &atomic.Int64{}, &atomic.Int64{}}
	b, err := Open(t.Context(), files, meta)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	read := func(ms ...*labels.Matcher) (bytes int64, n int) {
		files.bytes.Store(0)
		set, err := b.Select(t.Context(), series.Query{MinTime: 0, MaxTime: 2 * hour, Matchers: ms})
		if err != nil {
			t.Fatal(err)
		}
		return files.bytes.Load(), len(collect(t, set))
	}
	metric := matcher(labels.MatchEqual, "__name__", "http_requests_7_total")
	plain, n := read(metric)
	for _, wanted := range []*labels.Matcher{matcher(labels.MatchNotEqual, "pod", ""), matcher(labels.MatchRegexp, "pod", ".+")} {
		if bytes, got := read(metric, wanted); bytes > plain || got != n || n != 50 {
			t.Errorf("%s: %d series and %d bytes of postings, without it %d and %d", wanted, got, bytes, n, plain)
		}
	}
	if bytes, got := read(matcher(labels.MatchEqual, "job", "api"), matcher(labels.MatchNotEqual, "pod", "")); got != 5000 || bytes <= plain {
		t.Errorf("of all series %d were selected, with %d bytes of postings", got, bytes)
	}
}
