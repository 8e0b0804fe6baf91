package join

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// uniform is a source of a large cluster of equal pods, two containers each, ten on a node, scraped every 15 s. It makes labels as they
// are asked for, and all series of a kind share their chunks, so that its own memory is none.
type uniform struct {
	nodes         int
	one, counter  []chunks.Meta
	request       []chunks.Meta
	cores, bytes  []chunks.Meta
	gauge, starts []chunks.Meta
}

func newUniform(b *testing.B, nodes int) *uniform {
	from, to := begin-2*hourLength, begin+3*hourLength
	make := func(value func(i int64) float64) (out []chunks.Meta) {
		for at := from; at < to; at += 120 * 15_000 {
			c := chunkenc.NewXORChunk()
			app, err := c.Appender()
			if err != nil {
				b.Fatal(err)
			}
			for i := range int64(120) {
				app.Append(0, at+i*15_000, value((at-from)/15_000+i))
			}
			out = append(out, chunks.Meta{Chunk: c, MinTime: at, MaxTime: at + 119*15_000})
		}
		return out
	}
	return &uniform{
		nodes:   nodes,
		one:     make(func(int64) float64 { return 1 }),
		request: make(func(int64) float64 { return 0.25 }),
		cores:   make(func(int64) float64 { return 16 }),
		bytes:   make(func(int64) float64 { return 64 << 30 }),
		counter: make(func(i int64) float64 { return 1234.567 + float64(i*9+i%7)*0.777 }),
		gauge:   make(func(i int64) float64 { return 1e8 + float64(i%17)*4096 }),
		starts:  make(func(int64) float64 { return 1700000000 }),
	}
}

type uniformSet struct {
	n, end int
	at     func(n int) series.Chunked
}

func (s *uniformSet) Next() bool         { s.n++; return s.n < s.end }
func (s *uniformSet) At() series.Chunked { return s.at(s.n) }
func (s *uniformSet) Err() error         { return nil }
func (s *uniformSet) Close() error       { return nil }

func (u *uniform) Select(_ context.Context, q series.Query) (series.Set, error) {
	metric := ""
	for _, m := range q.Matchers {
		if m.Name == labels.MetricName {
			metric = m.Value
		}
	}
	in := func(all []chunks.Meta) (out []chunks.Meta) {
		for _, c := range all {
			if c.MaxTime >= q.MinTime && c.MinTime <= q.MaxTime && !q.SkipChunks {
				out = append(out, c)
			}
		}
		return out
	}
	one, request, counter, gauge, starts := in(u.one), in(u.request), in(u.counter), in(u.gauge), in(u.starts)
	cores, bytes := in(u.cores), in(u.bytes)
	pods := u.nodes * 10
	b := labels.NewBuilder(labels.EmptyLabels())
	put := func(chks []chunks.Meta, pairs ...string) series.Chunked {
		b.Reset(labels.EmptyLabels())
		b.Set(labels.MetricName, metric).Set("cluster", "big").Set("job", "kube-state-metrics").Set("instance", "10.0.0.1:8080")
		for i := 0; i < len(pairs); i += 2 {
			b.Set(pairs[i], pairs[i+1])
		}
		return series.Chunked{Labels: b.Labels(), Chunks: chks}
	}
	pod := func(n int, chks []chunks.Meta, pairs ...string) series.Chunked {
		return put(chks, append(pairs, "namespace", "team-"+strconv.Itoa(n%300), "pod", fmt.Sprintf("web-%d-7d9f8b6c5d-%05x", n%5000, n), "uid", uid(n))...)
	}
	node := func(n int) string { return fmt.Sprintf("ip-10-%d-%d.eu.internal", n/250, n%250) }
	ofPods := func(chks []chunks.Meta, pairs ...string) (series.Set, error) {
		return &uniformSet{-1, pods, func(n int) series.Chunked { return pod(n, chks, pairs...) }}, nil
	}
	containers := func(per int, chks []chunks.Meta, pairs ...string) (series.Set, error) {
		return &uniformSet{-1, pods * 2 * per, func(n int) series.Chunked {
			all := append(slices.Clip(pairs), "container", "c"+strconv.Itoa(n/per%2), "resource", [2]string{"cpu", "memory"}[n%per])
			return pod(n/per/2, chks, all...)
		}}, nil
	}
	cgroups := func(chks []chunks.Meta) (series.Set, error) {
		return &uniformSet{-1, pods * 2, func(n int) series.Chunked {
			return pod(n/2, chks, "container", "c"+strconv.Itoa(n%2), "id", "/kubepods/burstable/pod"+uid(n/2)+"/"+strconv.Itoa(n),
				"image", "registry.example.com/team/web@sha256:0123456789abcdef0123456789abcdef", "uid", "")
		}}, nil
	}
	switch metric {
	case "kube_pod_info":
		return &uniformSet{-1, pods, func(n int) series.Chunked {
			return pod(n, one, "node", node(n/10), "host_ip", "10.1.2.3", "priority_class", "default")
		}}, nil
	case "kube_pod_created", "kube_pod_start_time", "kube_pod_status_scheduled_time":
		return ofPods(starts)
	case "kube_pod_status_qos_class":
		return ofPods(one, "qos_class", "Burstable")
	case "kube_pod_owner":
		return ofPods(one, "owner_kind", "ReplicaSet", "owner_name", "web-7d9f8b6c5d")
	case "kube_pod_container_info":
		return containers(1, one)
	case "kube_pod_container_state_started":
		return containers(1, starts)
	case "kube_pod_container_resource_requests", "kube_pod_container_resource_limits":
		return containers(2, request)
	case "kube_node_info":
		return &uniformSet{-1, u.nodes, func(n int) series.Chunked { return put(one, "node", node(n), "provider_id", "aws:///"+node(n)) }}, nil
	case "kube_node_status_capacity", "kube_node_status_allocatable":
		return &uniformSet{-1, u.nodes * 2, func(n int) series.Chunked {
			return put([2][]chunks.Meta{cores, bytes}[n%2], "node", node(n/2), "resource", [2]string{"cpu", "memory"}[n%2])
		}}, nil
	case "container_cpu_usage_seconds_total":
		return cgroups(counter)
	case "container_memory_working_set_bytes":
		return cgroups(gauge)
	case "container_start_time_seconds":
		return cgroups(starts)
	}
	return &uniformSet{-1, 0, nil}, nil
}

func uid(n int) string { return fmt.Sprintf("%08x-6f1e-4c6e-9f0a-1234567890ab", n) }

// BenchmarkHour is an hour of a cluster of VARVE_BENCH_NODES nodes, 100 by default, with ten pods and twenty containers each. The source's own
// work is about a third of it.
func BenchmarkHour(b *testing.B) {
	nodes, err := strconv.Atoi(os.Getenv("VARVE_BENCH_NODES"))
	if err != nil {
		nodes = 100
	}
	u := newUniform(b, nodes)
	b.ReportAllocs()
	for b.Loop() {
		h, err := Hour(b.Context(), u, Options{Tenant: tenant.Anonymous, Start: begin, Labels: []string{"team"}})
		if err != nil {
			b.Fatal(err)
		}
		if len(h.Workloads) != nodes*20 || h.Workloads[0].CPUKnown != hourLength {
			b.Fatalf("%d rows, the first %+v", len(h.Workloads), h.Workloads[0])
		}
	}
}
