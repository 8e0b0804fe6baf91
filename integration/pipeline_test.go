package integration

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/block"
)

// A real Prometheus writes by remote write 1.0 and another by 2.0; what they have an ack for is read back, bit by
// bit, in every stage of its life and through every fault that one partition must bear. (Merging comes only when a
// range of two hours has ended: see TestMergingKeepsEverySample.)
func TestASampleThatIsAckedIsAnsweredInEveryStageOfItsLife(t *testing.T) {
	const period = 15 * time.Second
	c := StartCluster(t, ClusterConfig{Flags: shortEpochs(period)})
	witnesses := []*witness{watch(t, c, "rw1", false), watch(t, c, "rw2", true)}
	all := func(stage string) { t.Helper(); compareAllUntilNow(t, stage, witnesses) }
	immediately := func(stage string) { t.Helper(); compareAll(t, stage, witnesses) }
	all("as it is acked")

	victim := c.Owner(0, 1)
	victim.Kill9()
	immediately("right after one of three owners was killed")
	all("while one of three owners is down")
	victim.Start()
	immediately("while the killed owner replays")
	victim.WaitReady()
	all("after the killed owner is back")

	c.S3.waitBlocks(t, "rw1", func(blocks []block.Meta) bool { return replicas(blocks) == zones })
	immediately("when blocks of every owner are in the bucket")
	time.Sleep(period) // so that the owners have let go of the first epochs
	all("when the owners have let go of the first epochs")

	c.S3.checkBlocks(t, "rw1")
	c.S3.checkBlocks(t, "rw2")

	for _, n := range c.Nodes() {
		n.Kill9()
	}
	StartAll(c.Nodes()...)
	immediately("after every process was killed at once")
	all("after all of them write again")
}

// The same life in one process.
func TestASampleLivesInOneProcessToo(t *testing.T) {
	t.Parallel()
	const period = 10 * time.Second
	s := S3(t)
	n := newNode(t, nodeConfig{name: "all", target: "all", bucket: s, extra: shortEpochs(period)})
	n.Start()
	n.WaitReady()
	witnesses := []*witness{watchNode(t, n, "rw1", false), watchNode(t, n, "rw2", true)}
	compareAllUntilNow(t, "as it is acked", witnesses)
	n.Kill9()
	n.Start()
	n.WaitReady()
	compareAll(t, "right after the process was killed and replayed", witnesses)
	s.waitBlocks(t, "rw2", func(blocks []block.Meta) bool { return len(blocks) > 0 })
	compareAll(t, "when the first blocks are in the bucket", witnesses)
	time.Sleep(period)
	compareAllUntilNow(t, "when the first epochs have been let go of", witnesses)
	s.checkBlocks(t, "rw1")
	s.checkBlocks(t, "rw2")
	n.Restart()
	compareAllUntilNow(t, "after a restart", witnesses)
}

// witness is a Prometheus that writes to a cluster and knows what the cluster must answer.
type witness struct {
	prometheus *PrometheusServer
	varve      API
	from, to   time.Time // what was compared last
}

// watch starts a Prometheus that scrapes itself and two nodes, and writes as a tenant that has its name.
func watch(t *testing.T, c *Cluster, name string, rw2 bool) *witness {
	t.Helper()
	return newWitness(t, c.Querier.AsTenant(name), PrometheusConfig{
		Name: name, Tenant: name, RemoteWrite: c.Distributor.PushURL(), RemoteWrite2: rw2,
		Targets: []string{c.Distributor.Admin, c.Querier.Admin},
	})
}

// watchNode is watch for a process that does everything.
func watchNode(t *testing.T, n *Node, name string, rw2 bool) *witness {
	t.Helper()
	return newWitness(t, n.AsTenant(name), PrometheusConfig{
		Name: name, Tenant: name, RemoteWrite: n.PushURL(), RemoteWrite2: rw2, Targets: []string{n.Admin},
	})
}

func newWitness(t *testing.T, varve API, config PrometheusConfig) *witness {
	t.Helper()
	p := Prometheus(t, config)
	now := time.Now()
	return &witness{prometheus: p, varve: varve, from: now, to: now}
}

func compareAll(t *testing.T, stage string, witnesses []*witness) {
	t.Helper()
	for _, w := range witnesses {
		w.compare(t, stage)
	}
}

func compareAllUntilNow(t *testing.T, stage string, witnesses []*witness) {
	t.Helper()
	for _, w := range witnesses {
		w.compareUntilNow(t, stage)
	}
}

// compareUntilNow waits for the acks of everything until now, and compares.
func (w *witness) compareUntilNow(t *testing.T, stage string) {
	t.Helper()
	w.to = time.Now()
	if least := w.from.Add(5 * time.Second); w.to.Before(least) {
		w.to = least
	}
	w.prometheus.WaitWritten(t, w.to)
	w.compare(t, stage)
}

