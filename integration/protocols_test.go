package integration

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

// The same OTLP requests, sent to Prometheus and to Varve, are the same samples in both, bit by bit.
func TestOTLPIsStoredAsPrometheusStoresIt(t *testing.T) {
	t.Parallel()
	p := Prometheus(t, PrometheusConfig{Name: "prometheus"})
	n := startAlone(t)
	from := time.Now().Add(-time.Minute).Truncate(time.Second)
	for i := range 3 {
		request := pmetricotlp.NewExportRequestFromMetrics(everyKind(from.Add(time.Duration(i)*15*time.Second), i))
		proto, err := request.MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		json, err := request.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []API{p.API, n.API} {
			body, media := proto, "application/x-protobuf"
			if i == 1 && to == n.API { // Prometheus' JSON is the same library's
				body, media = json, "application/json"
			}
			if _, err := to.do("/api/v1/otlp/v1/metrics", http.Header{"Content-Type": {media}}, body); err != nil {
				t.Fatal(err)
			}
		}
	}
	ours := labels.MustNewMatcher(labels.MatchEqual, "job", "eu/shop")
	want, err := p.Read(from.Add(-time.Hour), time.Now(), ours)
	if err != nil {
		t.Fatal(err)
	}
	got, err := n.Read(from.Add(-time.Hour), time.Now(), ours)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) < 30 {
		t.Errorf("Prometheus has only %d series", len(want))
	}
	if d := Diff(want, got); d != "" {
		t.Errorf("what Varve has of it:\n%s", d)
	}
	exemplars := "/api/v1/query_exemplars?" + fmt.Sprintf("query=%%7Bjob=%%22eu/shop%%22%%7D&start=%d&end=%d", from.Unix()-60, time.Now().Unix())
	if want, got := getJSON(t, p.API, exemplars), getJSON(t, n.API, exemplars); want != got || !strings.Contains(want, "trace_id") {
		t.Errorf("exemplars of Prometheus: %.2000s\nof Varve: %.2000s", want, got)
	}
	for _, name := range []string{"hits_total", "latency_seconds", "room_temperature_celsius"} {
		if got := getJSON(t, n.API, "/api/v1/metadata?metric="+name); !strings.Contains(got, name+" in words") {
			t.Errorf("metadata of %s: %s", name, got)
		}
	}
}

// startAlone starts one process that does everything.
func startAlone(t *testing.T) *Node {
	t.Helper()
	n := Varve(t, "varve", nil)
	n.Start()
	n.WaitReady()
	return n
}

func getJSON(t *testing.T, a API, path string) string {
	t.Helper()
	resp, err := client.Get(a.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v %s", path, resp.StatusCode, err, body)
	}
	return string(body)
}

// everyKind is one metric of every kind of OTLP, from two instances of a service; round numbers them.
func everyKind(at time.Time, round int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	for instance := range 2 {
		rm := md.ResourceMetrics().AppendEmpty()
		a := rm.Resource().Attributes()
		a.PutStr("service.name", "shop")
		a.PutStr("service.namespace", "eu")
		a.PutInt("service.instance.id", int64(instance))
		a.PutStr("host.name", "höst")
		a.PutEmptySlice("list").AppendEmpty().SetBool(true)
		sm := rm.ScopeMetrics().AppendEmpty()
		sm.Scope().SetName("scope")
		kinds{sm.Metrics(), pcommon.NewTimestampFromTime(at), uint64(round + 1)}.add()
	}
	return md
}

type kinds struct {
	metrics pmetric.MetricSlice
	at      pcommon.Timestamp
	n       uint64 // of the round, from 1
}

func (k kinds) metric(name, unit string) pmetric.Metric {
	m := k.metrics.AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	return m
}

func (k kinds) add() {
	m := k.metric("room.temperature", "Cel")
	m.SetDescription("room_temperature_celsius in words")
	k.points(m.SetEmptyGauge().DataPoints())
	k.points(k.metric("disk.free ratio", "1").SetEmptyGauge().DataPoints())
	for _, temporality := range []pmetric.AggregationTemporality{pmetric.AggregationTemporalityCumulative, pmetric.AggregationTemporalityDelta} {
		prefix := ""
		if temporality == pmetric.AggregationTemporalityDelta {
			prefix = "delta."
		}
		m := k.metric(prefix+"hits", "")
		m.SetDescription("hits_total in words")
		sum := m.SetEmptySum()
		sum.SetIsMonotonic(true)
		sum.SetAggregationTemporality(temporality)
		k.points(sum.DataPoints())
		queue := k.metric(prefix+"queue", "{jobs}").SetEmptySum()
		queue.SetAggregationTemporality(temporality)
		k.points(queue.DataPoints())
		k.histogram(prefix, temporality)
		k.exponential(prefix, temporality)
	}
	p := k.metric("age", "d").SetEmptySummary().DataPoints().AppendEmpty()
	p.SetTimestamp(k.at)
	p.SetCount(k.n)
	p.SetSum(float64(k.n) / 3)
	q := p.QuantileValues().AppendEmpty()
	q.SetQuantile(0.99)
	q.SetValue(math.Pi)
}

