package distributor

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/tenant"
)

// ExplainPath is where a tenant asks why its writes were limited or dropped.
const ExplainPath = "/api/v1/explain-write"

// Explanation says what became of a tenant's writes that were not simply stored. It is what one distributor has seen:
// where there are several, each must be asked, and their counts be added up.
type Explanation struct {
	Tenant string    `json:"tenant"`
	Of     string    `json:"of"`    // says that this is one process' view
	Since  time.Time `json:"since"` // what is counted in total is counted from then on
	Now    time.Time `json:"now"`
	Usage  []Usage   `json:"usage"`
	Causes []Cause   `json:"causes"` // the most frequent of the last hour first
}

// Usage is how much of a quota is used.
type Usage struct {
	Limit   string  `json:"limit"`
	Current float64 `json:"current"`
	Max     int     `json:"max"` // 0 for no limit
	Source  string  `json:"source"`
}

// Cause is one reason for which something was refused or dropped.
type Cause struct {
	Reason      string    `json:"reason"`
	Counts      string    `json:"counts"`   // samples, lines, data points, values, exemplars or requests
	FiveMinutes int64     `json:"last_5m"`  // of calendar minutes, as the next
	Hour        int64     `json:"last_1h"`  //
	Total       int64     `json:"total"`    // since Explanation.Since
	Setting     string    `json:"setting"`  // what decides it, if there is a setting
	Value       string    `json:"value"`    // of the setting, now
	Source      string    `json:"source"`   // where the value is set
	Advice      string    `json:"advice"`   // what to do about it
	Examples    []Example `json:"examples"` // the newest first
}

// Example is one case.
type Example struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// Reasons for which a whole request fails, and those for which something is dropped without a word to the sender.
const (
	malformed        reason = "malformed"
	unsupported      reason = "unsupported"
	tooLarge         reason = "max_request_bytes"
	overload         reason = "max_inflight_bytes"
	unavailable      reason = "unavailable"
	exemplarsDropped reason = "exemplars_dropped"
	relabelDropped   reason = "write_relabel"
	haDropped        reason = "ha_dedupe"
)

// failureOf is the reason for which a whole request failed.
func failureOf(err error) reason {
	var limit *tenant.LimitError
	switch {
	case errors.As(err, &limit):
		return limitReason(limit.Limit)
	case errors.Is(err, remote.ErrTooLarge):
		return tooLarge
	case errors.Is(err, remote.ErrUnsupported):
		return unsupported
	case errors.Is(err, remote.ErrMalformed):
		return malformed
	case errors.Is(err, errOverload):
		return overload
	}
	return unavailable
}

// noteFailure writes into the tenant's diary that a request failed. What was refused of a request that was built is there
// already.
func (d *Distributor) noteFailure(id tenant.ID, w Written, err error) {
	if err != nil && w.Refused == 0 {
		d.sender(id).diary.failed(d.deps.Now(), failureOf(err), err.Error())
	}
}

// ServeExplanation answers with the Explanation of a tenant that the sender may write to.
func (d *Distributor) ServeExplanation(w http.ResponseWriter, r *http.Request) {
	identity, err := d.deps.Auth.Authenticate(r, tenant.ScopeWrite)
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(d.Explain(identity.Tenant())); err != nil {
		d.log.DebugContext(r.Context(), "explanation not sent", "error", err)
	}
}

// Explain says what this distributor knows of a tenant.
func (d *Distributor) Explain(id tenant.ID) Explanation {
	now := d.deps.Now()
	e := Explanation{
		Tenant: id.String(), Of: "this distributor alone; ask each of them and add up", Now: now.UTC(), Since: d.since.UTC(),
		Usage: []Usage{}, Causes: []Cause{},
	}
	lim := d.deps.Limits.For(id)
	d.mu.RLock()
	s := d.tenants[id]
	d.mu.RUnlock()
	var series, samples, created float64
	if s != nil {
		e.Since = s.diary.since.UTC()
		e.Causes = d.causes(s, now)
		series = float64(s.series.Load())
		samples, created = s.diary.rates(now)
	}
	for _, u := range []struct {
		limit   tenant.LimitName
		current float64
		most    int
	}{
		{tenant.MaxActiveSeries, series, lim.MaxActiveSeries},
		{tenant.MaxSamplesPerSecond, samples, lim.MaxSamplesPerSecond},
		{tenant.MaxNewSeriesPerSecond, created, lim.MaxNewSeriesPerSecond},
	} {
		e.Usage = append(e.Usage, Usage{string(u.limit), u.current, u.most, d.deps.Limits.Source(id, u.limit)})
	}
	return e
}

// rates are stored samples and new series, per second.
func (d *diary) rates(now time.Time) (samples, created float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stored.rate(now), d.created.rate(now)
}

