package integration

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// ClusterConfig is the shape of a cluster.
type ClusterConfig struct {
	Partitions  int    // each owned by one ingester in every zone; 1 if 0
	Flags       Flags  // of every node
	Limits      string // content of the file of the tenants' limits; none if empty
	NoCompactor bool   // leaves blocks as their ingesters wrote them
}

// zones is both the number of zones and the replication factor: every zone owns every partition.
const zones = 3

// Cluster is a distributor, three ingesters for each partition, a querier and a compactor on one object store.
type Cluster struct {
	S3          *S3Server
	Distributor *Node
	Querier     *Node
	Compactor   *Node   // nil without one
	Ingesters   []*Node // by partition, then zone

	base nodeConfig // of every node
	ring ringConfig
}

// StartCluster starts a cluster that is empty and waits until all of it is ready.
func StartCluster(t testing.TB, config ClusterConfig) *Cluster {
	t.Helper()
	c := &Cluster{S3: S3(t)}
	c.base = nodeConfig{bucket: c.S3, extra: config.Flags, limits: writeLimits(t, config.Limits)}
	// Two are enough for everybody to find everybody. Both are ingesters, so that nobody who is named knows the ring
	// when all ingesters die at once.
	seeds := []string{freeAddress(t), freeAddress(t)}
	c.ring = ringConfig{cluster: "integration", replicationFactor: zones, join: seeds}
	for partition := range max(config.Partitions, 1) {
		for zone := range zones {
			address := ""
			if partition == 0 && zone < len(seeds) {
				address = seeds[zone]
			}
			c.Ingesters = append(c.Ingesters, c.node(t, "ingester", place{address, partition, zone}))
		}
	}
	c.Distributor = c.node(t, "distributor", place{})
	c.Querier = c.node(t, "querier", place{})
	if !config.NoCompactor {
		c.Compactor = c.node(t, "compactor", place{})
	}
	StartAll(c.Nodes()...)
	return c
}

// place is where a node stands.
type place struct {
	gossip          string // a free address if empty
	partition, zone int    // of an ingester
}

func (c *Cluster) node(t testing.TB, target string, at place) *Node {
	t.Helper()
	n, r := c.base, c.ring
	n.name, n.target, n.ring = target, target, &r
	r.address = at.gossip
	if target == "ingester" {
		r.zone, r.partition = fmt.Sprintf("zone-%c", 'a'+at.zone), at.partition
		n.name = fmt.Sprintf("ingester-%c-%d", 'a'+at.zone, at.partition)
	}
	return newNode(t, n)
}

// AddPartition starts the owners of one more partition and waits until they are ready.
func (c *Cluster) AddPartition(t testing.TB) []*Node {
	t.Helper()
	var owners []*Node
	for zone := range zones {
		owners = append(owners, c.node(t, "ingester", place{partition: len(c.Ingesters) / zones, zone: zone}))
	}
	c.Ingesters = append(c.Ingesters, owners...)
	StartAll(owners...)
	return owners
}

// AddDistributor starts one more distributor and waits until it is ready.
func (c *Cluster) AddDistributor(t testing.TB, name string) *Node {
	t.Helper()
	n, r := c.base, c.ring
	n.name, n.target, n.ring = name, "distributor", &r
	d := newNode(t, n)
	StartAll(d)
	return d
}

// StartAll starts nodes, all at once, and returns how long it took until all were ready.
func StartAll(nodes ...*Node) time.Duration {
	begin := time.Now()
	for _, n := range nodes {
		n.Start()
	}
	for _, n := range nodes {
		n.WaitReady()
	}
	return time.Since(begin)
}

// Nodes are all processes of varve in the cluster.
func (c *Cluster) Nodes() []*Node {
	nodes := append([]*Node{}, c.Ingesters...)
	nodes = append(nodes, c.Distributor, c.Querier)
	if c.Compactor != nil {
		nodes = append(nodes, c.Compactor)
	}
	return nodes
}

// Owner is the ingester that owns a partition in a zone, both counted from 0.
func (c *Cluster) Owner(partition, zone int) *Node { return c.Ingesters[partition*zones+zone] }

// writeLimits writes the file of limits and returns its name.
func writeLimits(t testing.TB, content string) string {
	t.Helper()
	if content == "" {
		return ""
	}
	file := filepath.Join(t.TempDir(), "limits.yml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Wipe empties the disk of a node that is down.
func (n *Node) Wipe() {
	n.t.Helper()
	if n.Running() {
		n.t.Fatalf("wipe %s: it is running", n.Name)
	}
	if err := os.RemoveAll(n.Dir); err != nil {
		n.t.Fatalf("wipe %s: %v", n.Name, err)
	}
}

// with returns flags with others over them.
func (f Flags) with(over Flags) Flags {
	all := maps.Clone(f)
	if all == nil {
		all = Flags{}
	}
	maps.Copy(all, over)
	return all
}
