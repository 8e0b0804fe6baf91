package ring

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dskit "github.com/grafana/dskit/ring"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/varve-io/varve/integration/loopback"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// dskit leaves packets behind that come in while it stops.
		goleak.IgnoreAnyFunction("github.com/grafana/dskit/kv/memberlist.(*TCPTransport).handleConnection"),
		// dskit never closes its etcd client.
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/client/v3.(*watchGrpcStream).run"),
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/client/v3.(*watchGrpcStream).serveWatchClient"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/transport.(*http2Client).keepalive"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/transport.(*http2Client).reader"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/transport.(*controlBuffer).get"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc.(*addrConn).resetTransportAndUnlock"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc.newClientStreamWithParams.func4"))
}

// node is one process' ring.
type node struct {
	*Ring
	stop func()
	log  *bytes.Buffer
}

func address(t testing.TB) string {
	t.Helper()
	free, err := loopback.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	return free[0]
}

// start runs a ring, changed before it starts, until the test ends or stop is called.
func start(t testing.TB, cfg Config, deps Dependencies, change ...func(*Ring)) *node {
	t.Helper()
	if err := cfg.Complete(deps.Owner); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	n := &node{log: &bytes.Buffer{}}
	deps.Logger = slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	deps.Reg = prometheus.NewRegistry()
	if deps.Address == "" {
		deps.Address = cfg.Instance + ":9095"
	}
	n.Ring = New(cfg, deps)
	n.timing.heartbeat, n.timing.pending, n.timing.reconcile = time.Second, time.Second, 100*time.Millisecond
	for _, c := range change {
		c(n.Ring)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v", cfg.Instance, err)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s doesn't stop", cfg.Instance)
		}
		if t.Failed() && testing.Verbose() {
			t.Logf("%s:\n%s", cfg.Instance, n.log)
		}
	})
	t.Cleanup(n.stop)
	return n
}

func gossiping(instance, zone string, gossip ...string) Config {
	cfg := Default()
	cfg.Cluster, cfg.Instance, cfg.Zone = "test", instance, zone
	cfg.Address, cfg.Join = gossip[0], gossip
	return cfg
}

// until waits until the view is as it should be.
func (n *node) until(t testing.TB, what string, ok func(*View) bool) *View {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		v := n.View()
		if ok(v) {
			return v
		}
		if err := n.Await(ctx, v); err != nil {
			t.Fatalf("%s: %v; the view is %s", what, err, show(v))
		}
	}
}

