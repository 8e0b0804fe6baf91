package distributor_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/ingester"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
)

// late is a way to an owner that looks at batches long after they were handed over, as a slow connection does.
type late struct {
	directOwner
	t    *testing.T
	mu   sync.Mutex
	held []lateBatch
}

type lateBatch struct {
	bytes, copy []byte
	free        func()
}

func (o *late) Dial(context.Context, ring.Owner) (distributor.Owner, error) { return o, o.i.Ready() }

func (o *late) Push(batch []byte, free func()) (series.Receipt, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = append(o.held, lateBatch{batch, bytes.Clone(batch), free})
	if len(o.held) > 3 {
		if first := o.held[0]; !bytes.Equal(first.bytes, first.copy) {
			o.t.Error("a batch was written over before its owner let go of it")
		}
		o.held[0].free()
		o.held = o.held[1:]
	}
	return o.i.Push(bytes.Clone(batch))
}

// What is handed to an owner stays as it is until the owner lets go of it, while other requests come and go.
func TestBatchesStayUntilOwnersLetGo(t *testing.T) {
	b := newBed(t, options{dialer: func(i *ingester.Ingester) distributor.Dialer {
		return &late{directOwner: directOwner{i: i, broken: make(chan struct{})}, t: t}
	}})
	for n := range 200 {
		body := v1(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{of(fmt.Sprint("m", n%7), []prompb.Sample{b.at(time.Duration(n)*time.Millisecond, float64(n))})}})
		if w := b.serve(request("", false, body)); w.Code/100 != 2 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if got := b.stored("anonymous"); len(got) != 200 {
		t.Errorf("%d samples are stored", len(got))
	}
}
