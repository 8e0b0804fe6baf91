package price

import (
	"slices"
	"strings"
)

// Match is what an asset must have: all fields, each with one of its patterns. An empty one matches all.
type Match []Field

// Field is one field and its patterns: exact values, or globs with * and ?.
type Field struct {
	Name     string
	Patterns []string
}

// Subject is what rules are matched against. Attribute is the value of cluster, instance_type, region, zone, spot (true or false), class (of a volume),
// direction (received or sent, of traffic; its class is one of TrafficClasses), or else of the label of that name; "" if there is none.
type Subject interface {
	Attribute(name string) string
}

// Classes of traffic, by where its other end is. Bytes of which nobody says that are unclassified.
const (
	Internet     = "internet"
	CrossRegion  = "cross_region" // of the cloud, not over the internet
	CrossZone    = "cross_zone"   // of the same region
	InZone       = "in_zone"
	Unclassified = "unclassified"
)

// TrafficClasses are all of them.
func TrafficClasses() []string {
	return []string{Internet, CrossRegion, CrossZone, InZone, Unclassified}
}

// names tells whether the match asks for the field.
func (m Match) names(field string) bool {
	return slices.ContainsFunc(m, func(f Field) bool { return f.Name == field })
}

func (m Match) of(s Subject) bool {
	for _, f := range m {
		if !f.of(s.Attribute(f.Name)) {
			return false
		}
	}
	return true
}

func (f *Field) of(value string) bool {
	for _, p := range f.Patterns {
		if p == value {
			return true
		}
		if strings.ContainsAny(p, "*?") && glob(p, value) {
			return true
		}
	}
	return false
}

// glob matches * with any string and ? with any character. Time is at most len(pattern) × len(value).
func glob(pattern, value string) bool {
	var p, v int
	star, mark := -1, 0
	for v < len(value) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, v
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == value[v]):
			p++
			v++
		case star >= 0:
			mark++
			p, v = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// Label is a name as kube-state-metrics writes it: what isn't a letter, digit or underscore is an underscore.
func Label(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '_'
	}, name)
}
