// Package tenant owns who a request belongs to: the tenant ID with the one constructor that validates it, the
// limits that hold for each tenant, and the tokens that open the doors.
//
// It promises that an ID that exists is safe as a path element of a bucket and of a local disk: it can't leave
// its prefix, can't collide with another after case folding of reserved names, and never holds a separator.
package tenant

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxIDLength is the most bytes that a tenant ID may have.
const MaxIDLength = 150

// ErrInvalidID is wrapped by every error of Parse and ParseMany.
var ErrInvalidID = errors.New("invalid tenant ID")

// Anonymous is the tenant of requests that name none.
var Anonymous = ID{name: "anonymous"}

// ID names a tenant. The zero value is no tenant; every other value came out of Parse and is valid.
type ID struct{ name string }

// String is the name as the client sent it.
func (id ID) String() string { return id.name }

// IsZero tells whether the ID names no tenant.
func (id ID) IsZero() bool { return id.name == "" }

// reserved are names that mean something else in a bucket, here or in the layouts that we can read.
var reserved = []string{".", "..", "__markers__", "user-index.json.gz", "bucket-index.json.gz", "varve"}

// Parse makes an ID of a name: 1 to 150 characters of A–Z, a–z, 0–9, '_', '.' and '-', not ending in a dot and
// not a reserved name. Errors wrap ErrInvalidID and quote the name.
func Parse(name string) (ID, error) {
	switch {
	case name == "":
		return ID{}, fmt.Errorf("%w: it is empty", ErrInvalidID)
	case len(name) > MaxIDLength:
		return ID{}, fmt.Errorf("%w: %d characters, at most %d are allowed", ErrInvalidID, len(name), MaxIDLength)
	case slices.Contains(reserved, strings.ToLower(name)):
		return ID{}, fmt.Errorf("%w: %q is reserved", ErrInvalidID, name)
	case strings.HasSuffix(name, "."):
		return ID{}, fmt.Errorf("%w: %q ends in a dot", ErrInvalidID, name)
	}
	for _, r := range name {
		if !allowed(r) {
			return ID{}, fmt.Errorf("%w: %q holds %q; allowed are letters, digits, '_', '.' and '-'", ErrInvalidID, name, r)
		}
	}
	return ID{name: name}, nil
}

func allowed(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '.' || r == '-'
}

// MaxFederated is the most tenants that one read may name.
const MaxFederated = 64

// ParseMany makes the IDs of a read over several tenants, "a|b", sorted and without repetition.
func ParseMany(names string) ([]ID, error) {
	parts := strings.Split(names, "|")
	if len(parts) > MaxFederated {
		return nil, fmt.Errorf("%w: %d tenants in one read, at most %d are allowed", ErrInvalidID, len(parts), MaxFederated)
	}
	ids := make([]ID, 0, len(parts))
	for _, p := range parts {
		id, err := Parse(p)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b ID) int { return strings.Compare(a.name, b.name) })
	return slices.Compact(ids), nil
}
