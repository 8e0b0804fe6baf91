package quantity

// Piece is a Level or a Spread.
type Piece[T any] interface {
	Span() (from, to int64)
	Clip(from, to int64) T
}

// Fill appends a, with its gaps filled from b. Both are sorted and don't overlap in themselves.
func Fill[T Piece[T]](dst, a, b []T) []T {
	free := int64(-1 << 63) // what of b is after this may be taken
	for _, p := range a {
		from, to := p.Span()
		dst, b = take(dst, b, free, from)
		dst, free = append(dst, p), to
	}
	dst, _ = take(dst, b, free, 1<<63-1)
	return dst
}

// take appends what b has in [from, to) and returns what of b may have parts after it.
func take[T Piece[T]](dst, b []T, from, to int64) ([]T, []T) {
	for len(b) > 0 {
		begin, end := b[0].Span()
		if max(begin, from) < min(end, to) {
			dst = append(dst, b[0].Clip(from, to))
		}
		if end > to {
			break
		}
		b = b[1:]
	}
	return dst, b
}
