package remote

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

func otlpOptions() OTLPOptions {
	return OTLPOptions{JSON: true, Names: otlptranslator.UnderscoreEscapingWithSuffixes, MaxLabels: 20_000, OverLabels: func(n int64) (string, string) {
		return "max_labels_size", fmt.Sprint(n, " bytes")
	}, Window: func(at int64) (string, string) {
		if at < now-3600_000 {
			return "past_window", "too old"
		}
		return "", ""
	}}
}

// metrics is an OTLP request, in JSON, of one resource and scope.
func metrics(resource, ms string) string {
	return `{"resourceMetrics":[{"resource":{"attributes":[` + resource + `]},"scopeMetrics":[{"scope":{"name":"s","version":"1"},"metrics":[` + ms + `]}]}]}`
}

func attribute(key, value string) string {
	return fmt.Sprintf(`{"key":%q,"value":{"stringValue":%q}}`, key, value)
}

// timed is the time of a data point, in milliseconds from now.
func timed(ms int64) string { return fmt.Sprintf(`"timeUnixNano":"%d"`, (now+ms)*1_000_000) }

func TestOTLP(t *testing.T) {
	job := attribute("service.name", "shop") + "," + attribute("service.namespace", "eu") + "," + attribute("service.instance.id", "1")
	for _, tt := range []struct {
		name, request string
		change        func(*OTLPOptions)
		want          []string
	}{
		{"a gauge", metrics(job, `{"name":"room.temperature","unit":"Cel","description":"How warm","gauge":{"dataPoints":[
			{`+timed(0)+`,"asDouble":20.5,"attributes":[`+attribute("room-no", "4")+`]},{`+timed(1000)+`,"asInt":"21","attributes":[`+attribute("room-no", "4")+`]}]}}`), nil,
			[]string{`{__name__="room_temperature_celsius", instance="1", job="eu/shop", room_no="4"} (gauge "How warm" "celsius") 20.5 21 @1s`}},
		{"a counter", metrics(job, `{"name":"hits","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[
			{`+timed(0)+`,"startTimeUnixNano":"1","asInt":"7","exemplars":[{`+timed(-5)+`,"asDouble":1,"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","filteredAttributes":[`+attribute("k", "v")+`]}]}]}}`), nil,
			[]string{`{__name__="hits_total", instance="1", job="eu/shop"} (counter "" "") 7 # {k="v", span_id="0102030405060708", trace_id="0102030405060708090a0b0c0d0e0f10"} 1 @-5ms`}},
		{"a sum that goes down, too", metrics(job, `{"name":"queue","unit":"1","sum":{"aggregationTemporality":2,"dataPoints":[{`+timed(0)+`,"asInt":"7"}]}}`), nil,
			[]string{`{__name__="queue", instance="1", job="eu/shop"} (gauge "" "") 7`}},
		{"deltas stay deltas", metrics(job, `{"name":"hits","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{`+timed(0)+`,"asInt":"7"},{`+timed(1000)+`,"asInt":"7"}]}}`), nil,
			[]string{`{__name__="hits_total", instance="1", job="eu/shop"} 7 7 @1s`}},
		{"a histogram", metrics(job, `{"name":"d","unit":"s","histogram":{"aggregationTemporality":2,"dataPoints":[
			{`+timed(0)+`,"count":"3","sum":4.5,"bucketCounts":["1","1","1"],"explicitBounds":[0.5,1],"exemplars":[{`+timed(0)+`,"asDouble":0.7},{`+timed(0)+`}]}]}}`), nil,
			[]string{
				`{__name__="d_seconds_sum", instance="1", job="eu/shop"} (histogram "" "seconds") 4.5`,
				`{__name__="d_seconds_count", instance="1", job="eu/shop"} (histogram "" "seconds") 3`,
				`{__name__="d_seconds_bucket", instance="1", job="eu/shop", le="0.5"} (histogram "" "seconds") 1`,
				`{__name__="d_seconds_bucket", instance="1", job="eu/shop", le="1"} (histogram "" "seconds") 2 # {} 0.7`,
				`{__name__="d_seconds_bucket", instance="1", job="eu/shop", le="+Inf"} (histogram "" "seconds") 3`,
				`exemplars dropped 1`,
			}},
		{"an exponential histogram", metrics(job, `{"name":"d","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[
			{`+timed(0)+`,"count":"4","sum":10,"scale":0,"zeroCount":"1","positive":{"offset":1,"bucketCounts":["2","0","1"]}}]}}`), nil,
			[]string{`{__name__="d", instance="1", job="eu/shop"} (histogram "" "") {count:4, sum:10, [-1e-128,1e-128]:1, (2,4]:2, (8,16]:1} hint 0`}},
		{"an exponential histogram of deltas", metrics(job, `{"name":"d","exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[
			{`+timed(0)+`,"count":"1","sum":3,"scale":0,"positive":{"offset":1,"bucketCounts":["1"]}}]}}`), nil,
			[]string{`{__name__="d", instance="1", job="eu/shop"} {count:1, sum:3, (2,4]:1} hint 3`}},
		{"a summary", metrics(job, `{"name":"d","summary":{"dataPoints":[{`+timed(0)+`,"count":"4","sum":10,"quantileValues":[{"quantile":0.5,"value":2}]}]}}`), nil,
			[]string{
				`{__name__="d_sum", instance="1", job="eu/shop"} (summary "" "") 10`, `{__name__="d_count", instance="1", job="eu/shop"} (summary "" "") 4`,
				`{__name__="d", instance="1", job="eu/shop", quantile="0.5"} (summary "" "") 2`,
			}},
		{"no recorded value", metrics(job, `{"name":"g","gauge":{"dataPoints":[{`+timed(0)+`,"flags":1}]}}`), nil,
			[]string{`{__name__="g", instance="1", job="eu/shop"} (gauge "" "") NaN`}},
		{"resource attributes", metrics(job+","+attribute("k8s.pod.name", "p")+","+attribute("host.name", "h"), `{"name":"g","gauge":{"dataPoints":[{`+timed(0)+`,"asInt":1}]}}`),
			func(o *OTLPOptions) { o.Promote = []string{"k8s.pod.name"} },
			[]string{
				`{__name__="g", instance="1", job="eu/shop", k8s_pod_name="p"} (gauge "" "") 1`,
				`{__name__="target_info", host_name="h", instance="1", job="eu/shop", k8s_pod_name="p"} (gauge "Target metadata" "") 1`,
			}},
		{"names in UTF-8", metrics(job, `{"name":"room.temperature","unit":"Cel","gauge":{"dataPoints":[{`+timed(0)+`,"asInt":1,"attributes":[`+attribute("room-nö", "4")+`]}]}}`),
			func(o *OTLPOptions) { o.Names = otlptranslator.NoTranslation },
			[]string{`{__name__="room.temperature", instance="1", job="eu/shop", "room-nö"="4"} (gauge "" "celsius") 1`}},
		{"what can't be", metrics(job, strings.Join([]string{
			`{"name":"","gauge":{"dataPoints":[{` + timed(0) + `,"asInt":1}]}}`,
			`{"name":"unknown"}`,
			`{"name":"untemporal","sum":{"dataPoints":[{` + timed(0) + `,"asInt":1},{` + timed(0) + `,"asInt":1}]}}`,
			`{"name":"g","gauge":{"dataPoints":[{` + timed(0) + `},{"asInt":1},{` + timed(-7200_000) + `,"asInt":1},{` + timed(0) + `,"asInt":2,"attributes":[` + attribute("..", "") + `]},{` + timed(0) + `,"asInt":5}]}}`,
			`{"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{` + timed(0) + `,"scale":-5}]}}`,
		}, ",")), nil,
			[]string{
				`{__name__="g", instance="1", job="eu/shop"} (gauge "" "") 5`,
				`refused invalid_labels 2: normalization for metric "" resulted in empty name`,
				`refused invalid_point 5: metric "unknown" is of no kind that is known`,
				`refused past_window 1: metric "g": too old`,
				`refused invalid_histogram 1: a point of metric "e" has scale -5, at least -4 can be stored`,
			}},
		{"a resource that can't be named", metrics(attribute("_", "x"), `{"name":"g","gauge":{"dataPoints":[{`+timed(0)+`,"asInt":1}]}}`), nil,
			[]string{`refused invalid_labels 1: resource: attribute "_" has no letter or digit that a label's name could have`}},
		{"attributes that are too long", metrics(job+","+attribute("service.version", strings.Repeat("x", 20_000)), `{"name":"g","gauge":{"dataPoints":[{`+timed(0)+`,"asInt":1}]}}`), nil,
			[]string{`refused max_labels_size 1: resource: 20070 bytes`}},
		{"a point's attributes that are too long", metrics(job, `{"name":"g","gauge":{"dataPoints":[{`+timed(0)+`,"asInt":1,"attributes":[`+attribute("a", strings.Repeat("x", 20_000))+`]},{`+timed(0)+`,"asInt":1}]}}`), nil,
			[]string{`{__name__="g", instance="1", job="eu/shop"} (gauge "" "") 1`, `refused max_labels_size 1: metric "g": 20001 bytes`}},
		{"nothing", `{}`, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := otlpOptions()
			if tt.change != nil {
				tt.change(&o)
			}
			got, err := translate(t, wide(), func(tr *Translation) error { return tr.OTLP([]byte(tt.request), o) })
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			o.JSON = false
			got, err = translate(t, wide(), func(tr *Translation) error { return tr.OTLP(protobuf(t, tt.request), o) })
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("as protobuf (-want +got):\n%s", d)
			}
		})
	}
}

