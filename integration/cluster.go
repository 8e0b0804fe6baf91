package integration

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
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
}

// StartCluster starts a cluster that is empty and waits until all of it is ready.
func StartCluster(t testing.TB, config ClusterConfig) *Cluster {
	t.Helper()
	c := &Cluster{S3: S3(t)}
	base := nodeConfig{bucket: c.S3, extra: config.Flags, limits: writeLimits(t, config.Limits)}
	seeds := []string{freeAddress(t), freeAddress(t)} // two are enough for everybody to find everybody
	ring := ringConfig{cluster: "integration", replicationFactor: zones, join: seeds}
	for partition := range max(config.Partitions, 1) {
		for zone := range zones {
			r := ring
			r.zone, r.partition = fmt.Sprintf("zone-%c", 'a'+zone), partition
			n := base
			n.name, n.target, n.ring = fmt.Sprintf("ingester-%c-%d", 'a'+zone, partition), "ingester", &r
			if i := len(c.Ingesters); i < len(seeds) {
				r.address = seeds[i]
			}
			c.Ingesters = append(c.Ingesters, newNode(t, n))
		}
	}
	other := func(target string) *Node {
		n := base
		n.name, n.target, n.ring = target, target, &ring
		return newNode(t, n)
	}
	c.Distributor, c.Querier = other("distributor"), other("querier")
	if !config.NoCompactor {
		c.Compactor = other("compactor")
	}
	for _, n := range c.Nodes() {
		n.Start()
	}
	for _, n := range c.Nodes() {
		n.WaitReady()
	}
	return c
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
