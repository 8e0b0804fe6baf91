package cluster

import "slices"

// grid is when one target is scraped by one scraper.
type grid struct {
	interval, phase int64
	down            []Span // the scraper's: nothing is written
	failed          []Span // the target's: markers are written
	markers         bool
	span            Span // of the cluster
}

// at is the first time of the grid that is not before t.
func (g *grid) at(t int64) int64 { return t + floorMod(g.phase-t, g.interval) }

func (g *grid) tried(t int64) bool { return g.span.Contains(t) && !in(g.down, t) }

func (g *grid) scraped(t int64) bool { return g.tried(t) && !in(g.failed, t) }

func in(spans []Span, t int64) bool {
	return slices.ContainsFunc(spans, func(s Span) bool { return s.Contains(t) })
}

// marks tells whether what was found at the scrape before t, a time of the grid, and isn't at t, gets a marker at t: t is tried,
// and the try before was a scrape by the same life of the scraper.
func (g *grid) marks(t int64) bool {
	return g.markers && g.tried(t) && g.scraped(t-g.interval)
}

// first is the first scrape in a span; ok is false if there is none.
func (g *grid) first(s Span) (int64, bool) {
	s = s.clip(g.span)
	for t := g.at(s.From); t < s.To; t += g.interval {
		if g.scraped(t) {
			return t, true
		}
		if d, ok := g.away(t); ok {
			t = g.at(d.To) - g.interval
		}
	}
	return 0, false
}

// last is the last scrape in a span.
func (g *grid) last(s Span) (int64, bool) {
	s = s.clip(g.span)
	if s.empty() {
		return 0, false
	}
	for t := g.at(s.To) - g.interval; t >= s.From; t -= g.interval {
		if g.scraped(t) {
			return t, true
		}
		if d, ok := g.away(t); ok {
			t = min(g.at(d.From), t)
		}
	}
	return 0, false
}

// away is the outage that t is in.
func (g *grid) away(t int64) (Span, bool) {
	for _, list := range [][]Span{g.down, g.failed} {
		for _, s := range list {
			if s.Contains(t) {
				return s, true
			}
		}
	}
	return Span{}, false
}

// bridge is how long a value holds without a sample: cost.md's max(5 min, 4 × interval), with the interval of the job, which is
// the median of those seen unless most scrapes are missing.
func (g *grid) bridge() int64 { return max(5*minute, 4*g.interval) }

const (
	minute = int64(60_000)
	hour   = 60 * minute
)
