package distributor_test

import (
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/varve-io/varve/pkg/series"
)

// Many more labels come than an owner keeps: each series gets its own ones all the same.
func TestMoreLabelsThanOwnersKeep(t *testing.T) {
	b := newBed(t, options{})
	const each = 600
	want := map[string]uint64{}
	for n := 0; n < 2*series.LabelsKept; n += each {
		var w prompb.WriteRequest
		for i := n; i < n+each; i++ {
			v := float64(i)
			s := of(fmt.Sprint("m", i%50), []prompb.Sample{b.at(0, v)}, "job", "test", "uid", fmt.Sprint(i))
			w.Timeseries = append(w.Timeseries, s)
			ls := labels.FromStrings("__name__", s.Labels[0].Value, "job", "test", "uid", fmt.Sprint(i))
			want[fmt.Sprint(ls, " ", time.Duration(0))] = math.Float64bits(v)
		}
		if got := b.serve(request("", false, v1(t, &w))); got.Code != http.StatusNoContent {
			t.Fatalf("%d %s", got.Code, got.Body)
		}
	}
	got := b.stored("anonymous")
	for s, v := range want {
		if got[s] != v {
			t.Fatalf("%s has %x, want %x", s, got[s], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d samples, want %d", len(got), len(want))
	}
}