func (d *Distributor) causes(s *sender, now time.Time) []Cause {
	all := []Cause{}
	s.diary.mu.Lock()
	for why, r := range s.diary.by {
		all = append(all, Cause{
			Reason: string(why), Counts: why.counts(), Advice: why.advice(), Examples: r.newest(),
			FiveMinutes: r.last(now, 5), Hour: r.last(now, tallyMinutes), Total: r.total,
		})
	}
	s.diary.mu.Unlock()
	for i := range all {
		d.setting(s.id, &all[i])
	}
	slices.SortFunc(all, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(b.Hour, a.Hour), cmp.Compare(b.Total, a.Total), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// setting fills in what decides a cause.
func (d *Distributor) setting(id tenant.ID, c *Cause) {
	const configuration = "the process' configuration"
	switch why := reason(c.Reason); why {
	case tooLarge:
		c.Setting, c.Value, c.Source = "distributor.max_request_bytes", d.cfg.MaxRequestBytes.String(), configuration
	case overload:
		c.Setting, c.Value, c.Source = "distributor.max_inflight_bytes", d.cfg.MaxInflightBytes.String(), configuration
	default:
		name := tenant.LimitName(c.Reason)
		if why == exemplarsDropped {
			name = tenant.MaxExemplarsPerRequest
		}
		if v, ok := d.deps.Limits.For(id).Value(name); ok {
			if rules, ok := v.(tenant.RelabelRules); ok {
				v = fmt.Sprintf("%d rules", len(rules))
			}
			c.Setting, c.Value, c.Source = string(name), fmt.Sprint(v), d.deps.Limits.Source(id, name)
		}
	}
}

// counts is what is counted under a reason.
func (r reason) counts() string {
	switch r {
	case malformed, unsupported, tooLarge, overload, unavailable,
		limitReason(tenant.MaxSamplesPerSecond), limitReason(tenant.MaxSamplesPerRequest):
		return "requests"
	case exemplarsDropped:
		return "exemplars"
	case invalidLine:
		return "lines"
	case invalidPoint:
		return "data points"
	case stringValue:
		return "values"
	}
	return "samples"
}

// advice is what a tenant, or who runs the installation, can do.
func (r reason) advice() string {
	switch r {
	case malformed:
		return "The sender's requests can't be read: check its protocol, its compression, and proxies on the way. They are not sent again."
	case unsupported:
		return "Send remote write 1.0 or 2.0 compressed with snappy, or another protocol that the documentation names, at its own path."
	case tooLarge:
		return "Send smaller requests (Prometheus: max_samples_per_send), or raise the setting. They are not sent again."
	case overload:
		return "All tenants' requests together, or too many of this one at once, need more memory than there is for them. Senders try again; if it lasts, use fewer shards, or add distributors or memory."
	case unavailable:
		return "The installation couldn't take it: too few ingesters, no disk space, or acks too late. Senders try again; see the example, and the ingesters' logs."
	case invalidLabels:
		return "Mend or drop these series at their source, or in the sender's write_relabel_configs. They are refused each time."
	case invalidHistogram:
		return "These histograms contradict themselves: mend the client library that makes them."
	case invalidLine:
		return "These lines can't be read: the example has the number of one. The others of their requests are stored."
	case invalidPoint:
		return "These OTLP data points have no time, no value, no temporality, or are of a kind that isn't known: mend or update the sender."
	case stringValue:
		return "Strings can't be samples. Drop these fields at the agent (Telegraf: fieldexclude) if the count is in the way; the other fields are stored."
	case conflict:
		return "Two senders write one series with different values: give them different labels, or make them an HA pair (ha_dedupe)."
	case exemplarsDropped:
		return "Exemplars were invalid, outside the window, or too many in one request. Their samples are stored."
	case relabelDropped:
		return "The tenant's own rules drop these series. Change write_relabel if that isn't meant."
	case haDropped:
		return "Another replica of the HA pair is the elected one. Nothing is lost while that one sends."
	}
	return limitAdvice(tenant.LimitName(r))
}

func limitAdvice(l tenant.LimitName) string {
	switch l {
	case tenant.MaxSamplesPerSecond:
		return "Send less (scrape less often, drop series), or raise the limit. Prometheus only tries again with retry_on_http_429."
	case tenant.MaxNewSeriesPerSecond:
		return "Series are made faster than they may be; senders try again, so it is late, not lost. If it lasts, look for labels that change with each request or deployment."
	case tenant.MaxActiveSeries:
		return "Find what has most series (cardinality API) and drop labels or metrics, or raise the limit. New series are refused until old ones are idle."
	case tenant.MaxSamplesPerRequest:
		return "Send smaller requests (Prometheus: max_samples_per_send), or raise the limit. They are not sent again."
	case tenant.PastWindow:
		return "Samples come too late: a sender that was cut off for longer than the window, or a clock that is slow. Old data can be imported with varvectl tsdb import."
	case tenant.FutureWindow:
		return "The clock of what is scraped, or of the sender, is ahead. Mend the clock."
	case tenant.MaxHAReplicas:
		return "More HA replicas than may be known: look for a replica label that changes with each restart, or raise the limit."
	}
	return "Drop or shorten what is over the limit at its source, or in the sender's write_relabel_configs, or raise the limit. It is refused each time."
}
