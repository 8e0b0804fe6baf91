package integration

import (
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

const recoveryWithin = 5 * time.Second

// crashCycles is how often a process is killed in a test that kills one after the other; `make soak` asks for more.
func crashCycles() int {
	if cycles, err := strconv.Atoi(os.Getenv("VARVE_TEST_CYCLES")); err == nil {
		return cycles
	}
	return 30
}

// crashLoad is a load that lasts for all of these cycles.
func crashLoad() []string { return liveLoad(time.Duration(crashCycles()) * 3 * time.Second) }

// Under load, one process after the other is killed (kill -9) and started again. The writer retries until it has an
// ack, and in the end every acked sample is there, once, with its bits.
func TestKill9OfAClusterLosesNothingAcked(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, ClusterConfig{Partitions: 1, Flags: shortEpochs(20 * time.Second)})
	load := Write(t, "crash-cluster", c.Distributor.PushURL(), crashLoad()...)
	crash(t, load, c.Nodes()...)
	load.Finish()
	load.Verify(c.Querier.URL, "after all cycles")
	load.Verify(c.Querier.URL, "after all cycles", "-via=query")
}

func TestKill9OfOneProcessLosesNothingAcked(t *testing.T) {
	t.Parallel()
	n := Varve(t, "all", shortEpochs(20*time.Second))
	n.Start()
	n.WaitReady()
	load := Write(t, "crash-all", n.PushURL(), crashLoad()...)
	crash(t, load, n)
	load.Finish()
	load.Verify(n.URL, "after all cycles")
	load.Verify(n.URL, "after all cycles", "-via=query")
}

// All owners of every partition die at once, ten times, or fewer on a machine so busy that the load ends before: what was
// acked was synced to their logs. Writes go on soon after they are back.
func TestKill9OfAllOwnersAtOnceLosesNothingAcked(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, ClusterConfig{})
	load := Write(t, "crash-zones", c.Distributor.PushURL(), liveLoad(30*time.Second)...)
	slowest, cycles := time.Duration(0), 0
	for ; cycles < 10 && load.Running(); cycles++ {
		time.Sleep(time.Second)
		for _, n := range c.Ingesters {
			n.Kill9()
		}
		acked := c.acked(t)
		begin := time.Now()
		StartAll(c.Ingesters...)
		waitUntil(t, "something is acked, with the owners started again", time.Minute, func() error {
			if c.acked(t) == acked && load.Running() {
				return errors.New("nothing is")
			}
			return nil
		})
		slowest = max(slowest, time.Since(begin))
	}
	t.Logf("%d times; slowest recovery, until something is acked again: %v", cycles, slowest)
	if cycles < 3 {
		t.Errorf("the owners were killed %d times while the load ran, want 3 times or more", cycles)
	}
	if slowest > recoveryWithin {
		t.Errorf("a recovery took %v, want at most %v", slowest, recoveryWithin)
	}
	load.Finish()
	load.Verify(c.Querier.URL, "after all cycles")
}

// acked counts the samples that the distributor has acked since it was started.
func (c *Cluster) acked(t *testing.T) float64 {
	t.Helper()
	metrics, err := Metrics("http://" + c.Distributor.Admin)
	if err != nil {
		t.Fatal(err)
	}
	return metrics["varve_distributor_samples_total"] + metrics["varve_distributor_histograms_total"]
}

// liveLoad are the options of a load that sends each sample at its time, and retries for ever what is not acked.
func liveLoad(duration time.Duration) []string {
	return []string{
		"-live", "-interval=1s", "-samples=" + strconv.Itoa(int(duration.Seconds())), "-series=2000", "-senders=4",
		"-batch=500", "-histograms=0.1", "-churn=5", "-timeout=5s",
	}
}

// crash kills one of the nodes after the other, in an order and at moments that the printed seed decides, crashCycles
// times and for as long as the load runs.
func crash(t *testing.T, load *Load, nodes ...*Node) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("VARVE_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("VARVE_TEST_SEED=%d", seed)
	want := crashCycles()
	random := rand.New(rand.NewPCG(seed, 0))
	slowest, cycles, underLoad := time.Duration(0), 0, 0
	for ; cycles < want || load.Running(); cycles++ {
		time.Sleep(500*time.Millisecond + time.Duration(random.Int64N(int64(2*time.Second))))
		node := nodes[random.IntN(len(nodes))]
		node.Kill9()
		time.Sleep(time.Duration(random.Int64N(int64(500 * time.Millisecond))))
		node.Start()
		slowest = max(slowest, node.WaitReady())
		if load.Running() {
			underLoad++
		}
	}
	t.Logf("%d cycles, %d of them under load, slowest recovery %v", cycles, underLoad, slowest)
	if slowest > recoveryWithin {
		t.Errorf("a recovery took %v, want at most %v", slowest, recoveryWithin)
	}
	if underLoad < want {
		t.Errorf("%d cycles under load, want at least %d", underLoad, want)
	}
}
