package cost

import (
	"slices"

	"github.com/varve-io/varve/pkg/cost/price"
)

// Units of quantities. All of them are integers.
//
//	CPU, GPU      core-microseconds, GPU-microseconds
//	RAM, storage  byte-seconds, rounded once in each row (quantity.Bytes)
//	time          milliseconds; points in time are since 1970, UTC

// Hour is what one UTC hour of one tenant was, as far as its samples tell: level 0 of the cube. Rows are sorted by their keys.
type Hour struct {
	Start int64 // of the hour, in milliseconds
	// From and To are what was counted of the hour, as if nothing had been before or after; both 0 for all of it.
	From, To  int64
	Workloads []Workload
	Nodes     []Node
	Assets    []Asset
	Shares    []Share
	Scalings  []Scaling
	Scalers   []Autoscaler
	Warnings  []Warning
}

// Span is what was counted: the hour, or the part of it that the rows are of.
func (h *Hour) Span() (from, to int64) {
	if h.From == 0 && h.To == 0 {
		return h.Start, h.Start + 3_600_000
	}
	return h.From, h.To
}

// Owner is whose a part of a cluster is.
type Owner struct {
	Cluster, Namespace string
	Controller         Controller
	Pod, UID           string
	QoS, Priority      string
	Labels             Labels // the chosen ones of the pod and its namespace
}

// Controller is the topmost known owner of a pod: its Deployment rather than the ReplicaSet. A pod without one is its own, of kind Pod.
type Controller struct{ Kind, Name string }

// Labels are sorted by name.
type Labels []Label

// Label is one label.
type Label struct{ Name, Value string }

// PodContainer is the container's name in the row of what a pod's effective request has beyond that of its containers.
const PodContainer = "__pod__"

// Workload is what one container held of one node in a part of the hour in which all its dimensions were constant.
type Workload struct {
	Owner
	Container      string
	Class          TrafficClass // of a row that has nothing but bytes of that class
	Node, Provider string       // the node's name and provider ID
	From, To       int64
	Alive          int64 // milliseconds in [From, To) in which it held its resources
	CPU, RAM, GPU  Held
	// How long its usage is known.
	CPUKnown, RAMKnown, GPUKnown int64
	// Quantities that are money only where the price book has a price for them.
	Network Network
	Disk    Disk
	// Peaks and sketches of the usage while it is known, for advice on requests: cores in thousandths, bytes.
	CPUPeak, RAMPeak     int64
	CPUSketch, RAMSketch Sketch
}

// Held are the integrals of one resource: a holding is Used + Unused + Unknown.
type Held struct {
	Used    int64 // ∫usage
	Unused  int64 // ∫max(request - usage, 0) while usage is known
	Unknown int64 // ∫request while usage is unknown
	Request int64 // ∫request
	Limit   int64 // ∫limit while there is one
}

// Network are bytes received and sent. Those of a class are in a row of their own.
type Network struct{ Received, Sent int64 }

// TrafficClass is where the other end of traffic is, as far as metrics tell; "" where they don't.
type TrafficClass string

// Classes of traffic.
const (
	Internet    TrafficClass = price.Internet
	CrossRegion TrafficClass = price.CrossRegion
	CrossZone   TrafficClass = price.CrossZone
	InZone      TrafficClass = price.InZone
)

// TrafficClasses are all classes, in the order of reports.
func TrafficClasses() [4]TrafficClass {
	return [4]TrafficClass{Internet, CrossRegion, CrossZone, InZone}
}

// index is the class's place in TrafficClasses, -1 if it is none of them.
func (c TrafficClass) index() int {
	all := TrafficClasses()
	return slices.Index(all[:], c)
}

// Disk are bytes read from and written to the container's file system.
type Disk struct{ Read, Written int64 }

// Sketch tells how long usage was in which bucket. Bucket 0 ends at 0.01 cores or 10 MB, and each is 1.05 times as wide as the one
// before, as in Kubernetes' Vertical Pod Autoscaler. Sorted by bucket.
type Sketch []Bucket

// Bucket is one bucket of a Sketch.
type Bucket struct {
	Index  int32
	Millis int64
}

// Node is a part of the hour in which a node was up and its dimensions and capacity were constant.
type Node struct {
	Cluster, Name, Provider string
	InstanceType            string
	Region, Zone            string
	Spot                    bool
	Labels                  Labels // all but those that name one node
	From, To                int64
	Up                      int64 // milliseconds; a gap before the same provider ID comes again counts
	Blind                   int64 // of it, without any facts of its pods
	CPU, RAM, GPU           Capacity
}

// Capacity are the integrals of one resource of a node.
type Capacity struct {
	Capacity    int64
	Allocatable int64 // at most Capacity; like it, of all the time, blind or not
	Blind       int64 // of Capacity, while there were no facts of pods
	Used        int64 // by the node's own meter, where there is one
}

// AssetKind is what is paid for beside nodes.
type AssetKind string

// Kinds of assets and the unit of their quantity.
const (
	VolumeAsset       AssetKind = "volume"        // byte-seconds provisioned
	LoadBalancerAsset AssetKind = "load_balancer" // milliseconds
)

// Asset is a volume or load balancer in a part of the hour in which its dimensions were constant.
type Asset struct {
	Kind             AssetKind
	Cluster, Name    string
	Namespace, Claim string // of a volume; the namespace of a service
	Class            string // the storage class; "" of a load balancer
	Region, Zone     string
	Labels           Labels
	From, To         int64
	Quantity         int64
}

// Share is an owner's part of an asset. The shares of an asset are at most its quantity; what is left of a volume is unmounted,
// of a load balancer unattributed.
type Share struct {
	Owner
	Kind     AssetKind
	Asset    string
	From     int64 // of the asset's row
	Quantity int64
}

// Scaling is a change of a workload's replicas.
type Scaling struct {
	Cluster, Namespace string
	Controller         Controller
	At                 int64
	Before, After      int64
}

// Autoscaler is how long a workload's autoscaler was at its bounds.
type Autoscaler struct {
	Cluster, Namespace string
	Controller         Controller // the target
	Known              int64      // milliseconds in which the minimum and the desired replicas are known
	AtMin, AtMax       int64      // of them, in which no more than the minimum, or no less than the maximum, were desired
	Min, Max           int64      // the least minimum and the greatest maximum; 0 if no maximum is known
}

// Warning is something that a reader of the hour should know. Count is how often; Example is the key of one.
type Warning struct {
	Name    string `json:"name"` // one of the names in docs/cost.md
	Cluster string `json:"cluster,omitempty"`
	Count   int64  `json:"count"`
	Example string `json:"example,omitempty"`
}
