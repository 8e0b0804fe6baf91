package ingester

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/wal"
)

// stream resolves the numbers of one distributor's batches for one partition.
//
// A number's definition must stand in the log before its use, in every term of the log by itself: an epoch's log is
// replayed and dropped alone, and after a fence earlier records may be gone. So a number that was defined in an earlier
// term is logged once more when it is first used in this one.
type stream struct {
	id series.StreamID

	mu      sync.Mutex
	term    wal.Term
	round   uint32 // counts terms; a reference of an older round must be looked up and logged again
	refs    []ref
	used    time.Time
	scratch series.Builder
}

// ref is what a number stands for.
type ref struct {
	series *head.Series
	round  uint32
}

// begin makes references of earlier terms stale.
func (s *stream) begin(t wal.Term) {
	if s.term != t || s.round == 0 {
		s.term = t
		s.round++
	}
}

// maxNumber bounds what a corrupt definition may cost.
const maxNumber = 64 << 20

// define says what a number stands for.
func (s *stream) define(n series.Number, ls labels.Labels, h *head.Head) error {
	if n >= maxNumber {
		return fmt.Errorf("%w: number %d", series.ErrCorrupt, n)
	}
	ser, _, err := h.Series(ls)
	if err != nil {
		return err
	}
	for int(n) >= len(s.refs) {
		s.refs = append(s.refs, ref{})
	}
	s.refs[n] = ref{ser, s.round}
	return nil
}

// resolve is the series of a number in head h. One whose definition must be logged again is added to again.
func (s *stream) resolve(n series.Number, h *head.Head, again *series.Builder) (*head.Series, error) {
	if int(n) >= len(s.refs) || s.refs[n].series == nil {
		return nil, fmt.Errorf("%w: number %d of %d", series.ErrUnknownNumber, n, len(s.refs))
	}
	r := &s.refs[n]
	if r.round == s.round {
		return r.series, nil
	}
	ser, _, err := h.Series(r.series.Labels())
	if err != nil {
		return nil, err
	}
	*r = ref{ser, s.round}
	again.Define(n, ser.Labels())
	return ser, nil
}
