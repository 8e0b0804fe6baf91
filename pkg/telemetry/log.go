package telemetry

import (
	"errors"
	"io"
	"log/slog"

	"github.com/varve-io/varve/pkg/config"
)

// Config is the section of options about logs. Tracing has none of ours: it
// follows the standard OTEL_* variables.
type Config struct {
	Level  string `yaml:"level" help:"least severe messages to log: debug, info, warn or error"`
	Format string `yaml:"format" help:"how messages are written: text or json"`
}

// Default returns the section's defaults.
func Default() Config { return Config{Level: "info", Format: "text"} }

// Validate reports what is not allowed.
func (c Config) Validate() error {
	return errors.Join(
		config.OneOf("level", c.Level, "debug", "info", "warn", "error"),
		config.OneOf("format", c.Format, "text", "json"),
	)
}

// NewLogger returns a logger that writes to w, one line a message. The
// configuration must be valid.
func NewLogger(c Config, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := errors.Join(c.Validate(), level.UnmarshalText([]byte(c.Level))); err != nil {
		return nil, err
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return slog.New(slog.NewTextHandler(w, opts)), nil
}
