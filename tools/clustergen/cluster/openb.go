package cluster

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strconv"
)

// ReadOpenB makes a cluster of the openb trace (hkust-adsl/kubernetes-scheduler-simulator, Alibaba's cluster-trace-gpu-v2023): nodes.csv and
// pods.csv. The configuration's From is the trace's second 0; the cluster ends an hour after its last pod.
//
// The trace has requests, classes, phases and times, and neither usage nor nodes. So these are made up, from the seed:
//   - A pod gets the first node from a random one on that has room for its CPU, memory and whole GPUs; if none has, the first of
//     those that have so many GPUs, and no device. A pod without a scheduled time gets none and stays Pending.
//   - It uses between 5 and 95 % of its CPU request in steps of up to a day, between 20 and 90 % of its memory, and its GPUs up to
//     its share of gpu_milli. A share of a GPU is requested as a whole one, as Kubernetes would.
//   - It starts a second after it is scheduled. LS pods belong to a Deployment, BE ones to Jobs, the others are bare. Succeeded and
//     Failed pods complete at their deletion time and are removed ten minutes later.
//   - Nodes are in three zones and have 200 millicores and 1 GiB that aren't allocatable.
func ReadOpenB(files fs.FS, cfg Config) (*Cluster, error) {
	if cfg.Interval == 0 {
		cfg.Interval = 15_000
	}
	nodes, err := readTable(files, "nodes.csv", "sn", "cpu_milli", "memory_mib", "gpu", "model")
	if err != nil {
		return nil, err
	}
	pods, err := readTable(files, "pods.csv", "name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "qos", "pod_phase", "creation_time",
		"deletion_time", "scheduled_time")
	if err != nil {
		return nil, err
	}
	if len(nodes.rows) == 0 {
		return nil, errors.New("nodes.csv: no nodes")
	}
	last := int64(0)
	for _, r := range pods.rows {
		last = max(last, pods.number(r, "deletion_time"))
	}
	cfg.To = cfg.From + last*1000 + hour
	g := &generator{Config: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x6f70656e62))}
	g.out = &Cluster{Name: cfg.Name, Span: cfg.Span, Scrape: g.scrape(), Namespaces: []Namespace{{Name: "openb"}}}
	g.openbNodes(nodes)
	g.openbPods(pods)
	return g.out, errors.Join(nodes.err, pods.err)
}

// WatchLast leaves only the last days, from the midnight before on, to be watched: what happens before isn't scraped.
func (c *Cluster) WatchLast(days int) {
	const day = 24 * hour
	from := c.To - int64(days)*day
	c.From = max(c.From, from-floorMod(from, day))
}

// table is a file of comma-separated values.
type table struct {
	name    string
	columns map[string]int
	rows    [][]string
	err     error // the first field that isn't a number
}

func readTable(files fs.FS, name string, columns ...string) (*table, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: empty", name)
	}
	t := &table{name: name, columns: map[string]int{}, rows: rows[1:]}
	for i, c := range rows[0] {
		t.columns[c] = i
	}
	for _, c := range columns {
		if _, ok := t.columns[c]; !ok {
			return nil, fmt.Errorf("%s: no column %s", name, c)
		}
	}
	return t, nil
}

func (t *table) text(row []string, column string) string { return row[t.columns[column]] }

func (t *table) number(row []string, column string) int64 {
	s := t.text(row, column)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if (err != nil || n < 0 || n > 1<<40) && t.err == nil {
		t.err = fmt.Errorf("%s: %s of %s is %q, want a whole number", t.name, column, row[0], s)
	}
	return n
}

func (g *generator) openbNodes(t *table) {
	for i, r := range t.rows {
		zone := "zone-" + string(rune('a'+i%3))
		have := Amounts{t.number(r, "cpu_milli"), t.number(r, "memory_mib") << 20, t.number(r, "gpu")}
		kind := fmt.Sprintf("openb-%dc-%dg", have.CPU/1000, have.Memory>>30)
		model := t.text(r, "model")
		if model != "" {
			kind += fmt.Sprintf("-%dx%s", have.GPU, model)
		}
		g.out.Nodes = append(g.out.Nodes, Node{Name: t.text(r, "sn"), ProviderID: "openb://" + t.text(r, "sn"), InstanceType: kind, GPUModel: model,
			Region: "openb", Zone: zone, IP: fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255), Span: Span{g.From - hour, g.To + hour}, Capacity: have,
			Allocatable: Amounts{have.CPU - 200, have.Memory - 1<<30, have.GPU}, System: Constant(g.between(50, 150)),
			SystemMemory: Constant(g.between(300<<20, 900<<20))})
	}
}

