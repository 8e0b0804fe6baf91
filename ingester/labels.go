package ingester

import (
	"fmt"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/series"
)

// label is one that has a number in a stream. Its text lies elsewhere: mostly it isn't needed, and more of these are in a cache without it.
type label struct {
	number series.LabelNumber
	round  uint32 // of the term whose log has it; 0 where there is none
	tenant uint32 // for which it was looked up in this round,
	pair   uint32 // and its number in that head; 0 if it wasn't
	place  uint32 // where it may stand among those of the batch that is read
}

// learned are the labels of a stream, each in the place of its number modulo series.LabelsKept. A number that isn't there was never defined, or as
// many others came after it: whoever needs it must begin anew. So no series ever gets another's label.
type learned struct {
	all   []label
	texts []labels.Label // of them

	// Of the batch that is read:
	first int      // how many labels of its definitions have no numbers
	used  []uint32 // places in all of those that have
	known []uint32 // what the head calls them, for all labels
}

// find is the place of a number in all; false if it isn't defined.
func (l *learned) find(k series.LabelNumber) (at int, ok bool) {
	at = int(k % series.LabelsKept)
	return at, at < len(l.all) && l.all[at].number == k && l.all[at].round != 0
}

// each calls f for the labels that the log of a term has.
func (l *learned) each(round uint32, f func(series.LabelNumber, labels.Label)) {
	for at := range l.all {
		if r := l.all[at].round; r != 0 && r == round {
			f(l.all[at].number, l.texts[at])
		}
	}
}

// learn notes what a number stands for. The batch is logged in this term.
func (s dictionary) learn(k series.LabelNumber, l labels.Label) error {
	ls := &s.labels
	at, ok := ls.find(k)
	if more := at + 1 - len(ls.all); more > 0 {
		ls.all, ls.texts = append(ls.all, make([]label, more)...), append(ls.texts, make([]labels.Label, more)...)
	}
	switch {
	case !ok:
		ls.all[at] = label{number: k, round: s.round}
		ls.texts[at] = labels.Label{Name: strings.Clone(l.Name), Value: strings.Clone(l.Value)}
	case ls.texts[at] != l:
		return fmt.Errorf("%w: label %d is another one", series.ErrCorrupt, k)
	default:
		s.keep(&ls.all[at])
	}
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
	at, ok := ls.find(k)
	if !ok {
		return 0, fmt.Errorf("%w: label %d", series.ErrUnknownNumber, k)
	}
	l := &ls.all[at]
	if i := int(l.place) - ls.first; i >= 0 && i < len(ls.used) && int(ls.used[i]) == at {
		return l.place, nil
	}
	if !s.keep(l) {
		s.scratch.Label(k, ls.texts[at])
	}
	if l.tenant != s.of {
		l.tenant, l.pair = s.of, 0
	}
	l.place = uint32(len(s.defined.Pairs))
	ls.used, ls.known = append(ls.used, uint32(at)), append(ls.known, l.pair)
	var text labels.Label // is not looked at where the head's number is known
	if l.pair == 0 {
		text = ls.texts[at]
	}
	s.defined.Pairs = append(s.defined.Pairs, text)
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
		if l := &s.labels.all[at]; l.pair == 0 {
			l.pair = s.lookup.Number(s.labels.first + i)
		}
	}
}
