package querier

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

const (
	// activeWindow is how far back a series may have its last sample to count as active.
	activeWindow       = time.Hour
	defaultTop, maxTop = 20, 500
)

// activeSet selects the labels of the active series that the parameter `selector` matches.
func (q *Querier) activeSet(ctx context.Context, selector string) (set storage.SeriesSet, done func(), err error) {
	var ms []*labels.Matcher
	if selector != "" {
		if ms, err = q.engine.parser.ParseMetricSelector(selector); err != nil {
			return nil, nil, err
		}
	}
	now := q.now()
	querier := &querier{store: q.store, mint: now.Add(-activeWindow).UnixMilli(), maxt: now.UnixMilli()}
	return querier.Select(withoutCosts(ctx), true, &storage.SelectHints{Func: "series"}, ms...), func() { _ = querier.Close() }, nil
}

// count is how many there are of something.
type count struct {
	Name  string `json:"name"`
	Value int    `json:"value"`
}

// cardinality counts the active series by label.
type cardinality struct {
	series int
	names  map[string]map[string]int // label name → value → series
	bytes  map[string]int
}

// countSeries reads all active series; it answers the request itself if it can't.
func (q *Querier) countSeries(w http.ResponseWriter, r *http.Request) (*cardinality, bool) {
	set, done, err := q.activeSet(r.Context(), r.Form.Get("selector"))
	if err != nil {
		writeError(w, http.StatusBadRequest, "bad_data", err)
		return nil, false
	}
	defer done()
	c := &cardinality{names: map[string]map[string]int{}, bytes: map[string]int{}}
	for set.Next() {
		c.series++
		set.At().Labels().Range(func(l labels.Label) {
			values := c.names[l.Name]
			if values == nil {
				values = map[string]int{}
				c.names[l.Name] = values
			}
			values[l.Value]++
			c.bytes[l.Name] += len(l.Value)
		})
	}
	if err := set.Err(); err != nil {
		writeFailure(w, err)
		return nil, false
	}
	return c, true
}

// top is the n greatest counts, greatest first.
func top(n int, each func(yield func(string, int))) []count {
	list := []count{}
	each(func(name string, value int) { list = append(list, count{name, value}) })
	slices.SortFunc(list, func(a, b count) int {
		return cmp.Or(cmp.Compare(b.Value, a.Value), cmp.Compare(a.Name, b.Name))
	})
	return list[:min(n, len(list))]
}

// limitOf is how many entries a request wants.
func limitOf(w http.ResponseWriter, r *http.Request) (int, bool) {
	n, ok := number(w, r, "limit")
	switch {
	case !ok:
		return 0, false
	case n == -1:
		return defaultTop, true
	case n < 1 || n > maxTop:
		writeError(w, http.StatusBadRequest, "bad_data", errors.New("limit must be between 1 and 500"))
		return 0, false
	}
	return n, true
}

// tsdbStatus answers status/tsdb over the active series.
func (q *Querier) tsdbStatus(w http.ResponseWriter, r *http.Request) {
	n, ok := limitOf(w, r)
	if !ok {
		return
	}
	c, ok := q.countSeries(w, r)
	if !ok {
		return
	}
	pairs := 0
	for _, values := range c.names {
		pairs += len(values)
	}
	now := q.now()
	writeData(w, map[string]any{
		"headStats": map[string]int64{
			"numSeries": int64(c.series), "numLabelPairs": int64(pairs), "chunkCount": 0,
			"minTime": now.Add(-activeWindow).UnixMilli(), "maxTime": now.UnixMilli(),
		},
		"seriesCountByMetricName": top(n, func(yield func(string, int)) {
			for v, series := range c.names[labels.MetricName] {
				yield(v, series)
			}
		}),
		"labelValueCountByLabelName": top(n, c.eachName),
		"memoryInBytesByLabelName": top(n, func(yield func(string, int)) {
			for name, bytes := range c.bytes {
				yield(name, bytes)
			}
		}),
		"seriesCountByLabelValuePair": top(n, func(yield func(string, int)) {
			for name, values := range c.names {
				for v, series := range values {
					yield(name+"="+v, series)
				}
			}
		}),
	}, nil)
}

// eachName yields label names and how many values they have.
func (c *cardinality) eachName(yield func(string, int)) {
	for name, values := range c.names {
		yield(name, len(values))
	}
}

// cardinalityOfNames answers cardinality/label_names as Mimir does.
func (q *Querier) cardinalityOfNames(w http.ResponseWriter, r *http.Request) {
	n, ok := limitOf(w, r)
	if !ok {
		return
	}
	c, ok := q.countSeries(w, r)
	if !ok {
		return
	}
	type entry struct {
		Name   string `json:"label_name"`
		Values int    `json:"label_values_count"`
	}
	entries, total := []entry{}, 0
	for _, values := range c.names {
		total += len(values)
	}
	for _, e := range top(n, c.eachName) {
		entries = append(entries, entry{e.Name, e.Value})
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"label_values_count_total": total, "label_names_count": len(c.names), "cardinality": entries,
	})
}

// cardinalityOfValues answers cardinality/label_values as Mimir does.
func (q *Querier) cardinalityOfValues(w http.ResponseWriter, r *http.Request) {
	n, ok := limitOf(w, r)
	if !ok {
		return
	}
	names := r.Form["label_names[]"]
	if len(names) == 0 {
		writeError(w, http.StatusBadRequest, "bad_data", errors.New("no label_names[] parameter provided"))
		return
	}
	c, ok := q.countSeries(w, r)
	if !ok {
		return
	}
	type value struct {
		Value  string `json:"label_value"`
		Series int    `json:"series_count"`
	}
	type entry struct {
		Name        string  `json:"label_name"`
		Values      int     `json:"label_values_count"`
		Series      int     `json:"series_count"`
		Cardinality []value `json:"cardinality"`
	}
	entries := []entry{}
	for _, name := range names {
		e := entry{Name: name, Values: len(c.names[name]), Cardinality: []value{}}
		for _, series := range c.names[name] {
			e.Series += series
		}
		for _, v := range top(n, func(yield func(string, int)) {
			for v, series := range c.names[name] {
				yield(v, series)
			}
		}) {
			e.Cardinality = append(e.Cardinality, value{v.Name, v.Value})
		}
		entries = append(entries, e)
	}
	writeJSON(w, http.StatusOK, map[string]any{"series_count_total": c.series, "labels": entries})
}

// activeSeries answers cardinality/active_series as Mimir does.
func (q *Querier) activeSeries(w http.ResponseWriter, r *http.Request) {
	selector := r.Form.Get("selector")
	if selector == "" {
		writeError(w, http.StatusBadRequest, "bad_data", errors.New("no selector parameter provided"))
		return
	}
	set, done, err := q.activeSet(r.Context(), selector)
	if err != nil {
		writeError(w, http.StatusBadRequest, "bad_data", err)
		return
	}
	defer done()
	list := []labels.Labels{}
	for set.Next() {
		list = append(list, set.At().Labels())
	}
	if err := set.Err(); err != nil {
		writeFailure(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"data": list})
}
