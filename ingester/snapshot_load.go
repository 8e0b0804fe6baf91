package ingester

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// loaded is an epoch as a snapshot had it.
type loaded struct {
	epoch   *epoch
	started time.Time
	from    uint64 // the first record that isn't in it
	streams map[series.StreamID]*stream
	records [][]byte // metric families

	mu     sync.Mutex
	series map[tenant.ID][]*head.Series // as the snapshot numbers them
}

// loadSnapshot fills the heads of an epoch from its snapshot; nil where there is none. After an error the heads hold
// parts of it, which do no harm: the whole log brings the same samples.
func (i *Ingester) loadSnapshot(ctx context.Context, e *epoch) (*loaded, error) {
	dir := i.log.EpochDir(e.number)
	open, err := os.Open(filepath.Join(dir, openName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer open.Close()
	end, err := readEnd(open)
	if err != nil {
		return nil, err
	}
	chunks, err := os.Open(filepath.Join(dir, filepath.Base(end.chunks)))
	if err != nil {
		return nil, err
	}
	defer chunks.Close()
	l := &loaded{
		epoch: e, started: time.UnixMilli(end.started), from: end.record + 1,
		streams: map[series.StreamID]*stream{}, series: map[tenant.ID][]*head.Series{},
	}
	// Chunks need the series, and streams do: they come first.
	for _, pass := range []struct {
		file   *os.File
		length int64
		apply  map[byte]func([]byte) error
	}{
		{chunks, end.length, map[byte]func([]byte) error{frameSeries: l.restoreSeries}},
		{chunks, end.length, map[byte]func([]byte) error{frameSealed: l.restoreSealed}},
		{open, end.size, map[byte]func([]byte) error{
			frameOpen: l.restoreOpen, frameShared: l.restoreShared, frameRecord: l.keepRecord, frameStream: l.restoreStream,
		}},
	} {
		if err := eachFrame(ctx, pass.file, pass.length, pass.apply); err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Base(pass.file.Name()), err)
		}
	}
	return l, nil
}

// eachFrame hands the frames of the kinds that apply knows to as many workers as there are cores. A payload is apply's
// only until it returns.
func eachFrame(ctx context.Context, file *os.File, length int64, apply map[byte]func([]byte) error) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := &frameReader{in: bufio.NewReaderSize(file, frameTarget), left: length, wanted: func(k byte) bool { return apply[k] != nil }}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for ctx.Err() == nil {
		f, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error {
			defer f.done()
			return apply[f.kind](f.payload)
		})
	}
	return g.Wait()
}

// restoreSeries makes the series of a frame.
func (l *loaded) restoreSeries(p []byte) error {
	f := fields{p: p}
	id, err := tenant.Parse(string(f.bytes()))
	first := f.uvarint()
	if err != nil || f.bad || first > maxNumber {
		return fmt.Errorf("%w: series", errSnapshot)
	}
	made, err := l.epoch.head(id).RestoreSeries(f.p)
	if err != nil {
		return fmt.Errorf("%w: tenant %s: %w", errSnapshot, id, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.series[id]
	if most := int(first) + len(made); most > len(all) {
		all = append(all, make([]*head.Series, most-len(all))...)
	}
	copy(all[first:], made)
	l.series[id] = all
	return nil
}

// of begins to read a frame of one tenant's.
func (l *loaded) of(p []byte) (fields, tenant.ID, []*head.Series, error) {
	f := fields{p: p}
	id, err := tenant.Parse(string(f.bytes()))
	l.mu.Lock()
	defer l.mu.Unlock()
	return f, id, l.series[id], err
}

func (l *loaded) restoreSealed(p []byte) error {
	return l.restore(p, (*head.Series).RestoreSealed)
}

func (l *loaded) restoreOpen(p []byte) error {
	return l.restore(p, (*head.Series).RestoreOpen)
}

// restore hands each series what the frame has of it.
func (l *loaded) restore(p []byte, do func(*head.Series, []byte) ([]byte, error)) error {
	f, id, all, err := l.of(p)
	if err != nil {
		return fmt.Errorf("%w: %w", errSnapshot, err)
	}
	for len(f.p) > 0 {
		k := f.uvarint()
		if f.bad || k >= uint64(len(all)) || all[k] == nil {
			return fmt.Errorf("%w: series %d of tenant %s", errSnapshot, k, id)
		}
		if f.p, err = do(all[k], f.p); err != nil {
			return fmt.Errorf("%w: series %d of tenant %s: %w", errSnapshot, k, id, err)
		}
	}
	return f.err("series")
}

func (l *loaded) restoreShared(p []byte) error {
	f, id, all, err := l.of(p)
	if err == nil {
		_, err = l.epoch.head(id).RestoreShared(f.p, all)
	}
	if err != nil {
		return fmt.Errorf("%w: tenant %s: %w", errSnapshot, id, err)
	}
	return nil
}

func (l *loaded) restoreStream(p []byte) error {
	st, err := readStream(p, l.epoch, l.series)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams[st.id] = st
	return nil
}

// keepRecord keeps a record that is to be applied before those of the log.
func (l *loaded) keepRecord(p []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, slices.Clone(p))
	return nil
}
