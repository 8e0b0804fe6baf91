package remote

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

// benchSeries are the labels of a container's counter.
func benchSeries(i int) labels.Labels {
	return labels.FromStrings("__name__", "container_cpu_usage_seconds_total", "cluster", "prod-eu-1", "container", "app",
		"cpu", "total", "image", "registry.example.com/team/app:v1.2.3", "instance", fmt.Sprintf("10.0.%d.%d:10250", i/256, i%256),
		"job", "kubelet", "namespace", "payments", "node", fmt.Sprint("node-", i%100), "pod", fmt.Sprintf("app-7d4b9c-%05d", i))
}

// benchOTLP has the same series, ten of them from each resource.
func benchOTLP(b *testing.B, n int) pmetricotlp.ExportRequest {
	md := pmetric.NewMetrics()
	var points pmetric.NumberDataPointSlice
	for i := range n {
		ls := benchSeries(i)
		if i%10 == 0 {
			rm := md.ResourceMetrics().AppendEmpty()
			rm.Resource().Attributes().PutStr("service.name", ls.Get("job"))
			rm.Resource().Attributes().PutStr("service.instance.id", ls.Get("instance"))
			m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
			m.SetName("container.cpu.usage")
			m.SetUnit("s")
			sum := m.SetEmptySum()
			sum.SetIsMonotonic(true)
			sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
			points = sum.DataPoints()
		}
		p := points.AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(time.UnixMilli(now)))
		p.SetDoubleValue(float64(i))
		ls.Range(func(l labels.Label) {
			switch l.Name {
			case "__name__", "job", "instance":
			default:
				p.Attributes().PutStr(l.Name, l.Value)
			}
		})
	}
	return pmetricotlp.NewExportRequestFromMetrics(md)
}

// BenchmarkTranslate is what a protocol costs beside remote write: translating, and reading the result.
func BenchmarkTranslate(b *testing.B) {
	const n = 2000
	var text, lines bytes.Buffer
	for i := range n {
		ls := benchSeries(i)
		lines.WriteString("container")
		text.WriteString(ls.Get("__name__") + "{")
		ls.Range(func(l labels.Label) {
			if l.Name != "__name__" {
				fmt.Fprintf(&lines, ",%s=%s", l.Name, l.Value)
				fmt.Fprintf(&text, "%s=%q,", l.Name, l.Value)
			}
		})
		fmt.Fprintf(&text, "} %d\n", i)
		fmt.Fprintf(&lines, " cpu_usage_seconds_total=%d\n", i)
	}
	otlp := benchOTLP(b, n)
	proto, _ := otlp.MarshalProto()
	json, _ := otlp.MarshalJSON()
	o := otlpOptions()
	for _, c := range []struct {
		name string
		f    func(*Translation) error
	}{
		{"text", func(t *Translation) error { return t.Text(text.Bytes()) }},
		{"influx", func(t *Translation) error { return t.Influx(lines.Bytes(), time.Millisecond) }},
		{"otlp-json", func(t *Translation) error { o.JSON = true; return t.OTLP(json, o) }},
		{"otlp-protobuf", func(t *Translation) error { o.JSON = false; return t.OTLP(proto, o) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			t, r, bounds := NewTranslation(), NewRequest(NewHasher()), wide()
			bounds.Samples, bounds.Bytes, bounds.Memory = 1<<20, 32<<20, 256<<20
			b.ReportAllocs()
			for b.Loop() {
				t.Reset(bounds, now, 0)
				if err := c.f(t); err != nil {
					b.Fatal(err)
				}
				if err := r.Reset(WriteV2, t.Body()); err != nil {
					b.Fatal(err)
				}
				for r.Next(Guess{}) {
				}
				if t.samples != n || r.Err() != nil {
					b.Fatal(t.samples, r.Err())
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/sample")
		})
	}
}
