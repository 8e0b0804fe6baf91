package block

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// A matcher that only wants a label to be there, such as container!="", stands for the lists of all of its values: of all pods, perhaps, for one metric. If the
// other matchers leave few series, it is cheaper to look at these.

// fewSeries is the part of a block's series that others may leave.
const fewSeries = 8

// matchMost gives the references of the series that match all but some matchers, and the labels that these want to be there.
func (r *reader) matchMost(ms []*labels.Matcher) (refs []uint32, wanted []string, err error) {
	var rest []*labels.Matcher
	isNarrow := false
	for _, m := range ms {
		if wantsLabel(m) {
			wanted = append(wanted, m.Name)
			continue
		}
		rest = append(rest, m)
		isNarrow = isNarrow || m.Type == labels.MatchEqual && m.Value != ""
	}
	if len(wanted) > 0 && isNarrow {
		if refs, err = r.match(rest); err != nil || uint64(len(refs)) <= r.b.meta.Stats.NumSeries/fewSeries {
			return refs, wanted, err
		}
	}
	refs, err = r.match(ms)
	return refs, nil, err
}

// wantsLabel tells whether the matcher is for every value but none.
func wantsLabel(m *labels.Matcher) bool {
	return m.Type == labels.MatchNotEqual && m.Value == "" || m.Type == labels.MatchRegexp && m.Value == ".+"
}

// having keeps the entries that have all of the labels.
func (r *reader) having(es []entry, wanted []string) ([]entry, error) {
	if len(wanted) == 0 {
		return es, nil
	}
	for _, e := range es {
		for i := 0; i < len(e.pairs); i += 2 {
			r.want(e.pairs[i])
		}
	}
	if err := r.readSymbols(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(es, func(e entry) bool {
		return slices.ContainsFunc(wanted, func(name string) bool { return !r.has(e, name) })
	}), nil
}

func (r *reader) has(e entry, name string) bool {
	for i := 0; i < len(e.pairs); i += 2 {
		if r.symbols.text(e.pairs[i]) == name {
			return true
		}
	}
	return false
}
