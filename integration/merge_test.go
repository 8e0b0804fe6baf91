package integration

import (
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/block"
)

// Samples of a range that has ended long ago come late, and are shipped by every owner in several epochs. Once all
// these blocks are merged, and gone, the merged ones still have every acked sample, once.
func TestMergingKeepsEverySample(t *testing.T) {
	t.Parallel()
	// Data stays for longer than a querier keeps a catalog (15 s) and reads by it, as it must in every installation.
	flags := shortEpochs(5 * time.Second).with(Flags{"compactor.settle": "5s", "compactor.delete_delay": "30s"})
	c := StartCluster(t, ClusterConfig{Partitions: 2, Flags: flags})
	// 40 minutes that end 2 h 10 min ago: within the window into the past, and in ranges that have ended.
	load := Write(t, "merge", c.Distributor.PushURL(), "-start=-2h50m", "-samples=160", "-interval=15s",
		"-series=2000", "-rate=16000", "-histograms=0.1", "-ooo=0.1")
	load.Finish()
	load.Verify(c.Querier.URL, "before merging")
	c.S3.waitBlocks(t, "merge", func(blocks []block.Meta) bool { return replicas(blocks) == zones || merged(blocks) > 0 })
	load.Verify(c.Querier.URL, "while blocks are shipped")
	c.S3.waitBlocks(t, "merge", func(blocks []block.Meta) bool { return merged(blocks) > 0 })
	load.Verify(c.Querier.URL, "while blocks are merged")
	c.S3.waitBlocks(t, "merge", func(blocks []block.Meta) bool { return merged(blocks) > 0 && replicas(blocks) == 0 })
	load.Verify(c.Querier.URL, "when only merged blocks are left")
	load.Verify(c.Querier.URL, "when only merged blocks are left", "-via=query")
	c.S3.checkBlocks(t, "merge")
}
