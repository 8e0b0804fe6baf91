package integration

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// A cluster grows from three ingesters to six and shrinks to three again, under load: a part of the series moves to
// the new partition and back. Nothing that was acked is lost on the way, nor with the disks of those that left.
func TestScalingOutAndBackLosesNothingAcked(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, ClusterConfig{})
	out := Write(t, "scale-out", c.Distributor.PushURL(), liveLoad(20*time.Second)...)
	time.Sleep(3 * time.Second)
	added := c.AddPartition(t)
	out.Finish()
	out.Verify(c.Querier.URL, "with six ingesters")
	for _, n := range added {
		if appended(t, n) == 0 {
			t.Errorf("%s has no sample", n.Name)
		}
	}

	back := Write(t, "scale-back", c.Distributor.PushURL(), liveLoad(40*time.Second)...)
	time.Sleep(3 * time.Second)
	begin := time.Now()
	leave(t, added...)
	t.Logf("a partition left in %v", time.Since(begin))
	if !back.Running() {
		t.Error("the load ended before the partition had left")
	}
	for _, n := range added {
		n.Stop()
		n.Wipe()
	}
	c.Ingesters = c.Ingesters[:zones]
	back.Finish()
	verify := func(when string) {
		t.Helper()
		out.Verify(c.Querier.URL, when)
		back.Verify(c.Querier.URL, when)
	}
	verify("with three ingesters again")
	for _, n := range c.Nodes() {
		n.Kill9()
	}
	StartAll(c.Nodes()...)
	verify("after every process was killed at once")
}

// leave takes ingesters out of the ring, all at once.
func leave(t *testing.T, nodes ...*Node) {
	t.Helper()
	patient := http.Client{Timeout: 3 * time.Minute}
	var all errgroup.Group
	for _, n := range nodes {
		all.Go(func() error {
			resp, err := patient.Post("http://"+n.Admin+"/ingester/leave", "", nil)
			if err != nil {
				return err
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s leaves: %s: %s (%w)", n.Name, resp.Status, body, err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

// appended counts the samples that an ingester took since it was started.
func appended(t *testing.T, n *Node) float64 {
	t.Helper()
	metrics, err := Metrics("http://" + n.Admin)
	if err != nil {
		t.Fatal(err)
	}
	return metrics["varve_ingester_samples_total"]
}
