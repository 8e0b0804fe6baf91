package ingester

import (
	"errors"
	"time"

	"github.com/varve-io/varve/pkg/config"
)

// Config is the ingester's section of the configuration.
type Config struct {
	HeadPeriod  config.Duration `yaml:"head_period" help:"how long an epoch lasts, after which its samples are cut into blocks"`
	Grace       config.Duration `yaml:"grace" help:"how long a block is still served from local disk once it is safe in the bucket"`
	FlushOnStop bool            `yaml:"flush_on_stop" help:"on a graceful stop, cut and ship everything first"`
}

// Default is what holds where nothing is said.
func Default() Config {
	return Config{HeadPeriod: config.Duration(2 * time.Hour), Grace: config.Duration(15 * time.Minute)}
}

// Validate names every field that can't be meant.
func (c *Config) Validate() error {
	return errors.Join(
		config.Between("head_period", c.HeadPeriod, config.Duration(time.Second), config.Duration(24*time.Hour)),
		config.Between("grace", c.Grace, 0, config.Duration(24*time.Hour)),
	)
}

const (
	blockWidth    = 2 * time.Hour    // blocks are of aligned ranges of this width
	streamsFor    = 30 * time.Minute // how long a stream without batches is kept at least; senders may pause
	maxExemplars  = 100_000          // kept per tenant and epoch
	maxFamilies   = 20_000           // metric families described per tenant
	releasedFor   = 24 * time.Hour   // how long a released block is told of; readers use no older catalog
	maxReleased   = 4096             // released blocks that are told of, per tenant
	shipEvery     = 10 * time.Second // between looks for blocks to ship and to release
	vouches       = 24               // how often per head period the bucket is told what is shipped, at most
	shipRetryMost = 5 * time.Minute  // the longest pause after failed attempts
)
