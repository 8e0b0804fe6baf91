package block

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/series"
)

// maxSources bounds how many blocks are merged at once; each costs a batch of series and chunks in memory.
const maxSources = 256

// TimeRange is a range of time in Unix milliseconds, MaxTime excluded.
type TimeRange struct{ MinTime, MaxTime int64 }

// MergeSpec says what blocks become.
type MergeSpec struct {
	// Ranges are the ranges of the blocks to write, ascending and disjoint; together they must cover all sources.
	// None means one block with the range of all sources.
	Ranges []TimeRange
	// Origin is the section of ours in meta.json; Version and Files are filled in.
	Origin Varve
}

// Merged says what a merge did. In = Out + Duplicates always holds: a merge that would break it fails.
type Merged struct {
	// Blocks are those that were written, in the order of the ranges; a range without samples has none.
	Blocks []Meta
	// In is how many samples the sources have, Out how many the written blocks have, Duplicates how many times and
	// series of samples the sources have beyond the first.
	In, Out, Duplicates int64
}

// Merge writes the union of the blocks in the directories dirs into the directory dest: every series, every time that
// any of them has, once. Of several values for one series and time the one that series.NewIterator prefers stays.
// Chunks that overlap no other are taken over as they are, unless they are very small. The sources stay as they are.
// When Merge returns, the blocks are on disk; if it fails, none is visible. An error that a damaged source causes is a
// *CorruptError that names it.
func Merge(ctx context.Context, dest string, dirs []string, spec MergeSpec) (Merged, error) {
	var res Merged
	if len(dirs) == 0 || len(dirs) > maxSources {
		return res, fmt.Errorf("merge blocks: %d sources, 1 to %d are allowed", len(dirs), maxSources)
	}
	sources, err := openAll(ctx, dirs)
	defer func() {
		for _, b := range sources {
			b.Close()
		}
	}()
	if err != nil {
		return res, fmt.Errorf("merge blocks: %w", err)
	}
	ranges, err := rangesOf(sources, spec.Ranges)
	if err != nil {
		return res, fmt.Errorf("merge blocks: %w", err)
	}
	for _, b := range sources {
		res.In += int64(b.meta.Stats.NumSamples)
	}
	res.Blocks, err = inScratch(dest, func(tmp string) ([]Meta, error) {
		var metas []Meta
		for _, t := range ranges {
			m := merger{sources: sources, t: t, dir: tmp, origin: spec.Origin}
			if err := m.run(ctx); err != nil {
				return nil, err
			}
			res.Duplicates += m.duplicates
			res.Out += int64(m.meta.Stats.NumSamples)
			if m.meta.Stats.NumSamples > 0 {
				metas = append(metas, m.meta)
			}
		}
		if res.In != res.Out+res.Duplicates {
			return nil, fmt.Errorf("%d samples in the sources, but %d written and %d duplicates", res.In, res.Out, res.Duplicates)
		}
		return metas, nil
	})
	if err != nil {
		return Merged{}, fmt.Errorf("merge blocks: %w", err)
	}
	return res, nil
}

