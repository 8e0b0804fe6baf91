package distributor

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/prompb"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/tenant"
)

// from sends one sample of each name, now, as a replica of a cluster does.
func (y *yard) from(cluster, replica string, names ...string) (Written, error) {
	var w prompb.WriteRequest
	for _, n := range names {
		s := prompb.TimeSeries{Samples: []prompb.Sample{{Timestamp: time.Now().UnixMilli(), Value: 1}}}
		for _, l := range [][2]string{{"__name__", n}, {"__replica__", replica}, {"cluster", cluster}} {
			if l[1] != "" {
				s.Labels = append(s.Labels, prompb.Label{Name: l[0], Value: l[1]})
			}
		}
		w.Timeseries = append(w.Timeseries, s)
	}
	raw, err := w.Marshal()
	if err != nil {
		y.t.Fatal(err)
	}
	return newRequest(y.Distributor).push(context.Background(), tenant.Anonymous, remote.WriteV1, raw)
}

// expect sends, and checks how many samples are stored and how many are another replica's.
func (y *yard) expect(cluster, replica string, kept, others int, names ...string) {
	y.t.Helper()
	w, err := y.from(cluster, replica, names...)
	if err != nil || w.Floats != kept || w.OfReplica.Floats != others || w.Refused > 0 {
		y.t.Errorf("%s of %s: %+v, %v; want %d stored and %d of another replica", replica, cluster, w, err, kept, others)
	}
}

func pairs(l *tenant.Limits) { l.HADedupe = true }

func TestOneReplicaIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		y.limits.set(pairs)
		synctest.Wait()
		y.expect("eu", "a", 2, 0, "x", "y")
		y.expect("eu", "b", 0, 2, "x", "y")
		y.expect("us", "b", 1, 0, "x") // another cluster, another election
		s := y.sender(tenant.Anonymous)
		if active := s.series.Load(); active != 3 {
			t.Errorf("%d series are active, want 3: what isn't stored counts for nothing", active)
		}
		for range 10 {
			time.Sleep(10 * time.Second)
			y.expect("eu", "b", 0, 2, "x", "y")
			y.expect("eu", "a", 2, 0, "x", "y")
		}
		time.Sleep(29 * time.Second)
		y.expect("eu", "b", 0, 2, "x", "y")
		time.Sleep(2 * time.Second)
		y.expect("eu", "b", 2, 0, "x", "y")
		y.expect("eu", "a", 0, 2, "x", "y")
		time.Sleep(time.Second)
		if active, dropped := s.series.Load(), s.dropped.Load(); active != 3 || dropped != 2 {
			t.Errorf("%d series are active and %d are not stored after failing over, want 3 and 2", active, dropped)
		}
		for name := range y.keepers["a"].defined {
			if strings.Contains(name, "__replica__") {
				t.Errorf("%s is stored", name)
			}
		}
		if got := testutil.ToFloat64(y.metrics.dropped.WithLabelValues("ha_dedupe")); got != 2+20+2+2 {
			t.Errorf("%v samples are counted as another replica's", got)
		}
		y.sound()
	})
}

// What doesn't come from a pair is stored as it is: nothing is guessed.
func TestNoPairNoElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		synctest.Wait()
		y.expect("eu", "a", 1, 0, "x") // not asked for
		y.expect("eu", "b", 1, 0, "x")
		y.limits.set(pairs)
		y.expect("", "b", 1, 0, "y")
		y.expect("us", "", 1, 0, "y")
		for _, want := range []labels.Labels{
			labels.FromStrings("__name__", "x", "cluster", "eu", "__replica__", "a"), labels.FromStrings("__name__", "x", "cluster", "eu", "__replica__", "b"),
			labels.FromStrings("__name__", "y", "__replica__", "b"), labels.FromStrings("__name__", "y", "cluster", "us"),
		} {
			if y.keepers["a"].defined[want.String()] != 1 {
				t.Errorf("%s is not stored", want)
			}
		}
		y.expect("eu", "b", 1, 0, "x") // asked for since
		y.expect("eu", "a", 0, 1, "x")
		y.limits.set(func(l *tenant.Limits) { l.HADedupe = false })
		y.expect("eu", "a", 1, 0, "x")
		y.expect("eu", "b", 1, 0, "x")
		y.sound()
	})
}