// points has whole, broken and missing values, and attributes that collide as labels.
func (k kinds) points(points pmetric.NumberDataPointSlice) {
	for i := range 3 {
		p := points.AppendEmpty()
		p.SetTimestamp(k.at)
		p.Attributes().PutInt("point", int64(i))
		p.Attributes().PutStr("a.b", "1")
		p.Attributes().PutStr("a_b", "2")
		switch i {
		case 0:
			p.SetIntValue(int64(k.n) << 55)
		case 1:
			p.SetDoubleValue(0.1 * float64(k.n))
		case 2:
			p.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(k.n == 2))
			p.SetIntValue(5)
			continue // Prometheus takes no exemplars with a marker of staleness
		}
		k.exemplar(p.Exemplars(), 1)
	}
}

func (k kinds) exemplar(es pmetric.ExemplarSlice, v float64) {
	e := es.AppendEmpty()
	e.SetTimestamp(k.at)
	e.SetDoubleValue(v)
	e.SetTraceID([16]byte{1, 2, 3, byte(k.n)})
	e.FilteredAttributes().PutStr("user.id", "x")
}

func (k kinds) histogram(prefix string, temporality pmetric.AggregationTemporality) {
	m := k.metric(prefix+"latency", "s")
	m.SetDescription("latency_seconds in words")
	h := m.SetEmptyHistogram()
	h.SetAggregationTemporality(temporality)
	p := h.DataPoints().AppendEmpty()
	p.SetTimestamp(k.at)
	p.SetCount(6 * k.n)
	p.SetSum(float64(k.n) * 1.1)
	p.ExplicitBounds().FromRaw([]float64{0.005, 1, 2.5})
	p.BucketCounts().FromRaw([]uint64{k.n, 2 * k.n, 0, 3 * k.n})
	k.exemplar(p.Exemplars(), 0.5)
}

func (k kinds) exponential(prefix string, temporality pmetric.AggregationTemporality) {
	h := k.metric(prefix+"size", "By").SetEmptyExponentialHistogram()
	h.SetAggregationTemporality(temporality)
	for _, scale := range []int32{-4, 3, 20} {
		p := h.DataPoints().AppendEmpty()
		p.Attributes().PutInt("scale", int64(scale))
		p.SetTimestamp(k.at)
		p.SetScale(scale)
		p.SetZeroCount(k.n)
		p.Positive().SetOffset(-3)
		p.Positive().BucketCounts().FromRaw([]uint64{k.n, 0, 0, 0, 0, k.n, 2 * k.n})
		p.Negative().BucketCounts().FromRaw([]uint64{k.n})
		p.SetCount(6 * k.n)
		p.SetSum(-float64(k.n))
		k.exemplar(p.Exemplars(), 2)
	}
}

// OpenTelemetry's own load generator writes metrics of every kind that it has.
func TestTelemetrygenWritesOTLP(t *testing.T) {
	t.Parallel()
	n := startAlone(t)
	t.Run("kinds", func(t *testing.T) {
		for _, kind := range []string{"Gauge", "Sum", "Histogram", "ExponentialHistogram"} {
			for _, temporality := range []string{"cumulative", "delta"} {
				t.Run(kind+" "+temporality, func(t *testing.T) {
					t.Parallel()
					telemetrygen(t, n, kind, temporality)
				})
			}
		}
	})
}

// telemetrygen writes three points of a kind, and looks whether they are there.
func telemetrygen(t *testing.T, n *Node, kind, temporality string) {
	t.Helper()
	name := strings.ToLower(kind) + "." + temporality
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	output, err := exec.CommandContext(ctx, part(t, "bin", "telemetrygen"), "metrics", "--otlp-http", "--otlp-insecure",
		"--otlp-endpoint="+n.Address, "--otlp-http-url-path=/otlp/v1/metrics", `--otlp-header=X-Scope-OrgID="gen"`,
		"--metrics=3", "--rate=3", "--unique-timeseries", // else its first two points are of one millisecond
		"--metric-type="+kind, "--otlp-metric-name="+name, "--aggregation-temporality="+temporality,
		`--otlp-attributes=host.name="h"`, `--telemetry-attributes=shop.kind="`+kind+`"`).CombinedOutput()
	if err != nil {
		t.Fatalf("telemetrygen: %v\n%s", err, output)
	}
	query := fmt.Sprintf(`sum(count_over_time({__name__=~"%s(_total|_count)?",job="telemetrygen",shop_kind="%s"}[5m]))`, strings.ReplaceAll(name, ".", "_"), kind)
	answer, err := n.AsTenant("gen").Query(query, time.Now().Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Samples) != 1 {
		t.Errorf("%s: %v\n%s", query, answer.Samples, output)
	}
	for series, samples := range answer.Samples {
		if samples[0].Value != `"3"` {
			t.Errorf("%s has %s samples, want 3", series, samples[0].Value)
		}
	}
}

// What the README tells a shell to run writes a sample.
func TestTheReadmesLineWrites(t *testing.T) {
	t.Parallel()
	n := startAlone(t)
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^.*\| curl .*$`).FindAllString(string(readme), -1)
	if len(lines) == 0 {
		t.Fatal("the README has no line that pipes into curl")
	}
	for _, line := range lines {
		line = strings.ReplaceAll(line, "127.0.0.1:9009", n.Address)
		if output, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil || strings.TrimSpace(string(output)) != "" {
			t.Errorf("%s: %v %s", line, err, output)
		}
	}
	answer, err := n.Query(`{host="web-1"}`, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Samples) != len(lines) {
		t.Errorf("%d lines have written %v", len(lines), answer.Samples)
	}
}
