package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"
)

// MaxBuffered is the most bytes that Upload takes from a reader that can't seek.
const MaxBuffered = 64 << 20

// retrying adds to any bucket: checked names, retries, metrics.
type retrying struct {
	inner   objstore.Bucket
	local   bool // errors of a local file system don't pass by waiting
	logger  *slog.Logger
	metrics *metrics
}

var _ objstore.Bucket = (*retrying)(nil)

// Wrap gives any bucket what a Bucket from Open has: checked names, retries with jitter, metrics.
func Wrap(inner objstore.Bucket, logger *slog.Logger, reg prometheus.Registerer) Bucket {
	_, isLocal := inner.(*local)
	return &retrying{inner: inner, local: isLocal, logger: logger, metrics: newMetrics(reg)}
}

// do calls f until it succeeds, fails for good, or attempts or time are used up.
func (b *retrying) do(ctx context.Context, op, name string, f func() error) error {
	start := time.Now()
	err := b.attempts(ctx, op, name, f)
	b.metrics.done(op, start, err != nil && !b.inner.IsObjNotFoundErr(err))
	return err
}

func (b *retrying) attempts(ctx context.Context, op, name string, f func() error) error {
	for attempt := 1; ; attempt++ {
		err := f()
		if attempt == maxAttempts || !b.transient(ctx, err) {
			return err
		}
		b.logger.Debug("bucket operation failed, trying again", "operation", op, "object", name, "attempt", attempt, "err", err)
		b.metrics.retries.WithLabelValues(op).Inc()
		if waitErr := backoff(ctx, attempt); waitErr != nil {
			return errors.Join(err, waitErr)
		}
	}
}

func (b *retrying) Upload(ctx context.Context, name string, r io.Reader, opts ...objstore.ObjectUploadOption) error {
	if err := checkName(name); err != nil {
		return err
	}
	source, start, err := seekable(r)
	if err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	err = b.do(ctx, objstore.OpUpload, name, func() error {
		if _, err := source.Seek(start, io.SeekStart); err != nil {
			return finalError{err}
		}
		// Some clients go on sending in the background when the source fails; the context stops them.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		return b.inner.Upload(ctx, name, source, opts...)
	})
	if err == nil {
		b.metrics.written.Add(float64(source.size))
	}
	return err
}

// seekable makes a source that can be read again from its start; the offset is where that is.
func seekable(r io.Reader) (sourceReader, int64, error) {
	rs, ok := r.(io.ReadSeeker)
	if !ok {
		data, err := io.ReadAll(io.LimitReader(r, MaxBuffered+1))
		if err != nil {
			return sourceReader{}, 0, err
		}
		if len(data) > MaxBuffered {
			return sourceReader{}, 0, fmt.Errorf("a source that can't seek may have at most %d bytes", MaxBuffered)
		}
		rs = bytes.NewReader(data)
	}
	start, err := rs.Seek(0, io.SeekCurrent)
	if err != nil {
		return sourceReader{}, 0, err
	}
	end, err := rs.Seek(0, io.SeekEnd)
	return sourceReader{rs, end - start}, start, err
}

func (b *retrying) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	// Not every store tells that there was nothing to delete (S3 does not); ours does.
	exists, err := b.Exists(ctx, name)
	if err != nil {
		return err
	}
	if !exists {
		return notFoundError{name}
	}
	attempt := 0
	return b.do(ctx, objstore.OpDelete, name, func() error {
		attempt++
		err := b.inner.Delete(ctx, name)
		if attempt > 1 && b.inner.IsObjNotFoundErr(err) {
			return nil // an earlier attempt did it, though it reported an error
		}
		return err
	})
}

type notFoundError struct{ name string }

func (e notFoundError) Error() string { return "object not found: " + e.name }

func (b *retrying) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	return b.get(ctx, objstore.OpGet, name, func() (io.ReadCloser, error) { return b.inner.Get(ctx, name) })
}

// GetRange goes on after a connection that breaks within the body; Get does not, because an object read whole may
// be one that is overwritten.
func (b *retrying) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	if off < 0 || length == 0 || length < -1 {
		return nil, fmt.Errorf("get %s: invalid range of %d bytes from %d", name, length, off)
	}
	body, err := b.get(ctx, objstore.OpGetRange, name, func() (io.ReadCloser, error) {
		return b.inner.GetRange(ctx, name, off, length)
	})
	if err != nil || length == -1 || b.local {
		return body, err
	}
	return &resuming{bucket: b, ctx: ctx, name: name, off: off, left: length, body: body}, nil
}

func (b *retrying) get(ctx context.Context, op, name string, open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	start := time.Now()
	var body io.ReadCloser
	err := b.attempts(ctx, op, name, func() (err error) {
		body, err = open()
		if err != nil && (isRangeBeyondEnd(err) || b.isEmpty(ctx, name, err)) {
			body, err = io.NopCloser(bytes.NewReader(nil)), nil
		}
		return err
	})
	if err != nil {
		b.metrics.done(op, start, !b.inner.IsObjNotFoundErr(err))
		return nil, err
	}
	return &measured{ReadCloser: body, bucket: b, op: op, start: start}, nil
}

