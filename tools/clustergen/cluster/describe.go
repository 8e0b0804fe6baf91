package cluster

import "math"

// Forever is the end of what doesn't end within a description.
const Forever = math.MaxInt64

// Span is [From, To) in Unix milliseconds.
type Span struct{ From, To int64 }

// Contains tells whether t is in the span.
func (s Span) Contains(t int64) bool { return s.From <= t && t < s.To }

// clip is what two spans have in common; it may be empty, with To <= From.
func (s Span) clip(o Span) Span { return Span{max(s.From, o.From), min(s.To, o.To)} }

func (s Span) empty() bool { return s.To <= s.From }

// length is 0 for an empty span.
func (s Span) length() int64 { return max(s.To-s.From, 0) }

// Cluster is the description. Nothing may be changed once series or truths were asked for.
type Cluster struct {
	// Name is the value of the label Label; no such label if it is empty.
	Name string
	// Label is the name of the cluster's label, cluster if empty.
	Label string
	// Span is when the cluster is watched: no sample is outside.
	Span

	Namespaces []Namespace
	Nodes      []Node
	Pods       []Pod
	Workloads  []Workload
	Volumes    []Volume
	Services   []Service
	Scrape     Scrape
}

// Namespace has labels that may change.
type Namespace struct {
	Name   string
	Labels []LabelStep
}

// LabelStep is a set of Kubernetes labels that holds from At until the next step.
type LabelStep struct {
	At     int64
	Labels map[string]string
}

// Amounts of resources: millicores, bytes, devices.
type Amounts struct{ CPU, Memory, GPU int64 }

// Node is one machine. A name may be used again by another one later, with another provider ID.
type Node struct {
	Name, ProviderID, InstanceType string
	Region, Zone, IP               string
	Spot                           bool
	GPUModel                       string
	Span
	Capacity, Allocatable Amounts
	// Labels beside those that follow from the fields above.
	Labels []LabelStep
	// System and SystemMemory are what everything outside of pods uses.
	System, SystemMemory Shape
}

// Owner is the controller of a pod, and that one's controller: ReplicaSet of a Deployment, Job of a CronJob. Kind is empty for
// bare pods.
type Owner struct{ Kind, Name, ParentKind, ParentName string }

// Pod lives from Created to Removed. Zero times never happen.
type Pod struct {
	Namespace, Name, UID, IP string
	Owner                    Owner
	// Node is an index into Cluster.Nodes, -1 for a pod that is never scheduled.
	Node int
	// Started is the kubelet's status.startTime. The pod is Running from the first start of one of its Containers.
	Created, Scheduled, Started, Completed, Removed int64
	// Failed says that the phase from Completed on is Failed, not Succeeded.
	Failed        bool
	Labels        []LabelStep
	PriorityClass string
	HostNetwork   bool
	Overhead      Amounts

	Containers, InitContainers []Container
	// Received and Sent are rates of the network in bytes per millisecond while the pod runs.
	Received, Sent Shape
	// ReceivedBy and SentBy are parts of them.
	ReceivedBy, SentBy Classified
}

// Container is one of a pod. Requests and limits may change over time (in-place resize); an unset shape is none.
type Container struct {
	Name, Image string
	// Sidecar is an init container with restartPolicy Always.
	Sidecar                   bool
	RequestCPU, RequestMemory Shape
	LimitCPU, LimitMemory     Shape
	GPUs                      []Device
	Runs                      []Run
}

// Device is a GPU of the node that a container has for its life.
type Device struct {
	// Index of the device on its node.
	Index int
	// Busy is in thousandths, Memory in MiB.
	Busy, Memory Shape
}

// Run is a container from one start to its end. A restart is another run, with another ID, and counters from 0.
type Run struct {
	// ID is the runtime's, 64 hexadecimal digits.
	ID string
	Span
	// CPU is in millicores, Memory the working set in bytes, Read and Written bytes per millisecond.
	CPU, Memory, Read, Written Shape
	// Throttled is CFS periods per second in which the container was held back; it has 10.
	Throttled Shape
}

// Workload is a controller whose replica counts are exported. Kind is Deployment, ReplicaSet, StatefulSet, DaemonSet, Job or CronJob.
type Workload struct {
	Kind, Namespace, Name string
	// Parent of a ReplicaSet (Deployment) or Job (CronJob).
	ParentKind, ParentName string
	Span
	Replicas Shape
	// HPA is set for a workload that is scaled by one of the same name.
	HPA *Autoscaler
}

// Autoscaler bounds the replicas of a workload.
type Autoscaler struct{ Min, Max int64 }

// Volume is a persistent volume with its claim.
type Volume struct {
	Name, Class, Namespace, Claim, Driver, Handle string
	Span
	// Size in bytes, may grow; Used as the kubelet says while the volume is mounted.
	Size, Used Shape
	// Pods that mount it, by index into Cluster.Pods, as long as they hold their node.
	Pods []int
}

// Service with the pods behind it, by index into Cluster.Pods. Only Type LoadBalancer costs.
type Service struct {
	Namespace, Name, UID, Type, IP, IngressIP string
	Span
	Pods []int
}

// Scrape says who scrapes what when. A kind without jobs is not scraped; several jobs of a kind are duplicate sources.
type Scrape struct {
	// Scrapers are instances of Prometheus, more than one for an HA pair. None means one that never fails.
	Scrapers []Scraper
	// State is kube-state-metrics in so many Shards (0 = 1): each has an instance of its own and a part of the objects.
	State  []Job
	Shards int
	// CAdvisor and Kubelet are two paths of the kubelet, NodeExporter and DCGM run on each node.
	CAdvisor, Kubelet, NodeExporter, DCGM []Job
	// NetworkCosts runs on each node, too, and tells where traffic goes.
	NetworkCosts []Job
	// Rest adds what else the exporters write, of which nothing follows: most of what a real tenant has.
	Rest bool
}

// Scraper is a Prometheus. While it is down there are neither samples nor markers, and it forgets what it had scraped.
type Scraper struct {
	// Replica is the value of the label prometheus_replica; no such label if it is empty.
	Replica string
	// Phase is added to those of the jobs.
	Phase int64
	Down  []Span
}

// Job is one scrape configuration.
type Job struct {
	// Name is the value of the label job.
	Name string
	// Interval in milliseconds. Scrapes are at Phase + n × Interval.
	Interval, Phase int64
	// Spread moves each target by a hash of its instance, as Prometheus does.
	Spread bool
	// Failed is when scrapes fail: series get a marker at the first of them.
	Failed []Span
	// NoMarkers is for targets with timestamps of their own, which Prometheus writes no markers for.
	NoMarkers bool
	// NodeInstance makes the node's name the instance, not its address.
	NodeInstance bool
}
