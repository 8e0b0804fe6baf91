package integration

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// The cast is tried without Varve first, so that a failure of a play is a failure of Varve.

func TestPrometheusWritesToPrometheusAndBothAnswerTheSame(t *testing.T) {
	t.Parallel()
	for name, rw2 := range map[string]bool{"remote write 1.0": false, "remote write 2.0": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			receiver := Prometheus(t, PrometheusConfig{Name: "receiver"})
			sender := Prometheus(t, PrometheusConfig{
				Name: "sender", RemoteWrite: receiver.URL + "/api/v1/write", RemoteWrite2: rw2,
			})
			from := time.Now().Add(time.Second)
			to := from.Add(5 * time.Second)
			sender.WaitWritten(t, to)

			bySender := jobIs("sender")
			want, err := sender.Read(from, to, bySender)
			if err != nil {
				t.Fatal(err)
			}
			got, err := receiver.Read(from, to, bySender)
			if err != nil {
				t.Fatal(err)
			}
			if want.Count() < 1000 || !anyValue(want, "int schema=") {
				t.Fatalf("%d samples of %d series are too few, or there is no histogram", want.Count(), len(want))
			}
			if diff := Diff(want, got); diff != "" {
				t.Error(diff)
			}

			query := `{job="sender"}[4s]`
			wantAnswer, err := sender.Query(query, to)
			if err != nil {
				t.Fatal(err)
			}
			gotAnswer, err := receiver.Query(query, to)
			if err != nil {
				t.Fatal(err)
			}
			if diff := Diff(wantAnswer.Samples, gotAnswer.Samples); diff != "" || wantAnswer.Samples.Count() == 0 {
				t.Errorf("%d samples by query: %s", wantAnswer.Samples.Count(), diff)
			}
		})
	}
}

// anyValue tells whether any sample's value begins so.
func anyValue(s Samples, prefix string) bool {
	for _, samples := range s {
		if slices.ContainsFunc(samples, func(s Sample) bool { return strings.HasPrefix(s.Value, prefix) }) {
			return true
		}
	}
	return false
}

func TestAnErrorOfTheAPIHasItsStatus(t *testing.T) {
	t.Parallel()
	p := Prometheus(t, PrometheusConfig{Name: "prometheus"})
	_, err := p.Query("sum(", time.Now())
	var status *StatusError
	if !errors.As(err, &status) || status.Code != 400 {
		t.Errorf("a query that does not parse: %v, want status 400", err)
	}
}

func TestDiffSeesEveryDifference(t *testing.T) {
	want := Samples{"a": {{1, "x"}, {2, "y"}}, "b": {{1, "x"}}}
	change := func(f func(Samples)) Samples {
		got := Samples{}
		for series, samples := range want {
			got[series] = slices.Clone(samples)
		}
		f(got)
		return got
	}
	for name, got := range map[string]Samples{
		"a series is missing":       change(func(s Samples) { delete(s, "b") }),
		"a series is too many":      change(func(s Samples) { s["c"] = s["b"] }),
		"a sample is missing":       change(func(s Samples) { s["a"] = s["a"][:1] }),
		"a sample comes twice":      change(func(s Samples) { s["b"] = append(s["b"], s["b"][0]) }),
		"samples are out of order":  change(func(s Samples) { slices.Reverse(s["a"]) }),
		"a value has another value": change(func(s Samples) { s["a"][1].Value = "z" }),
	} {
		if Diff(want, got) == "" {
			t.Errorf("%s, and no difference is seen", name)
		}
	}
	if diff := Diff(want, maps.Clone(want)); diff != "" {
		t.Errorf("equal samples differ: %s", diff)
	}
}

func TestAProcessIsKilledPausedAndStartedAgain(t *testing.T) {
	t.Parallel()
	s3 := S3(t)
	s3.Pause()
	for deadline := time.Now().Add(5 * time.Second); ping(s3.Ready) == nil; { // its threads stop one after the other
		if time.Now().After(deadline) {
			t.Fatal("a paused process answers")
		}
	}
	s3.Continue()
	s3.WaitReady()
	s3.Kill9()
	if err := ping(s3.Ready); err == nil {
		t.Error("a killed process answers")
	}
	s3.Start()
	s3.WaitReady()
	s3.Restart()
}

func TestEtcdStarts(t *testing.T) {
	t.Parallel()
	Etcd(t)
}
