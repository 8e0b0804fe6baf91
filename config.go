package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/varve-io/varve/compactor"
	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/ingester"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/telemetry"
	"github.com/varve-io/varve/querier"
)

// Config is every option of the binary: a section per component, and what they share.
type Config struct {
	Target  config.StringList `yaml:"target" help:"components to run: all, or some of distributor, ingester, querier, compactor"`
	DataDir string            `yaml:"data_dir" help:"directory of everything that is kept on local disk"`
	HTTP    HTTPConfig        `yaml:"http" help:"The listener for writes and reads."`
	Admin   AdminConfig       `yaml:"admin" help:"The listener for operators: metrics, profiles, status, and actions."`
	RPC     RPCConfig         `yaml:"rpc" help:"The listener for other processes of a cluster."`
	Tenants TenantsConfig     `yaml:"tenants" help:"What tenants may do."`
	Self    SelfConfig        `yaml:"self" help:"The process' own metrics."`

	Distributor distributor.Config `yaml:"distributor" help:"The way in."`
	Ingester    ingester.Config    `yaml:"ingester" help:"What was written lately."`
	Querier     querier.Config     `yaml:"querier" help:"The way out."`
	Compactor   compactor.Config   `yaml:"compactor" help:"The care of blocks in the bucket."`
	Ring        ring.Config        `yaml:"ring" help:"Who else there is. Nothing is needed for a process that is alone."`
	TLS         ring.TLS           `yaml:"tls" help:"How processes of a cluster know each other; needed unless all are on loopback."`
	Bucket      bucket.Config      `yaml:"bucket" help:"Where blocks are kept for good."`
	Log         telemetry.Config   `yaml:"log" help:"What the process says."`
}

// HTTPConfig is the data listener.
type HTTPConfig struct {
	Address string `yaml:"address" help:"host:port to listen on"`
	Open    bool   `yaml:"insecure_allow_unauthenticated" help:"let anybody who reaches a listener that is not on loopback write and read, without tokens"`
}

// Validate names every field that can't be meant.
func (c *HTTPConfig) Validate() error { return address("address", c.Address) }

// AdminConfig is the admin listener.
type AdminConfig struct {
	Address string `yaml:"address" help:"host:port to listen on; whoever reaches it may do everything"`
}

// Validate names every field that can't be meant.
func (c *AdminConfig) Validate() error { return address("address", c.Address) }

func address(field, value string) error {
	if _, _, err := net.SplitHostPort(value); err != nil {
		return config.Invalid(field, value, "host:port")
	}
	return nil
}

// RPCConfig is the listener of the streams between processes.
type RPCConfig struct {
	Address string `yaml:"address" help:"host:port to listen on, in a cluster; other processes come to the host of ring.advertise"`
}

// Validate names every field that can't be meant.
func (c *RPCConfig) Validate() error { return address("address", c.Address) }

// TenantsConfig names the files about tenants. They are read again when they change.
type TenantsConfig struct {
	LimitsFile string `yaml:"limits_file" help:"YAML file of limits per tenant; empty for the defaults, which follow the machine"`
	TokensFile string `yaml:"tokens_file" help:"YAML file of the tokens that open this installation; empty for none"`
}

// SelfConfig says what becomes of the process' own metrics.
type SelfConfig struct {
	Tenant string `yaml:"tenant" help:"tenant to which the process writes its own metrics, like any other sender; empty for none"`
}

var components = []string{"distributor", "ingester", "querier", "compactor"}

// Default is what holds where nothing is said: one process that does everything, on loopback and local disk.
func Default() Config {
	return Config{
		Target:  config.StringList{"all"},
		DataDir: "data",
		HTTP:    HTTPConfig{Address: "127.0.0.1:9009"},
		Admin:   AdminConfig{Address: "127.0.0.1:9010"},
		RPC:     RPCConfig{Address: "127.0.0.1:9011"},

		Distributor: distributor.Default(),
		Ingester:    ingester.Default(),
		Querier:     querier.Default(),
		Compactor:   compactor.Default(),
		Ring:        ring.Default(),
		Bucket:      bucket.Default(),
		Log:         telemetry.Default(),
	}
}

// Validate checks what no section can check alone.
func (c *Config) Validate() error {
	var errs []error
	for _, t := range c.Target {
		errs = append(errs, config.OneOf("target", t, append([]string{"all"}, components...)...))
	}
	if len(c.Target) == 0 {
		errs = append(errs, config.Invalid("target", c.Target, "at least one component"))
	}
	if !loopback(c.HTTP.Address) && c.Tenants.TokensFile == "" && !c.HTTP.Open {
		errs = append(errs, config.Invalid("http.address", c.HTTP.Address,
			"on loopback, or have tenants.tokens_file, or set http.insecure_allow_unauthenticated"))
	}
	if least := c.Ingester.HeadPeriod; c.runs("compactor") && c.Compactor.Settle < least {
		errs = append(errs, config.Invalid("compactor.settle", c.Compactor.Settle, fmt.Sprintf("at least ingester.head_period, %s, so that all ingesters have shipped a range before it is merged", least)))
	}
	if !c.Ring.Clustered() && !(c.runs("distributor") && c.runs("ingester") && c.runs("querier")) && (c.runs("distributor") || c.runs("ingester") || c.runs("querier")) {
		errs = append(errs, config.Invalid("ring.cluster", c.Ring.Cluster, "the name of the cluster whose other processes run the other targets"))
	}
	if c.Ring.Clustered() && !c.TLS.Enabled() && !(loopback(c.RPC.Address) && loopback(c.Ring.Address)) {
		errs = append(errs, config.Invalid("tls.cert", c.TLS.Cert, "set, with tls.key and tls.ca, as rpc.address or ring.address is not on loopback; varvectl certs makes them"))
	}
	if c.Ring.ReplicationFactor > 1 && c.runs("ingester") && c.Ring.Zone == "" {
		errs = append(errs, config.Invalid("ring.zone", c.Ring.Zone, "a name, as each replica of a partition is in a zone of its own"))
	}
	if c.Ring.Clustered() && c.Bucket.Type == bucket.TypeLocal && c.Bucket.Dir == "" {
		errs = append(errs, config.Invalid("bucket.dir", c.Bucket.Dir, "a directory that all processes of the cluster share, or have another bucket.type"))
	}
	if c.Self.Tenant != "" && c.Tenants.TokensFile != "" {
		errs = append(errs, config.Invalid("self.tenant", c.Self.Tenant, "empty where tenants.tokens_file is set, as the process has no token; let a Prometheus scrape /metrics on admin.address"))
	}
	return errors.Join(errs...)
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// runs tells whether a component is a target.
func (c *Config) runs(component string) bool {
	for _, t := range c.Target {
		if t == component || t == "all" {
			return true
		}
	}
	return false
}
