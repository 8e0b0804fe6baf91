package compactor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

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

// days are those that have blocks and whose costs are kept, the newest first; but before them, the oldest first, those that retention is about to take.
func (j *costJob) days() []int64 {
	set := map[int64]bool{}
	last := floor(j.now.UnixMilli(), dayWidth)
	for _, b := range j.cat.Blocks {
		for day := floor(b.MinTime, dayWidth); day <= last && day < b.MaxTime; day += dayWidth {
			set[day] = true
		}
	}
	maps.DeleteFunc(set, func(day int64, _ bool) bool { _, end := cube.MonthOf(day); return end <= j.costsSince() })
	days := slices.Sorted(maps.Keys(set))
	n := 0
	for n < len(days) && j.frozen(days[n]) {
		n++
	}
	slices.Reverse(days[n:])
	return days
}

// mark makes hours dirty that a block came for after they were counted, or that were counted with other settings. A merge of blocks that the hour
// knows is no news, nor is one that doesn't reach it.
func (j *costJob) mark(ctx context.Context, day int64) (isChanged bool, err error) {
	d := j.manifest.Day(day)
	if d == nil || !j.news {
		return false, nil
	}
	around := j.around(day)
	for hour := day; hour < day+dayWidth; hour += hourWidth {
		s, ok := j.manifest.SettingsOf(hour)
		if !ok || d.Has(d.Frozen|d.Dirty, hour) || hour-join.Margin < j.oldest() {
			continue
		}
		isLate := !s.Equal(j.settings)
		if !isLate && slices.ContainsFunc(around, func(b catalog.Block) bool { return !d.Knows(hour, b.ID) }) {
			met, late, err := j.meet(ctx, d, hour, around)
			if err != nil {
				return isChanged, err
			}
			isChanged, isLate = isChanged || met, late
		}
		if isLate {
			j.manifest.Late(hour)
			isChanged = true
		}
	}
	return isChanged, nil
}

// meet makes an hour know the blocks that bring it nothing; isMet tells that there are such. isLate tells that there is another.
func (j *costJob) meet(ctx context.Context, d *cube.Day, hour int64, around []catalog.Block) (isMet, isLate bool, err error) {
	reaches := func(b catalog.Block) bool { return b.Overlaps(hour-join.Margin, hour+hourWidth+join.Margin-1) }
	var others []catalog.Block
	for _, b := range around {
		sources, err := j.sources(ctx, b)
		if err != nil {
			return isMet, false, err
		}
		isMerged := slices.ContainsFunc(sources, func(s ulid.ULID) bool { return s != b.ID })
		if !d.Knows(hour, b.ID) && (isMerged || reaches(b)) {
			others = append(others, b)
			continue
		}
		isMet = d.Know(hour, b.ID) || isMet
		isMet = d.Know(hour, sources...) || isMet // forgotten, perhaps
	}
	for _, b := range others {
		sources, err := j.sources(ctx, b)
		switch {
		case err != nil:
			return isMet, false, err
		case d.Knows(hour, sources...):
			isMet = d.Know(hour, b.ID) || isMet
		case reaches(b):
			return isMet, true, nil
		}
	}
	return isMet, false, nil
}

// around are the blocks that hours of a day depend on, and all that these may be merged with: no merge has several days.
func (j *costJob) around(day int64) []catalog.Block {
	return j.cat.Overlapping(day-dayWidth, day+2*dayWidth-1)
}

// settled tells whether a day's blocks are expected to stay as they are: then it need not know any others.
func (j *costJob) settled(day int64) bool {
	before := j.now.UnixMilli() - 2*j.rule.quiet
	return max(day+2*dayWidth, youngest(j.around(day))) < before
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

// costsSince is the time of the oldest costs that are kept; a month goes when all of it is older.
func (j *costJob) costsSince() int64 {
	if j.limits.CostRetention <= 0 {
		return -1 << 62
	}
	return j.now.Add(-time.Duration(j.limits.CostRetention)).UnixMilli()
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

// account notes how many hours wait to be counted, and since when any does.
func (j *costJob) account() {
	uncounted, dirty := 0, 0
	for _, day := range j.days() {
		d := j.manifest.Day(day)
		if d == nil && !slices.ContainsFunc(j.cat.Overlapping(day, day+dayWidth-1), func(b catalog.Block) bool { return !j.costless(b.ID) }) {
			continue
		}
		for _, hour := range j.due(day) {
			if d != nil && d.Has(d.Dirty, hour) {
				dirty++
			} else {
				uncounted++
			}
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.state(j.id)
	s.costUncounted, s.costDirty = uncounted, dirty
	switch {
	case uncounted+dirty == 0:
		s.costWaits = time.Time{}
	case s.costWaits.IsZero():
		s.costWaits = j.now
	}
}
