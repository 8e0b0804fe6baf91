package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/varve-io/varve/integration/loopback"
)

// peer is another server for the same load.
type peer struct {
	name  string
	start func(ctx context.Context, b *bench, path string) (*target, error)
}

func peers() []peer {
	return []peer{{"VictoriaMetrics", startVictoriaMetrics}, {"Prometheus", startPrometheus}, {"Cortex", startCortex}}
}

func peerNames() []string {
	var names []string
	for _, p := range peers() {
		names = append(names, p.name)
	}
	return names
}

// peerDir makes a target's directory and gives it addresses.
func (b *bench) peerDir(name string, addresses int) (*target, []string, error) {
	dir, err := b.fresh(name)
	if err != nil {
		return nil, nil, err
	}
	free, err := loopback.Free(addresses)
	return &target{name: name, dir: dir}, free, err
}

// run starts the one process of a peer.
func (t *target) run(ctx context.Context, path, ready string, args ...string) (*target, error) {
	s, err := start(ctx, program{name: t.name, path: path, args: args, dir: t.dir, ready: ready})
	if err != nil {
		t.close()
		return nil, err
	}
	t.processes = []*process{s}
	return t, nil
}

func startPrometheus(ctx context.Context, b *bench, path string) (*target, error) {
	t, free, err := b.peerDir("Prometheus", 1)
	if err != nil {
		return nil, err
	}
	config, data := filepath.Join(t.dir, "prometheus.yml"), filepath.Join(t.dir, "data")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		return nil, err
	}
	url := "http://" + free[0]
	t.write, t.query, t.log = url+"/api/v1/write", url, filepath.Join(data, "wal")
	t.blocks = func(ctx context.Context) (int64, error) {
		body, err := post(ctx, url+"/api/v1/admin/tsdb/snapshot")
		if err != nil {
			return 0, err
		}
		var answer struct{ Data struct{ Name string } }
		if err := json.Unmarshal(body, &answer); err != nil {
			return 0, fmt.Errorf("snapshot: %w", err)
		}
		return size(filepath.Join(data, "snapshots", answer.Data.Name))
	}
	return t.run(ctx, path, url+"/-/ready", "--config.file="+config, "--storage.tsdb.path="+data,
		"--web.listen-address="+free[0], "--web.enable-remote-write-receiver", "--web.enable-admin-api")
}

// startVictoriaMetrics starts a single node. It has no log and no remote read.
func startVictoriaMetrics(ctx context.Context, b *bench, path string) (*target, error) {
	t, free, err := b.peerDir("VictoriaMetrics", 1)
	if err != nil {
		return nil, err
	}
	url, data := "http://"+free[0], filepath.Join(t.dir, "data")
	t.write = url + "/api/v1/write"
	t.blocks = func(ctx context.Context) (int64, error) {
		return mergedSize(ctx, url, data)
	}
	return t.run(ctx, path, url+"/health", "-storageDataPath="+data, "-httpListenAddr="+free[0], "-retentionPeriod=1y")
}

// mergedSize lets a VictoriaMetrics merge what it has, and returns the size of samples and index.
func mergedSize(ctx context.Context, url, data string) (int64, error) {
	for _, action := range []string{"force_flush", "force_merge"} {
		if _, err := get(ctx, url+"/internal/"+action); err != nil {
			return 0, err
		}
	}
	for { // the merge runs in the background
		time.Sleep(500 * time.Millisecond)
		forced, err := metric(ctx, url, "vm_active_force_merges")
		if err != nil {
			return 0, err
		}
		if merging, err := metric(ctx, url, "vm_active_merges"); err != nil {
			return 0, err
		} else if forced+merging == 0 {
			break
		}
	}
	samples, err := size(filepath.Join(data, "data"))
	if err != nil {
		return 0, err
	}
	index, err := size(filepath.Join(data, "indexdb"))
	return samples + index, err
}

// startCortex starts one process that does everything, without replication, on a local bucket. Limits that would
// refuse the load are lifted.
func startCortex(ctx context.Context, b *bench, path string) (*target, error) {
	t, free, err := b.peerDir("Cortex", 2)
	if err != nil {
		return nil, err
	}
	in := func(name string) string { return filepath.Join(t.dir, name) }
	if err := os.MkdirAll(in("alerts"), 0o755); err != nil { // it wants to find this one
		return nil, err
	}
	url := "http://" + free[0]
	t.tenant = "load"
	t.write, t.query = url+"/api/v1/push", url+"/prometheus"
	t.log = filepath.Join(in("tsdb"), t.tenant, "wal")
	t.blocks = func(ctx context.Context) (int64, error) {
		if _, err := post(ctx, url+"/ingester/flush?wait=true"); err != nil {
			return 0, err
		}
		return size(filepath.Join(in("bucket"), t.tenant))
	}
	args := []string{
		"-target=all", "-server.http-listen-address=127.0.0.1", "-server.http-listen-port=" + port(free[0]),
		"-server.grpc-listen-address=127.0.0.1", "-server.grpc-listen-port=" + port(free[1]),
		"-blocks-storage.backend=filesystem", "-blocks-storage.filesystem.dir=" + in("bucket"),
		"-blocks-storage.tsdb.dir=" + in("tsdb"), "-blocks-storage.bucket-store.sync-dir=" + in("sync"),
		"-compactor.data-dir=" + in("compactor"),
		"-ruler-storage.backend=local", "-ruler-storage.local.directory=" + in("rules"), "-ruler.rule-path=" + in("loaded-rules"),
		"-alertmanager-storage.backend=local", "-alertmanager-storage.local.path=" + in("alerts"),
		"-alertmanager.web.external-url=" + url + "/alertmanager",
		"-distributor.replication-factor=1", "-ingester.min-ready-duration=0s",
		"-ingester.lifecycler.addr=127.0.0.1", "-ingester.lifecycler.port=" + port(free[1]),
		"-distributor.ingestion-rate-limit=100000000", "-distributor.ingestion-burst-size=100000000",
		"-ingester.max-series-per-user=0", "-ingester.max-series-per-metric=0", "-server.grpc-max-recv-msg-size-bytes=104857600",
	}
	for _, ring := range []string{"ring", "distributor.ring", "compactor.ring", "ruler.ring", "alertmanager.sharding-ring", "store-gateway.sharding-ring"} {
		args = append(args, "-"+ring+".store=inmemory")
	}
	return t.run(ctx, path, url+"/ready", args...)
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address) // loopback.Free made it
	return p
}
