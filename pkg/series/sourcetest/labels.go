package sourcetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/series"
)

func testEmpty(t *testing.T, s series.Source) {
	for _, q := range []series.Query{everything(), everything(labels.MustNewMatcher(labels.MatchEqual, "job", ""))} {
		if all := selectAll(t, s, q); len(all) != 0 {
			t.Errorf("an empty source has %v", all)
		}
		names, err := s.LabelNames(t.Context(), q)
		values, err2 := s.LabelValues(t.Context(), "job", q)
		if len(names)+len(values) != 0 || err != nil || err2 != nil {
			t.Errorf("an empty source has names %v (%v) and values %v (%v)", names, err, values, err2)
		}
	}
}

// matchers are all kinds of them, alone.
func matchers() []*labels.Matcher {
	var all []*labels.Matcher
	for _, name := range []string{labels.MetricName, "job", "instance", "zone", "Zone", "no such"} {
		for _, v := range []string{"", "up", "down", "a", "b", "a|b", "1", "ä", "x"} {
			all = append(all, labels.MustNewMatcher(labels.MatchEqual, name, v), labels.MustNewMatcher(labels.MatchNotEqual, name, v))
		}
		for _, v := range []string{"", ".*", ".+", "a|b", "|a", "a.*", ".*b", "[ab]", "1|2|nothing", "(?i:A|UP)", "a\\|b", "a.b", "up|down", "(up|down)?", "x+", ".*o.*n.*"} {
			all = append(all, labels.MustNewMatcher(labels.MatchRegexp, name, v), labels.MustNewMatcher(labels.MatchNotRegexp, name, v))
		}
	}
	return all
}

// queries is matchers, alone and together.
func queries() []series.Query {
	single := matchers()
	all := []series.Query{everything()}
	for _, m := range single {
		all = append(all, everything(m))
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for n := range 200 {
		ms := make([]*labels.Matcher, 2+n%3)
		for i := range ms {
			ms[i] = single[rng.IntN(len(single))]
		}
		all = append(all, everything(ms...))
	}
	return all
}

// labelsOf is the labels of an answer as text.
func labelsOf(all []series.Chunked) []string {
	var out []string
	for _, c := range all {
		out = append(out, c.Labels.String())
	}
	return out
}

// matching is the labels, in order, of the series that match and that have a sample in the range.
func (c *checker) matching(q series.Query) []labels.Labels {
	var out []labels.Labels
	for _, s := range c.all {
		in := slices.ContainsFunc(s.Samples, func(x Sample) bool { return x.t >= q.MinTime && x.t <= q.MaxTime })
		if in && matches(s.Labels, q.Matchers) {
			out = append(out, s.Labels)
		}
	}
	slices.SortFunc(out, labels.Compare)
	if q.Limit > 0 {
		out = out[:min(len(out), q.Limit)]
	}
	return out
}

// checkSelect compares the labels of an answer, with chunks and without.
func (c *checker) checkSelect(t *testing.T, q series.Query) {
	t.Helper()
	var want []string
	for _, ls := range c.matching(q) {
		want = append(want, ls.String())
	}
	for _, q.SkipChunks = range []bool{false, true} {
		before := slices.Clone(q.Matchers)
		if d := cmp.Diff(want, labelsOf(selectAll(t, c.source, q))); d != "" {
			t.Errorf("select %s, without chunks %v (-want +got):\n%s", text(q), q.SkipChunks, d)
		}
		if !slices.Equal(before, q.Matchers) {
			t.Fatalf("select %s changed its matchers, which were %v", text(q), before)
		}
	}
}

func (c *checker) testMatchers(t *testing.T) {
	for _, q := range queries() {
		c.checkSelect(t, q)
	}
}

func (c *checker) testLimits(t *testing.T) {
	for _, ms := range [][]*labels.Matcher{nil, {labels.MustNewMatcher(labels.MatchRegexp, "job", ".+")}} {
		for limit := range len(c.all) + 2 {
			q := everything(ms...)
			q.Limit = limit
			c.checkSelect(t, q)
			c.checkNames(t, q)
		}
	}
}

// testRanges has one sample per series, so that each range means certain series.
func (c *checker) testRanges(t *testing.T) {
	for n := range c.all {
		for _, r := range [][2]int64{{0, 0}, {-1, 1}, {-1, -1}, {1, 1}, {0, 500}, {0, 499}, {1, 500}, {-1_000_000, 0}, {0, 1_000_000}, {1, 0}} {
			q := everything()
			at := c.all[n].Samples[0].t
			q.MinTime, q.MaxTime = at+r[0], at+r[1]
			c.checkSelect(t, q)
			c.checkNames(t, q)
			q.Matchers = []*labels.Matcher{labels.MustNewMatcher(labels.MatchNotEqual, labels.MetricName, "down")}
			c.checkSelect(t, q)
			c.checkNames(t, q)
		}
	}
}

func (c *checker) testNames(t *testing.T) {
	for n, q := range queries() {
		q.Limit = []int{0, 1, 2, 100}[n%4]
		c.checkNames(t, q)
	}
}

// checkNames compares label names and values.
func (c *checker) checkNames(t *testing.T, q series.Query) {
	t.Helper()
	got, err := c.source.LabelNames(t.Context(), q)
	if err != nil {
		t.Fatalf("label names %s: %v", text(q), err)
	}
	c.checkList(t, "names", q, got, func(ls labels.Labels) (names []string) {
		ls.Range(func(l labels.Label) { names = append(names, l.Name) })
		return names
	})
	for _, name := range []string{labels.MetricName, "job", "zone", "no such"} {
		got, err := c.source.LabelValues(t.Context(), name, q)
		if err != nil {
			t.Fatalf("values of %s %s: %v", name, text(q), err)
		}
		c.checkList(t, "values of "+name, q, got, func(ls labels.Labels) []string {
			if v := ls.Get(name); v != "" {
				return []string{v}
			}
			return nil
		})
	}
}

// checkList checks that a list is sorted, within its limit, has all that it must and nothing that it can't have. For a
// query without a range, that is one list; otherwise a source may look at its series' chunks, not at their samples.
func (c *checker) checkList(t *testing.T, what string, q series.Query, got []string, of func(labels.Labels) []string) {
	t.Helper()
	list := func(q series.Query) []string {
		q.Limit = 0
		var all []string
		for _, ls := range c.matching(q) {
			all = append(all, of(ls)...)
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	must, may := list(q), list(everything(q.Matchers...))
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s %s: %.300q: %s", what, text(q), got, fmt.Sprintf(format, args...))
	}
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		fail("not sorted, or repeated")
	}
	if q.Limit > 0 && len(got) > q.Limit {
		fail("over the limit")
	}
	for _, g := range got {
		if !slices.Contains(may, g) {
			fail("%q belongs to no series that matches", g)
		}
	}
	if q.Limit > 0 {
		if len(got) < min(q.Limit, len(must)) {
			fail("%d would be within the limit", min(q.Limit, len(must)))
		}
		if len(must) == len(may) && !slices.Equal(got, must[:min(q.Limit, len(must))]) {
			fail("not the first of %.300q", must)
		}
		return
	}
	for _, m := range must {
		if !slices.Contains(got, m) {
			fail("%q is missing", m)
		}
	}
}
