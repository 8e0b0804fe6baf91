package querier

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// federate answers with the newest sample of each series that match[] selects, as a scrape would read it. Native
// histograms are left out: the text formats can't carry them.
func (q *Querier) federate(w http.ResponseWriter, r *http.Request) {
	selectors, err := q.engine.parser.ParseMetricSelectors(r.Form["match[]"])
	if err == nil && len(selectors) == 0 {
		err = errors.New("no match[] parameter provided")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := q.now()
	querier := &querier{store: q.store, mint: now.Add(-lookbackDelta).UnixMilli(), maxt: now.UnixMilli()}
	defer func() { _ = querier.Close() }()
	sets := make([]storage.SeriesSet, len(selectors))
	for i, ms := range selectors {
		sets[i] = querier.Select(r.Context(), true, nil, ms...)
	}
	families, err := newestSamples(storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge))
	if err != nil {
		code, ok := statusOf(storageError(err))
		if !ok {
			code = http.StatusInternalServerError
		}
		http.Error(w, err.Error(), code)
		return
	}
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...)
	w.Header().Set("Content-Type", string(format))
	enc := expfmt.NewEncoder(w, format)
	for _, f := range families {
		if enc.Encode(f) != nil {
			return // the client is gone
		}
	}
}

// newestSamples reads the newest sample of each series into families, ordered by name.
func newestSamples(set storage.SeriesSet) ([]*dto.MetricFamily, error) {
	byName := map[string]*dto.MetricFamily{}
	var it chunkenc.Iterator
	for set.Next() {
		s := set.At()
		name := s.Labels().Get(labels.MetricName)
		it = s.Iterator(it)
		t, v, ok := newestFloat(it)
		if err := it.Err(); err != nil {
			return nil, err
		}
		if !ok || name == "" {
			continue
		}
		f := byName[name]
		if f == nil {
			f = &dto.MetricFamily{Name: &name, Type: dto.MetricType_UNTYPED.Enum()}
			byName[name] = f
		}
		m := &dto.Metric{TimestampMs: &t, Untyped: &dto.Untyped{Value: &v}}
		s.Labels().Range(func(l labels.Label) {
			if l.Name != labels.MetricName {
				m.Label = append(m.Label, &dto.LabelPair{Name: &l.Name, Value: &l.Value})
			}
		})
		f.Metric = append(f.Metric, m)
	}
	families := make([]*dto.MetricFamily, 0, len(byName))
	for _, f := range byName {
		families = append(families, f)
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return families, set.Err()
}

// newestFloat is the last sample, if it is a float and not the marker of a series that ended.
func newestFloat(it chunkenc.Iterator) (t int64, v float64, ok bool) {
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		if ok = kind == chunkenc.ValFloat; ok {
			t, v = it.At()
		}
	}
	return t, v, ok && !value.IsStaleNaN(v)
}
