package sourcetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/series"
)

// checkSamples compares every sample of an answer.
func (c *checker) checkSamples(t *testing.T, q series.Query) {
	t.Helper()
	got := content(t, selectAll(t, c.source, q), q.MinTime, q.MaxTime)
	if d := cmp.Diff(c.want(q), got); d != "" {
		t.Errorf("select %s (-want +got):\n%s", text(q), d)
	}
}

func (c *checker) testAll(t *testing.T) {
	q := everything()
	c.checkSamples(t, q)
	for _, s := range c.all {
		q.Matchers = nil
		s.Labels.Range(func(l labels.Label) {
			q.Matchers = append(q.Matchers, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
		})
		c.checkSamples(t, q)
	}
}

// testSampleRanges asks for ranges that begin and end at, before and after samples and chunks.
func (c *checker) testSampleRanges(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	edges := chunkTimes(selectAll(t, c.source, everything()))
	for _, s := range c.all {
		for range 20 {
			edges = append(edges, s.Samples[rng.IntN(len(s.Samples))].t)
		}
	}
	edge := func() int64 { return edges[rng.IntN(len(edges))] + rng.Int64N(3) - 1 }
	for n := range 60 {
		q := everything(labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, []string{".+", "many|late", "o.*|mixed"}[n%3]))
		q.MinTime = edge()
		if q.MaxTime = edge(); n%4 == 0 {
			q.MaxTime = q.MinTime
		}
		if q.MinTime > q.MaxTime {
			q.MinTime, q.MaxTime = q.MaxTime, q.MinTime
		}
		c.checkSamples(t, q)
	}
}

// testKept reads chunks after the set has moved on to its end.
func (c *checker) testKept(t *testing.T) {
	q := everything()
	set, err := c.source.Select(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var all []series.Chunked
	for set.Next() {
		all = append(all, set.At())
	}
	if d := cmp.Diff(c.want(q), content(t, all, q.MinTime, q.MaxTime)); d != "" {
		t.Errorf("after the end of the set (-want +got):\n%s", d)
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
}

func (c *checker) testClosedEarly(t *testing.T) {
	for after := range len(c.all) {
		set, err := c.source.Select(t.Context(), everything())
		if err != nil {
			t.Fatal(err)
		}
		for range after {
			if !set.Next() {
				t.Fatalf("the set ended before its %d. series: %v", after, set.Err())
			}
		}
		if err := set.Close(); err != nil {
			t.Errorf("close after %d series: %v", after, err)
		}
	}
	c.checkSamples(t, everything())
}

// testCancelled accepts a whole answer or an error, nothing in between.
func (c *checker) testCancelled(t *testing.T) {
	for after := range len(c.all) + 1 {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		step := func() {
			if n++; n > after {
				cancel()
			}
		}
		step()
		all, err := finish(ctx, c.source, everything(), step)
		if err == nil && len(all) != len(c.all) {
			t.Errorf("cancelled after %d series: %d of %d series and no error", after, len(all), len(c.all))
		}
		cancel()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q := everything(labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".+"))
	if names, err := c.source.LabelNames(ctx, q); err == nil {
		c.checkList(t, "names", q, names, func(ls labels.Labels) (names []string) {
			ls.Range(func(l labels.Label) { names = append(names, l.Name) })
			return names
		})
	}
	c.checkSamples(t, everything())
}

func (c *checker) testConcurrent(t *testing.T) {
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for kind := range kinds {
				q := everything(labels.MustNewMatcher(labels.MatchEqual, "kind", fmt.Sprint((kind+n)%kinds)))
				all, err := finish(t.Context(), c.source, q, func() {})
				if err != nil {
					t.Error(err)
					continue
				}
				if d := cmp.Diff(c.want(q), content(t, all, q.MinTime, q.MaxTime)); d != "" {
					t.Errorf("select %s (-want +got):\n%s", text(q), d)
				}
				if _, err := c.source.LabelValues(t.Context(), labels.MetricName, q); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
