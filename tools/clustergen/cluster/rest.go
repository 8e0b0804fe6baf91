package cluster

import (
	"math/bits"
	"strings"
)

// The rest is what the same exporters write in their default configuration beside the metrics that costs are counted from: about nine series in
// ten. Names and label names are those of kube-state-metrics v2, cAdvisor in the kubelet, and node-exporter; the values are made up: what ends in
// total or seconds counts up, sizes move with the memory, all others stand still.

// restOfPods are kube-state-metrics' of each pod: a metric, and the label and values that its series differ in.
const restOfPods = `
kube_pod_ips
kube_pod_restart_policy
kube_pod_scheduler
kube_pod_service_account
kube_pod_status_container_ready_time
kube_pod_status_initialized_time
kube_pod_status_ready condition true false unknown
kube_pod_status_ready_time
kube_pod_status_reason reason Evicted NodeAffinity NodeLost Shutdown UnexpectedAdmissionError
kube_pod_status_scheduled condition true false unknown
kube_pod_tolerations key node.kubernetes.io/not-ready node.kubernetes.io/unreachable
`

// restOfContainers are kube-state-metrics' of each container.
const restOfContainers = `
kube_pod_container_status_ready
kube_pod_container_status_running
kube_pod_container_status_terminated
kube_pod_container_status_waiting
`

// restOfCgroups are cAdvisor's of each container, each sandbox and each pod.
const restOfCgroups = `
container_blkio_device_usage_total operation Async Discard Read Sync Total Write
container_cpu_load_average_10s
container_cpu_load_d_average_10s
container_cpu_system_seconds_total
container_cpu_user_seconds_total
container_file_descriptors
container_fs_inodes_free
container_fs_inodes_total
container_fs_io_current
container_fs_io_time_seconds_total
container_fs_io_time_weighted_seconds_total
container_fs_limit_bytes
container_fs_read_seconds_total
container_fs_reads_merged_total
container_fs_reads_total
container_fs_sector_reads_total
container_fs_sector_writes_total
container_fs_usage_bytes
container_fs_write_seconds_total
container_fs_writes_merged_total
container_fs_writes_total
container_last_seen
container_memory_cache
container_memory_failcnt
container_memory_failures_total failure_type pgfault pgmajfault
container_memory_kernel_usage
container_memory_mapped_file
container_memory_max_usage_bytes
container_memory_rss
container_memory_swap
container_memory_total_active_file_bytes
container_memory_total_inactive_file_bytes
container_memory_usage_bytes
container_oom_events_total
container_pressure_cpu_stalled_seconds_total
container_pressure_cpu_waiting_seconds_total
container_pressure_io_stalled_seconds_total
container_pressure_io_waiting_seconds_total
container_pressure_memory_stalled_seconds_total
container_pressure_memory_waiting_seconds_total
container_processes
container_sockets
container_spec_cpu_period
container_spec_cpu_shares
container_spec_memory_limit_bytes
container_spec_memory_reservation_limit_bytes
container_spec_memory_swap_limit_bytes
container_tasks_state state iowaiting running sleeping stopped uninterruptible
container_threads
container_threads_max
container_ulimits_soft
`

// restOfSandboxes are cAdvisor's of each sandbox, which has the network.
const restOfSandboxes = `
container_network_receive_errors_total
container_network_receive_packets_dropped_total
container_network_receive_packets_total
container_network_transmit_errors_total
container_network_transmit_packets_dropped_total
container_network_transmit_packets_total
`

