package integration

import (
	"cmp"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/block"
)

// A load at full speed with all owners up leaves the same samples at each of them: a slow owner is not overtaken, and
// none decides alone what it takes. It is seen in the blocks that each wrote, before anything merges them.
func TestReplicasAgree(t *testing.T) {
	c := StartCluster(t, ClusterConfig{NoCompactor: true, Flags: shortEpochs(10 * time.Second)})
	const tenant, series, samples = "replicas", 5000, 60
	load := Write(t, tenant, c.Distributor.PushURL(), "-series=5000", "-samples=60", "-interval=15s", "-ooo=0.05")
	load.Finish()
	c.S3.waitBlocks(t, tenant, holds(series*samples))

	byReplica := map[string]Samples{}
	for _, dir := range c.S3.blockDirs(t, tenant) {
		meta, err := block.ReadMeta(dir)
		if err != nil {
			t.Fatal(err)
		}
		replica := meta.Varve.Replica
		if byReplica[replica] == nil {
			byReplica[replica] = Samples{}
		}
		readBlock(t, dir, byReplica[replica])
	}
	for _, samples := range byReplica {
		samples.sort()
	}
	first := byReplica[c.Ingesters[0].Name]
	if first.Count() != series*samples {
		t.Errorf("%s has %d samples, want the %d that were acked", c.Ingesters[0].Name, first.Count(), series*samples)
	}
	for replica, got := range byReplica {
		if diff := Diff(first, got); diff != "" {
			t.Errorf("%s and %s differ:\n%s", c.Ingesters[0].Name, replica, diff)
		}
	}
	load.Verify(c.Querier.URL, "of all owners")
}

// sort brings what came from several blocks into order, and drops what one owner has in two of them: a batch that was
// sent again may land in the next epoch.
func (s Samples) sort() {
	for series, samples := range s {
		slices.SortFunc(samples, func(a, b Sample) int {
			return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Value, b.Value))
		})
		s[series] = slices.Compact(samples)
	}
}

// readBlock adds a block's samples, as Prometheus reads them.
func readBlock(t *testing.T, dir string, into Samples) {
	t.Helper()
	b, err := tsdb.OpenBlock(slog.New(slog.DiscardHandler), dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	querier, err := tsdb.NewBlockQuerier(b, math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = querier.Close() }()
	set := querier.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".+"))
	for set.Next() {
		name := set.At().Labels().String()
		into[name] = append(into[name], readSeries(t, set.At())...)
	}
	if err := set.Err(); err != nil {
		t.Fatalf("read %s: %v", dir, err)
	}
}

func readSeries(t *testing.T, s storage.Series) []Sample {
	t.Helper()
	var samples []Sample
	it := s.Iterator(nil)
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		sample := Sample{Time: it.AtT()}
		switch kind {
		case chunkenc.ValFloat:
			_, v := it.At()
			sample.Value = floatValue(v)
		case chunkenc.ValHistogram:
			_, h := it.AtHistogram(nil)
			sample.Value = histogramValue(h)
		case chunkenc.ValFloatHistogram:
			_, h := it.AtFloatHistogram(nil)
			sample.Value = floatHistogramValue(h)
		}
		samples = append(samples, sample)
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return samples
}
