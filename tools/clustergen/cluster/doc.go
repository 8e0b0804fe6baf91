// Package cluster describes a Kubernetes cluster that never was, makes the metrics that Prometheus would have scraped from
// it, and says what is true of it. It is what the cost analysis is tested and measured with.
//
// A [Cluster] is plain data: nodes, pods, containers, volumes, services, and who scrapes them when. Times are Unix milliseconds,
// CPU is in millicores, memory in bytes. So one millicore for one millisecond is one core-microsecond, and every integral is an
// integer.
//
// [Cluster.Series] makes the series of a time range one by one in the order of their labels, under the names and labels of
// kube-state-metrics v2, cAdvisor, node-exporter, the kubelet and NVIDIA's DCGM exporter. [Cluster.Truth] has the integrals
// by hour, computed from the description and not from samples, twice: real (what happened) and observed (what the samples say by the
// rules of [Truth]). [Random] makes clusters from a seed, [ReadOpenB] one from the files of the openb trace. Equal
// descriptions make equal series, bit for bit.
//
// The package keeps no samples. Memory is that of the description and of the series of one metric.
package cluster
