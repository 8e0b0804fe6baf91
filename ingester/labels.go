package ingester

import (
	"fmt"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/series"
)

// label is one that has a number in a stream.
type label struct {
	labels.Label
	number series.LabelNumber
	round  uint32 // of the term whose log has it; 0 where there is none
	tenant uint32 // for which it was looked up in this round,
	pair   uint32 // and its number in that head; 0 if it wasn't
	place  uint32 // where it may stand among those of the batch that is read
}

// learned are the labels of a stream, each in the place of its number modulo series.LabelsKept. A number that isn't there was never defined, or as
// many others came after it: whoever needs it must begin anew. So no series ever gets another's label.
type learned struct {
	all []label

	// Of the batch that is read:
	first int      // how many labels of its definitions have no numbers
	used  []uint32 // places in all of those that have
	known []uint32 // what the head calls them, for all labels
}

// of is the place of a number.
func (l *learned) of(k series.LabelNumber) *label { return &l.all[k%series.LabelsKept] }

// has tells whether a number is defined.
func (l *learned) has(k series.LabelNumber) bool {
	return int(k%series.LabelsKept) < len(l.all) && l.of(k).number == k && l.of(k).round != 0
}

// each calls f for the labels that the log of a term has.
func (l *learned) each(round uint32, f func(series.LabelNumber, labels.Label)) {
	for i := range l.all {
		if at := &l.all[i]; at.round != 0 && at.round == round {
			f(at.number, at.Label)
		}
	}
}

// learn notes what a number stands for. The batch is logged in this term.
func (s dictionary) learn(k series.LabelNumber, l labels.Label) error {
	if n := int(k % series.LabelsKept); n >= len(s.labels.all) {
		s.labels.all = append(s.labels.all, make([]label, n+1-len(s.labels.all))...)
	}
	at := s.labels.of(k)
	if !s.labels.has(k) {
		*at = label{Label: labels.Label{Name: strings.Clone(l.Name), Value: strings.Clone(l.Value)}, number: k, round: s.round}
		return nil
	}
	if at.Label != l {
		return fmt.Errorf("%w: label %d is another one", series.ErrCorrupt, k)
	}
	s.keep(at)
	return nil
}

// keep marks a label as one that the log of this term has.
func (s dictionary) keep(l *label) (was bool) {
	if l.round == s.round {
		return true
	}
	l.round, l.pair = s.round, 0
	return false
}

// placeOf is the place of a label among those of the definitions that are read. One that must be logged again is added to scratch.
func (s dictionary) placeOf(k series.LabelNumber) (uint32, error) {
	ls := &s.labels
	if !ls.has(k) {
		return 0, fmt.Errorf("%w: label %d", series.ErrUnknownNumber, k)
	}
	l := ls.of(k)
	if i := int(l.place) - ls.first; i >= 0 && i < len(ls.used) && ls.of(series.LabelNumber(ls.used[i])) == l {
		return l.place, nil
	}
	if !s.keep(l) {
		s.scratch.Label(k, l.Label)
	}
	if l.tenant != s.of {
		l.tenant, l.pair = s.of, 0
	}
	l.place = uint32(len(s.defined.Pairs))
	s.defined.Pairs = append(s.defined.Pairs, l.Label)
	ls.used, ls.known = append(ls.used, uint32(k%series.LabelsKept)), append(ls.known, l.pair)
	return l.place, nil
}

// read reads the definitions of a batch, and says what the head calls their labels, as far as that is known.
func (s dictionary) read(b *series.Batch) (known []uint32, err error) {
	ls := &s.labels
	if err := b.Labels(s.learn); err != nil {
		return nil, err
	}
	if err := b.Definitions(&s.defined); err != nil {
		return nil, err
	}
	ls.first = len(s.defined.Pairs)
	ls.used, ls.known = ls.used[:0], append(ls.known[:0], make([]uint32, ls.first)...)
	return ls.known, b.Numbered(&s.defined, s.placeOf)
}

// remember notes what the head calls the labels of the batch that was read.
func (s dictionary) remember() {
	for i, at := range s.labels.used {
		s.labels.all[at].pair = s.lookup.Number(s.labels.first + i)
	}
}
