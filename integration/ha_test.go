package integration

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"
)

const pairLimits = `
overrides:
  pairs:
    ha_dedupe: true
    ha_failover_timeout: 5s
`

// A pair of Prometheus writes to one process, which is killed and changes nothing by that. Then the one that is stored is
// killed, comes back, and takes over when the other is killed: that costs no more than failing over takes, and nothing is stored twice.
func TestAnHAPairIsStoredOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t, nodeConfig{name: "varve", target: "all", limits: writeLimits(t, pairLimits)})
	StartAll(n)
	pair{a: n, b: n, reads: n, between: func() { n.Kill9(); StartAll(n) }}.play(t)
}

// The replicas may write to different distributors, which tell each other.
func TestAnHAPairOfTwoDistributors(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, ClusterConfig{Limits: pairLimits, NoCompactor: true})
	pair{a: c.Distributor, b: c.AddDistributor(t, "distributor-2"), reads: c.Querier}.play(t)
}

// pair is where two replicas write to, and where what they wrote is read.
type pair struct {
	a, b, reads *Node
	between     func() // what happens while both are up; nil for nothing
}

const (
	pairFailover = 5 * time.Second
	pairInterval = time.Second
	// pairSlack is how late a scrape, a request or gossip may be on a machine that has much else to do.
	pairSlack = 3 * time.Second
)

func (p pair) play(t *testing.T) {
	const counter = `go_memstats_mallocs_total{job="target-0"}`
	target := Prometheus(t, PrometheusConfig{Name: "target"})
	config := PrometheusConfig{Targets: []string{target.Address}, Tenant: "pairs", Cluster: "eu"}
	api := p.reads.AsTenant("pairs")

	config.Name, config.Replica, config.RemoteWrite = "prometheus-a", "a", p.a.PushURL()
	a := Prometheus(t, config)
	from := p.await(t, api, counter, time.Now())
	config.Name, config.Replica, config.RemoteWrite, config.RemoteWrite2 = "prometheus-b", "b", p.b.PushURL(), true
	b := Prometheus(t, config)
	b.WaitWritten(t, time.Now().Add(time.Second)) // though nothing of it is stored
	if p.between != nil {
		p.between()
		p.await(t, api, counter, time.Now())
	}
	a.Kill9()
	p.await(t, api, counter, time.Now().Add(pairInterval))
	a.Start()
	a.WaitReady()
	a.WaitWritten(t, time.Now().Add(time.Second))
	b.Kill9()
	to := p.await(t, api, counter, time.Now().Add(pairInterval))
	a.WaitWritten(t, time.Now())

	got, err := api.Query(counter+"["+seconds(to.Sub(from))+"]", to)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Samples) != 1 {
		t.Fatalf("%d series, want one without a replica: %v", len(got.Samples), got.Samples)
	}
	for name, samples := range got.Samples {
		t.Logf("%d samples of %s", len(samples), name)
		p.checkTimes(t, samples)
		p.checkCounter(t, api, counter, samples)
	}
}

// await waits until a sample that is later than a time can be read, and returns its time.
func (p pair) await(t *testing.T, api API, selector string, after time.Time) (at time.Time) {
	t.Helper()
	waitUntil(t, fmt.Sprintf("%s has a sample after %v", selector, after), time.Minute, func() error {
		got, err := api.Query("timestamp("+selector+")", time.Now())
		if err != nil {
			return err
		}
		for _, samples := range got.Samples {
			value, err := strconv.ParseFloat(samples[len(samples)-1].Value[1:len(samples[len(samples)-1].Value)-1], 64)
			if at = time.UnixMilli(int64(math.Round(value * 1000))); err == nil && at.After(after) {
				return nil
			}
		}
		return fmt.Errorf("only %v", got)
	})
	return at
}

// checkTimes checks that nothing is missing for longer than failing over takes, and nothing is stored twice.
func (p pair) checkTimes(t *testing.T, samples []Sample) {
	t.Helper()
	failovers := 0
	for i := 1; i < len(samples); i++ {
		apart := time.Duration(samples[i].Time-samples[i-1].Time) * time.Millisecond
		if apart < pairInterval/2 {
			t.Errorf("two samples are %v apart, at %d: both replicas are stored", apart, samples[i].Time)
		}
		if apart > pairFailover+2*pairInterval+pairSlack {
			t.Errorf("nothing is stored for %v, from %d on", apart, samples[i-1].Time)
		}
		if apart > pairFailover-2*pairInterval {
			t.Logf("failing over took %v", apart)
			failovers++
		}
	}
	if failovers != 2 {
		t.Errorf("%d failovers, want 2", failovers)
	}
}

// checkCounter checks that the counter seems to have been scraped by one.
func (p pair) checkCounter(t *testing.T, api API, counter string, samples []Sample) {
	t.Helper()
	first, last := samples[0], samples[len(samples)-1]
	window := "[" + seconds(time.Duration(last.Time-first.Time+1)*time.Millisecond) + "]"
	at := time.UnixMilli(last.Time)
	ask := func(query string) float64 {
		got, err := api.Query(query, at)
		if err != nil || len(got.Samples) != 1 {
			t.Fatalf("%s: %v, %v", query, got, err)
		}
		for _, samples := range got.Samples {
			return number(t, samples[0].Value)
		}
		return 0
	}
	if n := ask("resets(" + counter + window + ")"); n != 0 {
		t.Errorf("the counter has %v resets", n)
	}
	want := number(t, last.Value) - number(t, first.Value)
	if got := ask("increase(" + counter + window + ")"); math.Abs(got/want-1) > 0.01 {
		t.Errorf("the counter grew by %v, a query says %v", want, got)
	}
}

// number is a value as the JSON of an answer has it.
func number(t *testing.T, quoted string) float64 {
	t.Helper()
	text, err := strconv.Unquote(quoted)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func seconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + "ms" }
