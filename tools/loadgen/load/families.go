package load

import "fmt"

// family is one kind of series: a metric and the labels that tell it from its siblings on the same pod or node.
type family struct {
	name  string
	kind  kind
	param float64 // of the kind
	extra []label
	job   job
	group int // series with the same group on a pod are computed from one hash; 0 = own hash
	typ   metricType
	help  string
}

type label struct{ name, value string }

// job is the scrape job, which decides the target's labels.
type job uint8

const (
	jobApp job = iota
	jobCadvisor
	jobKubeState
	jobNode
)

// metricType as remote write numbers it.
type metricType uint8

const (
	typeCounter   metricType = 1
	typeGauge     metricType = 2
	typeHistogram metricType = 3
	typeSummary   metricType = 5
)

func (k kind) metricType() metricType {
	switch {
	case k <= counterCentis:
		return typeCounter
	case k == summary:
		return typeSummary
	case k >= bucket:
		return typeHistogram
	}
	return typeGauge
}

// table collects the families of one job.
type table struct {
	job  job
	fams []family
}

// add appends a family; pairs are the names and values of its own labels.
func (t *table) add(k kind, param float64, name string, pairs ...string) *family {
	f := family{name: name, kind: k, param: param, job: t.job, typ: k.metricType()}
	f.help = "The load generator's " + name + "."
	for i := 0; i+1 < len(pairs); i += 2 {
		f.extra = append(f.extra, label{pairs[i], pairs[i+1]})
	}
	t.fams = append(t.fams, f)
	return &t.fams[len(t.fams)-1]
}

// each adds one family for each value of a label.
func (t *table) each(k kind, name, label string, values []string, pairs ...string) {
	for _, v := range values {
		t.add(k, 1, name, append([]string{label, v}, pairs...)...)
	}
}

func (t *table) histogram(name string, group int, pairs ...string) {
	bounds := []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"}
	for i, le := range bounds {
		below := 1 - 1/float64(uint64(2)<<i)
		if le == "+Inf" {
			below = 1
		}
		t.add(bucket, below, name+"_bucket", append([]string{"le", le}, pairs...)...).group = group
	}
	t.add(bucketCount, 0, name+"_count", pairs...).group = group
	t.add(bucketSum, 0, name+"_sum", pairs...).group = group
}

// appFamilies are what a service written in Go exposes itself.
func appFamilies() []family {
	t := &table{job: jobApp}
	t.add(gaugeOne, 0, "up")
	t.add(gaugeFloat, 0.01, "scrape_duration_seconds")
	for _, method := range []string{"GET", "POST"} {
		t.each(counterInt, "http_requests_total", "code", []string{"200", "404", "500"}, "method", method, "handler", "/api/v1/orders")
	}
	t.histogram("http_request_duration_seconds", 1, "method", "GET", "handler", "/api/v1/orders")
	t.each(summary, "go_gc_duration_seconds", "quantile", []string{"0", "0.5", "1"})
	t.add(gaugeSeldom, 0, "go_goroutines")
	t.add(gaugePages, 0, "go_memstats_heap_alloc_bytes")
	t.add(counterBytes, 0, "go_memstats_alloc_bytes_total")
	t.add(counterCentis, 0, "process_cpu_seconds_total")
	t.add(gaugePages, 0, "process_resident_memory_bytes")
	t.add(gaugeSeldom, 0, "process_open_fds")
	return t.fams
}

// cadvisorFamilies are what the kubelet says about a container.
func cadvisorFamilies() []family {
	t := &table{job: jobCadvisor}
	t.add(counterNanos, 0, "container_cpu_usage_seconds_total", "cpu", "total")
	t.add(counterNanos, 0, "container_cpu_user_seconds_total")
	t.add(counterNanos, 0, "container_cpu_system_seconds_total")
	t.add(counterInt, 0, "container_cpu_cfs_periods_total")
	t.add(counterInt, 0, "container_cpu_cfs_throttled_periods_total")
	t.add(counterNanos, 0, "container_cpu_cfs_throttled_seconds_total")
	t.add(gaugePages, 0, "container_memory_working_set_bytes")
	t.add(gaugePages, 0, "container_memory_rss")
	t.add(gaugePages, 0, "container_memory_cache")
	t.add(gaugePages, 0, "container_memory_usage_bytes")
	t.add(gaugePages, 0, "container_memory_max_usage_bytes")
	t.add(gaugeConst, 0, "container_memory_swap")
	for _, failure := range []string{"pgfault", "pgmajfault"} {
		t.add(counterInt, 0, "container_memory_failures_total", "failure_type", failure, "scope", "container")
	}
	for _, dir := range []string{"receive", "transmit"} {
		t.add(counterBytes, 0, "container_network_"+dir+"_bytes_total", "interface", "eth0")
		t.add(counterInt, 0, "container_network_"+dir+"_packets_total", "interface", "eth0")
		t.add(gaugeConst, 0, "container_network_"+dir+"_errors_total", "interface", "eth0")
	}
	for _, op := range []string{"reads", "writes"} {
		t.add(counterBytes, 0, "container_fs_"+op+"_bytes_total", "device", "/dev/nvme0n1")
		t.add(counterInt, 0, "container_fs_"+op+"_total", "device", "/dev/nvme0n1")
	}
	t.add(gaugePages, 0, "container_fs_usage_bytes", "device", "/dev/nvme0n1")
	t.add(gaugeSeldom, 0, "container_processes")
	t.add(gaugeSeldom, 0, "container_threads")
	t.add(gaugeTime, 0, "container_start_time_seconds")
	t.add(gaugeConst, 512, "container_spec_cpu_shares")
	t.add(gaugeConst, 1<<28, "container_spec_memory_limit_bytes")
	return t.fams
}