// restOfMachines are node-exporter's of each node.
const restOfMachines = `
node_boot_time_seconds
node_context_switches_total
node_disk_io_time_seconds_total device nvme0n1 nvme1n1
node_disk_io_time_weighted_seconds_total device nvme0n1 nvme1n1
node_disk_read_time_seconds_total device nvme0n1 nvme1n1
node_disk_reads_completed_total device nvme0n1 nvme1n1
node_disk_reads_merged_total device nvme0n1 nvme1n1
node_disk_write_time_seconds_total device nvme0n1 nvme1n1
node_disk_writes_completed_total device nvme0n1 nvme1n1
node_disk_writes_merged_total device nvme0n1 nvme1n1
node_entropy_available_bits
node_filefd_allocated
node_filefd_maximum
node_filesystem_avail_bytes mountpoint / /boot /run /tmp /var/lib/containerd
node_filesystem_device_error mountpoint / /boot /run /tmp /var/lib/containerd
node_filesystem_files mountpoint / /boot /run /tmp /var/lib/containerd
node_filesystem_files_free mountpoint / /boot /run /tmp /var/lib/containerd
node_filesystem_free_bytes mountpoint / /boot /run /tmp /var/lib/containerd
node_filesystem_readonly mountpoint / /boot /run /tmp /var/lib/containerd
node_filesystem_size_bytes mountpoint / /boot /run /tmp /var/lib/containerd
node_forks_total
node_intr_total
node_load1
node_load15
node_load5
node_netstat_Icmp_InErrors
node_netstat_Icmp_InMsgs
node_netstat_Ip_Forwarding
node_netstat_TcpExt_ListenDrops
node_netstat_TcpExt_ListenOverflows
node_netstat_TcpExt_TCPSynRetrans
node_netstat_Tcp_ActiveOpens
node_netstat_Tcp_CurrEstab
node_netstat_Tcp_InErrs
node_netstat_Tcp_InSegs
node_netstat_Tcp_OutSegs
node_netstat_Tcp_PassiveOpens
node_netstat_Tcp_RetransSegs
node_netstat_Udp_InDatagrams
node_netstat_Udp_InErrors
node_netstat_Udp_OutDatagrams
node_network_receive_drop_total device eth0 lo
node_network_receive_errs_total device eth0 lo
node_network_receive_packets_total device eth0 lo
node_network_transmit_drop_total device eth0 lo
node_network_transmit_errs_total device eth0 lo
node_network_transmit_packets_total device eth0 lo
node_network_up device eth0 lo
node_nf_conntrack_entries
node_nf_conntrack_entries_limit
node_procs_blocked
node_procs_running
node_scrape_collector_duration_seconds collector arp bcache bonding conntrack cpu cpufreq diskstats edac entropy filefd filesystem hwmon loadavg meminfo netclass netdev netstat nfs nvme os pressure rapl schedstat sockstat softnet stat thermal_zone time timex udp_queues uname vmstat xfs zfs
node_scrape_collector_success collector arp bcache bonding conntrack cpu cpufreq diskstats edac entropy filefd filesystem hwmon loadavg meminfo netclass netdev netstat nfs nvme os pressure rapl schedstat sockstat softnet stat thermal_zone time timex udp_queues uname vmstat xfs zfs
node_sockstat_TCP_alloc
node_sockstat_TCP_inuse
node_sockstat_TCP_mem_bytes
node_sockstat_TCP_orphan
node_sockstat_TCP_tw
node_sockstat_UDP_inuse
node_sockstat_UDP_mem_bytes
node_sockstat_sockets_used
node_time_seconds
node_timex_estimated_error_seconds
node_timex_maxerror_seconds
node_timex_offset_seconds
node_timex_sync_status
node_uname_info
node_vmstat_oom_kill
node_vmstat_pgfault
node_vmstat_pgmajfault
node_vmstat_pgpgin
node_vmstat_pgpgout
node_vmstat_pswpin
node_vmstat_pswpout
`

// memoryFields are node-exporter's, between node_memory_ and _bytes.
const memoryFields = `Active Active_anon Active_file AnonHugePages AnonPages Buffers Cached CommitLimit Committed_AS DirectMap1G DirectMap2M DirectMap4k Dirty FileHugePages
HardwareCorrupted Hugepagesize Inactive Inactive_anon Inactive_file KReclaimable KernelStack Mapped MemFree Mlocked PageTables Percpu SReclaimable SUnreclaim Shmem Slab SwapCached
SwapFree SwapTotal Unevictable VmallocTotal VmallocUsed Writeback`

// fieldsPerCPU are node-exporter's of each CPU, and the label and values that they differ in.
const fieldsPerCPU = `
node_cpu_guest_seconds_total mode nice user
node_schedstat_running_seconds_total
node_schedstat_timeslices_total
node_schedstat_waiting_seconds_total
node_softnet_dropped_total
node_softnet_processed_total
node_softnet_times_squeezed_total
`

// restMetric is a metric of the rest, and the pairs in which its series differ.
type restMetric struct {
	name     string
	variants [][]string
}

// restMetrics reads a list.
func restMetrics(list string) (all []restMetric) {
	for line := range strings.Lines(list) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		m := restMetric{name: words[0], variants: [][]string{nil}}
		if len(words) > 1 {
			m.variants = nil
			for _, v := range words[2:] {
				m.variants = append(m.variants, []string{words[1], v})
			}
		}
		all = append(all, m)
	}
	return all
}

