package cube

import "github.com/varve-io/varve/pkg/cost"

// Tables of level 0, one for each kind of rows of an hour.
const (
	Workloads Table = "workloads"
	Nodes     Table = "nodes"
	Assets    Table = "assets"
	Shares    Table = "shares"
	Scalings  Table = "scalings"
	Scalers   Table = "autoscalers"
	Warnings  Table = "warnings"
)

// HourTables are the tables of level 0.
func HourTables() []Table {
	return []Table{Workloads, Nodes, Assets, Shares, Scalings, Scalers, Warnings}
}

func ownerColumns[R any](at func(*R) *cost.Owner) []column[R] {
	return []column[R]{
		text("cluster", func(r *R) *string { return &at(r).Cluster }),
		text("namespace", func(r *R) *string { return &at(r).Namespace }),
		text("controller_kind", func(r *R) *string { return &at(r).Controller.Kind }),
		text("controller", func(r *R) *string { return &at(r).Controller.Name }),
		text("pod", func(r *R) *string { return &at(r).Pod }),
		text("pod_uid", func(r *R) *string { return &at(r).UID }),
		text("qos", func(r *R) *string { return &at(r).QoS }),
		text("priority", func(r *R) *string { return &at(r).Priority }),
		labels("labels", func(r *R) *cost.Labels { return &at(r).Labels }),
	}
}

func heldColumns[R any](resource, unit string, at func(*R) *cost.Held) []column[R] {
	return []column[R]{
		number(resource+"_used_"+unit, func(r *R) *int64 { return &at(r).Used }),
		number(resource+"_unused_"+unit, func(r *R) *int64 { return &at(r).Unused }),
		level(resource+"_usage_unknown_"+unit, func(r *R) *int64 { return &at(r).Unknown }),
		level(resource+"_request_"+unit, func(r *R) *int64 { return &at(r).Request }),
		level(resource+"_limit_"+unit, func(r *R) *int64 { return &at(r).Limit }),
	}
}

func workloadTable() *table[cost.Workload] {
	type row = cost.Workload
	return newTable(Workloads,
		[]column[row]{period[row]("hour")},
		ownerColumns(func(r *row) *cost.Owner { return &r.Owner }),
		[]column[row]{
			text("container", func(r *row) *string { return &r.Container }),
			text("traffic_class", func(r *row) *cost.TrafficClass { return &r.Class }),
			text("node", func(r *row) *string { return &r.Node }),
			text("provider_id", func(r *row) *string { return &r.Provider }),
			instant("start_time", func(r *row) *int64 { return &r.From }),
			instant("end_time", func(r *row) *int64 { return &r.To }),
			level("alive_ms", func(r *row) *int64 { return &r.Alive }),
		},
		heldColumns("cpu", "core_us", func(r *row) *cost.Held { return &r.CPU }),
		heldColumns("ram", "byte_s", func(r *row) *cost.Held { return &r.RAM }),
		heldColumns("gpu", "gpu_us", func(r *row) *cost.Held { return &r.GPU }),
		[]column[row]{
			level("cpu_known_ms", func(r *row) *int64 { return &r.CPUKnown }),
			level("ram_known_ms", func(r *row) *int64 { return &r.RAMKnown }),
			level("gpu_known_ms", func(r *row) *int64 { return &r.GPUKnown }),
			number("network_received_bytes", func(r *row) *int64 { return &r.Network.Received }),
			number("network_sent_bytes", func(r *row) *int64 { return &r.Network.Sent }),
			number("disk_read_bytes", func(r *row) *int64 { return &r.Disk.Read }),
			number("disk_written_bytes", func(r *row) *int64 { return &r.Disk.Written }),
			level("cpu_peak_mcore", func(r *row) *int64 { return &r.CPUPeak }),
			number("ram_peak_bytes", func(r *row) *int64 { return &r.RAMPeak }),
			sketch("cpu_sketch", func(r *row) *cost.Sketch { return &r.CPUSketch }),
			sketch("ram_sketch", func(r *row) *cost.Sketch { return &r.RAMSketch }),
		})
}

func capacityColumns[R any](resource, unit string, at func(*R) *cost.Capacity) []column[R] {
	return []column[R]{
		level(resource+"_capacity_"+unit, func(r *R) *int64 { return &at(r).Capacity }),
		level(resource+"_allocatable_"+unit, func(r *R) *int64 { return &at(r).Allocatable }),
		level(resource+"_blind_"+unit, func(r *R) *int64 { return &at(r).Blind }),
		number(resource+"_used_"+unit, func(r *R) *int64 { return &at(r).Used }),
	}
}