// The port behind the gate may be gone before memberlist listens there.
func TestAPortTakenBeforeGossipListensIsPassedOver(t *testing.T) {
	t.Parallel()
	a := address(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	asked := 0
	n := start(t, gossiping("ingester-0", "a", a), Dependencies{Owner: true}, func(r *Ring) {
		r.freePort = func() (int, error) {
			if asked++; asked < maxGossipPorts {
				return taken.Addr().(*net.TCPAddr).Port, nil
			}
			return freePort()
		}
	})
	n.until(t, "alone", is("[0:active[ingester-0@a=]]"))
	w := start(t, gossiping("querier", "", address(t), a), Dependencies{})
	w.until(t, "joined", is("[0:active[ingester-0@a=ingester-0:9095]]"))
	if found, err := n.deps.Reg.(*prometheus.Registry).Gather(); err != nil || !slices.ContainsFunc(found, func(f *dto.MetricFamily) bool {
		return f.GetName() == "varve_ring_memberlist_client_cluster_members_count" && f.Metric[0].GetGauge().GetValue() == 2
	}) {
		t.Errorf("the metrics of gossip aren't those of the store that runs: %v, %v", found, err)
	}
}

// show is a view in one line: partition:state[owner@zone=address …], and so on.
func show(v *View) string {
	var out []string
	for _, p := range v.Partitions {
		var owners []string
		for _, o := range p.Owners {
			owners = append(owners, fmt.Sprintf("%s@%s=%s", o.Instance, o.Zone, o.Address))
		}
		out = append(out, fmt.Sprintf("%d:%s%v", p.ID, p.State, owners))
	}
	return fmt.Sprint(out)
}

func is(want string) func(*View) bool { return func(v *View) bool { return show(v) == want } }

func TestThreeNodes(t *testing.T) {
	t.Parallel()
	a, b, c := address(t), address(t), address(t)
	n0 := start(t, gossiping("ingester-0", "a", a, b), Dependencies{Owner: true})
	n1 := start(t, gossiping("ingester-1", "b", b, a), Dependencies{Owner: true})
	watcher := start(t, gossiping("querier", "", c, a, b), Dependencies{})

	both := "[0:active[ingester-0@a=ingester-0:9095] 1:active[ingester-1@b=ingester-1:9095]]"
	v := watcher.until(t, "converge", is(both))
	n0.until(t, "know itself", is("[0:active[ingester-0@a=] 1:active[ingester-1@b=ingester-1:9095]]"))
	n1.until(t, "know itself", is("[0:active[ingester-0@a=ingester-0:9095] 1:active[ingester-1@b=]]"))
	for _, n := range []*node{n0, n1, watcher} {
		if err := n.Ready(); err != nil {
			t.Error(err)
		}
	}
	for hash := range uint32(1000) {
		hash *= 1 << 22
		have, _ := n0.View().PartitionOf(hash)
		want, ok := v.PartitionOf(hash)
		if !ok || have != want {
			t.Fatalf("hash %d belongs to %d or %d", hash, have, want)
		}
	}

	for page, serve := range map[string]http.HandlerFunc{"ring": n0.ServeRing, "members": n0.ServeMembers} {
		w := httptest.NewRecorder()
		serve(w, httptest.NewRequest(http.MethodGet, "/?deleteMessages=true&viewKey=x", nil))
		for _, want := range []string{"ingester-0", "ingester-1", "</html>"} {
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
				t.Errorf("page %s lacks %s: %d, %s", page, want, w.Code, w.Body)
			}
		}
	}

	// Heartbeats don't make views.
	time.Sleep(n0.timing.heartbeat + time.Second)
	if have := watcher.View().Version; have != v.Version {
		t.Errorf("version went from %d to %d without a change", v.Version, have)
	}

	// An owner that stops is still one.
	n1.stop()
	if err := n0.SetInactive(t.Context()); err != nil {
		t.Fatal(err)
	}
	watcher.until(t, "inactive", is("[0:inactive[ingester-0@a=ingester-0:9095] 1:active[ingester-1@b=ingester-1:9095]]"))
	if p, ok := watcher.View().PartitionOf(0); !ok || p != 1 {
		t.Errorf("an inactive partition takes writes: %d", p)
	}
	if err := watcher.SetState(t.Context(), 0, Active); err != nil {
		t.Fatal(err)
	}
	n0.until(t, "active again", func(v *View) bool { p, _ := v.Partition(0); return p.State == Active })

	// One that leaves is not, and takes its partition with it.
	if err := n0.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	watcher.until(t, "leave", is("[1:active[ingester-1@b=ingester-1:9095]]"))
	if err := n0.Ready(); err != nil {
		t.Errorf("an owner that left: %v", err)
	}
	if err := watcher.Forget(t.Context(), "ingester-1"); err != nil {
		t.Fatal(err)
	}
	watcher.until(t, "forget", is("[]"))
}

// With three owners a partition is active once two of them are there.
func TestReplicas(t *testing.T) {
	t.Parallel()
	a, b := address(t), address(t)
	of := func(instance, zone string, gossip ...string) Config {
		cfg := gossiping(instance, zone, gossip...)
		cfg.ReplicationFactor = 3
		return cfg
	}
	n0 := start(t, of("zone-a-0", "a", a, b), Dependencies{Owner: true})
	n0.until(t, "one owner", is("[0:pending[zone-a-0@a=]]"))
	time.Sleep(n0.timing.pending + 2*time.Second)
	if _, ok := n0.View().PartitionOf(1); ok {
		t.Error("a partition takes writes with one owner of three")
	}
	n1 := start(t, of("zone-b-0", "b", b, a), Dependencies{Owner: true})
	n1.until(t, "two owners", is("[0:active[zone-a-0@a=zone-a-0:9095 zone-b-0@b=]]"))

	// A restart at another address is a new view, and no new owner.
	n1.stop()
	start(t, of("zone-b-0", "b", b, a), Dependencies{Owner: true, Address: "elsewhere:1"})
	n0.until(t, "move", is("[0:active[zone-a-0@a= zone-b-0@b=elsewhere:1]]"))
}

