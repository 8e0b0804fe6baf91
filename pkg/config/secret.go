package config

import (
	"errors"
	"fmt"
	"log/slog"
)

const mask = "***"

// Secret is a string that prints as *** however it is printed, logged or
// marshalled, and as nothing if it is empty. Only Reveal gives it away.
type Secret struct {
	_     [0]func() // no ==: it would compare pointers
	value *string   // a pointer: fmt prints fields of unexported fields without asking them
}

// NewSecret wraps value.
func NewSecret(value string) Secret { return Secret{value: &value} }

// Reveal returns the secret itself.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Equal reports whether two secrets are the same, for tests; not in constant time.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

// String returns the mask.
func (s Secret) String() string {
	if s.Reveal() == "" {
		return ""
	}
	return mask
}

// Format writes the mask for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, s.String()) }

// LogValue returns the mask.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns the mask: for JSON too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML returns the mask.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// UnmarshalText takes text as the secret; the mask itself is refused, since it
// only comes from a printed configuration.
func (s *Secret) UnmarshalText(text []byte) error {
	if string(text) == mask {
		return errors.New("is the mask that stands for a secret, not a secret")
	}
	*s = NewSecret(string(text))
	return nil
}
