package head

// List is a head's series in the order of their creation: those that there were when it was asked for. It is read-only, and
// can be read without a lock. The zero List is empty.
//
// Series lie side by side in slabs. So a list has few pointers, and whoever remembers the place of a series needs none.
type List struct {
	slabs [][]Series
	n     int
}

// Slabs are so small at first that a small head takes little; later they are as large as whole pages of the heap, which keeps each
// series on its own cache lines.
const (
	smallSlab   = 4
	largeSlab   = 512
	inSmall     = 4 * largeSlab // series
	smallSlabs  = inSmall / smallSlab
	beforeLarge = smallSlabs*largeSlab - inSmall // what is missing for all slabs to be large
)

// Len is how many series there are.
func (l *List) Len() int { return l.n }

// At is the series that was made after i others.
func (l *List) At(i int) *Series {
	if i < inSmall {
		return &l.slabs[uint(i)/smallSlab][uint(i)%smallSlab]
	}
	i += beforeLarge
	return &l.slabs[uint(i)/largeSlab][uint(i)%largeSlab]
}

// grow makes one series more.
func (l *List) grow() *Series {
	if l.n < inSmall && l.n%smallSlab == 0 {
		l.slabs = append(l.slabs, make([]Series, smallSlab))
	}
	if l.n >= inSmall && l.n%largeSlab == 0 {
		l.slabs = append(l.slabs, make([]Series, largeSlab))
	}
	l.n++
	return l.At(l.n - 1)
}

// slice is all of them in a slice of its own.
func (l *List) slice() []*Series {
	out := make([]*Series, 0, l.n)
	for _, s := range l.all {
		out = append(out, s)
	}
	return out
}

// all are the series, each with its place.
func (l *List) all(yield func(i int, s *Series) bool) {
	for i := range l.n {
		if !yield(i, l.At(i)) {
			return
		}
	}
}
