package block

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// Report is what Verify found.
type Report struct {
	Meta Meta
	// Stats is what was counted; MinTime and MaxTime are the times of the first and the last sample.
	Stats            tsdb.BlockStats
	MinTime, MaxTime int64
	// HasHeader tells whether a usable sparse header lies beside the block. A block may lack it.
	HasHeader bool
	// Problems are the first problems that were found, at most maxProblems; each wraps ErrCorrupt.
	Problems []error
}

const maxProblems = 100

// Err is all problems in one, nil if there is none.
func (r Report) Err() error { return errors.Join(r.Problems...) }

// Verify reads a whole block and checks that every part is sound and agrees with every other: checksums, order, lists
// and series, chunks and samples, counts and times in meta.json. An error means that it couldn't be read; damage is
// in the report.
func Verify(ctx context.Context, files Files) (Report, error) {
	v := verifier{ctx: ctx, files: files}
	err := v.run()
	switch {
	case errors.Is(err, ErrCorrupt):
		v.problem(err)
	case errors.Is(err, fs.ErrNotExist) && v.Meta.Version != 0:
		v.corrupt("", 0, "%v", err)
	default:
		return v.Report, err
	}
	return v.Report, nil
}

type verifier struct {
	Report
	ctx   context.Context
	files Files
	b     *Block
	r     *reader
	// pairs sums up, over all series and their labels, a hash of label and series; lists must sum up to the same.
	pairs, lists uint64
	pairCount    uint64
	listCount    uint64
}

func (v *verifier) problem(err error) {
	if len(v.Problems) < maxProblems {
		v.Problems = append(v.Problems, err)
	}
}

func (v *verifier) corrupt(file string, off int64, format string, args ...any) {
	v.problem(&CorruptError{Block: v.Meta.ULID, File: file, Offset: off, Reason: fmt.Sprintf(format, args...)})
}

func (v *verifier) run() error {
	raw, err := v.readAll(MetaName, maxMetaBytes)
	if err != nil {
		return err
	}
	if v.Meta, err = ParseMeta(raw); err != nil {
		return &CorruptError{File: MetaName, Reason: err.Error()}
	}
	if err := v.sums(); err != nil {
		return err
	}
	if v.b, err = Open(v.ctx, v.files, v.Meta); err != nil {
		return err
	}
	defer v.b.Close()
	v.r = v.b.reader(v.ctx)
	if err := v.header(); err != nil {
		return err
	}
	refs, err := v.allLists()
	if err != nil {
		return err
	}
	if err := v.allSeries(refs); err != nil {
		return err
	}
	if v.pairs != v.lists || v.pairCount != v.listCount {
		v.corrupt(IndexName, int64(v.b.header.toc.postings), "postings lists say something else than the series")
	}
	v.counts()
	return nil
}

