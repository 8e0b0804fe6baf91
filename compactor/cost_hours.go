package compactor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/pkg/cost/join"
)

// shipped is what ingesters told the bucket: everything that was received before a time, Unix milliseconds, is in the catalogs that are read
// after this was.
type shipped struct {
	before int64
	isTold bool // false: nobody told
}

func (c *Compactor) shipped(ctx context.Context) (shipped, error) {
	at, ok, err := c.deps.Catalog.ShippedBefore(ctx)
	if err != nil {
		return shipped{}, fmt.Errorf("costs: %w", err)
	}
	return shipped{at.UnixMilli(), ok}, nil
}

// days are those that have blocks, the newest first; but before them, the oldest first, those that retention is about to take.
func (j *costJob) days() []int64 {
	set := map[int64]bool{}
	last := floor(j.now.UnixMilli(), dayWidth)
	for _, b := range j.cat.Blocks {
		for day := floor(b.MinTime, dayWidth); day <= last && day < b.MaxTime; day += dayWidth {
			set[day] = true
		}
	}
	days := slices.Sorted(maps.Keys(set))
	n := 0
	for n < len(days) && j.frozen(days[n]) {
		n++
	}
	slices.Reverse(days[n:])
	return days
}

// mark makes hours dirty that a block came for after they were counted, or that were counted with other settings. A merge of blocks that the hour
// knows is no news.
func (j *costJob) mark(ctx context.Context, day int64) (isChanged bool, err error) {
	d := j.manifest.Day(day)
	if d == nil || !j.news {
		return false, nil
	}
	for hour := day; hour < day+dayWidth; hour += hourWidth {
		s, ok := j.manifest.SettingsOf(hour)
		if !ok || d.Has(d.Frozen|d.Dirty, hour) || hour-join.Margin < j.oldest() {
			continue
		}
		isLate := !s.Equal(j.settings)
		for _, b := range j.cat.Overlapping(hour-join.Margin, hour+hourWidth+join.Margin) {
			if isLate || d.Knows(hour, b.ID) {
				continue
			}
			sources, err := j.sources(ctx, b)
			if err != nil {
				return isChanged, err
			}
			if isLate = !d.Knows(hour, sources...); !isLate {
				d.Know(hour, b.ID)
				isChanged = true
			}
		}
		if isLate {
			j.manifest.Late(hour)
			isChanged = true
		}
	}
	return isChanged, nil
}

// due are the hours that are to be counted now: closed ones that are not there or dirty, and whose samples are all still there.
func (j *costJob) due(day int64) []int64 {
	var due []int64
	for hour := day; hour < day+dayWidth; hour += hourWidth {
		if j.closed(hour) && !j.manifest.Has(cube.HourLevel, hour) && hour-join.Margin >= j.oldest() {
			due = append(due, hour)
		}
	}
	return due
}

// closed tells whether all samples of an hour are expected to be in blocks.
func (j *costJob) closed(hour int64) bool {
	end := hour + hourWidth
	last := end + join.Margin + (time.Duration(j.limits.PastWindow) + underway).Milliseconds() // when its last sample may have come
	since := j.now.UnixMilli() - last
	switch {
	case since >= silent.Milliseconds():
		return true
	case j.shipped.isTold:
		return j.shipped.before >= last
	}
	return since >= j.rule.settle && slices.ContainsFunc(j.cat.Blocks, func(b catalog.Block) bool { return b.MaxTime >= end })
}

// oldest is the time before which retention may have taken blocks.
func (j *costJob) oldest() int64 {
	if j.limits.Retention <= 0 {
		return -1 << 62
	}
	return j.now.Add(-time.Duration(j.limits.Retention)).UnixMilli()
}

// frozen tells whether retention is about to take blocks of an hour.
func (j *costJob) frozen(hour int64) bool {
	if j.limits.Retention <= 0 {
		return false
	}
	ahead := min(freezeAhead, time.Duration(j.limits.Retention)/4)
	return hour-join.Margin < j.oldest()+ahead.Milliseconds()
}

// freeze freezes an hour that is due to be.
func (j *costJob) freeze(hour int64) bool {
	d := j.manifest.Day(hour)
	if d == nil || !j.frozen(hour) {
		return false
	}
	if !j.manifest.Has(cube.HourLevel, hour) && hour-join.Margin >= j.oldest() {
		return false // it can still be counted again
	}
	before := d.Frozen
	j.manifest.Freeze(hour)
	return d.Frozen != before
}
