package cost

import (
	"slices"
	"strconv"
)

// Subject is whose an item is. Fields that a roll-up drops, and those that a kind doesn't have, are empty: an idle part has a cluster only.
type Subject struct {
	Owner
	Container string
}

// ClassKind is what a Class is of.
type ClassKind string

// Kinds of classes.
const (
	NodeClass         ClassKind = "node"
	VolumeClass                 = ClassKind(VolumeAsset)
	LoadBalancerClass           = ClassKind(LoadBalancerAsset)
	ClusterClass      ClassKind = "cluster" // what is paid for a cluster by the hour
	NowhereClass      ClassKind = "nowhere" // of workloads on nodes that nobody knows
)

// Class is all that a price depends on. Quantities of one class in the time of one list of prices are added before they are priced.
type Class struct {
	Kind         ClassKind
	Cluster      string
	Type         string       // the instance type, or a volume's storage class
	Traffic      TrafficClass // of bytes that have one: they are where the node is
	Region, Zone string
	Spot         bool
	Labels       Labels
	Size         Size // of a node
}

// Size is a node's capacity.
type Size struct {
	CPU int64 // cores in thousandths
	RAM int64 // bytes
	GPU int64 // GPUs in thousandths
}

// Place is where an item was: a class, and the name and provider ID of a node, or the name of an asset. Roll-ups have no names of nodes.
type Place struct {
	Class
	Name, Provider string
}

// Names number subjects and places, so that items are small and are grouped by numbers. Numbers depend on the order in which names come, and mean
// nothing outside. Not safe for concurrent use.
type Names struct {
	subjects table[Subject]
	places   table[Place]
	key      []byte
}

type table[T any] struct {
	numbers map[string]uint32
	values  []T
}

// NewNames has no names yet.
func NewNames() *Names {
	return &Names{
		subjects: table[Subject]{numbers: map[string]uint32{}},
		places:   table[Place]{numbers: map[string]uint32{}},
	}
}

// Subject is the number of s. It keeps the strings of s.
func (n *Names) Subject(s Subject) uint32 {
	n.key = s.appendKey(n.key[:0])
	return n.subjects.number(n.key, s)
}

// Place is the number of p. It keeps the strings of p.
func (n *Names) Place(p Place) uint32 {
	n.key = p.appendKey(n.key[:0])
	return n.places.number(n.key, p)
}

// SubjectOf is the subject that has the number.
func (n *Names) SubjectOf(number uint32) *Subject { return &n.subjects.values[number] }

// PlaceOf is the place that has the number.
func (n *Names) PlaceOf(number uint32) *Place { return &n.places.values[number] }

func (t *table[T]) number(key []byte, value T) uint32 {
	if i, ok := t.numbers[string(key)]; ok {
		return i
	}
	i := uint32(len(t.values))
	t.numbers[string(key)] = i
	t.values = append(t.values, value)
	return i
}

// Keys are unequal where their things are, and sort as these do.
func (s *Subject) appendKey(b []byte) []byte {
	b = appendStrings(b, s.Cluster, s.Namespace, s.Controller.Kind, s.Controller.Name, s.Pod, s.UID, s.Container, s.QoS, s.Priority)
	return s.Labels.appendKey(b)
}

func (p *Place) appendKey(b []byte) []byte {
	b = p.Class.appendKey(b)
	return appendStrings(b, p.Name, p.Provider)
}

func (c *Class) appendKey(b []byte) []byte {
	b = appendStrings(b, string(c.Kind), c.Cluster, c.Type, string(c.Traffic), c.Region, c.Zone, strconv.FormatBool(c.Spot))
	for _, size := range []int64{c.Size.CPU, c.Size.RAM, c.Size.GPU} {
		for shift := 56; shift >= 0; shift -= 8 {
			b = append(b, byte(size>>shift))
		}
	}
	return c.Labels.appendKey(b)
}

func (l Labels) appendKey(b []byte) []byte {
	for _, label := range l {
		b = appendStrings(b, label.Name, label.Value)
	}
	return append(b, 0)
}

// appendStrings ends each string with 0 and writes a byte 0 or 1 within as two.
func appendStrings(b []byte, strings ...string) []byte {
	for _, s := range strings {
		for i := range len(s) {
			if s[i] <= 1 {
				b = append(b, 1)
			}
			b = append(b, s[i])
		}
		b = append(b, 0)
	}
	return b
}

// Get is the value of the label, or "".
func (l Labels) Get(name string) string {
	i, ok := slices.BinarySearchFunc(l, name, func(label Label, name string) int {
		switch {
		case label.Name < name:
			return -1
		case label.Name > name:
			return 1
		}
		return 0
	})
	if !ok {
		return ""
	}
	return l[i].Value
}
