package buckettest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/thanos-io/objstore"
)

// ErrFault is wrapped by every error that a Faulty bucket makes up.
var ErrFault = errors.New("injected fault")

// Faulty fails on demand. Set its fields before use; GoneFor may be called at any time.
type Faulty struct {
	objstore.Bucket

	// ErrorRate is the share of operations that fail before they do anything.
	ErrorRate float64
	// LateRate is the share of uploads and deletions that happen and report an error all the same.
	LateRate float64
	// TornRate is the share of bodies that break half way.
	TornRate float64
	// PartialRate is the share of uploads that leave half an object and report an error: a store that is not atomic.
	PartialRate float64
	// FlipRate is the share of bodies of which one bit is wrong.
	FlipRate float64
	// Delay is how long every operation takes at least.
	Delay time.Duration
	// HideNewest leaves so many of the objects uploaded last out of listings: they are stale.
	HideNewest int

	mu     sync.Mutex
	rand   *rand.Rand
	gone   int
	newest []string
}

// NewFaulty wraps a bucket; the same seed and the same operations one after another give the same faults.
func NewFaulty(inner objstore.Bucket, seed uint64) *Faulty {
	return &Faulty{Bucket: inner, rand: rand.New(rand.NewPCG(seed, 0))}
}

// GoneFor makes the next n operations fail.
func (f *Faulty) GoneFor(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = n
}

func (f *Faulty) chance(rate float64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return rate > 0 && f.rand.Float64() < rate
}

// begin is what every operation does first.
func (f *Faulty) begin(ctx context.Context) error {
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.mu.Lock()
	isGone := f.gone > 0
	if isGone {
		f.gone--
	}
	f.mu.Unlock()
	if isGone || f.chance(f.ErrorRate) {
		return ErrFault
	}
	return nil
}

// Upload fails by ErrorRate, PartialRate and LateRate.
func (f *Faulty) Upload(ctx context.Context, name string, r io.Reader, opts ...objstore.ObjectUploadOption) error {
	if err := f.begin(ctx); err != nil {
		return err
	}
	if f.chance(f.PartialRate) {
		data, err := io.ReadAll(r)
		return errors.Join(ErrFault, err, f.Bucket.Upload(ctx, name, bytes.NewReader(data[:len(data)/2])))
	}
	if err := f.Bucket.Upload(ctx, name, r, opts...); err != nil {
		return err
	}
	f.mu.Lock()
	f.newest = append(f.newest, name)
	if extra := len(f.newest) - f.HideNewest; extra > 0 {
		f.newest = f.newest[extra:]
	}
	f.mu.Unlock()
	if f.chance(f.LateRate) {
		return ErrFault
	}
	return nil
}

// Delete fails by ErrorRate and LateRate.
func (f *Faulty) Delete(ctx context.Context, name string) error {
	if err := f.begin(ctx); err != nil {
		return err
	}
	if err := f.Bucket.Delete(ctx, name); err != nil {
		return err
	}
	if f.chance(f.LateRate) {
		return ErrFault
	}
	return nil
}

// Get fails by ErrorRate; its body by TornRate and FlipRate.
func (f *Faulty) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := f.begin(ctx); err != nil {
		return nil, err
	}
	return f.body(f.Bucket.Get(ctx, name))
}

// GetRange is as Get.
func (f *Faulty) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	if err := f.begin(ctx); err != nil {
		return nil, err
	}
	return f.body(f.Bucket.GetRange(ctx, name, off, length))
}

func (f *Faulty) body(r io.ReadCloser, err error) (io.ReadCloser, error) {
	isTorn, isFlipped := f.chance(f.TornRate), f.chance(f.FlipRate)
	if err != nil || !isTorn && !isFlipped {
		return r, err
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if isTorn {
		half := bytes.NewReader(data[:len(data)/2])
		return io.NopCloser(io.MultiReader(half, brokenReader{})), nil
	}
	if len(data) > 0 {
		f.mu.Lock()
		data[f.rand.IntN(len(data))] ^= 1 << f.rand.IntN(8)
		f.mu.Unlock()
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, ErrFault }

// Exists fails by ErrorRate.
func (f *Faulty) Exists(ctx context.Context, name string) (bool, error) {
	if err := f.begin(ctx); err != nil {
		return false, err
	}
	return f.Bucket.Exists(ctx, name)
}

// Attributes fails by ErrorRate.
func (f *Faulty) Attributes(ctx context.Context, name string) (objstore.ObjectAttributes, error) {
	if err := f.begin(ctx); err != nil {
		return objstore.ObjectAttributes{}, err
	}
	return f.Bucket.Attributes(ctx, name)
}

// Iter fails by ErrorRate, and lacks the newest objects by HideNewest.
func (f *Faulty) Iter(ctx context.Context, dir string, fn func(string) error, opts ...objstore.IterOption) error {
	return f.IterWithAttributes(ctx, dir, func(a objstore.IterObjectAttributes) error { return fn(a.Name) }, opts...)
}

// IterWithAttributes is as Iter.
func (f *Faulty) IterWithAttributes(
	ctx context.Context, dir string, fn func(objstore.IterObjectAttributes) error, opts ...objstore.IterOption,
) error {
	if err := f.begin(ctx); err != nil {
		return err
	}
	hidden := map[string]bool{}
	f.mu.Lock()
	if f.HideNewest > 0 {
		for _, name := range f.newest {
			hidden[name] = true
		}
	}
	f.mu.Unlock()
	return f.Bucket.IterWithAttributes(ctx, dir, func(a objstore.IterObjectAttributes) error {
		if hidden[a.Name] {
			return nil
		}
		return fn(a)
	}, opts...)
}

// IsObjNotFoundErr asks the wrapped bucket.
func (f *Faulty) IsObjNotFoundErr(err error) bool {
	return !errors.Is(err, ErrFault) && f.Bucket.IsObjNotFoundErr(err)
}