// kubeStateFamilies are what kube-state-metrics says about a pod.
func kubeStateFamilies() []family {
	t := &table{job: jobKubeState}
	t.add(gaugeOne, 0, "kube_pod_info", "created_by_kind", "ReplicaSet", "host_network", "false", "priority_class", "default")
	t.add(gaugeOne, 0, "kube_pod_owner", "owner_kind", "ReplicaSet", "owner_is_controller", "true")
	t.add(gaugeOne, 0, "kube_pod_labels", "label_app_kubernetes_io_part_of", "shop", "label_team", "payments")
	t.each(gaugeFlag, "kube_pod_status_phase", "phase", []string{"Running", "Pending", "Failed", "Succeeded", "Unknown"})
	t.each(gaugeFlag, "kube_pod_status_ready", "condition", []string{"true", "false"})
	t.add(gaugeTime, 0, "kube_pod_created")
	t.add(gaugeTime, 0, "kube_pod_start_time")
	t.add(gaugeOne, 0, "kube_pod_container_info", "image_id", "sha256")
	t.add(gaugeSeldom, 0, "kube_pod_container_status_restarts_total")
	t.add(gaugeFlag, 0, "kube_pod_container_status_ready")
	for _, of := range []string{"requests", "limits"} {
		t.add(gaugeConst, 0.25, "kube_pod_container_resource_"+of, "resource", "cpu", "unit", "core")
		t.add(gaugeConst, 1<<27, "kube_pod_container_resource_"+of, "resource", "memory", "unit", "byte")
	}
	return t.fams
}

// nodeFamilies are what the node exporter says about a machine.
func nodeFamilies() []family {
	t := &table{job: jobNode}
	modes := []string{"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"}
	for cpu := range 8 {
		t.each(counterCentis, "node_cpu_seconds_total", "mode", modes, "cpu", fmt.Sprint(cpu))
	}
	for _, of := range []string{"MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "Active", "Inactive", "Slab"} {
		t.add(gaugePages, 0, "node_memory_"+of+"_bytes")
	}
	for _, load := range []string{"1", "5", "15"} {
		t.add(gaugeNoise, 0, "node_load"+load)
	}
	for _, dev := range []string{"nvme0n1", "nvme1n1"} {
		for _, op := range []string{"read", "written"} {
			t.add(counterBytes, 0, "node_disk_"+op+"_bytes_total", "device", dev)
		}
		t.add(counterNanos, 0, "node_disk_io_time_seconds_total", "device", dev)
		for _, of := range []string{"size", "avail", "free"} {
			t.add(gaugePages, 0, "node_filesystem_"+of+"_bytes", "device", "/dev/"+dev, "fstype", "ext4", "mountpoint", "/"+dev)
		}
	}
	for _, dev := range []string{"eth0", "lo"} {
		for _, dir := range []string{"receive", "transmit"} {
			t.add(counterBytes, 0, "node_network_"+dir+"_bytes_total", "device", dev)
			t.add(counterInt, 0, "node_network_"+dir+"_packets_total", "device", dev)
			t.add(gaugeConst, 0, "node_network_"+dir+"_drop_total", "device", dev)
		}
	}
	t.add(gaugeTime, 0, "node_boot_time_seconds")
	t.add(counterInt, 0, "node_context_switches_total")
	t.add(counterInt, 0, "node_intr_total")
	t.add(gaugeSeldom, 0, "node_procs_running")
	t.add(gaugeOne, 0, "node_uname_info", "machine", "x86_64", "release", "6.12.41", "sysname", "Linux")
	return t.fams
}

// nativeFamilies are the native histograms that replace a share of the slots.
func nativeFamilies(custom bool) []*family {
	t := &table{job: jobApp}
	t.add(nativeInt, 0, "rpc_server_duration_seconds")
	t.add(nativeInt, 0, "rpc_client_duration_seconds")
	t.add(nativeInt, 0, "queue_wait_duration_seconds")
	t.add(nativeFloat, 0, "rpc_server_duration_seconds:sum")
	t.add(nativeGauge, 0, "queue_age_seconds")
	t.add(nativeEmpty, 0, "rpc_retries_duration_seconds:sum")
	if custom {
		t.add(nativeCustom, 0, "rpc_server_request_bytes")
	}
	var out []*family
	for i := range t.fams {
		out = append(out, &t.fams[i])
	}
	return out
}