// isRangeBeyondEnd knows the answer of servers that take a range from beyond the object's end for an error.
func isRangeBeyondEnd(err error) bool { return statusCode(err) == 416 }

// isEmpty tells whether a read failed only because the object has no bytes, as objstore's S3 has it. A connection that
// breaks may look the same, so the size decides.
func (b *retrying) isEmpty(ctx context.Context, name string, err error) bool {
	if !errors.Is(err, io.EOF) {
		return false
	}
	attrs, err := b.inner.Attributes(ctx, name)
	return err == nil && attrs.Size == 0
}

func (b *retrying) Exists(ctx context.Context, name string) (exists bool, err error) {
	if err := checkName(name); err != nil {
		return false, err
	}
	err = b.do(ctx, objstore.OpExists, name, func() (err error) {
		exists, err = b.inner.Exists(ctx, name)
		return err
	})
	return exists, err
}

func (b *retrying) Attributes(ctx context.Context, name string) (attrs objstore.ObjectAttributes, err error) {
	if err := checkName(name); err != nil {
		return attrs, err
	}
	err = b.do(ctx, objstore.OpAttributes, name, func() (err error) {
		attrs, err = b.inner.Attributes(ctx, name)
		return err
	})
	return attrs, err
}

func (b *retrying) Iter(ctx context.Context, dir string, f func(string) error, opts ...objstore.IterOption) error {
	return b.IterWithAttributes(ctx, dir, func(a objstore.IterObjectAttributes) error { return f(a.Name) }, opts...)
}

// IterWithAttributes calls f once for each entry, also if the listing had to be begun anew.
func (b *retrying) IterWithAttributes(
	ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, opts ...objstore.IterOption,
) error {
	if err := checkDir(dir); err != nil {
		return err
	}
	if dir != "" && dir[len(dir)-1] != '/' {
		dir += "/" // not every kind of bucket adds it
	}
	seen := map[string]struct{}{}
	return b.do(ctx, objstore.OpIter, dir, func() error {
		return b.inner.IterWithAttributes(ctx, dir, func(a objstore.IterObjectAttributes) error {
			if _, ok := seen[a.Name]; ok {
				return nil
			}
			seen[a.Name] = struct{}{}
			if err := f(a); err != nil {
				return finalError{err}
			}
			return nil
		}, opts...)
	})
}

func (b *retrying) SupportedIterOptions() []objstore.IterOptionType {
	return b.inner.SupportedIterOptions()
}

func (b *retrying) IsObjNotFoundErr(err error) bool {
	var notFound notFoundError
	return errors.As(err, &notFound) || b.inner.IsObjNotFoundErr(err)
}

func (b *retrying) IsAccessDeniedErr(err error) bool { return b.inner.IsAccessDeniedErr(err) }

func (b *retrying) Provider() objstore.ObjProvider { return b.inner.Provider() }

func (b *retrying) Name() string { return b.inner.Name() }

func (b *retrying) Close() error { return b.inner.Close() }

// isLocal tells whether openFile works.
func (b *retrying) isLocal() bool { return b.local }

// openFile is the object's file in a local bucket.
func (b *retrying) openFile(name string) (*os.File, error) { return b.inner.(*local).openFile(name) }

// measured counts the bytes of a body, and the operation when it is closed.
type measured struct {
	io.ReadCloser
	bucket *retrying
	op     string
	start  time.Time
	failed bool
	once   sync.Once
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.bucket.metrics.read.Add(float64(n))
	m.failed = m.failed || err != nil && !errors.Is(err, io.EOF)
	return n, err
}

func (m *measured) Close() error {
	m.once.Do(func() { m.bucket.metrics.done(m.op, m.start, m.failed) })
	return m.ReadCloser.Close()
}

// ObjectSize passes on what the provider knows.
func (m *measured) ObjectSize() (int64, error) { return objstore.TryToGetSize(m.ReadCloser) }

// resuming is the body of a range; where it breaks, the rest is asked for again.
type resuming struct {
	bucket    *retrying
	ctx       context.Context
	name      string
	off, left int64
	attempt   int
	body      io.ReadCloser
}

func (r *resuming) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.off += int64(n)
	r.left -= int64(n)
	if err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return n, err
	}
	if r.attempt++; r.left <= 0 || r.attempt == maxAttempts || !r.bucket.transient(r.ctx, err) {
		return n, err
	}
	if waitErr := backoff(r.ctx, r.attempt); waitErr != nil {
		return n, errors.Join(err, waitErr)
	}
	_ = r.body.Close() // it broke already
	body, err := r.bucket.get(r.ctx, objstore.OpGetRange, r.name, func() (io.ReadCloser, error) {
		return r.bucket.inner.GetRange(r.ctx, r.name, r.off, r.left)
	})
	if err != nil {
		r.body = io.NopCloser(bytes.NewReader(nil))
		return n, err
	}
	r.body = body
	return n, nil
}

func (r *resuming) Close() error { return r.body.Close() }

// ObjectSize passes on what the provider knows of the range.
func (r *resuming) ObjectSize() (int64, error) { return objstore.TryToGetSize(r.body) }
