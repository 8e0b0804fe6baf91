package block

import (
	"context"
	"errors"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/series"
)

// LabelNames implements series.Source. As everywhere with blocks, the range decides only whether the block answers.
func (b *Block) LabelNames(ctx context.Context, q series.Query) ([]string, error) {
	if !b.meta.Overlaps(q.MinTime, q.MaxTime) {
		return nil, nil
	}
	names, err := b.reader(ctx).labelNames(q.Matchers)
	return limited(names, q.Limit), err
}

// LabelValues implements series.Source.
func (b *Block) LabelValues(ctx context.Context, name string, q series.Query) ([]string, error) {
	if !b.meta.Overlaps(q.MinTime, q.MaxTime) {
		return nil, nil
	}
	values, err := b.reader(ctx).labelValues(name, q.Limit, q.Matchers)
	return limited(values, q.Limit), err
}

func limited(s []string, limit int) []string {
	if limit > 0 && len(s) > limit {
		return s[:limit]
	}
	return s
}

func (r *reader) labelNames(ms []*labels.Matcher) ([]string, error) {
	if len(ms) > 0 {
		refs, err := r.match(ms)
		if err != nil {
			return nil, err
		}
		return r.namesOf(refs)
	}
	var names []string
	for _, n := range r.b.header.names {
		if n.name != "" {
			names = append(names, n.name)
		}
	}
	return names, nil
}

// namesBatch is how many series are read at once when only their labels matter.
const namesBatch = 4096

// namesOf gives the label names of the given series.
func (r *reader) namesOf(refs []uint32) ([]string, error) {
	numbers := map[uint32]struct{}{}
	err := r.eachEntry(refs, func(e entry) {
		for i := 0; i < len(e.pairs); i += 2 {
			numbers[e.pairs[i]] = struct{}{}
		}
	})
	if err != nil {
		return nil, err
	}
	return r.texts(numbers)
}

// eachEntry calls fn for every given series; its chunks are left out.
func (r *reader) eachEntry(refs []uint32, fn func(entry)) error {
	var batch []entry
	for part := range slices.Chunk(refs, namesBatch) {
		var err error
		if batch, err = r.entries(batch[:0], part, timeRange{1, 0}); err != nil {
			return err
		}
		for _, e := range batch {
			fn(e)
		}
	}
	return nil
}

// texts gives the symbols of the given numbers, sorted.
func (r *reader) texts(numbers map[uint32]struct{}) ([]string, error) {
	r.symbols.reset()
	for n := range numbers {
		r.want(n)
	}
	if err := r.readSymbols(); err != nil {
		return nil, err
	}
	texts := make([]string, 0, len(numbers))
	for n := range numbers {
		texts = append(texts, r.symbols.text(n))
	}
	slices.Sort(texts)
	return texts, nil
}

func (r *reader) labelValues(name string, limit int, ms []*labels.Matcher) ([]string, error) {
	var own, other []*labels.Matcher
	for _, m := range ms {
		if m.Name == name {
			own = append(own, m)
		} else {
			other = append(other, m)
		}
	}
	if len(other) == 0 {
		return r.ownValues(name, limit, own)
	}
	refs, err := r.match(ms)
	if err != nil || len(refs) == 0 {
		return nil, err
	}
	if r.cheaperBySeries(name, len(refs)) {
		return r.valuesOf(name, refs)
	}
	return r.intersectValues(name, refs, own)
}

// ownValues gives the label's values that all matchers of that label accept, at most limit if that isn't 0.
func (r *reader) ownValues(name string, limit int, own []*labels.Matcher) ([]string, error) {
	if name == "" {
		return nil, nil
	}
	var values []string
	err := r.walk(name, func(value []byte, _ span) error {
		if v := string(value); accept(own, v) {
			values = append(values, v)
			if len(values) == limit {
				return errEnough
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return values, err
}

func accept(ms []*labels.Matcher, value string) bool {
	for _, m := range ms {
		if !m.Matches(value) {
			return false
		}
	}
	return true
}

// cheaperBySeries tells whether reading n series costs less than reading all lists of the label.
func (r *reader) cheaperBySeries(name string, n int) bool {
	h := r.b.header
	l, ok := h.name(name)
	if !ok {
		return true
	}
	last := l.first + l.n - 1
	lists := int64(h.listBound(last) - h.groups[l.first].postings)
	lists += int64(h.groupEnd(last) - h.groups[l.first].entry)
	return int64(n)*r.b.entryGuess() <= lists
}

// valuesOf gives the values that the given series have of the label.
func (r *reader) valuesOf(name string, refs []uint32) ([]string, error) {
	symbol, ok, err := r.numberOf(name)
	if err != nil || !ok {
		return nil, err
	}
	numbers := map[uint32]struct{}{}
	err = r.eachEntry(refs, func(e entry) {
		for i := 0; i < len(e.pairs); i += 2 {
			if e.pairs[i] == symbol {
				numbers[e.pairs[i+1]] = struct{}{}
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return r.texts(numbers)
}

// numberOf gives the symbol number of a label name, by way of one series that has it.
func (r *reader) numberOf(name string) (uint32, bool, error) {
	h := r.b.header
	n, ok := h.name(name)
	if !ok {
		return 0, false, nil
	}
	lists, err := r.lookUp(name, []string{h.groups[n.first].value})
	if err != nil {
		return 0, false, err
	}
	p, err := r.lists(lists)
	if err != nil || !p.Next() {
		return 0, false, err
	}
	es, err := r.entries(nil, []uint32{uint32(p.At())}, timeRange{1, 0})
	if err != nil {
		return 0, false, err
	}
	if _, err := r.resolve(es); err != nil {
		return 0, false, err
	}
	for i := 0; i < len(es[0].pairs); i += 2 {
		if r.symbols.text(es[0].pairs[i]) == name {
			return es[0].pairs[i], true, nil
		}
	}
	return 0, false, r.b.corrupt(IndexName, int64(es[0].ref)*seriesAlign, "series in a list of %q lacks that label", name)
}

// intersectValues gives the values whose lists share a series with refs.
func (r *reader) intersectValues(name string, refs []uint32, own []*labels.Matcher) ([]string, error) {
	var values []string
	err := r.walkLists(name, func(v string) bool { return accept(own, v) }, func(v string, list []byte) {
		if intersects(refs, list) {
			values = append(values, v)
		}
	})
	return values, err
}

// walkLists calls fn with the list of every value of the label that is wanted, in the order of values.
func (r *reader) walkLists(name string, want func(string) bool, fn func(v string, list []byte)) error {
	var values []string
	var spans []span
	flush := func() error {
		err := r.fetch().each(spans, func(i int, b []byte) error {
			list, err := r.parseList(spans[i].off, b)
			if err == nil {
				fn(values[i], list)
			}
			return err
		})
		values, spans = values[:0], spans[:0]
		return err
	}
	err := r.walk(name, func(value []byte, list span) error {
		v := string(value)
		if !want(v) {
			return nil
		}
		if len(spans) >= namesBatch || len(spans) > 0 && list.off <= spans[len(spans)-1].off {
			if err := flush(); err != nil {
				return err
			}
		}
		values, spans = append(values, v), append(spans, guessed(list))
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}
