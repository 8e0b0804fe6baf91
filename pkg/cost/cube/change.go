package cube

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// Counted notes that an hour was counted, with the rows that the objects have: it is closed and not dirty. Roll-ups of its day and month are not
// good any more. Known are the blocks that
// the catalog had around its day, and what they came of.
func (m *Manifest) Counted(hour int64, s Settings, known []ulid.ULID) {
	d, bit := m.day(hour), hourBit(hour)
	d.Closed |= bit
	d.Dirty &^= bit
	for i := range d.Sources {
		d.Sources[i].Hours &^= bit
	}
	d.Know(hour, known...)
	d.Sources = slices.DeleteFunc(d.Sources, func(k Known) bool { return k.Hours == 0 })
	d.apply(bit, s)
	m.stale(d)
}

// Late notes that samples came after the hour was counted, or that it is to have other rows. A frozen hour stays as it is.
func (m *Manifest) Late(hour int64) {
	d := m.Day(hour)
	if d == nil || d.Closed&^d.Frozen&hourBit(hour) == 0 {
		return
	}
	d.Dirty |= hourBit(hour)
	m.stale(d)
}

// Freeze keeps a counted hour as it is from now on. A day that is frozen as a whole forgets its sources.
func (m *Manifest) Freeze(hour int64) {
	d := m.Day(hour)
	if d == nil || d.Closed&hourBit(hour) == 0 {
		return
	}
	d.Frozen |= hourBit(hour)
	d.Dirty &^= d.Frozen
	if d.Frozen == allHours {
		d.Sources = nil
	}
}

// Complete tells whether all hours of a day can be read.
func (d *Day) Complete() bool { return d.Closed == allHours && d.Dirty == 0 }

// RolledUp notes that the roll-up of a day or month has all hours as they are.
func (m *Manifest) RolledUp(level Level, start int64) {
	switch level {
	case DayLevel:
		m.Day(start).RolledUp = true
	case MonthLevel:
		if i, ok := slices.BinarySearch(m.Months, start); !ok {
			m.Months = slices.Insert(m.Months, i, start)
		}
	}
}

// Has tells whether an hour is in a set of this day's.
func (d *Day) Has(s HourSet, hour int64) bool { return s&hourBit(hour) != 0 }

// Knows tells whether all of these blocks were there when the hour was counted, or came of such.
func (d *Day) Knows(hour int64, blocks ...ulid.ULID) bool {
	for _, b := range blocks {
		i, ok := slices.BinarySearchFunc(d.Sources, b, compareKnown)
		if !ok || !d.Has(d.Sources[i].Hours, hour) {
			return false
		}
	}
	return true
}

// Know notes that blocks have nothing that the hour was counted without. isNew tells that it was not known of all.
func (d *Day) Know(hour int64, blocks ...ulid.ULID) (isNew bool) {
	for _, b := range blocks {
		i, ok := slices.BinarySearchFunc(d.Sources, b, compareKnown)
		if !ok {
			d.Sources = slices.Insert(d.Sources, i, Known{Block: b})
		}
		isNew = isNew || !d.Has(d.Sources[i].Hours, hour)
		d.Sources[i].Hours |= hourBit(hour)
	}
	return isNew
}

// Forget lets go of blocks. One that comes again, or a merge of them that comes while no block is there that had them, is news.
func (d *Day) Forget(isGone func(ulid.ULID) bool) (isChanged bool) {
	before := len(d.Sources)
	d.Sources = slices.DeleteFunc(d.Sources, func(k Known) bool { return isGone(k.Block) })
	return len(d.Sources) != before
}

// Expire lets go of the months that ended by a time, with their hours and days, and of the years that did.
func (m *Manifest) Expire(before int64, now time.Time) (isChanged bool) {
	isOver := func(at int64) bool { _, end := MonthOf(at); return end <= before }
	days, months, objects := len(m.Days), len(m.Months), len(m.Objects)
	m.Days = slices.DeleteFunc(m.Days, func(d Day) bool { return isOver(d.Start) })
	m.Months = slices.DeleteFunc(m.Months, isOver)
	m.Objects = slices.DeleteFunc(m.Objects, func(o Object) bool {
		if !isOver(o.End - 1) {
			return false
		}
		m.Removed = append(m.Removed, Removed{o.Name, now.UnixMilli()})
		return true
	})
	return len(m.Days) != days || len(m.Months) != months || len(m.Objects) != objects
}

// Put makes an object the one to be read of its level, time and table; the one before is to be deleted.
func (m *Manifest) Put(o Object, now time.Time) {
	o.Start, o.End = fileOf(o.Level, o.Start)
	m.Removed = slices.DeleteFunc(m.Removed, func(r Removed) bool { return r.Name == o.Name })
	i := slices.IndexFunc(m.Objects, func(p Object) bool { return p.Level == o.Level && p.Start == o.Start && p.Table == o.Table })
	if i < 0 {
		m.Objects = append(m.Objects, o)
		slices.SortFunc(m.Objects, func(a, b Object) int {
			return cmp.Or(strings.Compare(string(a.Level), string(b.Level)), cmp.Compare(a.Start, b.Start), strings.Compare(string(a.Table), string(b.Table)))
		})
		return
	}
	if old := m.Objects[i].Name; old != o.Name {
		m.Removed = append(m.Removed, Removed{old, now.UnixMilli()})
	}
	m.Objects[i] = o
}

// day is the one of a time, made if there is none.
func (m *Manifest) day(at int64) *Day {
	start := dayOf(at)
	i, ok := slices.BinarySearchFunc(m.Days, start, func(d Day, start int64) int { return cmp.Compare(d.Start, start) })
	if !ok {
		m.Days = slices.Insert(m.Days, i, Day{Start: start})
	}
	return &m.Days[i]
}

// stale lets go of the roll-ups that have the day.
func (m *Manifest) stale(d *Day) {
	d.RolledUp = false
	month, _ := MonthOf(d.Start)
	if i, ok := slices.BinarySearch(m.Months, month); ok {
		m.Months = slices.Delete(m.Months, i, i+1)
	}
}

func compareKnown(k Known, b ulid.ULID) int { return k.Block.Compare(b) }

func (d *Day) apply(bit HourSet, s Settings) {
	for i := range d.Settings {
		d.Settings[i].Hours &^= bit
	}
	d.Settings = slices.DeleteFunc(d.Settings, func(a Applied) bool { return a.Hours == 0 })
	for i := range d.Settings {
		if d.Settings[i].Equal(s) {
			d.Settings[i].Hours |= bit
			return
		}
	}
	d.Settings = append(d.Settings, Applied{s, bit})
}
