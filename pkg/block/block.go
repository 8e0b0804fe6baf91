package block

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/oklog/ulid/v2"
)

// maxHeaderBytes bounds a sparse header that is read.
const maxHeaderBytes = 1 << 30

// Block is one open block. It implements series.Source; all methods are safe for concurrent use. It doesn't know whose
// samples it holds: Query.Tenant is the caller's business.
type Block struct {
	meta   Meta
	files  Files
	header *header
	built  bool
	index  File

	idle chan *reader // what later selections can use; nil keeps none

	mu       sync.Mutex
	segments map[uint32]File
}

// Open opens a block over its files; meta is its meta.json, or what a catalog kept of it. A block whose sparse header
// is missing or damaged gets one by a pass over two tables of its index. Nothing else is read. A block from which
// Prometheus deleted samples, and didn't rewrite yet, is refused: they would come back.
func Open(ctx context.Context, files Files, meta Meta) (*Block, error) {
	if n := meta.Stats.NumTombstones; n > 0 {
		return nil, fmt.Errorf("open block %s: it has %d deletions that only Prometheus can apply", meta.ULID, n)
	}
	f, err := files.Open(ctx, IndexName)
	if err != nil {
		return nil, fmt.Errorf("open block %s: %w", meta.ULID, err)
	}
	b := &Block{meta: meta, files: files, index: f, segments: map[uint32]File{}}
	b.header, err = readHeader(ctx, files, meta.ULID, f.Size())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errHeader) {
		b.built = true
		b.header, err = buildHeader(ctx, meta.ULID, f)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open block %s: %w", meta.ULID, err)
	}
	return b, nil
}

// readHeader reads the header file of a block, which must be that of this index.
func readHeader(ctx context.Context, files Files, id ulid.ULID, indexSize int64) (*header, error) {
	f, err := files.Open(ctx, HeaderName)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > maxHeaderBytes {
		return nil, fmt.Errorf("%w: %d bytes", errHeader, f.Size())
	}
	raw, err := f.Range(ctx, 0, f.Size())
	if err != nil {
		return nil, err
	}
	h, err := decodeHeader(raw)
	if err != nil {
		return nil, err
	}
	if h.block != id || h.indexSize != indexSize {
		return nil, fmt.Errorf("%w: it belongs to another index", errHeader)
	}
	return h, nil
}

// Meta is what Open was given.
func (b *Block) Meta() Meta { return b.meta }

// Header is the block's sparse header, and whether it had to be built: then the caller may keep it under HeaderName
// for the next time.
func (b *Block) Header() (raw []byte, built bool) { return b.header.encode(), b.built }

// Reuse lets selections that have ended hand the symbols that they know, and their room, on to later ones: up to n at once, each some MiB. It is for who selects
// many times in a row, and is called before.
func (b *Block) Reuse(n int) { b.idle = make(chan *reader, n) }

// MemoryBytes is about how much memory the open block takes.
func (b *Block) MemoryBytes() int64 { return b.header.bytes() }

// Close closes the files. No selection may be under way.
func (b *Block) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	errs := []error{b.index.Close()}
	for _, f := range b.segments {
		errs = append(errs, f.Close())
	}
	b.segments = nil
	return errors.Join(errs...)
}

// segment opens the i-th chunk segment, once.
func (b *Block) segment(ctx context.Context, i uint32) (File, error) {
	b.mu.Lock()
	f := b.segments[i]
	b.mu.Unlock()
	if f != nil {
		return f, nil
	}
	f, err := b.files.Open(ctx, SegmentName(int(i)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("block %s has no chunk segment %d: %w", b.meta.ULID, i, err)
	}
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.segments == nil {
		f.Close()
		return nil, fmt.Errorf("block %s: %w", b.meta.ULID, fs.ErrClosed)
	}
	if other := b.segments[i]; other != nil {
		f.Close()
		return other, nil
	}
	b.segments[i] = f
	return f, nil
}

func (b *Block) corrupt(file string, off int64, format string, args ...any) error {
	return &CorruptError{Block: b.meta.ULID, File: file, Offset: off, Reason: fmt.Sprintf(format, args...)}
}