func openAll(ctx context.Context, dirs []string) (blocks []*Block, err error) {
	for _, dir := range dirs {
		m, err := ReadMeta(dir)
		if err != nil {
			return blocks, err
		}
		b, err := Open(ctx, Dir(dir), m)
		if err != nil {
			return blocks, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// rangesOf gives the ranges to write, and checks that they cover all sources.
func rangesOf(sources []*Block, ranges []TimeRange) ([]TimeRange, error) {
	all := TimeRange{sources[0].meta.MinTime, sources[0].meta.MaxTime}
	for _, b := range sources {
		all = TimeRange{min(all.MinTime, b.meta.MinTime), max(all.MaxTime, b.meta.MaxTime)}
	}
	if len(ranges) == 0 {
		return []TimeRange{all}, nil
	}
	for i, r := range ranges {
		if r.MinTime >= r.MaxTime || i > 0 && r.MinTime < ranges[i-1].MaxTime {
			return nil, fmt.Errorf("range [%d, %d) is empty or out of order", r.MinTime, r.MaxTime)
		}
	}
	for _, b := range sources {
		at := b.meta.MinTime
		for _, r := range ranges {
			if r.MinTime <= at && at < r.MaxTime {
				at = r.MaxTime
			}
		}
		if at < b.meta.MaxTime {
			return nil, fmt.Errorf("no range covers %d, which block %s reaches", at, b.meta.ULID)
		}
	}
	return ranges, nil
}

// merger writes one block of the union of its sources.
type merger struct {
	sources    []*Block
	t          TimeRange
	dir        string
	origin     Varve
	meta       Meta
	duplicates int64
}

func (m *merger) run(ctx context.Context) error {
	id, err := ulid.New(ulid.Now(), rand.Reader)
	if err != nil {
		return err
	}
	metas := make([]*tsdb.BlockMeta, len(m.sources))
	for i, b := range m.sources {
		metas[i] = &b.meta.BlockMeta
	}
	m.meta.BlockMeta = *tsdb.CompactBlockMetas(id, metas...)
	m.meta.MinTime, m.meta.MaxTime = m.t.MinTime, m.t.MaxTime
	dir := filepath.Join(m.dir, id.String())
	w, err := newWriter(ctx, dir)
	if err != nil {
		return err
	}
	if err := errors.Join(m.copy(ctx, w), w.close()); err != nil {
		return err
	}
	m.meta.Stats = w.stats
	if w.stats.NumSamples == 0 {
		return nil
	}
	m.meta, err = finish(ctx, dir, m.meta, m.origin)
	return err
}

func (m *merger) copy(ctx context.Context, w *writer) error {
	if err := m.copySymbols(ctx, w); err != nil {
		return err
	}
	u, err := newUnion(ctx, m.sources, series.Query{MinTime: m.t.MinTime, MaxTime: m.t.MaxTime - 1})
	if err != nil {
		return err
	}
	defer u.close()
	for {
		ls, chks, err := u.next()
		if err != nil || ls.IsEmpty() {
			return err
		}
		c := combiner{t: timeRange{m.t.MinTime, m.t.MaxTime - 1}}
		out, err := c.combine(chks)
		if err != nil {
			return fmt.Errorf("series %s: %w", ls, err)
		}
		m.duplicates += c.duplicates
		if err := w.add(ls, out); err != nil {
			return err
		}
	}
}

// copySymbols writes the union of the sources' symbols.
func (m *merger) copySymbols(ctx context.Context, w *writer) error {
	all := m.sources[0].reader(ctx).Symbols()
	for _, b := range m.sources[1:] {
		all = tsdb.NewMergedStringIter(all, b.reader(ctx).Symbols())
	}
	for all.Next() {
		if err := w.index.AddSymbol(all.At()); err != nil {
			return err
		}
	}
	return all.Err()
}

// union gives the series of several blocks in label order, each with the chunks of all.
type union struct {
	sets  []series.Set
	heads []series.Chunked // by set; no labels if the set is at its end
}

func newUnion(ctx context.Context, sources []*Block, q series.Query) (*union, error) {
	u := &union{heads: make([]series.Chunked, len(sources))}
	for _, b := range sources {
		s, err := b.Select(ctx, q)
		if err != nil {
			u.close()
			return nil, err
		}
		u.sets = append(u.sets, s)
	}
	for i := range u.sets {
		if err := u.advance(i); err != nil {
			u.close()
			return nil, err
		}
	}
	return u, nil
}

func (u *union) close() {
	for _, s := range u.sets {
		s.Close()
	}
}

func (u *union) advance(i int) error {
	u.heads[i] = series.Chunked{}
	if u.sets[i].Next() {
		u.heads[i] = u.sets[i].At()
	}
	return u.sets[i].Err()
}

// next gives the next series, with all chunks in no order; no labels at the end.
func (u *union) next() (ls labels.Labels, chks []chunks.Meta, err error) {
	for _, h := range u.heads {
		if !h.Labels.IsEmpty() && (ls.IsEmpty() || labels.Compare(h.Labels, ls) < 0) {
			ls = h.Labels
		}
	}
	if ls.IsEmpty() {
		return ls, nil, nil
	}
	for i, h := range u.heads {
		if !labels.Equal(h.Labels, ls) {
			continue
		}
		chks = append(chks, h.Chunks...)
		if err := u.advance(i); err != nil {
			return labels.EmptyLabels(), nil, err
		}
	}
	return ls, chks, nil
}
