package cube

import (
	"cmp"
	"path"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/tenant"
)

// Manifest says what a tenant's cubes have: which objects are to be read, and for which hours, days and months they are good.
// docs/formats/cube.md has the bytes. A Manifest that is shared must not be changed.
type Manifest struct {
	Tenant tenant.ID
	// Generation grows with every write.
	Generation uint64
	// Updated is when it was written, by the writer's clock.
	Updated time.Time
	// Objects are to be read; there is one for each table of a level and time.
	Objects []Object
	// Days have at least one hour that was counted; they are in order.
	Days []Day
	// Months are the starts of those that have a roll-up, in order.
	Months []int64
	// Removed are objects to be deleted.
	Removed []Removed
}

// Object is one file. Times are Unix milliseconds.
type Object struct {
	Level Level `json:"level"`
	// [Start, End) is the day, month or year whose hours, days or months it has.
	Start int64  `json:"start"`
	End   int64  `json:"end"`
	Table Table  `json:"table"`
	Name  string `json:"name"` // below <tenant>/varve/cost/
	Size  int64  `json:"size"`
	Rows  int64  `json:"rows"`
}

// Day is what is known of the hours of a UTC day.
type Day struct {
	Start int64 `json:"start"`
	// Closed hours were counted once all of their samples were expected to be there.
	Closed HourSet `json:"closed"`
	// Dirty hours are closed ones for which samples came late; they are counted again.
	Dirty HourSet `json:"dirty,omitempty"`
	// Frozen hours are closed ones whose blocks retention deletes; they are never counted again, and never dirty.
	Frozen HourSet `json:"frozen,omitempty"`
	// RolledUp tells that the day's roll-up has all of its hours as they are.
	RolledUp bool `json:"rolled_up,omitempty"`
	// Sources are the blocks that were there when hours were counted, those that they came of, and merges of these.
	Sources []Known `json:"sources,omitempty"`
	// Settings are what hours were counted with.
	Settings []Applied `json:"settings,omitempty"`
}

// Known is a block that is no news to some hours.
type Known struct {
	Block ulid.ULID `json:"block"`
	Hours HourSet   `json:"hours"`
}

// Settings decide, beside the samples, which rows an hour has.
type Settings struct {
	ClusterLabel string   `json:"cluster_label"`
	Labels       []string `json:"labels,omitempty"` // Kubernetes names, sorted
}

// Equal compares.
func (s Settings) Equal(o Settings) bool {
	return s.ClusterLabel == o.ClusterLabel && slices.Equal(s.Labels, o.Labels)
}

// Applied are the hours that were counted with some settings.
type Applied struct {
	Settings
	Hours HourSet `json:"hours"`
}

// Removed is an object that is not read any more, since At.
type Removed struct {
	Name string `json:"name"`
	At   int64  `json:"at"`
}

// Has tells whether the hour, day or month that begins at start can be read from the cube: it is closed, and nothing came late.
func (m *Manifest) Has(level Level, start int64) bool {
	switch level {
	case HourLevel:
		d := m.Day(start)
		return d != nil && start%hourLength == 0 && d.Closed&^d.Dirty&hourBit(start) != 0
	case DayLevel:
		d := m.Day(start)
		return d != nil && d.Start == start && d.RolledUp
	case MonthLevel:
		_, ok := slices.BinarySearch(m.Months, start)
		return ok
	}
	return false
}

// Day is the one of a time; nil if none of its hours was counted.
func (m *Manifest) Day(at int64) *Day {
	i, ok := slices.BinarySearchFunc(m.Days, dayOf(at), func(d Day, start int64) int { return cmp.Compare(d.Start, start) })
	if !ok {
		return nil
	}
	return &m.Days[i]
}

// SettingsOf are those that the hour was counted with; false if it wasn't.
func (m *Manifest) SettingsOf(hour int64) (Settings, bool) {
	if d := m.Day(hour); d != nil {
		for _, a := range d.Settings {
			if a.Hours&hourBit(hour) != 0 {
				return a.Settings, true
			}
		}
	}
	return Settings{}, false
}

// Files are the tables of the file that has the period of a time: the day of an hour, the month of a day, the year of a month. Open makes
// a source of an object in the bucket. There are none if the file was never written; it may lack the period: see Has.
func (m *Manifest) Files(level Level, at int64, open func(name string, size int64) Source) Files {
	start, _ := fileOf(level, at)
	files := Files{}
	for _, o := range m.Objects {
		if o.Level == level && o.Start == start {
			files[o.Table] = open(m.Path(o.Name), o.Size)
		}
	}
	return files
}

// Path is the object's name in the bucket.
func (m *Manifest) Path(name string) string { return path.Join(directory(m.Tenant), name) }

func directory(id tenant.ID) string { return id.String() + "/varve/cost" }