func nodeTable() *table[cost.Node] {
	type row = cost.Node
	return newTable(Nodes,
		[]column[row]{
			period[row]("hour"),
			text("cluster", func(r *row) *string { return &r.Cluster }),
			text("node", func(r *row) *string { return &r.Name }),
			text("provider_id", func(r *row) *string { return &r.Provider }),
			text("instance_type", func(r *row) *string { return &r.InstanceType }),
			text("region", func(r *row) *string { return &r.Region }),
			text("zone", func(r *row) *string { return &r.Zone }),
			flag("spot", func(r *row) *bool { return &r.Spot }),
			labels("labels", func(r *row) *cost.Labels { return &r.Labels }),
			instant("start_time", func(r *row) *int64 { return &r.From }),
			instant("end_time", func(r *row) *int64 { return &r.To }),
			level("up_ms", func(r *row) *int64 { return &r.Up }),
			level("blind_ms", func(r *row) *int64 { return &r.Blind }),
		},
		capacityColumns("cpu", "core_us", func(r *row) *cost.Capacity { return &r.CPU }),
		capacityColumns("ram", "byte_s", func(r *row) *cost.Capacity { return &r.RAM }),
		capacityColumns("gpu", "gpu_us", func(r *row) *cost.Capacity { return &r.GPU }))
}

func assetTable() *table[cost.Asset] {
	type row = cost.Asset
	return newTable(Assets, []column[row]{
		period[row]("hour"),
		text("kind", func(r *row) *cost.AssetKind { return &r.Kind }),
		text("cluster", func(r *row) *string { return &r.Cluster }),
		text("asset", func(r *row) *string { return &r.Name }),
		text("namespace", func(r *row) *string { return &r.Namespace }),
		text("claim", func(r *row) *string { return &r.Claim }),
		text("class", func(r *row) *string { return &r.Class }),
		text("region", func(r *row) *string { return &r.Region }),
		text("zone", func(r *row) *string { return &r.Zone }),
		labels("labels", func(r *row) *cost.Labels { return &r.Labels }),
		instant("start_time", func(r *row) *int64 { return &r.From }),
		instant("end_time", func(r *row) *int64 { return &r.To }),
		level("quantity", func(r *row) *int64 { return &r.Quantity }),
	})
}

func shareTable() *table[cost.Share] {
	type row = cost.Share
	return newTable(Shares,
		[]column[row]{period[row]("hour")},
		ownerColumns(func(r *row) *cost.Owner { return &r.Owner }),
		[]column[row]{
			text("kind", func(r *row) *cost.AssetKind { return &r.Kind }),
			text("asset", func(r *row) *string { return &r.Asset }),
			instant("start_time", func(r *row) *int64 { return &r.From }),
			number("quantity", func(r *row) *int64 { return &r.Quantity }),
		})
}

func scalingTable(of string) *table[cost.Scaling] {
	type row = cost.Scaling
	return newTable(Scalings, []column[row]{
		period[row](of),
		text("cluster", func(r *row) *string { return &r.Cluster }),
		text("namespace", func(r *row) *string { return &r.Namespace }),
		text("controller_kind", func(r *row) *string { return &r.Controller.Kind }),
		text("controller", func(r *row) *string { return &r.Controller.Name }),
		instant("time", func(r *row) *int64 { return &r.At }),
		level("before", func(r *row) *int64 { return &r.Before }),
		level("after", func(r *row) *int64 { return &r.After }),
	})
}

func scalerTable(of string) *table[cost.Autoscaler] {
	type row = cost.Autoscaler
	return newTable(Scalers, []column[row]{
		period[row](of),
		text("cluster", func(r *row) *string { return &r.Cluster }),
		text("namespace", func(r *row) *string { return &r.Namespace }),
		text("controller_kind", func(r *row) *string { return &r.Controller.Kind }),
		text("controller", func(r *row) *string { return &r.Controller.Name }),
		level("known_ms", func(r *row) *int64 { return &r.Known }),
		level("at_min_ms", func(r *row) *int64 { return &r.AtMin }),
		level("at_max_ms", func(r *row) *int64 { return &r.AtMax }),
		level("min_replicas", func(r *row) *int64 { return &r.Min }),
		level("max_replicas", func(r *row) *int64 { return &r.Max }),
	})
}

func warningTable(of string) *table[cost.Warning] {
	type row = cost.Warning
	return newTable(Warnings, []column[row]{
		period[row](of),
		text("warning", func(r *row) *string { return &r.Name }),
		text("cluster", func(r *row) *string { return &r.Cluster }),
		number("count", func(r *row) *int64 { return &r.Count }),
		text("example", func(r *row) *string { return &r.Example }),
	})
}