func (v *verifier) readAll(name string, limit int64) ([]byte, error) {
	f, err := v.files.Open(v.ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > limit {
		return nil, &CorruptError{Block: v.Meta.ULID, File: name, Reason: fmt.Sprintf("%d bytes", f.Size())}
	}
	return f.Range(v.ctx, 0, f.Size())
}

// sums compares the files with what meta.json says of them.
func (v *verifier) sums() error {
	if v.Meta.Varve == nil {
		return nil
	}
	for _, want := range v.Meta.Varve.Files {
		f, err := v.files.Open(v.ctx, want.Name)
		if errors.Is(err, fs.ErrNotExist) {
			v.corrupt(want.Name, 0, "the file is missing")
			continue
		}
		if err != nil {
			return err
		}
		got, err := v.sum(f)
		f.Close()
		if err != nil {
			return err
		}
		if got.Size != want.Size || got.CRC32C != want.CRC32C {
			v.corrupt(want.Name, 0, "%d bytes with checksum %08x, meta.json says %d with %08x", got.Size, got.CRC32C, want.Size, want.CRC32C)
		}
	}
	return nil
}

func (v *verifier) sum(f File) (FileSum, error) {
	s := FileSum{Size: f.Size()}
	for off := int64(0); off < s.Size; off += streamStep {
		b, err := f.Range(v.ctx, off, min(streamStep, s.Size-off))
		if err != nil {
			return s, err
		}
		s.CRC32C = crc32.Update(s.CRC32C, castagnoli(), b)
	}
	return s, nil
}

// header checks the tables of the index, and that the header file says what they say.
func (v *verifier) header() error {
	raw, built := v.b.Header()
	v.HasHeader = !built
	if built {
		if f, err := v.files.Open(v.ctx, HeaderName); err == nil {
			f.Close()
			v.corrupt(HeaderName, 0, "it can't be read or belongs to another index")
		}
		return nil
	}
	h, err := buildHeader(v.ctx, v.Meta.ULID, v.b.index)
	if err != nil {
		return err
	}
	if !bytes.Equal(h.encode(), raw) {
		v.corrupt(HeaderName, 0, "it differs from the index")
		v.b.header = h
	}
	return nil
}

// allLists reads every postings list, and gives that of all series.
func (v *verifier) allLists() (all []uint32, err error) {
	for _, n := range v.b.header.names {
		err := v.r.walkLists(n.name, func(string) bool { return true }, func(value string, list []byte) {
			refs := make([]uint32, 0, len(list)/4)
			for ; len(list) >= 4; list = list[4:] {
				refs = append(refs, binary.BigEndian.Uint32(list))
			}
			if !ascending(refs) {
				v.corrupt(IndexName, int64(v.b.header.toc.postings), "list of %s=%q is out of order", n.name, value)
			}
			if n.name == "" {
				all = refs
				return
			}
			h := pairHash(n.name, value)
			for _, ref := range refs {
				v.lists += mix(h, ref)
			}
			v.listCount += uint64(len(refs))
		})
		if err != nil {
			return nil, err
		}
	}
	return all, v.ctx.Err()
}

func ascending(refs []uint32) bool {
	for i := 1; i < len(refs); i++ {
		if refs[i] <= refs[i-1] {
			return false
		}
	}
	return true
}

func pairHash(name, value string) uint64 { return xxhash.Sum64String(name + "\xff" + value) }

// mix makes one number of a label's hash and a series.
func mix(h uint64, ref uint32) uint64 {
	x := (h ^ uint64(ref)) * 0x9e3779b97f4a7c15
	return x ^ x>>29
}

func (v *verifier) allSeries(refs []uint32) error {
	v.MinTime, v.MaxTime = math.MaxInt64, math.MinInt64
	v.Stats.NumSeries = uint64(len(refs))
	last, lastRef := labels.EmptyLabels(), chunks.ChunkRef(0)
	s := &set{r: v.r, time: allTime, refs: refs, size: firstBatch, unlimited: true}
	for {
		// One series at a time keeps the chunks in memory few, and the place of a problem known.
		if len(s.batch) == 0 {
			if len(s.refs) == 0 {
				return v.ctx.Err()
			}
			before := len(s.refs)
			if err := s.readBatch(); err != nil {
				return err
			}
			if read := before - len(s.refs); read != len(s.batch) {
				v.corrupt(IndexName, int64(v.b.header.toc.series), "%d series without chunks", read-len(s.batch))
			}
			continue
		}
		n := s.affordable()
		ls, err := v.r.resolve(s.batch[:n])
		if err != nil {
			return err
		}
		for i, e := range s.batch[:n] {
			v.series(e, ls[i], last, lastRef)
			last, lastRef = ls[i], e.chunks[len(e.chunks)-1].Ref
		}
		if err := v.chunks(s.batch[:n]); err != nil {
			return err
		}
		s.batch = s.batch[n:]
	}
}

// series checks one entry of the index against the one before.
func (v *verifier) series(e entry, ls, last labels.Labels, ref chunks.ChunkRef) {
	off := int64(e.ref) * seriesAlign
	if labels.Compare(last, ls) >= 0 {
		v.corrupt(IndexName, off, "series %s is not after %s", ls, last)
	}
	name := ""
	ls.Range(func(l labels.Label) {
		if l.Name <= name {
			v.corrupt(IndexName, off, "label %q is out of order", l.Name)
		}
		name = l.Name
		v.pairs += mix(pairHash(l.Name, l.Value), e.ref)
		v.pairCount++
	})
	maxt := int64(math.MinInt64)
	for i, c := range e.chunks {
		if c.MinTime > c.MaxTime || i > 0 && c.MinTime <= maxt {
			v.corrupt(IndexName, off, "chunk [%d, %d] is out of order", c.MinTime, c.MaxTime)
		}
		if c.Ref <= ref {
			v.corrupt(IndexName, off, "chunk reference %d is out of order", c.Ref)
		}
		maxt, ref = c.MaxTime, c.Ref
	}
}

// chunks decodes all chunks of some series.
func (v *verifier) chunks(es []entry) error {
	var metas []chunks.Meta
	var spans []chunkSpan
	for _, e := range es {
		for j, m := range e.chunks {
			spans = append(spans, spanOf(m.Ref, e.next(j), len(metas)))
			metas = append(metas, m)
		}
	}
	if err := v.r.load(slices.Clone(spans), metas, &room{}); err != nil {
		return err
	}
	var it chunkenc.Iterator
	for i, m := range metas {
		it = m.Chunk.Iterator(it)
		if reason := v.samples(m, it); reason != "" {
			v.corrupt(SegmentName(int(spans[i].segment)), spans[i].off, "%s", reason)
		}
	}
	return nil
}

// samples checks one chunk's samples; it gives the reason if something is wrong.
func (v *verifier) samples(m chunks.Meta, it chunkenc.Iterator) string {
	addChunk(&v.Stats, m.Chunk)
	first, last, n := int64(0), int64(math.MinInt64), 0
	for it.Next() != chunkenc.ValNone {
		t := it.AtT()
		if n > 0 && t <= last {
			return fmt.Sprintf("sample at %d comes after one at %d", t, last)
		}
		if n == 0 {
			first = t
		}
		last = t
		n++
	}
	switch err := it.Err(); {
	case err != nil:
		return fmt.Sprintf("sample %d can't be decoded: %v", n, err)
	case n != m.Chunk.NumSamples():
		return fmt.Sprintf("%d samples instead of %d", n, m.Chunk.NumSamples())
	case n == 0 || first != m.MinTime || last != m.MaxTime:
		return fmt.Sprintf("samples in [%d, %d], the index says [%d, %d]", first, last, m.MinTime, m.MaxTime)
	}
	v.MinTime, v.MaxTime = min(v.MinTime, first), max(v.MaxTime, last)
	return ""
}

// counts compares what was counted with meta.json. Older writers didn't count floats and histograms apart.
func (v *verifier) counts() {
	want := v.Meta.Stats
	if want.NumFloatSamples == 0 && want.NumHistogramSamples == 0 {
		want.NumFloatSamples, want.NumHistogramSamples = v.Stats.NumFloatSamples, v.Stats.NumHistogramSamples
	}
	if want != v.Stats {
		v.corrupt(MetaName, 0, "stats are %+v, counted were %+v", want, v.Stats)
	}
	if v.Stats.NumSamples > 0 && (v.MinTime < v.Meta.MinTime || v.MaxTime >= v.Meta.MaxTime) {
		v.corrupt(MetaName, 0, "samples in [%d, %d] are outside of [%d, %d)", v.MinTime, v.MaxTime, v.Meta.MinTime, v.Meta.MaxTime)
	}
}
