package integration

import (
	"testing"
	"time"
)

// The object store is gone for several epochs: blocks wait on the owners' disks, writes and reads of what they hold
// go on, what the querier has read before it answers still, and when the store is back everything reaches it.
func TestTheObjectStoreIsGoneForAWhile(t *testing.T) {
	t.Parallel()
	const period, tenant, steps = 5 * time.Second, "outage-goes-on", 20
	c := StartCluster(t, ClusterConfig{Flags: shortEpochs(period)})
	first := Write(t, "outage", c.Distributor.PushURL(), liveLoad(5*time.Second)...)
	first.Finish()
	c.S3.waitBlocks(t, "outage", holds(2000*5))
	time.Sleep(period)                    // by then the owners have let go of them
	first.Verify(c.Querier.URL, "before") // whoever has read once knows what the bucket has
	if answer, err := c.Querier.AsTenant(tenant).Query(`{__name__=~".+"}`, time.Now()); err != nil || answer.Samples.Count() > 0 {
		t.Fatalf("a tenant without samples has %v, error %v", answer, err)
	}

	c.S3.Kill9()
	load := Write(t, tenant, c.Distributor.PushURL(), liveLoad(steps*time.Second)...)
	load.Finish()
	first.Verify(c.Querier.URL, "while the object store is gone")
	load.Verify(c.Querier.URL, "while the object store is gone")
	c.S3.Start()
	c.S3.WaitReady()
	load.Verify(c.Querier.URL, "when the object store is back")
	c.S3.waitBlocks(t, tenant, holds(2000*steps))
	load.Verify(c.Querier.URL, "when everything is in the object store")
	first.Verify(c.Querier.URL, "when everything is in the object store")
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
	StartAll(c.Ingesters...)
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