// A request may bring several clusters and replicas, as a collector's does, and samples older than what another replica
// has stored.
func TestElectionsAreBySeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		y.limits.set(pairs)
		synctest.Wait()
		y.expect("eu", "a", 1, 0, "x")
		y.expect("us", "b", 1, 0, "x")
		handOver := time.Now()
		time.Sleep(31 * time.Second)
		y.expect("us", "b", 1, 0, "x")
		var w prompb.WriteRequest
		for _, replica := range []string{"a", "b"} {
			for _, cluster := range []string{"eu", "us"} {
				w.Timeseries = append(w.Timeseries, prompb.TimeSeries{
					Labels: []prompb.Label{{Name: "__name__", Value: "x"}, {Name: "__replica__", Value: replica}, {Name: "cluster", Value: cluster}},
					Samples: []prompb.Sample{
						{Timestamp: handOver.Add(-time.Second).UnixMilli()}, {Timestamp: handOver.UnixMilli(), Value: 7},
						{Timestamp: handOver.UnixMilli() + 1}, {Timestamp: time.Now().UnixMilli()},
					},
				})
			}
		}
		w.Timeseries = append(w.Timeseries[2:], w.Timeseries[:2]...) // b first
		raw, err := w.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := newRequest(y.Distributor).push(context.Background(), tenant.Anonymous, remote.WriteV1, raw)
		// b takes over eu from what a has stored on; it is us' anyway, where it was first.
		if err != nil || got.Floats != 2+4 || got.OfReplica.Floats != 2+4+4 {
			t.Errorf("%+v, %v", got, err)
		}
		y.sound()
	})
}

func TestTooManyReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		y.limits.set(func(l *tenant.Limits) { l.HADedupe, l.MaxHAReplicas = true, 2 })
		synctest.Wait()
		y.expect("eu", "a", 1, 0, "x")
		y.expect("eu", "b", 0, 1, "x")
		w, err := y.from("eu", "c", "x")
		if err != nil || w.Refused != 1 || !strings.Contains(w.Message, `max_ha_replicas: 1, the first: replica "c" of cluster "eu" is one more: over the limit max_ha_replicas of 2`) {
			t.Errorf("%+v, %v", w, err)
		}
		if w, err = y.from("eu", strings.Repeat("c", 257), "x"); err != nil || w.Refused != 1 || !strings.Contains(w.Message, "at most 256 are allowed") {
			t.Errorf("%+v, %v", w, err)
		}
		time.Sleep(ring.ElectionKept + time.Hour) // both are forgotten
		y.expect("eu", "c", 1, 0, "x")
		y.expect("eu", "b", 0, 1, "x")
		y.sound()
	})
}

// While it isn't known whom others have elected, the samples of pairs have to come again. All others are taken.
func TestElectionsMustBeKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		y.limits.set(pairs)
		synctest.Wait()
		y.elections.known = false
		if _, err := y.from("eu", "a", "x"); err == nil || !strings.Contains(err.Error(), "unavailable: the elections of HA pairs are not known yet") {
			t.Error(err)
		}
		y.expect("", "", 1, 0, "x")
		y.elections.take(ring.Elections{{Tenant: "anonymous", Cluster: "eu"}: {Term: 3, Replica: "b", Seen: time.Now().Unix()}}, time.Now())
		y.expect("eu", "a", 0, 1, "x")
		y.expect("eu", "b", 1, 0, "x")
	})
}

// A restart changes no election, and forgets no floor.
func TestElectionsOutliveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "elections")
		k := ring.Contest{Tenant: "t", Cluster: "c"}
		during := func(f func(*elections)) {
			share, err := ring.OpenElectionFile(file, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			e := newElections(share, slog.New(slog.DiscardHandler), newMetrics(prometheus.NewRegistry()))
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); e.run(ctx, time.Now) }()
			synctest.Wait()
			f(e)
			cancel()
			<-done
		}
		newest := time.Now().UnixMilli()
		during(func(e *elections) {
			m, err := e.ask(k, "b", testTimeout, time.Now())
			if err != nil || m.term != 1 {
				t.Fatal(m, err)
			}
			e.heard(k, m.term, time.Now())
			e.stored(k, "b", newest, time.Now())
		})
		time.Sleep(time.Minute)
		during(func(e *elections) {
			if m, err := e.ask(k, "a", testTimeout, time.Now()); m.term != 0 || err != nil {
				t.Errorf("a is elected, though b has had no time to come back: %+v, %v", m, err)
			}
			time.Sleep(testTimeout + time.Second)
			if m, err := e.ask(k, "a", testTimeout, time.Now()); m != (mandate{2, newest}) || err != nil {
				t.Errorf("%+v, %v", m, err)
			}
		})
	})
}

