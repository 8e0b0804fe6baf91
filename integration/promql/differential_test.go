package promql_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/varve-io/varve/querier"
)

const (
	randomQueries = 150 // per seed
	attempts      = 5   // at a query whose answer depends on the order in which the engine goes through a map
	randomSeeds   = 4
)

// TestRandomQueries writes the same random samples, late, in any order and some of them twice, to an installation and
// to Prometheus' own storage, and compares answers to random queries.
func TestRandomQueries(t *testing.T) {
	for seed := range uint64(randomSeeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 7))
			samples := randomSamples(rng)
			ours, reference := writeBoth(t, rng, samples)
			compareSeries(t, rng, ours, reference)
			compareQueries(t, rng, ours, reference)
		})
	}
}

// writeBoth writes random requests, and moves what is there into the bucket twice on the way.
func writeBoth(t *testing.T, rng *rand.Rand, samples []sample) (ours, reference storage.Storage) {
	t.Helper()
	db := teststorage.New(t, func(o *tsdb.Options) { o.OutOfOrderTimeWindow = aYear.Milliseconds() })
	i := start(t)
	id := i.newTenant(t)
	for n, r := range requests(rng, samples) {
		p := []protocol{writeV1, writeV2}[n%2]
		must(t, i.write(id, p, r))
		if n%3 == 0 {
			must(t, i.write(id, p, r[:len(r)/2])) // as a sender does that got no answer
		}
		if n == requestsPerWorld/3 || n == requestsPerWorld*2/3 {
			must(t, i.ingester.Flush(t.Context()))
		}
		must(t, appendAll(t.Context(), db, r))
	}
	inIngester, inBucket, err := i.places(id)
	if must(t, err); !inIngester || !inBucket {
		t.Fatalf("samples are in the ingester: %v, in the bucket: %v", inIngester, inBucket)
	}
	return &tenantStorage{installation: i, id: id}, sorted{db}
}

// sorted is a storage whose series always come in the order of their labels, as ours do: Prometheus' come in any order
// where none is asked for, and then sums of floats may differ in their last bit.
type sorted struct{ storage.Storage }

func (s sorted) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := s.Storage.Querier(mint, maxt)
	return sortedQuerier{q}, err
}

type sortedQuerier struct{ storage.Querier }

func (q sortedQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	return q.Querier.Select(ctx, true, hints, ms...)
}

const requestsPerWorld = 12

// requests cuts samples into requests: mostly in the order of time, some far too late.
func requests(rng *rand.Rand, samples []sample) [][]sample {
	out := make([][]sample, requestsPerWorld)
	for n, s := range samples {
		r := n * requestsPerWorld / len(samples)
		if rng.IntN(10) == 0 {
			r = rng.IntN(requestsPerWorld)
		}
		out[r] = append(out[r], s)
	}
	for _, r := range out {
		for range len(r) / 20 {
			a, b := rng.IntN(len(r)), rng.IntN(len(r))
			r[a], r[b] = r[b], r[a]
		}
	}
	return out
}

func appendAll(ctx context.Context, db storage.Storage, samples []sample) error {
	a := db.AppenderV2(ctx)
	for _, s := range samples {
		var err error
		switch { // Prometheus keeps the histogram, so it gets its own
		case s.h != nil:
			_, err = a.Append(0, s.labels, 0, s.t, 0, s.h.Copy(), nil, storage.AppendV2Options{})
		case s.fh != nil:
			_, err = a.Append(0, s.labels, 0, s.t, 0, nil, s.fh.Copy(), storage.AppendV2Options{})
		default:
			_, err = a.Append(0, s.labels, 0, s.t, s.v, nil, nil, storage.AppendV2Options{})
		}
		if err != nil {
			return fmt.Errorf("append %s at %d: %w", s.labels, s.t, err)
		}
	}
	return a.Commit()
}

// compareQueries evaluates random queries, each with the querier's own engine and with Prometheus' as it comes.
func compareQueries(t *testing.T, rng *rand.Rand, ours, reference storage.Storage) {
	t.Helper()
	engine := ours.(*tenantStorage).querier.Engine()
	theirs := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true,
		Parser: parser.NewParser(querier.ParserOptions()),
	})
	t.Cleanup(func() { must(t, theirs.Close()) })
	answered := 0
	for n := range randomQueries {
		e := randomEvaluation(rng)
		difference := ""
		for range attempts {
			want := evaluate(t, theirs, reference, e)
			if difference = evaluate(t, engine, ours, e).differs(want); difference == "" {
				answered += min(want.points(), 1)
				break
			}
		}
		if difference != "" {
			t.Errorf("query %d: %s at %d, for %v, step %v: ours (there is one), Prometheus' (there is one):\n%s",
				n, e.expr, e.start.UnixMilli(), e.end.Sub(e.start), e.step, difference)
		}
	}
	if answered < randomQueries/3 {
		t.Errorf("only %d of %d queries have an answer: the generator is no good", answered, randomQueries)
	}
}

// differing is the part of a text where it differs from another.
func differing(a, b string) string {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return fmt.Sprintf("(%d bytes) …%.400s", len(a), a[max(0, n-100):])
}

// compareSeries compares what both hold: label names, values, and every sample of random selections.
func compareSeries(t *testing.T, rng *rand.Rand, ours, reference storage.Storage) {
	t.Helper()
	for range 40 {
		ms := randomMatchers(rng)
		from, to := randomRange(rng)
		got, want := describe(t, ours, from, to, ms), describe(t, reference, from, to, ms)
		if got != want {
			t.Errorf("select %v from %d to %d:\nours:       %s\nPrometheus: %s", ms, from, to, differing(got, want), differing(want, got))
		}
	}
	if got, want := names(t, ours), names(t, reference); got != want {
		t.Errorf("names: %s, Prometheus has %s", got, want)
	}
}

func names(t *testing.T, s storage.Storage) string {
	t.Helper()
	q, err := s.Querier(math.MinInt64/4, math.MaxInt64/4)
	must(t, err)
	defer q.Close()
	all, _, err := q.LabelNames(t.Context(), nil)
	must(t, err)
	text := fmt.Sprint(all)
	for _, n := range all {
		values, _, err := q.LabelValues(t.Context(), n, nil)
		must(t, err)
		text += fmt.Sprint(values)
	}
	return text
}

// describe is every sample of a selection as text.
func describe(t *testing.T, s storage.Storage, from, to int64, ms []*labels.Matcher) string {
	t.Helper()
	q, err := s.Querier(from, to)
	must(t, err)
	defer q.Close()
	var all []string
	set := q.Select(t.Context(), true, &storage.SelectHints{Start: from, End: to}, ms...)
	for set.Next() {
		lines := samplesOf(set.At())
		if len(lines) > 0 {
			all = append(all, set.At().Labels().String()+" "+strings.Join(lines, " "))
		}
	}
	must(t, set.Err())
	return strings.Join(all, "\n")
}

// randomSamples is the samples of a random world, ordered by time.
func randomSamples(rng *rand.Rand) []sample {
	var all []sample
	for _, ls := range worldLabels() {
		all = append(all, randomSeries(rng, ls)...)
	}
	slices.SortStableFunc(all, func(a, b sample) int { return cmp.Compare(a.t, b.t) })
	return all
}
