package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/tsdb/fileutil"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/head"
)

const (
	// flushSamples is how many samples of text are gathered in memory, some 2 bytes each, before blocks are cut.
	flushSamples = 50_000_000
	// wideSpan is the span of samples from which blocks are of a day instead of two hours, so that a long history
	// doesn't become thousands of small blocks.
	wideSpan = 4 * 24 * int64(time.Hour/time.Millisecond)
	// farFuture bounds times: seconds and milliseconds are easily confused.
	farFuture = 24 * time.Hour
)

// text imports a file of OpenMetrics text, in which every sample has a time. Exemplars and metadata are left out.
func (im *importer) text(ctx context.Context, file string) (err error) {
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		return errors.Join(err, fmt.Errorf("%s: empty", file))
	}
	mapped, err := fileutil.OpenMmapFile(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mapped.Close()) }()
	t := textImport{importer: im, ctx: ctx, latest: time.Now().Add(farFuture).UnixMilli(), flushAt: flushSamples}
	return t.read(mapped.Bytes())
}

// textImport gathers samples in a head, which takes them in any order.
type textImport struct {
	*importer
	ctx     context.Context
	latest  int64
	flushAt int
	head    *head.Head
	samples int // in the head
	total   int64
}

func (t *textImport) read(text []byte) error {
	t.head = head.New(head.Options{})
	defer func() { t.head.Free() }()
	p := textparse.NewOpenMetricsParser(text, labels.NewSymbolTable())
	var ls labels.Labels
	for t.ctx.Err() == nil {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return t.flush()
		}
		if err != nil {
			return fmt.Errorf("after %s samples: %w", number(t.total), err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		raw, at, v := p.Series()
		if at == nil || *at > t.latest {
			return fmt.Errorf("series %s: a time in seconds is needed, not more than %s ahead", raw, farFuture)
		}
		p.Labels(&ls)
		if err := t.add(ls, *at, v); err != nil {
			return fmt.Errorf("series %s: %w", raw, err)
		}
	}
	return t.ctx.Err()
}

func (t *textImport) add(ls labels.Labels, at int64, v float64) error {
	ls = ls.WithoutEmpty()
	if name, isTwice := ls.HasDuplicateLabelNames(); isTwice {
		return fmt.Errorf("label %s is there twice", name)
	}
	s, _, err := t.head.Series(ls)
	if err != nil {
		return err
	}
	s.AppendFloat(at, v)
	t.samples++
	t.total++
	if t.samples%100_000 == 0 {
		t.progress.say("%s samples read", number(t.total))
	}
	if t.samples < t.flushAt {
		return nil
	}
	return t.flush()
}

// flush cuts the head into blocks, imports them, and begins a new one.
func (t *textImport) flush() error {
	h := t.head
	t.head, t.samples = head.New(head.Options{}), 0
	defer h.Free()
	h.Seal()
	mint, maxt, ok := h.Times()
	if !ok {
		return nil
	}
	width := twoHours
	if maxt-mint > wideSpan {
		width *= 12
	}
	ranges, err := h.Ranges(width)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		m, err := block.Write(t.ctx, t.scratch, h.Reader(r), block.Spec{MinTime: r.Min, MaxTime: r.Max, Origin: block.Varve{Partition: -1}})
		if err != nil {
			return err
		}
		if m.Stats.NumSamples == 0 {
			continue
		}
		dir := filepath.Join(t.scratch, m.ULID.String())
		if err := errors.Join(t.upload(t.ctx, dir, m), os.RemoveAll(dir)); err != nil {
			return err
		}
	}
	return nil
}
