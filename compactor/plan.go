package compactor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/catalog"
)

// The rule. Time is divided into aligned ranges of 2, 12 and 24 hours. A range is settled once it ended so long ago
// that all ingesters have shipped their blocks of it. In a settled range, blocks that lie wholly in it are merged:
// first those of a 2-hour range (replicas and partitions), then those of 12 hours, then of a day; a range waits for
// merges within it. The result has the range of its sources, which may be less than the aligned one.
//
// Late samples come in small blocks. These join a larger block only once they weigh an eighth of it together; until
// then they are merged among themselves. That bounds the rewriting: a merge reads at most 9 bytes for each byte that
// ends up in a block at least twice the size of its own, or that was a duplicate. So that small ones don't stay for
// ever, a day is merged whole once no block of it is younger than quiet; a late block thus costs at most one rewrite
// of its day, and at most one per quiet time.
//
// A block that crosses the end of a day (Prometheus makes such) is first cut into days. Every merge leaves fewer
// blocks, every cut fewer blocks that cross, so planning and executing ends.

// widths are the widths of ranges, in ascending order; each divides the next.
func widths() []int64 {
	return []int64{(2 * time.Hour).Milliseconds(), (12 * time.Hour).Milliseconds(), dayWidth}
}

const dayWidth = int64(24 * time.Hour / time.Millisecond)

// rule is what the plan depends on beside the blocks. Times are milliseconds.
type rule struct {
	settle, quiet int64
	maxBytes      int64
	maxBlocks     int
}

func newRule(cfg Config) rule {
	settle := time.Duration(cfg.Settle).Milliseconds()
	return rule{settle: settle, quiet: quietSettles * settle, maxBytes: maxJobBytes, maxBlocks: maxJobBlocks}
}

// job is one merge: its sources are replaced by the result.
type job struct {
	sources []catalog.Block
	// ranges are those of the results; none means one result with the range of all sources.
	ranges []block.TimeRange
	// width is that of the aligned range that the sources lie in, 0 for a block that is cut into days.
	width int64
	// ready is since when the job could be done, Unix milliseconds.
	ready int64
}

// key names the job: equal sources make an equal key.
func (j job) key() string {
	var b strings.Builder
	for _, s := range j.sources {
		b.Write(s.ID[:])
	}
	return b.String()
}

// String says what the job does.
func (j job) String() string {
	if j.width == 0 {
		return fmt.Sprintf("cut block %s into days", j.sources[0].ID)
	}
	return fmt.Sprintf("merge %d blocks of %s from %s", len(j.sources), time.Duration(j.width)*time.Millisecond,
		time.UnixMilli(floor(j.sources[0].MinTime, j.width)).UTC().Format(time.RFC3339))
}

// bytes are those of all sources.
func (j job) bytes() int64 {
	n := int64(0)
	for _, s := range j.sources {
		n += s.Bytes
	}
	return n
}

// plan gives the jobs that can be done now, small ranges first; no block is in two of them. blocks are those of one
// tenant's catalog.
func plan(blocks []catalog.Block, now int64, r rule) []job {
	var jobs []job
	var whole []catalog.Block
	for _, b := range blocks {
		switch {
		case !usable(b, r):
		case floor(b.MinTime, dayWidth) == floor(last(b), dayWidth):
			whole = append(whole, b)
		case floor(last(b), dayWidth)+dayWidth+r.settle <= now:
			jobs = append(jobs, cut(b, r))
		}
	}
	busy := map[ulid.ULID]bool{}
	for _, width := range widths() {
		for _, g := range groups(whole, width) {
			end := floor(g[0].MinTime, width) + width
			if end+r.settle > now || slices.ContainsFunc(g, func(b catalog.Block) bool { return busy[b.ID] }) {
				continue
			}
			for _, bin := range bins(g, r) {
				j := job{sources: pick(bin, width, now, r), width: width}
				if len(j.sources) < 2 {
					continue
				}
				j.ready = max(end+r.settle, youngest(j.sources))
				jobs = append(jobs, j)
				for _, b := range j.sources {
					busy[b.ID] = true
				}
			}
		}
	}
	return jobs
}

