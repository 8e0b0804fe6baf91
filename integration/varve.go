package integration

import (
	"cmp"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Flags are options of varve by their dotted names.
type Flags map[string]string

// Node is a process of varve.
type Node struct {
	*Process
	API              // of its data listener; only those of a distributor or querier answer there
	Address   string // host:port of the data listener
	Admin     string // host:port of the admin listener: /-/ready, /metrics, pprof
	RPC       string // host:port of the streams between nodes
	Gossip    string // host:port of the ring; empty without one
	Dir       string // all of what it keeps on disk
	Zone      string // of an ingester
	Partition int    // of an ingester
}

// nodeConfig is what differs between nodes. Every option that the tests need is named here and nowhere else.
type nodeConfig struct {
	name, target string
	bucket       *S3Server // nil for a local bucket
	ring         *ringConfig
	limits       string // file of the tenants' limits; none if empty
	extra        Flags
}

// ringConfig is a node's place in a cluster.
type ringConfig struct {
	cluster           string
	address           string   // to gossip on; a free one if empty
	join              []string // gossip addresses of some members
	zone              string   // of an ingester
	partition         int      // of an ingester
	replicationFactor int
}

// Varve makes one process that does everything, on local disk. It is not started yet.
func Varve(t testing.TB, name string, extra Flags) *Node {
	t.Helper()
	return newNode(t, nodeConfig{name: name, target: "all", extra: extra})
}

func newNode(t testing.TB, config nodeConfig) *Node {
	t.Helper()
	n := &Node{
		Address: freeAddress(t), Admin: freeAddress(t), RPC: freeAddress(t),
		Dir: filepath.Join(t.TempDir(), "data"),
	}
	n.URL = "http://" + n.Address
	if config.ring != nil {
		n.Zone, n.Partition = config.ring.zone, config.ring.partition
		n.Gossip = cmp.Or(config.ring.address, freeAddress(t))
	}
	flags := n.flags(config)
	var args []string
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		args = append(args, "-"+name+"="+flags[name])
	}
	program := Program{
		Name: config.name, Path: part(t, "bin", "varve"), Args: args,
		Ready: "http://" + n.Admin + "/-/ready",
	}
	if config.bucket != nil {
		program.Env = []string{"VARVE_BUCKET_S3_SECRET_KEY=" + config.bucket.SecretKey}
	}
	n.Process = New(t, program)
	return n
}

func (n *Node) flags(config nodeConfig) Flags {
	flags := Flags{
		"target":        config.target,
		"data_dir":      n.Dir,
		"http.address":  n.Address,
		"admin.address": n.Admin,
	}
	if r := config.ring; r != nil {
		flags["rpc.address"] = n.RPC
		flags["ring.address"] = n.Gossip
		flags["ring.cluster"] = r.cluster
		flags["ring.instance"] = config.name
		flags["ring.join"] = strings.Join(r.join, ",")
		flags["ring.replication_factor"] = strconv.Itoa(r.replicationFactor)
		if r.zone != "" {
			flags["ring.zone"] = r.zone
			flags["ring.partition"] = strconv.Itoa(r.partition)
		}
	}
	if s := config.bucket; s != nil {
		flags["bucket.type"] = "s3"
		flags["bucket.s3.endpoint"] = s.Endpoint
		flags["bucket.s3.bucket"] = s.Bucket
		flags["bucket.s3.access_key"] = s.AccessKey
		flags["bucket.s3.region"] = "us-east-1"
		flags["bucket.s3.insecure"] = "true"
	}
	if config.limits != "" {
		flags["tenants.limits_file"] = config.limits
	}
	maps.Copy(flags, config.extra)
	return flags
}

// shortEpochs are the options with which samples reach the bucket within seconds, and leave the ingesters soon after.
func shortEpochs(period time.Duration) Flags {
	return Flags{"ingester.head_period": period.String(), "ingester.grace": "1s"}
}

// AsTenant returns the node's API for a tenant.
func (n *Node) AsTenant(tenant string) API { return API{URL: n.URL, Tenant: tenant} }

// PushURL is where a Prometheus writes.
func (n *Node) PushURL() string { return n.URL + "/api/v1/push" }