// Processes of another cluster are not joined, even where one is told to.
func TestTwoClusters(t *testing.T) {
	t.Parallel()
	a, b := address(t), address(t)
	ours := start(t, gossiping("ingester-0", "", a, b), Dependencies{Owner: true})
	other := gossiping("ingester-1", "", b, a)
	other.Cluster = "other"
	theirs := start(t, other, Dependencies{Owner: true})
	ours.until(t, "alone", is("[0:active[ingester-0@=]]"))
	theirs.until(t, "alone", is("[1:active[ingester-1@=]]"))
	for _, n := range []*node{ours, theirs} {
		if v := n.View(); len(v.Partitions) != 1 {
			t.Errorf("clusters have merged: %s", show(v))
		}
	}
}

// Only members know each other: others are refused at the gate, and so is who comes without a certificate.
func TestGossipTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	a, b, c := address(t), address(t), address(t)
	n0 := start(t, gossiping("ingester-0", "", a, b), Dependencies{Owner: true, TLS: ours.member(t, MemberName)})
	start(t, gossiping("ingester-1", "", b, a), Dependencies{Owner: true, TLS: ours.member(t, MemberName)})
	n0.until(t, "join", is("[0:active[ingester-0@=] 1:active[ingester-1@=ingester-1:9095]]"))
	foreign := theirs.member(t, MemberName)
	mixed := foreign
	mixed.CA = ours.file // trusts us; we don't trust it
	for _, stranger := range []TLS{{}, foreign, mixed} {
		n := start(t, gossiping("ingester-2", "", c, a, b), Dependencies{Owner: true, TLS: stranger})
		n.until(t, "alone", is("[2:active[ingester-2@=]]"))
		n.stop()
	}
	if v := n0.View(); len(v.Partitions) != 2 {
		t.Errorf("a stranger has come in: %s", show(v))
	}
	web := ours.member(t, "web")
	if _, err := web.Client(); err == nil {
		t.Error("a certificate without the members' name is taken")
	}
}

// Whatever comes in at the gossip port, the ring goes on.
func TestGarbageGossip(t *testing.T) {
	t.Parallel()
	a := address(t)
	n := start(t, gossiping("ingester-0", "", a), Dependencies{Owner: true})
	n.until(t, "active", is("[0:active[ingester-0@=]]"))
	for _, garbage := range [][]byte{{}, {0}, {1}, {2}, {1, 255}, bytes.Repeat([]byte{0xff}, 1<<20), append([]byte{1, 0}, make([]byte, 1000)...), append([]byte{2}, bytes.Repeat([]byte{7}, 5000)...)} {
		c, err := net.Dial("tcp", a)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(garbage)
		_ = c.Close()
	}
	second := start(t, gossiping("ingester-1", "", address(t), a), Dependencies{Owner: true})
	second.until(t, "join", func(v *View) bool { return len(v.Partitions) == 2 })
}

// etcd carries the ring where a site has one.
func TestEtcd(t *testing.T) {
	t.Parallel()
	endpoint := startEtcd(t)
	of := func(instance string) Config {
		cfg := Default()
		cfg.Cluster, cfg.Instance, cfg.Store, cfg.StoreEndpoints = "test", instance, storeEtcd, []string{endpoint}
		return cfg
	}
	n0 := start(t, of("ingester-0"), Dependencies{Owner: true})
	n1 := start(t, of("ingester-1"), Dependencies{Owner: true})
	watcher := start(t, of("querier"), Dependencies{})
	watcher.until(t, "converge", is("[0:active[ingester-0@=ingester-0:9095] 1:active[ingester-1@=ingester-1:9095]]"))
	if err := n1.SetInactive(t.Context()); err != nil {
		t.Fatal(err)
	}
	n0.until(t, "inactive", is("[0:active[ingester-0@=] 1:inactive[ingester-1@=ingester-1:9095]]"))
	if err := n1.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	n0.until(t, "leave", is("[0:active[ingester-0@=]]"))
}

