package ingester

import (
	"context"
	"errors"
	"math"
	"os"
	"testing"
	"time"

	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// slowBucket answers nothing before open is closed.
type slowBucket struct {
	objstore.Bucket
	asked, open chan struct{}
}

func (b *slowBucket) Exists(ctx context.Context, name string) (bool, error) {
	b.asked <- struct{}{}
	<-b.open
	return b.Bucket.Exists(ctx, name)
}

// Whoever asks while the ingester starts, and the bucket is slow, is told to come back; and nobody believes that it is
// complete, or that it has shipped something.
func TestNothingIsAnsweredBeforeTheReplaysEnd(t *testing.T) {
	b := newBed(t)
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	b.stop()
	if err := os.Remove(b.dir + "/witness.json"); err != nil {
		t.Fatal(err)
	}
	slow := &slowBucket{Bucket: b.bucket, asked: make(chan struct{}, 1), open: make(chan struct{})}
	b.bucket = slow
	b.make()
	b.refuses("before it runs")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	<-slow.asked
	b.refuses("while it starts")
	if _, err := b.reg.Gather(); err != nil {
		t.Error(err)
	}
	cancel()
	close(slow.open)
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	b.refuses("after its end")
}

func (b *bed) refuses(when string) {
	b.t.Helper()
	ctx, q := context.Background(), series.Query{Tenant: tenant.Anonymous, MaxTime: 1 << 60}
	_, _, selected := b.Select(ctx, q)
	_, _, names := b.LabelNames(ctx, q)
	_, _, values := b.LabelValues(ctx, "a", q)
	_, _, exemplars := b.Exemplars(ctx, q, nil)
	_, _, families := b.Metadata(ctx, tenant.Anonymous)
	for what, err := range map[string]error{
		"select": selected, "label names": names, "label values": values, "exemplars": exemplars, "metadata": families,
		"flush": b.Flush(ctx), "leave": b.Leave(ctx), "ready": b.Ready(),
	} {
		if !errors.Is(err, series.ErrUnavailable) {
			b.t.Errorf("%s, %s answers %v", when, what, err)
		}
	}
	before := time.Now().UnixMilli()
	if s := b.Standing(); s.CompleteSince < before || s.ShippedBefore != 0 {
		b.t.Errorf("%s, it says that it is complete since %d, and has shipped what came before %d", when, s.CompleteSince, s.ShippedBefore)
	}
}

// What the log refuses must cross the wire as something that may be tried again.
func TestErrorsOfTheLogKeepTheirKind(t *testing.T) {
	b := newBed(t)
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	var bl series.Builder
	bl.Reset(series.StreamID{Distributor: 1, Generation: 1}, tenant.Anonymous)
	bl.Float(0, 2000, 1)
	batch := bl.AppendTo(nil)
	b.stop()
	if _, err := b.Push(batch); !errors.Is(err, ErrNotReady) || !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("a stopped ingester answers %v", err)
	}
	if err := logError(b.log.Healthy()); !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("a closed log answers %v", err)
	}

	b.lowWater = math.MaxInt64
	b.make()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	for errors.Is(b.accepts(), ErrNotReady) {
		time.Sleep(time.Millisecond)
	}
	if err := b.accepts(); !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("with a full disk it answers %v", err)
	}
	cancel()
	<-ended
}

// accepts is what a batch of a stream of its own is answered with.
func (b *bed) accepts() error {
	var bl series.Builder
	bl.Reset(series.StreamID{Distributor: 9, Generation: 1}, tenant.Anonymous)
	bl.Define(0, named("a"))
	bl.Float(0, 3000, 1)
	r, err := b.Push(bl.AppendTo(nil))
	if err == nil {
		_, err = r.Wait(context.Background())
	}
	return err
}
