package ingester

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
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
	tenants map[tenant.ID]uint32 // of the series; a reference has only the number
	used    time.Time
	scratch series.Builder
}

// ref is what a number stands for.
type ref struct {
	series *head.Series
	round  uint32
	tenant uint32
}

// tenant is the number of a tenant in this stream.
func (s *stream) tenant(id tenant.ID) uint32 {
	n, ok := s.tenants[id]
	if !ok {
		if s.tenants == nil {
			s.tenants = map[tenant.ID]uint32{}
		}
		n = uint32(len(s.tenants))
		s.tenants[id] = n
	}
	return n
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

// dictionary is a stream's numbers for one tenant, whose head it is.
type dictionary struct {
	*stream
	head *head.Head
	of   uint32
}

// define says what a number stands for.
func (s dictionary) define(n series.Number, ls labels.Labels) error {
	if n >= maxNumber {
		return fmt.Errorf("%w: number %d", series.ErrCorrupt, n)
	}
	ser, _, err := s.head.Series(ls)
	if err != nil {
		return err
	}
	for int(n) >= len(s.refs) {
		s.refs = append(s.refs, ref{})
	}
	s.refs[n] = ref{ser, s.round, s.of}
	return nil
}

// resolve is the series of a number. One whose definition must be logged again is added to scratch.
func (s dictionary) resolve(n series.Number) (*head.Series, error) {
	if int(n) >= len(s.refs) || s.refs[n].series == nil {
		return nil, fmt.Errorf("%w: number %d of %d", series.ErrUnknownNumber, n, len(s.refs))
	}
	r := &s.refs[n]
	if r.tenant != s.of {
		return nil, fmt.Errorf("%w: number %d is another tenant's", series.ErrCorrupt, n)
	}
	if r.round == s.round {
		return r.series, nil
	}
	ser, _, err := s.head.Series(r.series.Labels())
	if err != nil {
		return nil, err
	}
	*r = ref{ser, s.round, s.of}
	s.scratch.Define(n, ser.Labels())
	return ser, nil
}
