package head

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/series"
)

// exemplars are the newest exemplars of a head, whatever their series, in a ring that grows up to max.
type exemplars struct {
	max int

	mtx  sync.RWMutex
	ring []heldExemplar
	next int // the slot to overwrite once the ring is full
	have map[exemplarKey]struct{}
}

type heldExemplar struct {
	series *Series
	exemplar.Exemplar
}

// exemplarKey tells exemplars apart.
type exemplarKey struct {
	ref    uint32
	t      int64
	value  uint64
	labels uint64
}

func (e heldExemplar) key() exemplarKey {
	return exemplarKey{ref: e.series.ref, t: e.Ts, value: math.Float64bits(e.Value), labels: e.Labels.Hash()}
}

// AppendExemplar keeps an exemplar of the series, in place of the head's oldest if there are Options.MaxExemplars.
// Its labels are copied. One that the head has already is a Duplicate.
func (s *Series) AppendExemplar(e exemplar.Exemplar) Outcome {
	h := s.page.head
	if h.sealed.Load() {
		return Sealed
	}
	return h.exemplars.add(heldExemplar{series: s, Exemplar: e})
}

func (x *exemplars) add(e heldExemplar) Outcome {
	if x.max <= 0 {
		return Stored
	}
	x.mtx.Lock()
	defer x.mtx.Unlock()
	key := e.key()
	if _, ok := x.have[key]; ok {
		return Duplicate
	}
	if x.have == nil {
		x.have = map[exemplarKey]struct{}{}
	}
	x.have[key] = struct{}{}
	e.Labels = e.Labels.Copy()
	if len(x.ring) < x.max {
		x.ring = append(x.ring, e)
		return Stored
	}
	delete(x.have, x.ring[x.next].key())
	x.ring[x.next] = e
	x.next = (x.next + 1) % x.max
	return Stored
}

func (x *exemplars) len() int {
	x.mtx.RLock()
	defer x.mtx.RUnlock()
	return len(x.ring)
}

func (x *exemplars) drop() {
	x.mtx.Lock()
	defer x.mtx.Unlock()
	x.ring, x.have, x.next = nil, nil, 0
}

// between groups the exemplars from mint to maxt, both included, by series.
func (x *exemplars) between(mint, maxt int64) map[*Series][]exemplar.Exemplar {
	x.mtx.RLock()
	defer x.mtx.RUnlock()
	found := map[*Series][]exemplar.Exemplar{}
	for _, e := range x.ring {
		if mint <= e.Ts && e.Ts <= maxt {
			found[e.series] = append(found[e.series], e.Exemplar)
		}
	}
	return found
}

// Exemplars are those from mint to maxt, both included, of the series that match one of the groups of matchers; no
// group means every series. Series are in label order, exemplars ordered by time.
func (h *Head) Exemplars(ctx context.Context, mint, maxt int64, matchers ...[]*labels.Matcher) ([]series.Exemplars, error) {
	if err := h.acquire(); err != nil {
		return nil, err
	}
	defer h.release()
	var out []series.Exemplars
	for s, es := range h.exemplars.between(mint, maxt) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		ls := s.Labels()
		if !matchesOne(ls, matchers) {
			continue
		}
		slices.SortFunc(es, func(a, b exemplar.Exemplar) int {
			return cmp.Or(cmp.Compare(a.Ts, b.Ts), cmp.Compare(a.Value, b.Value))
		})
		out = append(out, series.Exemplars{Labels: ls, Exemplars: es})
	}
	slices.SortFunc(out, func(a, b series.Exemplars) int { return labels.Compare(a.Labels, b.Labels) })
	return out, nil
}

func matchesOne(ls labels.Labels, groups [][]*labels.Matcher) bool {
	if len(groups) == 0 {
		return true
	}
	return slices.ContainsFunc(groups, func(ms []*labels.Matcher) bool {
		return !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) })
	})
}