// Who was overruled while a request was on its way tells up to when it has stored samples all the same.
func TestAnOverruledReplicaRaisesTheFloor(t *testing.T) {
	e := newElections(nil, slog.New(slog.DiscardHandler), newMetrics(prometheus.NewRegistry()))
	k, now := ring.Contest{Tenant: "t", Cluster: "c"}, time.Now()
	e.take(ring.Elections{k: {Term: 1, Replica: "a", Seen: now.Unix()}}, now)
	m, err := e.ask(k, "a", testTimeout, now)
	if err != nil || m.term != 1 {
		t.Fatal(m, err)
	}
	e.take(ring.Elections{k: {Term: 2, Replica: "b", Floor: 5, Seen: now.Unix()}}, now)
	e.heard(k, m.term, now)
	e.stored(k, "a", 9, now)
	if m, _ = e.ask(k, "b", testTimeout, now); m != (mandate{2, 9}) {
		t.Errorf("mandate %+v", m)
	}
	want := ring.Elections{k: {Term: 2, Replica: "b", Floor: 9, Seen: now.Unix()}}
	if diff := cmp.Diff(want, e.news(now, false)); diff != "" {
		t.Error(diff)
	}
}

// A sample from far ahead doesn't keep another replica out for as long.
func TestASampleFromAheadRaisesNoFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		y.limits.set(pairs)
		synctest.Wait()
		y.expect("eu", "a", 1, 0, "x")
		y.elections.stored(ring.Contest{Tenant: "anonymous", Cluster: "eu"}, "a", time.Now().Add(9*time.Minute).UnixMilli(), time.Now())
		time.Sleep(testTimeout + time.Second)
		y.expect("eu", "b", 1, 0, "x")
	})
}

func rules(t *testing.T, rules ...relabel.Config) tenant.RelabelRules {
	t.Helper()
	var all tenant.RelabelRules
	for _, r := range rules {
		if r.Regex.Regexp == nil {
			r.Regex = relabel.DefaultRelabelConfig.Regex
		}
		r.NameValidationScheme = model.UTF8Validation
		all = append(all, &r)
	}
	return all
}

func TestWriteRelabel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		drop := relabel.Config{SourceLabels: model.LabelNames{"__name__"}, Regex: relabel.MustNewRegexp("noise.*"), Action: relabel.Drop}
		y.limits.set(func(l *tenant.Limits) { l.WriteRelabel, l.MaxActiveSeries = rules(t, drop), 2 })
		synctest.Wait()
		names := []string{"x", "noise1", "noise2"}
		for range 2 {
			time.Sleep(time.Second)
			if w := y.mustPush(time.Now(), 1, names...); w.Floats != 1 || w.ByRule.Floats != 2 || w.Refused != 0 {
				t.Errorf("%+v", w)
			}
		}
		if got := testutil.ToFloat64(y.metrics.dropped.WithLabelValues("write_relabel")); got != 4 {
			t.Errorf("%v samples are counted as dropped", got)
		}
		if fresh := testutil.ToFloat64(y.metrics.fresh); fresh != 3 {
			t.Errorf("%v new entries: dropped series are not remembered", fresh)
		}
		// The rules change: known series are looked at again.
		y.limits.set(func(l *tenant.Limits) {
			l.WriteRelabel = rules(t, relabel.Config{SourceLabels: model.LabelNames{"job"}, TargetLabel: "team", Replacement: "of-$1", Action: relabel.Replace, Separator: ";"})
		})
		time.Sleep(time.Second)
		if w := y.mustPush(time.Now(), 1, names[:2]...); w.Floats != 2 {
			t.Errorf("%+v", w)
		}
		if want := labels.FromStrings("__name__", "noise1", "job", "test", "team", "of-test").String(); y.keepers["a"].defined[want] != 1 {
			t.Errorf("%s is not stored: %v", want, y.keepers["a"].defined)
		}
		// What the rules make is what is checked.
		y.limits.set(func(l *tenant.Limits) {
			l.WriteRelabel = rules(t, relabel.Config{Regex: relabel.MustNewRegexp("__name__"), Action: relabel.LabelDrop})
		})
		if w := y.mustPush(time.Now(), 1, "x"); w.Refused != 1 || !strings.Contains(w.Message, "has no metric name") {
			t.Errorf("%+v", w)
		}
		y.limits.set(func(l *tenant.Limits) {
			l.WriteRelabel = rules(t, relabel.Config{Regex: relabel.MustNewRegexp(".*"), Action: relabel.LabelDrop})
		})
		if w := y.mustPush(time.Now(), 1, "x"); w.Refused != 0 || w.ByRule.Floats != 1 {
			t.Errorf("nothing is left of it: %+v", w)
		}
		y.sound()
	})
}

