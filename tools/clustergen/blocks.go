package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/varve-io/varve/tools/clustergen/cluster"
)

// chunkSamples is how many samples Prometheus puts into a chunk.
const chunkSamples = 120

// blockWriter writes one block: chunks as series come, in the order of their labels, what the index says of them to a file aside, and the index
// at the end, when all symbols are known. Only symbols stay in memory.
type blockWriter struct {
	dir     string
	chunks  *chunks.Writer
	aside   *os.File
	buf     *bufio.Writer
	line    []byte
	symbols map[string]string // each by itself
	stats   tsdb.BlockStats
	samples []cluster.Sample
}

// writeBlock writes the samples of clusters that begin at a time as a block. The ID follows from the first cluster's name, the seed and the time.
// No block is written, and the stats are zero, if there are none.
func writeBlock(ctx context.Context, f cluster.Fleet, o *options, from int64) (_ tsdb.BlockMeta, err error) {
	dir, to := o.dir, from+o.width.Milliseconds()
	id, err := blockID(f[0].Name, o.config.Seed, from)
	if err != nil {
		return tsdb.BlockMeta{}, err
	}
	tmp := filepath.Join(dir, id.String()+".tmp-for-creation")
	if err := os.RemoveAll(tmp); err != nil {
		return tsdb.BlockMeta{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	w := &blockWriter{dir: tmp, symbols: map[string]string{}}
	if err := w.fill(ctx, f, from, to); err != nil {
		return tsdb.BlockMeta{}, fmt.Errorf("write block of %d: %w", from, err)
	}
	m := tsdb.BlockMeta{ULID: id, MinTime: from, MaxTime: to, Stats: w.stats, Version: 1, Compaction: tsdb.BlockMetaCompaction{Level: 1, Sources: []ulid.ULID{id}}}
	if m.Stats.NumSamples == 0 {
		return m, nil
	}
	text, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return m, err
	}
	if err := os.WriteFile(filepath.Join(tmp, "meta.json"), text, 0o644); err != nil {
		return m, err
	}
	final := filepath.Join(dir, id.String())
	if err := os.RemoveAll(final); err != nil {
		return m, err
	}
	return m, os.Rename(tmp, final)
}

func blockID(name string, seed uint64, from int64) (ulid.ULID, error) {
	key := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(name), seed))
	return ulid.New(uint64(from), bytes.NewReader(key[:]))
}

func (w *blockWriter) fill(ctx context.Context, f cluster.Fleet, from, to int64) (err error) {
	if w.chunks, err = chunks.NewWriter(filepath.Join(w.dir, "chunks")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.chunks.Close()) }()
	if w.aside, err = os.Create(filepath.Join(w.dir, "series")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.aside.Close(), os.Remove(w.aside.Name())) }()
	w.buf = bufio.NewWriterSize(w.aside, 1<<20)
	for s := range f.Series(from, to) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if w.samples = s.Samples(w.samples[:0], from, to); len(w.samples) == 0 {
			continue
		}
		if err := w.series(s.Labels); err != nil {
			return err
		}
	}
	if err := w.buf.Flush(); err != nil {
		return err
	}
	return w.index(ctx)
}

// series writes the chunks of one and notes it.
func (w *blockWriter) series(ls labels.Labels) error {
	var metas []chunks.Meta
	for part := range slices.Chunk(w.samples, chunkSamples) {
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		if err != nil {
			return err
		}
		for _, s := range part {
			app.Append(0, s.T, s.V)
		}
		metas = append(metas, chunks.Meta{Chunk: c, MinTime: part[0].T, MaxTime: part[len(part)-1].T})
	}
	if err := w.chunks.WriteChunks(metas...); err != nil {
		return err
	}
	w.stats.NumSeries++
	w.stats.NumChunks += uint64(len(metas))
	w.stats.NumSamples += uint64(len(w.samples))
	w.stats.NumFloatSamples = w.stats.NumSamples
	return w.note(ls, metas)
}

// note writes labels and chunks aside: counts, then strings with their lengths, then references and times.
func (w *blockWriter) note(ls labels.Labels, metas []chunks.Meta) error {
	b := binary.AppendUvarint(w.line[:0], uint64(ls.Len()))
	ls.Range(func(l labels.Label) {
		for _, s := range []string{l.Name, l.Value} {
			if _, ok := w.symbols[s]; !ok {
				s = strings.Clone(s) // not the labels that it is a part of
				w.symbols[s] = s
			}
			b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
		}
	})
	b = binary.AppendUvarint(b, uint64(len(metas)))
	for _, m := range metas {
		b = binary.AppendUvarint(b, uint64(m.Ref))
		b = binary.AppendVarint(b, m.MinTime)
		b = binary.AppendVarint(b, m.MaxTime)
	}
	w.line = b
	_, err := w.buf.Write(b)
	return err
}

func (w *blockWriter) index(ctx context.Context) (err error) {
	if _, err := w.aside.Seek(0, io.SeekStart); err != nil {
		return err
	}
	out, err := index.NewWriter(ctx, filepath.Join(w.dir, "index"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	sorted := make([]string, 0, len(w.symbols))
	for s := range w.symbols {
		sorted = append(sorted, s)
	}
	slices.Sort(sorted)
	for _, s := range sorted {
		if err := out.AddSymbol(s); err != nil {
			return err
		}
	}
	r := &noteReader{r: bufio.NewReaderSize(w.aside, 1<<20), builder: labels.NewScratchBuilder(24), symbols: w.symbols}
	for ref := range w.stats.NumSeries {
		ls, metas := r.next()
		if r.err != nil {
			return r.err
		}
		if err := out.AddSeries(storage.SeriesRef(ref), ls, metas...); err != nil {
			return err
		}
	}
	return nil
}

// noteReader reads what note wrote.
type noteReader struct {
	r       *bufio.Reader
	builder labels.ScratchBuilder
	symbols map[string]string
	buf     []byte
	metas   []chunks.Meta
	err     error
}

func (n *noteReader) number() uint64 {
	v, err := binary.ReadUvarint(n.r)
	n.err = errors.Join(n.err, err)
	return v
}

func (n *noteReader) time() int64 {
	v, err := binary.ReadVarint(n.r)
	n.err = errors.Join(n.err, err)
	return v
}

func (n *noteReader) text() string {
	size := int(n.number())
	n.buf = slices.Grow(n.buf[:0], size)[:size]
	if _, err := io.ReadFull(n.r, n.buf); err != nil {
		n.err = errors.Join(n.err, err)
	}
	return n.symbols[string(n.buf)]
}

func (n *noteReader) next() (labels.Labels, []chunks.Meta) {
	n.builder.Reset()
	for range n.number() {
		name := n.text()
		n.builder.Add(name, n.text())
	}
	n.metas = n.metas[:0]
	for range n.number() {
		m := chunks.Meta{Ref: chunks.ChunkRef(n.number())}
		m.MinTime, m.MaxTime = n.time(), n.time()
		n.metas = append(n.metas, m)
	}
	return n.builder.Labels(), n.metas
}
