package load

import (
	"testing"
)

// BenchmarkEncode makes requests as a lane of eight does; ns/sample and compressed bytes per sample are what to look at.
func BenchmarkEncode(b *testing.B) {
	for _, proto := range []Protocol{RemoteWrite1, RemoteWrite2} {
		b.Run(proto.version(), func(b *testing.B) {
			cfg := testConfig()
			cfg.Series, cfg.Steps, cfg.Lanes = 100_000, 1<<30, 8
			gen, err := New(cfg)
			if err != nil {
				b.Fatal(err)
			}
			ledger, err := NewLedger("", cfg)
			if err != nil {
				b.Fatal(err)
			}
			l, enc := newLane(gen, 0, ledger), newEncoder(proto)
			for range 7 { // labels of all series
				r, _ := l.next(2000)
				enc.reset()
				l.encode(enc, r)
			}
			b.ReportAllocs()
			samples, raw, sent := int64(0), 0, 0
			for b.Loop() {
				r, _ := l.next(2000)
				enc.reset()
				samples += l.encode(enc, r)
				body, n := enc.finish()
				raw, sent = raw+n, sent+len(body)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(samples), "ns/sample")
			b.ReportMetric(float64(raw)/float64(samples), "rawB/sample")
			b.ReportMetric(float64(sent)/float64(samples), "B/sample")
		})
	}
}

func testConfig() Config {
	return Config{Seed: 7, Series: 500, Steps: 20, Start: 1_700_000_000_000, IntervalMS: 15_000, Lanes: 4, Tenant: "t", Tenants: 1}
}
