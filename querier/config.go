package querier

import (
	"errors"
	"time"

	"github.com/varve-io/varve/pkg/config"
)

// Config is the section `querier` of the configuration.
type Config struct {
	Timeout       config.Duration `yaml:"timeout" help:"longest time that one read may take; a tenant's own limit may be shorter"`
	MaxConcurrent int             `yaml:"max_concurrent" help:"most reads that run at once; others wait for their turn within their timeout"`
	OpenBlocks    int             `yaml:"open_blocks" help:"most blocks that are kept open for the next read"`
}

// Default is the configuration of a healthy installation.
func Default() Config {
	return Config{Timeout: config.Duration(2 * time.Minute), MaxConcurrent: 20, OpenBlocks: 1024}
}

// Validate reports everything that is wrong, by field, value and allowed range.
func (c Config) Validate() error {
	return errors.Join(
		config.Between("timeout", c.Timeout, config.Duration(time.Millisecond), config.Duration(24*time.Hour)),
		config.Between("max_concurrent", c.MaxConcurrent, 1, 10_000),
		config.Between("open_blocks", c.OpenBlocks, 1, 1_000_000),
	)
}
