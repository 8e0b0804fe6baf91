package cost

import "fmt"

// validate refuses what the law can't divide.
func (h *Hour) validate() error {
	from, to := h.Span()
	if from < h.Start || to > h.Start+3_600_000 || from >= to {
		return fmt.Errorf("[%d, %d) is no part of it", from, to)
	}
	for i := range h.Workloads {
		if err := h.Workloads[i].validate(); err != nil {
			return fmt.Errorf("workload %q of namespace %q of cluster %q: %w", h.Workloads[i].Pod, h.Workloads[i].Namespace, h.Workloads[i].Cluster, err)
		}
	}
	for i := range h.Nodes {
		if err := h.Nodes[i].validate(from, to); err != nil {
			return fmt.Errorf("node %q of cluster %q: %w", h.Nodes[i].Name, h.Nodes[i].Cluster, err)
		}
	}
	for i := range h.Assets {
		a := &h.Assets[i]
		if a.Kind != VolumeAsset && a.Kind != LoadBalancerAsset {
			return fmt.Errorf("asset %q of cluster %q is of the unknown kind %q", a.Name, a.Cluster, a.Kind)
		}
		if err := notNegative("quantity", a.Quantity); err != nil {
			return fmt.Errorf("%s %q of cluster %q: %w", a.Kind, a.Name, a.Cluster, err)
		}
	}
	for i := range h.Scalers {
		a := &h.Scalers[i]
		if a.AtMin < 0 || a.AtMin > a.Known || a.AtMax < 0 || a.AtMax > a.Known {
			return fmt.Errorf("the autoscaler of %s was at its bounds for %d and %d of %d ms", a.Controller, a.AtMin, a.AtMax, a.Known)
		}
	}
	for i := range h.Shares {
		if err := notNegative("quantity", h.Shares[i].Quantity); err != nil {
			return fmt.Errorf("share of %q: %w", h.Shares[i].Asset, err)
		}
	}
	return nil
}

func (w *Workload) validate() error {
	if w.Class != "" && w.Class.index() < 0 {
		return fmt.Errorf("there is no class of traffic %q", w.Class)
	}
	for _, h := range []*Held{&w.CPU, &w.RAM, &w.GPU} {
		if err := notNegative("holding", h.Used, h.Unused, h.Unknown, h.Request, h.Limit); err != nil {
			return err
		}
	}
	return notNegative("time or traffic", w.Alive, w.CPUKnown, w.RAMKnown, w.GPUKnown,
		w.Network.Received, w.Network.Sent, w.Disk.Read, w.Disk.Written)
}

func (n *Node) validate(from, to int64) error {
	if n.From < from || n.To > to || n.From > n.To || n.Up < 0 || n.Up > n.To-n.From || n.Blind < 0 || n.Blind > n.Up {
		return fmt.Errorf("it was up for %d ms, %d of them blind, in [%d, %d)", n.Up, n.Blind, n.From, n.To)
	}
	for _, c := range []*Capacity{&n.CPU, &n.RAM, &n.GPU} {
		if err := notNegative("capacity", c.Capacity, c.Allocatable, c.Blind, c.Used); err != nil {
			return err
		}
		if c.Allocatable > c.Capacity || c.Blind > c.Capacity {
			return fmt.Errorf("of its capacity %d, %d is allocatable and %d blind", c.Capacity, c.Allocatable, c.Blind)
		}
		if c.Capacity > 0 && n.Up == 0 {
			return fmt.Errorf("it has the capacity %d and was not up", c.Capacity)
		}
	}
	return nil
}

func notNegative(what string, values ...int64) error {
	for _, v := range values {
		if v < 0 {
			return fmt.Errorf("%s %d is negative", what, v)
		}
	}
	return nil
}
