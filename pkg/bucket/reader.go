package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

const (
	// PageSize is the unit of reading and caching, in bytes.
	PageSize = 64 << 10
	// maxGet bounds one range GET.
	maxGet = 4 << 20
	// parallelGets bounds the range GETs that one call has under way.
	parallelGets = 8
	// totalGets bounds the range GETs of all calls of a Reader together.
	totalGets = 64
	// defaultMergeGap is worth reading over: at 50 MB/s it takes less time than a round trip.
	defaultMergeGap = 256 << 10
)

// ErrShort is wrapped by errors for objects that end before the size that they are recorded with.
var ErrShort = errors.New("object is shorter than recorded")

// CacheConfig bounds what a Reader keeps.
type CacheConfig struct {
	// MemoryBytes bounds the pages kept in memory; 0 keeps none.
	MemoryBytes int64
	// Dir is for pages on local disk; empty, or DiskBytes 0, keeps none there.
	Dir       string
	DiskBytes int64
	// MergeGap is how many bytes that nobody asked for are read to save a request; 0 means 256 KiB.
	MergeGap int64
}

// Range is Len bytes of an object from an offset.
type Range = struct{ Off, Len int64 }

// Reader opens objects of one bucket for reading by pages. All its Files share its caches. Objects must never
// change; one that is deleted may be read from the caches for a while yet.
type Reader struct {
	bkt     Bucket
	mergePg int64
	memory  *pageCache
	disk    *diskCache
	gets    chan struct{}
	metrics *readerMetrics

	mu      sync.Mutex
	flights map[pageKey]*flight
}

// NewReader returns a Reader of bkt. A disk cache that is damaged or of another size starts empty; one that
// another process holds is an error. Objects of a local bucket are read straight from their files.
func NewReader(bkt Bucket, cfg CacheConfig, logger *slog.Logger, reg prometheus.Registerer) (*Reader, error) {
	gap := cfg.MergeGap
	if gap == 0 {
		gap = defaultMergeGap
	}
	r := &Reader{
		bkt:     bkt,
		mergePg: gap / PageSize,
		memory:  newPageCache(cfg.MemoryBytes),
		gets:    make(chan struct{}, totalGets),
		flights: map[pageKey]*flight{},
		metrics: newReaderMetrics(reg),
	}
	if localFiles(bkt) != nil || cfg.Dir == "" || cfg.DiskBytes <= 0 {
		return r, nil
	}
	disk, err := openDiskCache(cfg.Dir, cfg.DiskBytes, logger)
	if err != nil {
		return nil, fmt.Errorf("open page cache: %w", err)
	}
	r.disk = disk
	return r, nil
}

// Close lets go of the disk cache; its pages stay for the next Reader.
func (r *Reader) Close() error {
	if r.disk == nil {
		return nil
	}
	return r.disk.close()
}

// fileOpener is a bucket that may have its objects as files.
type fileOpener interface {
	isLocal() bool
	openFile(name string) (*os.File, error)
}

func localFiles(bkt Bucket) fileOpener {
	if o, ok := bkt.(fileOpener); ok && o.isLocal() {
		return o
	}
	return nil
}

// File is an immutable object, read by offsets. All methods are safe for concurrent use.
type File struct {
	reader *Reader
	name   string
	size   int64
	local  fileOpener

	mu   sync.Mutex
	file *os.File // of a local bucket, once read
}

// File is the object with that name and size; nothing is read yet. The size comes from the catalog, a listing or
// Attributes.
func (r *Reader) File(name string, size int64) *File {
	return &File{reader: r, name: name, size: size, local: localFiles(r.bkt)}
}

// Name is the object's name.
func (f *File) Name() string { return f.name }

// Size is the object's size in bytes.
func (f *File) Size() int64 { return f.size }

// Close lets go of an open file of a local bucket; the File may still be read afterwards. Other buckets have
// nothing to close.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// IsLocal tells whether the object is a file of this machine.
func (f *File) IsLocal() bool { return f.local != nil }

