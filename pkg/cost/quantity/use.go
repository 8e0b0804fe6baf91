package quantity

// CPU adds up, of what is counted in thousandths of a device, usage and request while usage is known: core-microseconds.
type CPU struct {
	Used, Unused int64 // Unused is ∫max(request - usage, 0)
	Request      int64 // ∫request
	Known        int64 // milliseconds
}

// RAM is CPU for bytes: byte-milliseconds.
type RAM struct {
	Used, Unused, Request Bytes
	Known                 int64
}

// Add adds the usage in [from, to), against the request; where there is no request it is 0.
func (c *CPU) Add(usage []Spread, request []Level, from, to int64) {
	value, until := int64(0), from
	for _, s := range usage {
		s = s.Clip(from, to)
		for at := s.From; at < s.To; {
			if at >= until {
				value, until, request = constant(request, at, to)
			}
			end := min(until, s.To)
			c.add(s.Clip(at, end), value)
			at = end
		}
	}
}

func (c *CPU) add(s Spread, request int64) {
	used, asked := s.Amount(), request*(s.To-s.From)
	c.Used += used
	c.Request += asked
	c.Unused += max(asked-used, 0)
	c.Known += s.To - s.From
}

// Add adds the usage in [from, to), against the request; where there is no request it is 0.
func (r *RAM) Add(usage, request []Level, from, to int64) {
	value, until := int64(0), from
	for _, l := range usage {
		l = l.Clip(from, to)
		for at := l.From; at < l.To; {
			if at >= until {
				value, until, request = constant(request, at, to)
			}
			end := min(until, l.To)
			r.add(l.Clip(at, end), value)
			at = end
		}
	}
}

func (r *RAM) add(l Level, request int64) {
	millis := l.To - l.From
	r.Used.Add(l.Value, millis)
	r.Request.Add(request, millis)
	r.Unused.Add(max(request-l.Value, 0), millis)
	r.Known += millis
}

// after is levels without those that end before or at t.
func after(levels []Level, t int64) []Level {
	for len(levels) > 0 && levels[0].To <= t {
		levels = levels[1:]
	}
	return levels
}

// constant is the value at t, until when it is constant, at most to, and what of the levels may be needed from then on.
func constant(levels []Level, t, to int64) (value, end int64, rest []Level) {
	levels = after(levels, t)
	switch {
	case len(levels) == 0:
		return 0, to, nil
	case t < levels[0].From:
		return 0, min(levels[0].From, to), levels
	}
	return levels[0].Value, min(levels[0].To, to), levels
}

// Integral of levels in [from, to): value × milliseconds.
func Integral(levels []Level, from, to int64) Bytes {
	var sum Bytes
	for _, l := range levels {
		if l = l.Clip(from, to); l.To > l.From {
			sum.Add(l.Value, l.To-l.From)
		}
	}
	return sum
}

// Micros is a sum of thousandths × milliseconds, as core-microseconds; at most the greatest int64.
func (b Bytes) Micros() int64 {
	if b.hi != 0 {
		return 1<<63 - 1
	}
	return int64(min(b.lo, 1<<63-1))
}
