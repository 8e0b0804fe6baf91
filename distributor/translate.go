package distributor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/tenant"
)

// translated stores a request of another protocol as one of remote write: the same limits, the same quorum.
func (r *request) translated(h *http.Request, id tenant.ID, translate func(*remote.Translation, []byte) error) (Written, error) {
	d := r.d
	received := d.bodies.Get().(*remote.Body)
	defer d.bodies.Put(received)
	body, err := received.ReadEncoded(h, int64(d.cfg.MaxRequestBytes), r.hold)
	if err != nil {
		return Written{}, err
	}
	t, _ := d.translators.Get().(*remote.Translation)
	if t == nil {
		t = remote.NewTranslation()
	}
	defer d.translators.Put(t)
	r.lim, r.now = d.deps.Limits.For(id), d.deps.Now()
	t.Reset(remote.Bounds{
		Samples: r.lim.MaxSamplesPerRequest, Bytes: int64(d.cfg.MaxRequestBytes), Memory: int64(d.cfg.MaxInflightBytes), Hold: r.hold,
	}, r.now.UnixMilli(), max(h.ContentLength, 0)+int64(len(body)))
	err = r.inTurn(h.Context(), int64(len(body)), func() error { return translate(t, body) })
	if errors.Is(err, remote.ErrTooMany) {
		return Written{}, r.tooMany()
	} else if err != nil {
		return Written{}, err
	}
	w, err := r.push(h.Context(), id, remote.WriteV2, t.Body())
	if err == nil {
		w.leaveOut(t)
		r.leftOut(t)
	}
	return w, err
}

// inTurn works on so many bytes when it is the tenant's turn. Storing what comes of it takes a turn of its own.
func (r *request) inTurn(ctx context.Context, bytes int64, work func() error) error {
	if err := r.d.turns.begin(ctx, r.holder, bytes, time.Duration(r.d.cfg.AckTimeout)); err != nil {
		return err
	}
	defer r.d.turns.end(r.holder, bytes)
	return work()
}

// leaveOut adds what was refused before it was a sample.
func (w *Written) leaveOut(t *remote.Translation) {
	w.Skipped = t.Skipped
	if len(t.Refused) == 0 {
		return
	}
	var b strings.Builder
	for i, f := range t.Refused {
		if i > 0 {
			b.WriteString("; ")
		}
		w.Refused += f.Count
		fmt.Fprintf(&b, "%s: %d, the first: %s", f.Reason, f.Count, f.First)
	}
	if w.Message != "" {
		b.WriteString("; of the others, " + w.Message)
	} else {
		b.WriteString("; the rest is stored")
	}
	w.Message = b.String()
}

// leftOut counts what could not be translated, and writes it into the tenant's diary.
func (r *request) leftOut(t *remote.Translation) {
	left := t.Refused
	if t.Skipped > 0 {
		left = append(left, remote.Refusal{Reason: string(stringValue), Count: t.Skipped, First: "a field of Influx lines holds a string"})
	}
	for _, f := range left {
		r.d.metrics.refused.WithLabelValues(f.Reason).Add(float64(f.Count))
	}
	r.d.metrics.exemplarsDropped.Add(float64(t.ExemplarsDropped))
	r.sender.diary.leftOut(r.now, left)
}
