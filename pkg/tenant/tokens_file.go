package tenant

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/varve-io/varve/pkg/config"
)

// tokenEntry is a token as the file has it.
type tokenEntry struct {
	Name    string            `yaml:"name"`
	SHA256  config.StringList `yaml:"sha256"`
	Scopes  config.StringList `yaml:"scopes"`
	Tenants config.StringList `yaml:"tenants"`
	Expires expiry            `yaml:"expires"`
}

// Validate reports what is missing or can't be. It never repeats what should
// have been a hash: it may be the secret itself.
func (e *tokenEntry) Validate() error {
	var errs []error
	if e.Name == "" {
		errs = append(errs, config.Invalid("name", e.Name, "set"))
	}
	for _, h := range e.SHA256 {
		if raw, err := hex.DecodeString(h); err != nil || len(raw) != sha256.Size {
			errs = append(errs, fmt.Errorf("sha256 of token %q must be 64 hexadecimal digits each", e.Name))
		}
	}
	if len(e.SHA256) == 0 || len(e.SHA256) > 2 {
		errs = append(errs, config.Invalid("number of sha256 of token "+e.Name, len(e.SHA256), "1, or 2 while rotating"))
	}
	if len(e.Scopes) == 0 {
		errs = append(errs, config.Invalid("scopes", "", "set"))
	}
	for _, s := range e.Scopes {
		errs = append(errs, config.OneOf("scopes", s,
			string(ScopeWrite), string(ScopeRead), string(ScopeRules), string(ScopeCost), string(ScopeAdmin)))
	}
	if len(e.Tenants) == 0 {
		errs = append(errs, config.Invalid("tenants", "", `set, to names or to "*"`))
	}
	if slices.Contains(e.Tenants, "*") {
		if len(e.Tenants) > 1 {
			errs = append(errs, config.Invalid("tenants", e.Tenants.String(), `names, or "*" alone`))
		}
		return errors.Join(errs...)
	}
	for _, name := range e.Tenants {
		_, err := Parse(name)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// token is what a valid entry means.
func (e *tokenEntry) token() *token {
	t := &token{name: e.Name, expires: time.Time(e.Expires)}
	for _, s := range e.Scopes {
		t.scopes = append(t.scopes, Scope(s))
	}
	for _, name := range e.Tenants {
		if id, err := Parse(name); err == nil {
			t.tenants = append(t.tenants, id)
		} else {
			t.allTenants = true // the one name that Validate lets through
		}
	}
	return t
}

// expiry is a date or a time of RFC 3339.
type expiry time.Time

// UnmarshalText parses it.
func (e *expiry) UnmarshalText(text []byte) error {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, string(text)); err == nil {
			*e = expiry(t)
			return nil
		}
	}
	return fmt.Errorf("%q is neither a date (2027-06-30) nor RFC 3339 (2027-06-30T12:00:00Z)", text)
}

func parseTokens(file string, data []byte) (*tokenSet, error) {
	set := &tokenSet{byPrefix: map[uint64][]secret{}}
	top, err := config.ParseYAML(file, data)
	if err != nil {
		return nil, err
	}
	sections, err := entries(file, top)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, s := range sections {
		if s.key.Value != "tokens" || s.value.Kind != yaml.SequenceNode {
			errs = append(errs, fmt.Errorf("%s:%d: must be a list under tokens", file, s.key.Line))
			continue
		}
		names := map[string]bool{}
		for _, node := range s.value.Content {
			errs = append(errs, set.decode(file, node, names))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return set, nil
}

// decode adds one token, whose name must not be in names yet.
func (s *tokenSet) decode(file string, node *yaml.Node, names map[string]bool) error {
	var e tokenEntry
	if err := config.DecodeYAML(file, node, &e); err != nil {
		return fmt.Errorf("%s:%d: token: %w", file, node.Line, err)
	}
	if names[e.Name] {
		return fmt.Errorf("%s:%d: token %q is there twice", file, node.Line, e.Name)
	}
	names[e.Name] = true
	t := e.token()
	for _, text := range e.SHA256 {
		var hash [sha256.Size]byte
		if _, err := hex.Decode(hash[:], []byte(strings.ToLower(text))); err != nil {
			return fmt.Errorf("%s:%d: token %q: %w", file, node.Line, e.Name, err)
		}
		if s.has(hash) {
			return fmt.Errorf("%s:%d: token %q has a sha256 that is already in the file", file, node.Line, e.Name)
		}
		s.byPrefix[prefix(hash)] = append(s.byPrefix[prefix(hash)], secret{hash, t})
	}
	return nil
}

func (s *tokenSet) has(hash [sha256.Size]byte) bool {
	return slices.ContainsFunc(s.byPrefix[prefix(hash)], func(o secret) bool { return o.hash == hash })
}
