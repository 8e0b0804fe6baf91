package ring

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/varve-io/varve/pkg/config"
)

// Config is the ring's section of the configuration. Without a cluster the process is alone and there is no gossip.
type Config struct {
	Cluster           string            `yaml:"cluster" help:"name of the cluster; processes of another name are never joined. Empty for a process that is alone"`
	Join              config.StringList `yaml:"join" help:"host:port of some members' ring.address, this process' own may be among them; a name stands for all its addresses"`
	Address           string            `yaml:"address" help:"host:port to listen on for gossip"`
	Advertise         string            `yaml:"advertise" help:"host by which other members reach this one, for gossip and streams; empty for the host of ring.address, or else the first private address"`
	Instance          string            `yaml:"instance" help:"name of this process, which it keeps over restarts; empty for the host's name"`
	Zone              string            `yaml:"zone" help:"where this process stands; each replica of a partition is in a zone of its own"`
	Partition         int               `yaml:"partition" help:"partition that an ingester owns; -1 for the number at the end of its instance name"`
	ReplicationFactor int               `yaml:"replication_factor" help:"owners of each partition: 1 or 3"`
	Store             string            `yaml:"store" help:"what carries the ring: memberlist (gossip), etcd or consul"`
	StoreEndpoints    config.StringList `yaml:"store_endpoints" help:"host:port of etcd's or Consul's servers"`
}

// The stores of a ring.
const (
	storeGossip = "memberlist"
	storeEtcd   = "etcd"
	storeConsul = "consul"
)

// Default is what holds where nothing is said.
func Default() Config {
	return Config{Address: "127.0.0.1:7946", Partition: -1, ReplicationFactor: 1, Store: storeGossip}
}

// Clustered tells whether the process is one of several.
func (c *Config) Clustered() bool { return c.Cluster != "" }

// Validate names every field that can't be meant.
func (c *Config) Validate() error {
	var errs []error
	if !c.Clustered() && (len(c.Join) > 0 || len(c.StoreEndpoints) > 0 || c.ReplicationFactor != 1) {
		errs = append(errs, config.Invalid("cluster", c.Cluster, "a name, as other processes are to be joined"))
	}
	if c.ReplicationFactor != 1 && c.ReplicationFactor != 3 {
		errs = append(errs, config.Invalid("replication_factor", c.ReplicationFactor, "1 or 3"))
	}
	if len(c.Cluster) > 255 {
		errs = append(errs, config.Invalid("cluster", c.Cluster, "at most 255 bytes"))
	}
	errs = append(errs,
		config.OneOf("store", c.Store, storeGossip, storeEtcd, storeConsul),
		config.AtLeast("partition", c.Partition, -1),
		hostPorts("address", c.Address), hostPorts("join", c.Join...), hostPorts("store_endpoints", c.StoreEndpoints...))
	if c.Store != storeGossip && len(c.StoreEndpoints) == 0 {
		errs = append(errs, config.Invalid("store_endpoints", c.StoreEndpoints, "host:port of at least one server"))
	}
	return errors.Join(errs...)
}

func hostPorts(field string, addresses ...string) error {
	for _, a := range addresses {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return config.Invalid(field, a, "host:port")
		}
	}
	return nil
}

// Complete fills in what the host knows: the instance's name, and for an ingester its partition.
func (c *Config) Complete(ingester bool) error {
	if c.Instance == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("find ring.instance: %w", err)
		}
		c.Instance = name
	}
	if !ingester || c.Partition >= 0 {
		return nil
	}
	digits := len(c.Instance)
	for digits > 0 && c.Instance[digits-1] >= '0' && c.Instance[digits-1] <= '9' {
		digits--
	}
	n, err := strconv.ParseInt(c.Instance[digits:], 10, 32)
	if err != nil {
		return config.Invalid("ring.partition", c.Partition, fmt.Sprintf("a number, as the instance %q ends in none", c.Instance))
	}
	c.Partition = int(n)
	return nil
}

// Host is the address by which other members reach this process.
func (c *Config) Host() (string, error) {
	if c.Advertise != "" {
		return c.Advertise, nil
	}
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return "", config.Invalid("ring.address", c.Address, "host:port")
	}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return host, nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("find ring.advertise: %w", err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsPrivate() {
			return n.IP.String(), nil
		}
	}
	return "", config.Invalid("ring.advertise", c.Advertise, "an address, as this host has no private one")
}

// timing is how long things of the ring take. Gossip counts in whole seconds.
type timing struct {
	// heartbeat is how often an owner says that it runs, and stale how old its word may be. Only people look at it, on the
	// status page: what matters is whether an owner's connections work.
	heartbeat, stale time.Duration
	// pending is how long a new partition takes no writes: in this time gossip reaches every member.
	pending time.Duration
	// reconcile is how often an ingester looks whether its partition may become active.
	reconcile time.Duration
	// poll is how often the store is read besides being watched.
	poll time.Duration
	// rejoin is how often some members are joined again, which heals a cluster that has fallen into parts.
	rejoin time.Duration
	// forgotten is when the last trace of a partition that everybody has left is removed.
	forgotten time.Duration
}

func usual() timing {
	return timing{
		heartbeat: 5 * time.Second, stale: 20 * time.Second, pending: 3 * time.Second, reconcile: time.Second,
		poll: 2 * time.Second, rejoin: 10 * time.Second, forgotten: 10 * time.Minute,
	}
}
