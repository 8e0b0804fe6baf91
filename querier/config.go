package querier

import (
	"errors"
	"fmt"
	"time"
)

// Config is the section `querier` of the configuration.
type Config struct {
	Timeout       time.Duration `yaml:"timeout" help:"longest time that one read may take; a tenant's own limit may be shorter"`
	MaxConcurrent int           `yaml:"max_concurrent" help:"most reads that run at once; others wait for their turn within their timeout"`
	OpenBlocks    int           `yaml:"open_blocks" help:"most blocks that are kept open for the next read"`
}

// Default is the configuration of a healthy installation.
func Default() Config {
	return Config{Timeout: 2 * time.Minute, MaxConcurrent: 20, OpenBlocks: 1024}
}

// Validate reports everything that is wrong, by field, value and allowed range.
func (c Config) Validate() error {
	var errs []error
	if c.Timeout < time.Millisecond || c.Timeout > 24*time.Hour {
		errs = append(errs, fmt.Errorf("timeout: %s is not between 1ms and 24h", c.Timeout))
	}
	if c.MaxConcurrent < 1 || c.MaxConcurrent > 10_000 {
		errs = append(errs, fmt.Errorf("max_concurrent: %d is not between 1 and 10000", c.MaxConcurrent))
	}
	if c.OpenBlocks < 1 || c.OpenBlocks > 1_000_000 {
		errs = append(errs, fmt.Errorf("open_blocks: %d is not between 1 and 1000000", c.OpenBlocks))
	}
	return errors.Join(errs...)
}
