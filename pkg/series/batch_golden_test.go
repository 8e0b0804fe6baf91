package series

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/varve-io/varve/pkg/tenant"
)

// The bytes of version 3, field by field, as docs/formats/batch.md shows them. Logs on disk have them, and processes of
// two versions send them to each other: they may be added to, not changed.
func TestGoldenBatch(t *testing.T) {
	want := golden(t, "batch-v3.txt")
	id, err := tenant.Parse("t1")
	if err != nil {
		t.Fatal(err)
	}
	var b Builder
	b.Reset(StreamID{Distributor: 0x0807060504030201, Generation: 5, Partition: 3}, id)
	b.Define(7, labels.FromStrings("__name__", "up", "job", "a"))
	b.Define(8, labels.FromStrings("__name__", "up", "job", "b"))
	b.Float(7, 1_700_000_000_000, 1)
	b.Float(7, 1_700_000_015_000, 0.5)
	b.Histogram(7, 1_700_000_015_000, &histogram.Histogram{
		Schema: 3, ZeroThreshold: 0.001, ZeroCount: 2, Count: 5, Sum: 18.5,
		PositiveSpans: []histogram.Span{{Offset: -1, Length: 2}}, PositiveBuckets: []int64{1, 1},
	})
	b.Exemplar(7, exemplar.Exemplar{Labels: labels.FromStrings("trace_id", "ab"), Value: 1, Ts: 1_700_000_000_000, HasTs: true})
	b.Metadata(Metadata{Family: "up", Metadata: metadata.Metadata{Type: model.MetricTypeGauge, Unit: "", Help: "Up."}})
	b.Label(100, labels.Label{Name: "__name__", Value: "up"})
	b.Label(101, labels.Label{Name: "a"})
	b.DefineNumbered(9, []LabelNumber{100, 101})
	b.DefineNumbered(10, []LabelNumber{100, 101, 5})
	if got := b.AppendTo(nil); !bytes.Equal(got, want) {
		t.Errorf("the batch is\n%x\nthe golden one is\n%x", got, want)
	}
	parsed, err := ParseBatch(want)
	if err != nil || parsed.Stream != b.Stream() || parsed.Tenant != id {
		t.Errorf("golden batch: %+v %v", parsed, err)
	}
}

// Logs of version 2, which has no numbers of labels, are read, for as long as somebody may have one.
func TestBatchOfVersion2(t *testing.T) {
	b, err := ParseBatch(golden(t, "batch-v2.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := readAll(&b); err != nil || len(c.Definitions) != 2 || c.Floats != 2 || len(c.Histograms)+len(c.Exemplars)+len(c.Metadata) != 3 {
		t.Errorf("%+v %v", c, err)
	}
}

// golden is a file of testdata without its comments.
func golden(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}
