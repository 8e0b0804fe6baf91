package promql_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/teststorage"
)

// runWithExceptions passes if the evaluations at the excepted lines, and no others, differ from what Prometheus' own
// storage answers, over which the whole script passes.
func runWithExceptions(t *testing.T, name string, excepted []int, open func(testing.TB) storage.Storage) {
	text := scriptText(t, name)
	engine := testEngine(t)
	t.Run("Prometheus", func(t *testing.T) { promqltest.RunTestWithStorage(t, text, engine, newReference) })
	var differ []int
	for _, s := range sections(t, text) {
		ours, reference := open(t), newReference(t)
		load(t, s.loads, ours)
		load(t, s.loads, reference)
		for _, e := range s.evals {
			if evaluate(t, engine, ours, e).differs(evaluate(t, engine, reference, e)) != "" {
				differ = append(differ, e.line)
			}
		}
		must(t, reference.Close())
	}
	if d := cmp.Diff(excepted, differ); d != "" {
		t.Errorf("lines that differ from Prometheus (-listed +found):\n%s", d)
	}
}

// newReference is Prometheus' storage with everything that the scripts need.
func newReference(t testing.TB) storage.Storage {
	return teststorage.New(t, func(o *tsdb.Options) {
		o.EnableSTStorage, o.FloatChunkEncoding, o.EnableHistogramSTEncoding = true, chunkenc.EncXOR2, true
	})
}

func scriptText(t testing.TB, name string) string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "github.com/prometheus/prometheus/promql/promqltest").Output()
	must(t, err)
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), name))
	must(t, err)
	return string(text)
}

// section is what a script says between two clears.
type section struct {
	loads string
	evals []evaluation
}

// evaluation is one eval; an instant one has no step.
type evaluation struct {
	line       int
	expr       string
	start, end time.Time
	step       time.Duration
}

var evalLine = regexp.MustCompile(`^eval\S*\s+(?:instant\s+at\s+(\S+)|range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+))\s+(.+)$`)

// sections reads as much of a script's language as is needed to put its evaluations one by one. A command ends with an
// empty line.
func sections(t testing.TB, text string) []section {
	all := []section{{}}
	loading := false
	for n, l := range strings.Split(text, "\n") {
		s := &all[len(all)-1]
		l = strings.TrimSpace(l)
		switch {
		case l == "clear":
			all = append(all, section{})
		case strings.HasPrefix(l, "eval"):
			s.evals = append(s.evals, parseEval(t, n+1, l))
		case strings.HasPrefix(l, "load"), loading && l != "":
			loading = true
			s.loads += l + "\n"
			continue
		}
		if loading {
			s.loads += "\n"
		}
		loading = false
	}
	return all
}

func parseEval(t testing.TB, line int, text string) evaluation {
	m := evalLine.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("line %d is not understood: %s", line, text)
	}
	duration := func(text string) time.Duration {
		d, err := model.ParseDuration(text)
		must(t, err)
		return time.Duration(d)
	}
	at := func(text string) time.Time { return time.Unix(0, 0).Add(duration(text)) }
	if m[1] != "" {
		return evaluation{line: line, expr: m[5], start: at(m[1])}
	}
	return evaluation{line, m[5], at(m[2]), at(m[3]), duration(m[4])}
}

// load fills a storage by the load commands of a script, and leaves it open.
func load(t *testing.T, script string, into storage.Storage) {
	promqltest.RunTestWithStorage(t, script, nil, func(testing.TB) storage.Storage { return keptOpen{into} })
}

type keptOpen struct{ storage.Storage }

func (keptOpen) Close() error { return nil }

// evaluate is the answer to an evaluation.
func evaluate(t testing.TB, engine promql.QueryEngine, s storage.Queryable, e evaluation) answer {
	t.Helper()
	var q promql.Query
	var err error
	if e.step == 0 {
		q, err = engine.NewInstantQuery(t.Context(), s, nil, e.expr, e.start)
	} else {
		q, err = engine.NewRangeQuery(t.Context(), s, nil, e.expr, e.start, e.end, e.step)
	}
	if err != nil {
		return answer{err.Error(): 0}
	}
	defer q.Close()
	return answerOf(e.expr, q.Exec(t.Context()))
}
