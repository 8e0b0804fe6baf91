package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Validator is what a section may implement, on the value or on the pointer.
// Validate reports everything that is wrong at once (errors.Join), best as
// [FieldError] with names relative to the section: Load completes them.
type Validator interface {
	Validate() error
}

// FieldError says that a field has a value that is not allowed.
type FieldError struct {
	Field   string // the option's name, relative to the section that reports it
	Value   any
	Allowed string // what would be allowed: "from 10s to 1d"

	origin string
}

func (e *FieldError) Error() string {
	origin := ""
	if e.origin != "" {
		origin = " (" + e.origin + ")"
	}
	return fmt.Sprintf("%s is %s%s, must be %s", e.Field, quote(e.Value), origin, e.Allowed)
}

func quote(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprint(v)
}

// Invalid returns a FieldError: Invalid("dir", c.Dir, "an absolute path").
func Invalid(field string, value any, allowed string) error {
	return &FieldError{Field: field, Value: value, Allowed: allowed}
}

// Between returns nil if low ≤ value ≤ high, else a FieldError.
func Between[T cmp.Ordered](field string, value, low, high T) error {
	if value >= low && value <= high { // so that NaN is refused
		return nil
	}
	return Invalid(field, value, fmt.Sprintf("from %v to %v", low, high))
}

// AtLeast returns nil if value ≥ low, else a FieldError.
func AtLeast[T cmp.Ordered](field string, value, low T) error {
	if value >= low {
		return nil
	}
	return Invalid(field, value, fmt.Sprintf("at least %v", low))
}

// OneOf returns nil if value is one of allowed, else a FieldError.
func OneOf(field, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return Invalid(field, value, "one of "+strings.Join(allowed, ", "))
}

func (l *Loaded) validate() []error {
	var errs []error
	for _, s := range l.tree.sections {
		v, ok := reflect.TypeAssert[Validator](s.value.Addr())
		if !ok {
			continue
		}
		for _, err := range flatten(v.Validate()) {
			errs = append(errs, l.complete(s.name, err))
		}
	}
	return errs
}

// complete gives an error of a section the option's full name and origin.
func (l *Loaded) complete(section string, err error) error {
	var field *FieldError
	if !errors.As(err, &field) {
		if section == "" {
			return err
		}
		return fmt.Errorf("%s: %w", section, err)
	}
	name := join(section, field.Field)
	return &FieldError{Field: name, Value: field.Value, Allowed: field.Allowed, origin: l.originOf(name)}
}

func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

func (l *Loaded) originOf(name string) string {
	if origin, ok := l.origin[name]; ok {
		return origin
	}
	return "default"
}