// protobuf is a request in the other encoding.
func protobuf(t testing.TB, json string) []byte {
	t.Helper()
	r := pmetricotlp.NewExportRequest()
	if err := r.UnmarshalJSON([]byte(json)); err != nil {
		t.Fatal(err)
	}
	body, err := r.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// What would take much memory, stack or time is stopped before it does.
func TestHostileOTLP(t *testing.T) {
	point := `{` + timed(0) + `,"asInt":1}`
	nested := func(n int) string {
		return metrics(`{"key":"a","value":`+strings.Repeat(`{"arrayValue":{"values":[`, n)+`{"intValue":1}`+strings.Repeat(`]}}`, n)+`}`, `{"name":"g","gauge":{"dataPoints":[`+point+`]}}`)
	}
	for _, tt := range []struct {
		name, request string
		want          error
	}{
		{"empty points", metrics("", `{"name":"g","gauge":{"dataPoints":[`+strings.Repeat("{},", 100_000)+point+`]}}`), ErrTooLarge},
		{"empty metrics", metrics("", strings.Repeat("{},", 100_000)+`{}`), ErrTooLarge},
		{"empty attributes", metrics(strings.Repeat("{},", 200_000)+`{}`, `{}`), ErrTooLarge},
		{"nested attributes", nested(2000), ErrMalformed},
		{"too many samples", metrics("", `{"name":"g","gauge":{"dataPoints":[`+strings.Repeat(point+",", 2000)+point+`]}}`), ErrTooMany},
		{"one long attribute, many points", metrics(attribute("service.name", strings.Repeat("x", 10_000)), `{"name":"g","gauge":{"dataPoints":[`+strings.Repeat(`{`+timed(0)+`,"asInt":1,"attributes":[`+attribute("i", "1")+`]},`+point+`,`, 100)+point+`]}}`), ErrTooLarge},
		{"target_info for ever", metrics(attribute("service.name", "j")+","+attribute("a", "b"), `{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"1","asInt":1},`+point+`]}}`), ErrTooMany},
		{"garbage", `{"resourceMetrics":7`, ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := otlpOptions()
			o.Window = func(int64) (string, string) { return "", "" }
			_, err := translate(t, wide(), func(tr *Translation) error { return tr.OTLP([]byte(tt.request), o) })
			if !errors.Is(err, tt.want) {
				t.Errorf("JSON: %v", err)
			}
			body := []byte("\x0a\x7fgarbage")
			if tt.name != "garbage" {
				body = protobuf(t, tt.request)
			}
			o.JSON = false
			if _, err := translate(t, wide(), func(tr *Translation) error { return tr.OTLP(body, o) }); !errors.Is(err, tt.want) {
				t.Errorf("protobuf: %v", err)
			}
		})
	}
	if _, err := translate(t, wide(), func(tr *Translation) error { return tr.OTLP([]byte(nested(10)), otlpOptions()) }); err != nil {
		t.Errorf("a little nested: %v", err)
	}
}