// A rule that drops a series does so whichever replica it comes from, and sees no replica's label.
func TestRelabelAfterElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		y.limits.set(func(l *tenant.Limits) {
			l.HADedupe = true
			l.WriteRelabel = rules(t,
				relabel.Config{SourceLabels: model.LabelNames{"__name__"}, Regex: relabel.MustNewRegexp("noise"), Action: relabel.Drop},
				relabel.Config{SourceLabels: model.LabelNames{"__replica__"}, TargetLabel: "from", Replacement: "[$1]", Action: relabel.Replace})
		})
		synctest.Wait()
		for i, want := range []Written{
			{Floats: 1, ByRule: Drops{Floats: 1}}, {ByRule: Drops{Floats: 1}, OfReplica: Drops{Floats: 1}},
			{Floats: 1, ByRule: Drops{Floats: 1}}, {ByRule: Drops{Floats: 1}, OfReplica: Drops{Floats: 1}},
		} {
			w, err := y.from("eu", fmt.Sprint("r", i%2), "noise", "x")
			if diff := cmp.Diff(want, w); diff != "" || err != nil {
				t.Errorf("request %d: %v %s", i, err, diff)
			}
		}
		if want := labels.FromStrings("__name__", "x", "cluster", "eu", "from", "[]").String(); y.keepers["a"].defined[want] != 1 {
			t.Errorf("stored: %v", y.keepers["a"].defined)
		}
		y.sound()
	})
}

// While elections, limits and the table change under them, requests store what they say they store, and the quotas'
// counts stay right.
func TestPairsWhileAllMoves(t *testing.T) {
	y := newYard(t, 1, "a")
	y.limits.set(pairs)
	y.awaitReady()
	ctx, cancel := context.WithCancel(t.Context())
	var others, senders sync.WaitGroup
	k := ring.Contest{Tenant: tenant.Anonymous.String(), Cluster: "eu"}
	others.Go(func() {
		for term := uint64(2); ctx.Err() == nil; term++ {
			y.elections.take(ring.Elections{k: {Term: term, Replica: string(rune('a' + term%2)), Seen: time.Now().Unix()}}, time.Now())
			y.idleUnelected()
			if term%7 == 0 {
				y.limits.set(func(l *tenant.Limits) { l.HADedupe = !l.HADedupe })
			}
			time.Sleep(time.Millisecond)
		}
	})
	names := make([]string, 50)
	for i := range names {
		names[i] = fmt.Sprint("m", i)
	}
	var kept, sent atomic.Int64
	for s := range 4 {
		senders.Go(func() {
			for range 200 {
				w, err := y.from("eu", string(rune('a'+s%2)), names...)
				if err != nil {
					continue // owners' numbering moved too often
				}
				sent.Add(int64(len(names)))
				kept.Add(int64(w.Floats))
				if w.Floats+w.OfReplica.Floats != len(names) || w.Refused > 0 {
					t.Errorf("%+v", w)
				}
			}
		})
	}
	senders.Wait()
	cancel()
	others.Wait()
	s := y.sender(tenant.Anonymous)
	entries, stored := 0, int64(0)
	for id := uint32(1); id <= s.table.count; id++ {
		if e := s.table.at(id); e.hi.Load() != 0 {
			entries++
			if st, _ := e.standing(0); st.active() {
				stored++
			}
		}
	}
	if s.series.Load() != stored || s.dropped.Load() != int64(entries)-stored || entries != 2*len(names) {
		t.Errorf("%d series and %d others; of %[4]d entries, %[3]d are active", s.series.Load(), s.dropped.Load(), stored, entries)
	}
	if kept.Load() == 0 || kept.Load() == sent.Load() {
		t.Errorf("%d of %d samples are stored: too tame", kept.Load(), sent.Load())
	}
	y.sound()
}