// usable tells whether a block may be compacted. One with labels outside of its series, as Thanos keeps them, is left
// as it is: a merge would lose them. Those whose names begin with "__" only say which process wrote the block.
func usable(b catalog.Block, r rule) bool {
	for name := range b.ExternalLabels {
		if !strings.HasPrefix(name, "__") {
			return false
		}
	}
	return b.Quarantined == "" && b.MinTime < b.MaxTime && b.Bytes <= r.maxBytes
}

// last is the last millisecond of the block's range.
func last(b catalog.Block) int64 { return b.MaxTime - 1 }

// floor is the start of the aligned range of that width in which t is.
func floor(t, width int64) int64 {
	n := t / width
	if t%width < 0 {
		n--
	}
	return n * width
}

// cut is the job that cuts a block at the ends of days.
func cut(b catalog.Block, r rule) job {
	j := job{sources: []catalog.Block{b}, ready: floor(last(b), dayWidth) + dayWidth + r.settle}
	for at := b.MinTime; at < b.MaxTime; {
		end := min(floor(at, dayWidth)+dayWidth, b.MaxTime)
		j.ranges = append(j.ranges, block.TimeRange{MinTime: at, MaxTime: end})
		at = end
	}
	return j
}

// groups are the blocks that lie in one aligned range of that width, in the order of time; of a range with a single
// one there is no group.
func groups(blocks []catalog.Block, width int64) [][]catalog.Block {
	byStart := map[int64][]catalog.Block{}
	for _, b := range blocks {
		if start := floor(b.MinTime, width); start == floor(last(b), width) {
			byStart[start] = append(byStart[start], b)
		}
	}
	var out [][]catalog.Block
	for _, start := range slices.Sorted(maps.Keys(byStart)) {
		if g := byStart[start]; len(g) > 1 {
			out = append(out, g)
		}
	}
	return out
}

// bins divides a group into parts that are small enough for one job. Neighbours in time stay together, then those of
// one partition, which have the same samples.
func bins(group []catalog.Block, r rule) [][]catalog.Block {
	slices.SortFunc(group, func(a, b catalog.Block) int {
		return cmp.Or(cmp.Compare(a.MinTime, b.MinTime), cmp.Compare(a.Partition, b.Partition), a.ID.Compare(b.ID))
	})
	var out [][]catalog.Block
	from, bytes := 0, int64(0)
	for i, b := range group {
		if i > from && (bytes+b.Bytes > r.maxBytes || i-from == r.maxBlocks) {
			out = append(out, group[from:i:i])
			from, bytes = i, 0
		}
		bytes += b.Bytes
	}
	return append(out, group[from:])
}

// pick gives those blocks of a bin that are worth a merge: as many of the smallest as hold no block that weighs more
// than growth times all smaller ones; or all, if the bin is of a day that is quiet.
func pick(bin []catalog.Block, width, now int64, r rule) []catalog.Block {
	if width == dayWidth && now-youngest(bin) >= r.quiet {
		return bin
	}
	bySize := slices.SortedFunc(slices.Values(bin), func(a, b catalog.Block) int {
		return cmp.Or(cmp.Compare(a.Bytes, b.Bytes), a.ID.Compare(b.ID))
	})
	n, smaller := 0, int64(0)
	for i, b := range bySize {
		if i > 0 && b.Bytes <= growth*smaller {
			n = i + 1
		}
		smaller += b.Bytes
	}
	picked := bySize[:n]
	slices.SortFunc(picked, func(a, b catalog.Block) int {
		return cmp.Or(cmp.Compare(a.MinTime, b.MinTime), a.ID.Compare(b.ID))
	})
	return picked
}

// youngest is when the youngest of the blocks was made, Unix milliseconds.
func youngest(blocks []catalog.Block) int64 {
	at := int64(0)
	for _, b := range blocks {
		at = max(at, int64(b.ID.Time()))
	}
	return at
}
