package integration

import (
	"testing"
	"time"
)

// The ring is kept in etcd. When etcd is gone the last view is good enough to write, read and restart nothing; an
// owner that restarts afterwards finds its place again.
func TestTheRingIsKeptInEtcd(t *testing.T) {
	t.Parallel()
	etcd := Etcd(t)
	c := StartCluster(t, ClusterConfig{Flags: Flags{"ring.store": "etcd", "ring.store_endpoints": etcd.Endpoint, "ring.join": ""}})
	load := Write(t, "etcd", c.Distributor.PushURL(), liveLoad(15*time.Second)...)
	time.Sleep(2 * time.Second)
	etcd.Kill9()
	time.Sleep(6 * time.Second)
	early := Write(t, "etcd-is-gone", c.Distributor.PushURL(), liveLoad(2*time.Second)...)
	early.Finish()
	early.Verify(c.Querier.URL, "while etcd is gone")
	etcd.Start()
	etcd.WaitReady()
	c.Owner(0, 1).Kill9()
	StartAll(c.Owner(0, 1))
	load.Finish()
	load.Verify(c.Querier.URL, "after etcd and an owner are back")
}