// compare reads, without waiting for anything, what was acked when it was compared last.
func (w *witness) compare(t *testing.T, stage string) {
	t.Helper()
	want, err := w.prometheus.Read(w.from, w.to, Everything())
	if err != nil {
		t.Fatalf("%s: %v", stage, err)
	}
	got, err := w.varve.Read(w.from, w.to, Everything())
	if err != nil {
		t.Fatalf("%s: %s: %v", stage, w.prometheus.Name, err)
	}
	if want.Count() == 0 {
		t.Fatalf("%s: %s has nothing to compare", stage, w.prometheus.Name)
	}
	if diff := Diff(want, got); diff != "" {
		t.Fatalf("%s: %s, of %d samples:\n%s", stage, w.prometheus.Name, want.Count(), diff)
	}
	w.compareQuery(t, stage)
	t.Logf("%s: %s: %d samples of %d series are equal", stage, w.prometheus.Name, want.Count(), len(want))
}

// compareQuery compares what PromQL makes of the same samples.
func (w *witness) compareQuery(t *testing.T, stage string) {
	t.Helper()
	seconds := w.to.Sub(w.from).Truncate(time.Second)
	for _, query := range []string{
		`{__name__=~"go_.+|prometheus_http.+|varve_.+"}[` + seconds.String() + `]`,
		`sum by (job) (rate(process_cpu_seconds_total[10s]))`,
		`histogram_quantile(0.9, sum(prometheus_http_request_duration_seconds))`,
	} {
		want, err := w.prometheus.Query(query, w.to)
		if err != nil {
			t.Fatalf("%s: %v", stage, err)
		}
		got, err := w.varve.Query(query, w.to)
		if err != nil {
			t.Fatalf("%s: %s: %v", stage, w.prometheus.Name, err)
		}
		if diff := Diff(want.Samples, got.Samples); diff != "" {
			t.Fatalf("%s: %s: %s:\n%s", stage, w.prometheus.Name, query, diff)
		}
		if len(got.Warnings) > 0 {
			t.Errorf("%s: %s: %s: warnings %q", stage, w.prometheus.Name, query, got.Warnings)
		}
	}
}

// An owner that lost its disk is no witness for what it lost: with another owner of the partition down as well, one
// witness is left, which is no majority. The answer is an error, or is marked for the tenant that takes partial
// answers; it never is a gap that nobody notices.
func TestAWipedOwnerIsNoWitnessForWhatItLost(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, ClusterConfig{Limits: "overrides:\n  lenient:\n    partial_response: true\n"})
	strict, lenient := watch(t, c, "strict", false), watch(t, c, "lenient", true)
	strict.compareUntilNow(t, "before")
	lenient.compareUntilNow(t, "before")
	strict.prometheus.Stop()
	lenient.prometheus.Stop()
	want, err := c.Querier.AsTenant("strict").Read(strict.from, strict.to, Everything())
	if err != nil {
		t.Fatal(err)
	}
	whole := func(stage string) {
		t.Helper()
		got, err := strict.varve.Read(strict.from, strict.to, Everything())
		if err != nil {
			t.Fatalf("%s: %v", stage, err)
		}
		if diff := Diff(want, got); diff != "" {
			t.Fatalf("%s: %s", stage, diff)
		}
	}

	wiped, killed := c.Owner(0, 0), c.Owner(0, 1)
	wiped.Kill9()
	wiped.Wipe()
	wiped.Start()
	wiped.WaitReady()
	whole("with one owner wiped, two witnesses are a majority")

	killed.Kill9()
	_, err = strict.varve.Read(strict.from, strict.to, Everything())
	wantUnavailable(t, "remote read", err)
	query := `count({__name__=~".+"})`
	_, err = strict.varve.Query(query, strict.to)
	wantUnavailable(t, "query", err)
	answer, err := lenient.varve.Query(query, lenient.to)
	if err == nil && len(answer.Warnings) == 0 {
		t.Error("a partial answer is not marked")
	}
	if err != nil {
		t.Errorf("the tenant that takes partial answers got none: %v", err)
	}

	killed.Start()
	killed.WaitReady()
	waitUntil(t, "the querier finds the second owner again", time.Minute, func() error {
		if _, err := strict.varve.Read(strict.from, strict.to, Everything()); isUnavailable(err) {
			return err
		}
		return nil
	})
	whole("after the second owner is back")
}

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if !isUnavailable(err) {
		t.Errorf("%s with one witness of three: %v, want status 503", what, err)
	}
}

func isUnavailable(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code == http.StatusServiceUnavailable
}

// Two owners that share no partition are lost at once: no partition has lost its majority, so nobody notices.
func TestTwoLostOwnersThatShareNoPartitionAreNotNoticed(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, ClusterConfig{Partitions: 2})
	w := watch(t, c, "two-partitions", true)
	w.compareUntilNow(t, "before")
	c.Owner(0, 0).Kill9()
	c.Owner(1, 1).Kill9()
	w.compare(t, "right after both were killed")
	w.compareUntilNow(t, "while both are down")
	if m, err := Metrics(w.prometheus.URL); err != nil || m["prometheus_remote_storage_samples_retried_total"] > 0 {
		t.Errorf("%v samples had to be sent again (%v)", m["prometheus_remote_storage_samples_retried_total"], err)
	}
}
