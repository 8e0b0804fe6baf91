package integration

import (
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/block"
)

// The object store is gone for several epochs: blocks wait on the owners' disks, writes and reads of what they hold
// go on, and when it is back everything reaches it.
func TestTheObjectStoreIsGoneForAWhile(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, ClusterConfig{Flags: shortEpochs(5 * time.Second)})
	first := Write(t, "outage", c.Distributor.PushURL(), liveLoad(5*time.Second)...)
	first.Finish()
	first.Verify(c.Querier.URL, "before") // whoever has read once knows what the bucket has
	load := Write(t, "outage-goes-on", c.Distributor.PushURL(), liveLoad(20*time.Second)...)
	load.Verify(c.Querier.URL, "while it begins")
	c.S3.Kill9()
	load.Finish()
	first.Verify(c.Querier.URL, "while the object store is gone")
	load.Verify(c.Querier.URL, "while the object store is gone")
	c.S3.Start()
	c.S3.WaitReady()
	c.S3.waitBlocks(t, "outage-goes-on", func(blocks []block.Meta) bool { return replicas(blocks) == zones || merged(blocks) > 0 })
	load.Verify(c.Querier.URL, "after the object store is back")
}

// Ingesters that flush when they stop leave nothing behind: their disks may be thrown away.
func TestIngestersThatFlushOnStopNeedNoDiskAnyMore(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, ClusterConfig{Flags: Flags{"ingester.flush_on_stop": "true"}})
	load := Write(t, "flush", c.Distributor.PushURL(), liveLoad(10*time.Second)...)
	load.Finish()
	for _, n := range c.Ingesters {
		n.Stop()
		n.Wipe()
	}
	for _, n := range c.Ingesters {
		n.Start()
	}
	for _, n := range c.Ingesters {
		n.WaitReady()
	}
	load.Verify(c.Querier.URL, "from the bucket alone")
}

// An owner that is frozen holds up nobody, and is no liar when it wakes.
func TestAFrozenOwnerHoldsUpNobody(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, ClusterConfig{})
	load := Write(t, "frozen", c.Distributor.PushURL(), liveLoad(30*time.Second)...)
	for zone := range zones {
		c.Owner(0, zone).Pause()
		time.Sleep(5 * time.Second)
		c.Owner(0, zone).Continue()
		time.Sleep(2 * time.Second)
	}
	load.Finish()
	load.Verify(c.Querier.URL, "after every owner was frozen once")
}