// What reading a request takes is told before it is read, whatever it is full of: within a factor, for what is in
// memory at the end.
func TestOTLPCost(t *testing.T) {
	const n = 20_000
	many := func(s string) string { return strings.Repeat(s+",", n-1) + s }
	points := func(kind, p string) string { return metrics("", `{"name":"m","`+kind+`":{"dataPoints":[`+p+`]}}`) }
	requests := map[string]string{
		"resources":             `{"resourceMetrics":[` + many(`{}`) + `]}`,
		"scopes":                `{"resourceMetrics":[{"scopeMetrics":[` + many(`{}`) + `]}]}`,
		"metrics":               metrics("", many(`{}`)),
		"gauges":                metrics("", many(`{"gauge":{}}`)),
		"attributes":            metrics(many(`{}`), `{}`),
		"values":                metrics(`{"key":"a","value":{"arrayValue":{"values":[`+many(`{}`)+`]}}}`, `{}`),
		"lists":                 metrics(many(`{"key":"a","value":{"kvlistValue":{"values":[{"key":"b","value":{"boolValue":true}}]}}}`), `{}`),
		"points":                points("gauge", many(`{}`)),
		"sums":                  points("sum", many(`{"asInt":"1"}`)),
		"histograms":            points("histogram", many(`{"sum":1,"min":1,"max":1}`)),
		"exponentialHistograms": points("exponentialHistogram", many(`{"sum":1,"min":1,"max":1,"positive":{},"negative":{}}`)),
		"summaries":             points("summary", many(`{}`)),
		"quantiles":             points("summary", `{"quantileValues":[`+many(`{}`)+`]}`),
		"exemplars":             points("gauge", `{"exemplars":[`+many(`{"asInt":"1"}`)+`]}`),
		"buckets":               points("exponentialHistogram", `{"positive":{"bucketCounts":[`+many(`"1"`)+`]}}`),
		"bounds":                points("histogram", `{"explicitBounds":[`+many(`1`)+`]}`),
	}
	for i, s := range otlpSeeds() {
		requests[fmt.Sprint("kind ", i)] = `{"resourceMetrics":[` + strings.Repeat(s[len(`{"resourceMetrics":[`):len(s)-2]+",", 1000) + `{}]}`
	}
	for name, request := range requests {
		t.Run(name, func(t *testing.T) {
			for json, body := range map[bool][]byte{true: []byte(request), false: protobuf(t, request)} {
				cost, err := otlpCost(body, json, math.MaxInt64)
				if err != nil {
					t.Fatal(err)
				}
				r := pmetricotlp.NewExportRequest()
				unmarshal := r.UnmarshalProto
				if json {
					unmarshal = r.UnmarshalJSON
				}
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				if err := unmarshal(body); err != nil {
					t.Fatal(err)
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				took := int64(after.HeapAlloc) - int64(before.HeapAlloc)
				if took > cost+cost/2 {
					t.Errorf("json %t: it takes %d bytes, said are %d", json, took, cost)
				}
				runtime.KeepAlive(r)
			}
		})
	}
}
