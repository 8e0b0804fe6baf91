package quantity

// Combine appends the levels of f over two lists: where neither is known nothing is, where one is, the other counts as 0.
func Combine(dst, a, b []Level, f func(a, b int64) int64) []Level {
	begin := len(dst)
	for t := first(a, b); len(a) > 0 || len(b) > 0; {
		av, aEnd, aRest := constant(a, t, 1<<63-1)
		bv, bEnd, bRest := constant(b, t, 1<<63-1)
		end := min(aEnd, bEnd)
		if covers(aRest, t) || covers(bRest, t) {
			dst = join(dst, begin, Level{t, end, f(av, bv)})
		}
		a, b, t = after(aRest, end), after(bRest, end), end
	}
	return dst
}

// Add is for Combine.
func Add(a, b int64) int64 { return a + b }

// Greater is for Combine.
func Greater(a, b int64) int64 { return max(a, b) }

// Excess is how much a is above b, for Combine.
func Excess(a, b int64) int64 { return max(a-b, 0) }

func first(a, b []Level) int64 {
	t := int64(1<<63 - 1)
	for _, l := range [2][]Level{a, b} {
		if len(l) > 0 {
			t = min(t, l[0].From)
		}
	}
	return t
}

func covers(levels []Level, t int64) bool {
	return len(levels) > 0 && levels[0].From <= t && t < levels[0].To
}

// join appends a level, to the last one if it goes on with the same value.
func join(dst []Level, begin int, l Level) []Level {
	if n := len(dst); n > begin && dst[n-1].To == l.From && dst[n-1].Value == l.Value {
		dst[n-1].To = l.To
		return dst
	}
	return append(dst, l)
}