// booking is a pod that holds a part of a node until a time.
type booking struct {
	until int64
	Amounts
	devices []int
}

func (g *generator) openbPods(t *table) {
	rows := slices.Clone(t.rows)
	slices.SortStableFunc(rows, func(a, b []string) int {
		return cmp.Compare(t.number(a, "creation_time"), t.number(b, "creation_time"))
	})
	booked := make([][]booking, len(g.out.Nodes))
	for _, r := range rows {
		p, want, share := g.openbPod(t, r)
		if p.Scheduled > 0 {
			var devices []int
			p.Node, devices = g.place(booked, p.Scheduled, want)
			booked[p.Node] = append(booked[p.Node], booking{min(orForever(p.Completed), p.Removed), want, devices})
			c := &p.Containers[0]
			for _, d := range devices {
				c.GPUs = append(c.GPUs, Device{Index: d, Busy: g.pattern(0, share, p.Created), Memory: g.pattern(500, 14_000, p.Created)})
			}
			c.Runs = []Run{{ID: g.hex(64), Span: Span{p.Started + 500, min(orForever(p.Completed), p.Removed)},
				CPU:    g.pattern(want.CPU/20, want.CPU*19/20, p.Created),
				Memory: g.pattern(want.Memory/5, want.Memory*9/10, p.Created)}}
		}
		g.out.Pods = append(g.out.Pods, p)
	}
}

// openbPod is a row without its node.
func (g *generator) openbPod(t *table, r []string) (p Pod, want Amounts, share int64) {
	at := func(column string) int64 { return g.From + 1000*t.number(r, column) }
	want = Amounts{t.number(r, "cpu_milli"), t.number(r, "memory_mib") << 20, t.number(r, "num_gpu")}
	p = Pod{Namespace: "openb", Name: t.text(r, "name"), UID: g.uid(), IP: "100.64." + itoa(g.rng.IntN(256)) + "." + itoa(g.rng.IntN(256)), Node: -1,
		Created: at("creation_time"), Removed: max(at("deletion_time"), at("creation_time")+1000),
		Labels: []LabelStep{{0, map[string]string{"qos": t.text(r, "qos")}}}}
	switch t.text(r, "qos") {
	case "LS":
		p.Owner = Owner{"ReplicaSet", "ls-76bcd8f9c", "Deployment", "ls"}
	case "BE":
		p.Owner = Owner{Kind: "Job", Name: p.Name}
	}
	p.Containers = []Container{{Name: "main", Image: "registry.example.com/openb/main:1", RequestCPU: Constant(want.CPU), RequestMemory: Constant(want.Memory)}}
	if t.text(r, "scheduled_time") == "" {
		return p, want, 0
	}
	p.Scheduled = at("scheduled_time")
	p.Started = p.Scheduled + 1000
	p.Removed = max(p.Removed, p.Started+1000)
	if phase := t.text(r, "pod_phase"); phase == "Succeeded" || phase == "Failed" {
		p.Completed, p.Failed = p.Removed, phase == "Failed"
		p.Removed += 10 * minute
	}
	return p, want, min(t.number(r, "gpu_milli"), 1000)
}

// place finds a node and free devices on it.
func (g *generator) place(booked [][]booking, at int64, want Amounts) (node int, devices []int) {
	begin, fallback := g.rng.IntN(len(booked)), -1
	for i := range booked {
		n := (begin + i) % len(booked)
		have := g.out.Nodes[n].Allocatable
		if have.GPU < want.GPU {
			continue
		}
		if fallback < 0 {
			fallback = n
		}
		booked[n] = slices.DeleteFunc(booked[n], func(b booking) bool { return b.until <= at })
		free, taken := have, map[int]bool{}
		for _, b := range booked[n] {
			free.CPU, free.Memory, free.GPU = free.CPU-b.CPU, free.Memory-b.Memory, free.GPU-b.GPU
			for _, d := range b.devices {
				taken[d] = true
			}
		}
		if free.CPU < want.CPU || free.Memory < want.Memory || free.GPU < want.GPU {
			continue
		}
		for d := 0; len(devices) < int(want.GPU); d++ {
			if !taken[d] {
				devices = append(devices, d)
			}
		}
		return n, devices
	}
	return max(fallback, 0), nil
}
