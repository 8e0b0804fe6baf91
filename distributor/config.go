package distributor

import (
	"errors"
	"time"

	"github.com/varve-io/varve/pkg/config"
)

// Config is the distributor's section of the configuration.
type Config struct {
	MaxRequestBytes  config.Bytes    `yaml:"max_request_bytes" help:"bytes of one write request, compressed or inflated"`
	MaxInflightBytes config.Bytes    `yaml:"max_inflight_bytes" help:"bytes of all write requests being worked on; beyond it the answer is 503. 0 derives it from the memory"`
	AckTimeout       config.Duration `yaml:"ack_timeout" help:"how long to wait for a majority of a partition's owners before the answer is 503"`
}

// Default is what holds where nothing is said.
func Default() Config {
	return Config{
		MaxRequestBytes: maxRequestBytes,
		AckTimeout:      config.Duration(10 * time.Second),
	}
}

// Validate names every field that can't be meant.
func (c *Config) Validate() error {
	return errors.Join(
		config.Between("max_request_bytes", c.MaxRequestBytes, 64*config.KiB, maxRequestBytes),
		config.AtLeast("max_inflight_bytes", c.MaxInflightBytes, 0),
		config.Between("ack_timeout", c.AckTimeout, config.Duration(100*time.Millisecond), config.Duration(10*time.Minute)),
	)
}

// maxRequestBytes is the most that requests may be set to: all of one may go to one partition, and an owner's queue and
// log each hold twice that before they refuse more.
const maxRequestBytes = 32 * config.MiB

// turnBytes is how much of inflated requests is worked on at a time for each processor: some 20,000 samples, which take
// it about 20 ms.
const turnBytes = 8 << 20

// seriesIdle is how long a series that gets no samples stays in the table. It is longer than the lookback of a query,
// so that what is active is what a query would show.
const seriesIdle = 20 * time.Minute
