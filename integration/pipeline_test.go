package integration

import (
	"errors"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/block"
)

// A real Prometheus writes by remote write 1.0 and another by 2.0; what they have an ack for is read back, bit by
// bit, in every stage of its life and through every fault that one partition must bear.
func TestASampleThatIsAckedIsAnsweredInEveryStageOfItsLife(t *testing.T) {
	const period = 15 * time.Second
	c := StartCluster(t, ClusterConfig{Flags: shortEpochs(period)})
	witnesses := []*witness{watch(t, c, "rw1", false), watch(t, c, "rw2", true)}
	all := func(stage string) {
		t.Helper()
		for _, w := range witnesses {
			w.compareUntilNow(t, stage)
		}
	}
	immediately := func(stage string) {
		t.Helper()
		for _, w := range witnesses {
			w.compare(t, stage)
		}
	}
	all("as it is acked")

	victim := c.Owner(0, 1)
	victim.Kill9()
	immediately("right after one of three owners was killed")
	all("while one of three owners is down")
	victim.Start()
	immediately("while the killed owner replays")
	victim.WaitReady()
	all("after the killed owner is back")

	c.waitBlocks(t, "rw1", func(blocks []block.Meta) bool { return replicas(blocks) == zones })
	immediately("when blocks of every owner are in the bucket")
	time.Sleep(period) // so that the owners have let go of the first epochs
	all("when the owners have let go of the first epochs")

	c.waitBlocks(t, "rw2", func(blocks []block.Meta) bool { return merged(blocks) > 0 })
	all("when replicas' blocks were merged")
	c.checkBlocks(t, "rw1")
	c.checkBlocks(t, "rw2")

	for _, n := range c.Nodes() {
		n.Kill9()
	}
	for _, n := range c.Nodes() {
		n.Start()
	}
	for _, n := range c.Nodes() {
		n.WaitReady()
	}
	immediately("after every process was killed at once")
	all("after all of them write again")
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
	p := Prometheus(t, PrometheusConfig{
		Name: name, Tenant: name, RemoteWrite: c.Distributor.PushURL(), RemoteWrite2: rw2,
		Targets: []string{c.Distributor.Admin, c.Querier.Admin},
	})
	now := time.Now()
	return &witness{prometheus: p, varve: c.Querier.AsTenant(name), from: now, to: now}
}

// compareUntilNow waits for the acks of everything until now, and compares.
func (w *witness) compareUntilNow(t *testing.T, stage string) {
	t.Helper()
	w.to = time.Now()
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
	query := `count(count_over_time({__name__=~".+"}[30s]))`
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
	whole("after the second owner is back")
}

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	var status *StatusError
	if !errors.As(err, &status) || status.Code != http.StatusServiceUnavailable {
		t.Errorf("%s with one witness of three: %v, want status 503", what, err)
	}
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

// blocks reads the meta.json of a tenant's blocks from the directory behind the object store.
func (c *Cluster) blocks(t *testing.T, tenant string) []block.Meta {
	t.Helper()
	var metas []block.Meta
	for _, dir := range c.blockDirs(t, tenant) {
		meta, err := block.ReadMeta(dir)
		if err == nil { // else it is being uploaded or deleted
			metas = append(metas, meta)
		}
	}
	return metas
}

func (c *Cluster) blockDirs(t *testing.T, tenant string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.S3.Root, c.S3.Bucket, tenant, "*", "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Dir(files[i])
	}
	return files
}

// waitBlocks waits until a tenant's blocks in the bucket are as wanted.
func (c *Cluster) waitBlocks(t *testing.T, tenant string, wanted func([]block.Meta) bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		blocks := c.blocks(t, tenant)
		if wanted(blocks) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has %d blocks of %d replicas, %d merged", tenant, len(blocks), replicas(blocks), merged(blocks))
		}
		time.Sleep(pollEvery)
	}
}

// replicas counts the ingesters that wrote any of the blocks.
func replicas(blocks []block.Meta) int {
	seen := map[string]bool{}
	for _, b := range blocks {
		if b.Varve != nil && b.Varve.Replica != "" {
			seen[b.Varve.Replica] = true
		}
	}
	return len(seen)
}

// merged counts the blocks that were made of those of several ingesters.
func merged(blocks []block.Meta) int {
	count := 0
	for _, b := range blocks {
		if b.Varve != nil && b.Varve.Replica == "" {
			count++
		}
	}
	return count
}

// checkBlocks has Prometheus' own tool read a tenant's blocks.
func (c *Cluster) checkBlocks(t *testing.T, tenant string) {
	t.Helper()
	promtool := part(t, "bin", "promtool")
	dir := filepath.Join(c.S3.Root, c.S3.Bucket, tenant)
	for _, args := range [][]string{{"tsdb", "list", dir}, {"tsdb", "analyze", dir}} {
		if output, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, output)
		}
	}
}
