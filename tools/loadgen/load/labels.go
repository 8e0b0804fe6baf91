package load

import (
	"fmt"
	"slices"
	"strings"
)

// metricName is the label that holds the metric's name.
const metricName = "__name__"

// service names a deployment; pods of the same four neighbours belong to one.
func service(h uint64) string {
	first := [...]string{"cart", "checkout", "payment", "catalog", "search", "user", "session", "order", "stock", "mail", "price", "report"}
	second := [...]string{"api", "worker", "gateway", "cache", "sync", "indexer", "frontend", "exporter"}
	return first[h%uint64(len(first))] + "-" + second[h>>8%uint64(len(second))]
}

// suffix writes n characters of the alphabet that Kubernetes takes for generated names.
func suffix(h uint64, n int) string {
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[h%uint64(len(alphabet))]
		h /= uint64(len(alphabet))
	}
	return string(b)
}

// podNames is what the labels of a pod's series are made of.
type podNames struct {
	namespace, container, pod, uid, id, ip, image string
}

func (g *Generator) podNames(t *track, gen int64) podNames {
	index := uint64(t.cell*g.pods + t.pod)
	dep := mix(g.cfg.Seed, index/4+1<<41)
	own := mix(mix(g.cfg.Seed, index+1<<42), uint64(gen))
	svc := service(dep)
	return podNames{
		namespace: "team-" + string(rune('a'+dep>>20%16)),
		container: svc,
		pod:       fmt.Sprintf("%s-%s-%s%d", svc, suffix(dep>>3, 9), suffix(own, 5), index),
		uid:       fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", uint32(own), uint16(own>>32), own>>48&0xfff, own>>52, mix(own, 1)>>16),
		id:        traceID(own) + traceID(mix(own, 2)),
		ip:        fmt.Sprintf("10.%d.%d.%d", 64+t.cell>>8, t.cell&255, own%250),
		image:     fmt.Sprintf("registry.example.com/shop/%s:v1.%d.%d", svc, dep>>30%40, dep>>40%20),
	}
}

// labels returns the labels of a series, sorted by name: about ten, in the manner of the usual scrape configurations.
func (g *Generator) labels(t *track, gen int64) []label {
	out := make([]label, 0, 16)
	out = append(out, label{metricName, t.fam.name}, label{"cluster", g.cfg.Cluster()})
	out = append(out, t.fam.extra...)
	node := fmt.Sprintf("ip-10-0-%d-%d.eu-west-1.compute.internal", t.cell>>8, t.cell&255)
	if t.fam.job == jobNode {
		out = append(out,
			label{"container", "node-exporter"}, label{"endpoint", "http-metrics"}, label{"job", "node-exporter"},
			label{"instance", fmt.Sprintf("10.0.%d.%d:9100", t.cell>>8, t.cell&255)},
			label{"namespace", "monitoring"}, label{"node", node},
			label{"pod", "prometheus-node-exporter-" + suffix(mix(g.cfg.Seed, uint64(t.cell)), 5)})
		return sorted(out)
	}
	p := g.podNames(t, gen)
	out = append(out, label{"container", p.container}, label{"namespace", p.namespace}, label{"pod", p.pod})
	switch t.fam.job {
	case jobCadvisor:
		out = append(out, label{"id", "/kubepods/burstable/pod" + p.uid + "/" + p.id}, label{"image", p.image},
			label{"instance", fmt.Sprintf("10.0.%d.%d:10250", t.cell>>8, t.cell&255)},
			label{"job", "kubelet"}, label{"metrics_path", "/metrics/cadvisor"}, label{"node", node})
	case jobKubeState:
		out = append(out, label{"instance", "10.64.0.17:8080"}, label{"job", "kube-state-metrics"},
			label{"node", node}, label{"service", "kube-state-metrics"}, label{"uid", p.uid})
	default:
		out = append(out, label{"endpoint", "metrics"}, label{"instance", p.ip + ":8080"},
			label{"job", p.container}, label{"uid", p.uid})
		if t.fam.kind.native() {
			out = append(out, label{"handler", fmt.Sprintf("/rpc/%d", t.slot%len(g.layout))})
		}
	}
	return sorted(out)
}

func sorted(ls []label) []label {
	slices.SortFunc(ls, func(a, b label) int { return strings.Compare(a.name, b.name) })
	return ls
}