// ReadAt fills p from the offset; beyond the end it returns what there is and io.EOF, as io.ReaderAt does.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: negative offset %d", f.name, off)
	}
	n := min(int64(len(p)), max(f.size-off, 0))
	if n > 0 {
		if err := f.readFull(ctx, p[:n], off); err != nil {
			return 0, err
		}
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (f *File) readFull(ctx context.Context, p []byte, off int64) error {
	if f.local != nil {
		return f.readLocal(ctx, p, off)
	}
	pages, err := f.reader.pages(ctx, f, []Range{{Off: off, Len: int64(len(p))}})
	if err != nil {
		return err
	}
	pages.copy(p, off)
	return nil
}

// Range returns n bytes from the offset; a range that is not within the object is an error that wraps
// io.ErrUnexpectedEOF. The slice may be part of a cache: it is read-only, and stays valid.
func (f *File) Range(ctx context.Context, off, n int64) ([]byte, error) {
	out, err := f.Ranges(ctx, []Range{{Off: off, Len: n}})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// Ranges returns the bytes of each range, in their order, with as few and large requests as possible, several at
// once. Ranges may overlap and come in any order. It holds all their pages in memory at once, however small the
// cache is, so the caller bounds their sum. The slices are read-only, and stay valid.
func (f *File) Ranges(ctx context.Context, ranges []Range) ([][]byte, error) {
	for _, r := range ranges {
		if r.Off < 0 || r.Len < 0 || r.Off > f.size || r.Len > f.size-r.Off {
			return nil, fmt.Errorf("read %s: %d bytes from %d of %d: %w", f.name, r.Len, r.Off, f.size, io.ErrUnexpectedEOF)
		}
	}
	out := make([][]byte, len(ranges))
	if f.local != nil {
		for i, r := range ranges {
			out[i] = make([]byte, r.Len)
			if err := f.readLocal(ctx, out[i], r.Off); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	pages, err := f.reader.pages(ctx, f, ranges)
	if err != nil {
		return nil, err
	}
	for i, r := range ranges {
		out[i] = pages.slice(r)
	}
	return out, nil
}

// Prefetch brings the ranges' pages into the caches, as Ranges does; on a local bucket it does nothing.
func (f *File) Prefetch(ctx context.Context, ranges []Range) error {
	if f.local != nil {
		return nil
	}
	_, err := f.Ranges(ctx, ranges)
	return err
}

// Drop forgets the pages of a range: for a caller that found damage in what they held, before it reads again.
func (f *File) Drop(off, n int64) {
	for page := off / PageSize; page*PageSize < off+n; page++ {
		key := pageKey{f.name, page}
		f.reader.memory.drop(key)
		if f.reader.disk != nil {
			f.reader.disk.drop(key)
		}
	}
}

func (f *File) readLocal(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for try := 0; ; try++ {
		file, err := f.open()
		if err != nil {
			return err
		}
		n, err := file.ReadAt(p, off)
		switch {
		case n == len(p):
			return nil
		case errors.Is(err, os.ErrClosed) && try == 0:
			continue // Close came in between
		case errors.Is(err, io.EOF):
			return fmt.Errorf("read %s: %w: %d of %d bytes from %d", f.name, ErrShort, n, len(p), off)
		}
		return fmt.Errorf("read %s: %w", f.name, err)
	}
}

func (f *File) open() (*os.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file != nil {
		return f.file, nil
	}
	file, err := f.local.openFile(f.name)
	f.file = file
	return file, err
}

// pageLen is how many bytes a page of the file has.
func (f *File) pageLen(page int64) int64 { return min(PageSize, f.size-page*PageSize) }

// get fetches consecutive pages with one request.
func (r *Reader) get(ctx context.Context, f *File, first, count int64) ([][]byte, error) {
	select {
	case r.gets <- struct{}{}:
		defer func() { <-r.gets }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	off := first * PageSize
	length := min(count*PageSize, f.size-off)
	body, err := r.bkt.GetRange(ctx, f.name, off, length)
	if err != nil && r.bkt.IsObjNotFoundErr(err) && !errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err) // what vanished is told by one error, whatever the store
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.name, err)
	}
	pages := make([][]byte, count)
	var got int64
	for i := range pages {
		pages[i] = make([]byte, f.pageLen(first+int64(i)))
		n, readErr := io.ReadFull(body, pages[i])
		got += int64(n)
		if readErr != nil {
			err = readErr
			break
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: %d of %d bytes from %d", ErrShort, got, length, off)
	}
	if closeErr := body.Close(); err == nil {
		err = closeErr
	}
	r.metrics.gets.Inc()
	r.metrics.getBytes.Add(float64(got))
	observe(ctx, got)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.name, err)
	}
	return pages, nil
}

// Observer is told of each range GET that a read through a File sends: the bytes received. It is called from
// several goroutines at once.
type Observer func(bytes int64)

type observerKey struct{}

// WithObserver returns a context whose reads report to o. A page that another call is already fetching is
// reported to that call only.
func WithObserver(ctx context.Context, o Observer) context.Context {
	return context.WithValue(ctx, observerKey{}, o)
}

func observe(ctx context.Context, bytes int64) {
	if o, ok := ctx.Value(observerKey{}).(Observer); ok {
		o(bytes)
	}
}

// fetch gets the runs in parallel and settles their flights; it returns the first error.
func (r *Reader) fetch(ctx context.Context, f *File, runs []run) error {
	if len(runs) == 1 {
		return r.fetchRun(ctx, f, runs[0])
	}
	var g errgroup.Group
	g.SetLimit(parallelGets)
	for _, run := range runs {
		g.Go(func() error { return r.fetchRun(ctx, f, run) })
	}
	return g.Wait()
}

func (r *Reader) fetchRun(ctx context.Context, f *File, run run) error {
	pages, err := r.get(ctx, f, run.first, run.count)
	for _, fl := range run.flights {
		if err != nil {
			r.land(fl, nil, err)
			continue
		}
		data := pages[fl.key.page-run.first]
		r.memory.put(fl.key, data)
		if r.disk != nil {
			r.disk.put(fl.key, data)
		}
		r.land(fl, data, nil)
	}
	return err
}
