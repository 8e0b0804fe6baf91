package compactor

import (
	"errors"
	"time"

	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/config"
)

// Config is the compactor's section of the configuration.
type Config struct {
	Settle        config.Duration `yaml:"settle" help:"how long after its end a range of time is left alone, so that all ingesters have shipped their blocks of it; at least ingester.head_period and some minutes"`
	DeleteDelay   config.Duration `yaml:"delete_delay" help:"how long the data of a block stays in the bucket after the block was replaced or its retention ended; longer than the longest query and the 15 seconds for which queriers read by the same catalog"`
	MaxConcurrent int             `yaml:"max_concurrent" help:"merges at once; each takes a core, and disk for its sources and its result"`
}

// Default is what holds where nothing is said.
func Default() Config {
	return Config{
		Settle:        config.Duration(2*time.Hour + 30*time.Minute),
		DeleteDelay:   config.Duration(2 * time.Hour),
		MaxConcurrent: 1,
	}
}

// maxDeleteDelay is shorter than facts are kept: see catalog.FactKeep.
const maxDeleteDelay = catalog.FactKeep - 24*time.Hour

// Validate names every field that can't be meant.
func (c *Config) Validate() error {
	return errors.Join(
		config.Between("settle", c.Settle, config.Duration(100*time.Millisecond), config.Duration(7*24*time.Hour)),
		config.Between("delete_delay", c.DeleteDelay, 0, config.Duration(maxDeleteDelay)),
		config.Between("max_concurrent", c.MaxConcurrent, 1, 64),
	)
}

const (
	tenantsAtOnce  = 8               // looked after, most of which need no merge
	maxJobBytes    = 32 << 30        // of all sources of a merge, as they lie in the bucket
	maxJobBlocks   = 64              // sources of a merge
	growth         = 8               // blocks are merged once all but the largest weigh 1/growth of it
	quietSettles   = 10              // a day with late blocks is merged whole once quiet for so many settle times
	reconcileEvery = 24 * time.Hour  // between comparisons of a catalog with the bucket
	spaceReserve   = 1 << 30         // bytes that a merge leaves free on the scratch disk
	planEvery      = 5 * time.Minute // between looks at all tenants, at most
	retryMost      = 6 * time.Hour   // the longest pause after failed attempts at one job
)