// startEtcd starts the real one, which `make parts` builds.
func startEtcd(t *testing.T) string {
	t.Helper()
	parts := os.Getenv("VARVE_PARTS")
	if parts == "" {
		parts = filepath.Join("..", "..", ".parts")
	}
	program := filepath.Join(parts, "bin", "etcd")
	if _, err := os.Stat(program); err != nil || testing.Short() {
		t.Skip("needs etcd: make parts")
	}
	client, peer := address(t), "http://"+address(t)
	cmd := exec.Command(program, "--name=etcd", "--data-dir="+t.TempDir(), "--log-level=error",
		"--listen-client-urls=http://"+client, "--advertise-client-urls=http://"+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=etcd="+peer)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return client
}

func TestConfig(t *testing.T) {
	if cfg := Default(); cfg.Validate() != nil || cfg.Clustered() {
		t.Errorf("default: %v", cfg.Validate())
	}
	for _, c := range []struct {
		field string
		set   func(*Config)
	}{
		{"cluster", func(c *Config) { c.Cluster, c.Join = "", []string{"a:1"} }},
		{"cluster", func(c *Config) { c.Cluster, c.ReplicationFactor = "", 3 }},
		{"replication_factor", func(c *Config) { c.ReplicationFactor = 2 }},
		{"store", func(c *Config) { c.Store = "zookeeper" }},
		{"store_endpoints", func(c *Config) { c.Store = storeEtcd }},
		{"join", func(c *Config) { c.Join = []string{"a"} }},
		{"partition", func(c *Config) { c.Partition = -2 }},
	} {
		cfg := Default()
		cfg.Cluster = "test"
		c.set(&cfg)
		if err := cfg.Validate(); err == nil || !bytes.Contains([]byte(err.Error()), []byte(c.field)) {
			t.Errorf("%s: %v", c.field, err)
		}
	}
	for name, want := range map[string]int{"ingester-7": 7, "zone-b-012": 12, "5": 5} {
		cfg := Default()
		cfg.Instance = name
		if err := cfg.Complete(true); err != nil || cfg.Partition != want {
			t.Errorf("%s: partition %d, %v", name, cfg.Partition, err)
		}
	}
	for _, name := range []string{"ingester", "x-99999999999"} {
		cfg := Default()
		cfg.Instance = name
		if err := cfg.Complete(true); err == nil {
			t.Errorf("%s: partition %d", name, cfg.Partition)
		}
	}
}

// Owners that are all started again, and reach nobody who knows the ring, announce their partition as a new one.
func TestAnActivePartitionIsNotPendingAgain(t *testing.T) {
	r := New(Config{ReplicationFactor: 3}, Dependencies{Logger: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry()})
	for i, step := range []struct {
		says dskit.PartitionState
		want State
	}{
		{dskit.PartitionPending, Pending}, {dskit.PartitionActive, Active}, {dskit.PartitionPending, Active},
		{dskit.PartitionInactive, Inactive}, {dskit.PartitionPending, Pending},
	} {
		d := dskit.NewPartitionRingDesc()
		d.AddPartition(0, step.says, time.Unix(int64(i), 0))
		r.take(nil, d)
		if p, _ := r.View().Partition(0); p.State != step.want {
			t.Errorf("step %d: the store says %s, the view %s, want %s", i, step.says, p.State, step.want)
		}
	}
}

func TestView(t *testing.T) {
	v := NewView(3, 3, []Partition{
		{ID: 2, State: Active, Tokens: []uint32{100, 300}, Owners: []Owner{{Instance: "b"}, {Instance: "a"}}},
		{ID: 1, State: Active, Tokens: []uint32{200}},
		{ID: 3, State: Pending, Tokens: []uint32{150}},
	})
	for hash, want := range map[uint32]int32{0: 2, 99: 2, 100: 1, 150: 1, 199: 1, 200: 2, 299: 2, 300: 2, 1 << 31: 2} {
		if have, ok := v.PartitionOf(hash); !ok || have != want {
			t.Errorf("hash %d: partition %d, want %d", hash, have, want)
		}
	}
	if _, ok := v.Only(); ok {
		t.Error("two partitions are active, and one is the only one")
	}
	if p, ok := v.Partition(2); !ok || !slices.IsSortedFunc(p.Owners, func(a, b Owner) int { return bytes.Compare([]byte(a.Instance), []byte(b.Instance)) }) {
		t.Errorf("partition 2: %+v", p)
	}
	if _, ok := v.Partition(9); ok {
		t.Error("found a partition that isn't there")
	}
	if p, ok := NewView(1, 1, []Partition{{ID: 4, State: Active, Tokens: []uint32{7, 9}}, {ID: 5, State: Inactive, Tokens: []uint32{8}}}).Only(); !ok || p != 4 {
		t.Errorf("the only active partition is %d, %v; want 4", p, ok)
	}
	if _, ok := NewView(1, 1, []Partition{{ID: 4, State: Pending, Tokens: []uint32{7}}}).Only(); ok {
		t.Error("a pending partition takes series")
	}
	if Quorum(1) != 1 || Quorum(3) != 2 || Witnesses(1) != 1 || Witnesses(3) != 2 {
		t.Error("quorums")
	}
}
