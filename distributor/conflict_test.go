package distributor_test

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
)

// A conflict is told against a series' newest sample; against an older one the same value stays, and nobody is told.
func TestConflictsWithOlderSamplesAreSilent(t *testing.T) {
	b := newBed(t, options{})
	for n, s := range []struct {
		sample  prompb.Sample
		code    int
		written string
	}{
		{b.at(0, 1), 204, "1"},
		{b.at(time.Second, 1), 204, "1"},
		{b.at(0, 2), 204, "1"},
		{b.at(time.Second, 2), 400, "1"},
		{b.at(time.Second, 1), 400, "1"},
		{b.at(0, 1), 204, "1"},
	} {
		w := b.serve(request("t", false, v1(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{of("m", []prompb.Sample{s.sample})}})))
		if got := w.Header().Get("X-Prometheus-Remote-Write-Samples-Written"); w.Code != s.code || got != s.written {
			t.Errorf("sample %d: %d, %s written, want %d, %s: %s", n, w.Code, got, s.code, s.written, w.Body)
		}
	}
	two := math.Float64bits(2)
	if got := b.stored("t"); len(got) != 2 || got[`{__name__="m"} 0s`] != two || got[`{__name__="m"} 1s`] != two {
		t.Errorf("stored: %v", got)
	}
}