// put makes the series of something that lives for a time, has a size, and is busy.
func (m restMetric) put(to podPut, life Span, size, busy Shape) {
	for n, pairs := range m.variants {
		to(life, made(m.name, life.From, size, busy, n), pairs...)
	}
}

// restFamilies are the families of the rest.
func restFamilies() []family {
	all := restMachines()
	for _, m := range restMetrics(restOfPods) {
		all = append(all, perPod(m.name, func(_ *view, p *Pod, pod podPut) { m.put(pod, p.life(), Shape{}, Shape{}) }))
	}
	for _, m := range restMetrics(restOfContainers) {
		all = append(all, perContainer(m.name, false, func(_ *Container, c podPut) { m.put(c, Span{0, Forever}, Shape{}, Shape{}) }))
	}
	for _, m := range restMetrics(restOfCgroups) {
		all = append(all, perCgroup(m.name, func(r *Run, c podPut) { m.put(c, r.Span, r.Memory, r.CPU) }))
		all = append(all, perSandbox(m.name, func(_ *view, p *Pod, pod, sandbox podPut) {
			first := p.firstRun()
			m.put(pod, p.sandbox(), first.Memory, first.CPU)
			m.put(sandbox, p.sandbox(), Shape{}, Shape{})
		}))
	}
	for _, m := range restMetrics(restOfSandboxes) {
		all = append(all, perSandbox(m.name, func(_ *view, p *Pod, _, sandbox podPut) { m.put(sandbox, p.sandbox(), Shape{}, p.Received) }))
	}
	for i, f := range all {
		all[i].each = func(v *view) {
			if v.Scrape.Rest {
				f.each(v)
			}
		}
	}
	return all
}

// restMachines are node-exporter's.
func restMachines() (all []family) {
	machines := restMetrics(restOfMachines)
	for field := range strings.FieldsSeq(memoryFields) {
		machines = append(machines, restMetric{"node_memory_" + field + "_bytes", [][]string{nil}})
	}
	for _, m := range machines {
		all = append(all, perExporter(m.name, func(v *view, node int, to podPut) {
			n := &v.Nodes[node]
			m.put(to, n.Span, n.SystemMemory, n.System)
		}))
	}
	for _, m := range restMetrics(fieldsPerCPU) {
		all = append(all, perExporter(m.name, func(v *view, node int, to podPut) {
			n := &v.Nodes[node]
			for cpu := range max(n.Capacity.CPU/1000, 1) {
				m.put(func(life Span, value func(int64) float64, pairs ...string) {
					to(life, value, append([]string{"cpu", itoa(int(cpu))}, pairs...)...)
				}, n.Span, n.SystemMemory, n.System)
			}
		}))
	}
	return all
}

// firstRun of the pod's first container; nothing runs in one without.
func (p *Pod) firstRun() Run {
	if len(p.Containers) == 0 || len(p.Containers[0].Runs) == 0 {
		return Run{}
	}
	return p.Containers[0].Runs[0]
}

// made is a made-up value of a metric that lives since a time: by its name a counter, a size, or something that doesn't change.
func made(name string, since int64, size, busy Shape, variant int) func(int64) float64 {
	h := hash(name)
	part := float64(1+h%97) / float64(100*(variant+1))
	isCounter := strings.HasSuffix(name, "_total") || strings.HasPrefix(name, "node_vmstat_") || strings.HasPrefix(name, "node_netstat_")
	switch {
	case strings.Contains(name, "_error") || strings.Contains(name, "_drop") || strings.Contains(name, "oom") || strings.HasPrefix(name, "kube_"):
		return constant(float64(variant & 1))
	case isCounter && busy.Set() && strings.Contains(name, "seconds"):
		return func(t int64) float64 { return float64(busy.Sum(since, t)) / 1e6 * part }
	case isCounter && busy.Set():
		return func(t int64) float64 { return float64(int64(float64(busy.Sum(since, t)) / 1e3 * part)) }
	case name == "container_last_seen" || name == "node_time_seconds":
		return func(t int64) float64 { return float64(t / 1000) }
	case size.Set() && (strings.HasSuffix(name, "_bytes") || strings.HasPrefix(name, "container_memory_")) && !strings.Contains(name, "limit"):
		return func(t int64) float64 { return float64(int64(float64(size.At(t))*part) &^ 4095) }
	}
	return constant(float64(bits.Len64(h) * int(h%13)))
}
