package querier

import (
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/metadata"
)

// ownHandlers answers what Prometheus' API can't answer for a store of many tenants.
func (q *Querier) ownHandlers() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"buildinfo":     q.buildInfo,
		"metadata":      q.metadata,
		"targets":       targets,
		"tsdb":          q.tsdbStatus,
		"label_names":   q.cardinalityOfNames,
		"label_values":  q.cardinalityOfValues,
		"active_series": q.activeSeries,
		"federate":      q.federate,
		"no_rules":      noRuleGroups,
		"unknown":       unknownPath,
	}
}

// buildInfo answers with features as strings, by which Grafana takes the data source for one that answers label
// queries with matchers, as Mimir does; without them it would ask in Prometheus' older ways.
func (q *Querier) buildInfo(w http.ResponseWriter, _ *http.Request) {
	version := q.build.GoVersion
	if version == "" {
		version = runtime.Version()
	}
	date := ""
	if !q.build.BuildDate.IsZero() {
		date = q.build.BuildDate.UTC().Format(time.RFC3339)
	}
	writeData(w, map[string]any{
		"application": "Varve",
		"version":     q.build.Version,
		"revision":    q.build.Revision,
		"branch":      q.build.Branch,
		"buildUser":   "",
		"buildDate":   date,
		"goVersion":   version,
		"features": map[string]string{
			"ruler_config_api":        "false",
			"alertmanager_config_api": "false",
			"query_sharding":          "false",
			"federated_rules":         "false",
		},
	}, nil)
}

// metadata answers with what senders said of metrics: family → descriptions.
func (q *Querier) metadata(w http.ResponseWriter, r *http.Request) {
	families, ok := number(w, r, "limit")
	if !ok {
		return
	}
	perFamily, ok := number(w, r, "limit_per_metric")
	if !ok {
		return
	}
	metric := r.Form.Get("metric")
	data := map[string][]metadataEntry{}
	var warns []string
	for _, id := range tenantsOf(r.Context()) {
		answer, err := q.store.sources.recent.Metadata(r.Context(), id)
		if err != nil {
			writeFailure(w, budgetFrom(r.Context()).failed(err))
			return
		}
		warns = append(warns, answer.Partial...)
		for _, m := range answer.Metadata {
			if metric == "" || m.Family == metric {
				addMetadata(data, m.Family, m.Metadata, families, perFamily)
			}
		}
	}
	writeData(w, data, warns)
}

type metadataEntry struct {
	Type string `json:"type"`
	Unit string `json:"unit"`
	Help string `json:"help"`
}

func addMetadata(data map[string][]metadataEntry, family string, m metadata.Metadata, families, perFamily int) {
	e := metadataEntry{Type: string(m.Type), Unit: m.Unit, Help: m.Help}
	known := data[family]
	if slices.Contains(known, e) {
		return
	}
	full := families >= 0 && len(data) >= families && len(known) == 0
	if full || perFamily > 0 && len(known) >= perFamily {
		return
	}
	data[family] = append(known, e)
}

// number reads a parameter that is a whole number; -1 if it is missing.
func number(w http.ResponseWriter, r *http.Request, name string) (int, bool) {
	text := r.Form.Get(name)
	if text == "" {
		return -1, true
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		writeError(w, http.StatusBadRequest, "bad_data", errors.New(name+" must be a number"))
		return 0, false
	}
	return n, true
}

// targets answers that there are none: Varve scrapes nothing.
func targets(w http.ResponseWriter, _ *http.Request) {
	writeData(w, map[string]any{
		"activeTargets": []any{}, "droppedTargets": []any{}, "droppedTargetCounts": map[string]int{},
	}, nil)
}

// noRuleGroups answers requests for rules to edit. Grafana looks at the words of this 404.
func noRuleGroups(w http.ResponseWriter, _ *http.Request) {
	writeError(w, http.StatusNotFound, "not_found", errors.New("no rule groups found"))
}

func unknownPath(w http.ResponseWriter, r *http.Request) {
	writeError(w, http.StatusNotFound, "not_found", errors.New("there is no API at "+strconv.Quote(r.URL.Path)))
}
