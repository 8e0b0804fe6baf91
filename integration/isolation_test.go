package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
)

// oneTenant is a tenant's client: requests made before anything is measured, so that it costs little itself.
type oneTenant struct {
	url, tenant string
	client      *http.Client

	mu      sync.Mutex
	status  map[int]int
	late    []time.Duration // of each answer, from when its request was due
	refused []time.Duration // how long each 503 took
	hint    int             // 503s and 429s with Retry-After
	text    map[int]string
}

func newTenant(n *Node, tenant string, connections int) *oneTenant {
	return &oneTenant{
		url: n.PushURL(), tenant: tenant, status: map[int]int{}, text: map[int]string{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}, Timeout: 30 * time.Second},
	}
}

// floodOf is a packed request of remote write 1.0: series first … first+n−1 of a name, one sample each, at a time.
func floodOf(name string, first, n int, at time.Time) []byte {
	var body, s []byte
	for i := range n {
		s = s[:0]
		for _, l := range [][2]string{{"__name__", name}, {"instance", fmt.Sprintf("10.%d.%d.%d:9100", i>>16, i>>8&255, i&255)}, {"pod", fmt.Sprintf("%s-%08d", name, first+i)}} {
			s = append(s, 1<<3|2, byte(4+len(l[0])+len(l[1])), 1<<3|2, byte(len(l[0])))
			s = append(append(append(s, l[0]...), 2<<3|2, byte(len(l[1]))), l[1]...)
		}
		v := binary.LittleEndian.AppendUint64([]byte{1<<3 | 1}, math.Float64bits(float64(i)))
		v = binary.AppendUvarint(append(v, 2<<3), uint64(at.UnixMilli()))
		s = append(append(s, 2<<3|2, byte(len(v))), v...)
		body = binary.AppendUvarint(append(body, 1<<3|2), uint64(len(s)))
		body = append(body, s...)
	}
	return snappy.Encode(nil, body)
}

// post sends one request and notes what became of it.
func (o *oneTenant) post(body []byte, due time.Time) error {
	r, err := http.NewRequest(http.MethodPost, o.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = http.Header{"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {"snappy"}, "X-Scope-OrgID": {o.tenant}}
	begin := time.Now()
	resp, err := o.client.Do(r)
	if err != nil {
		return err
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	_ = resp.Body.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status[resp.StatusCode]++
	o.late = append(o.late, time.Since(due))
	if resp.StatusCode >= 400 {
		o.text[resp.StatusCode] = string(text)
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		o.refused = append(o.refused, time.Since(begin))
	}
	if resp.Header.Get("Retry-After") != "" {
		o.hint++
	}
	return nil
}

// steadily sends a request every 20 ms, whatever the answers to those before, and returns the 99th percentile of how late
// the answers are.
func (o *oneTenant) steadily(t *testing.T, d time.Duration) time.Duration {
	t.Helper()
	const every = 20 * time.Millisecond
	var wg sync.WaitGroup
	begin := time.Now()
	for due := begin; due.Before(begin.Add(d)); due = due.Add(every) {
		time.Sleep(time.Until(due))
		wg.Go(func() {
			if err := o.post(floodOf("steady", 0, 100, due), due); err != nil {
				t.Errorf("tenant %s: %v", o.tenant, err)
			}
		})
	}
	wg.Wait()
	slices.Sort(o.late)
	p99 := o.late[len(o.late)*99/100]
	t.Logf("tenant %s: %v, p50 %v, p99 %v", o.tenant, o.status, o.late[len(o.late)/2], p99)
	if len(o.status) != 1 || o.status[http.StatusNoContent] == 0 {
		t.Errorf("tenant %s has statuses %v, want only 204: %v", o.tenant, o.status, o.text)
	}
	return p99
}

// flood sends as fast as it can, on many connections at once, and heeds no Retry-After. The returned function ends it.
func (o *oneTenant) flood(t *testing.T, connections int, bodies [][]byte) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for c := range connections {
		wg.Go(func() {
			for i := c; ctx.Err() == nil; i++ {
				if err := o.post(bodies[i%len(bodies)], time.Now()); err != nil {
					t.Errorf("tenant %s: %v", o.tenant, err)
					return
				}
			}
		})
	}
	return func() {
		t.Helper()
		cancel()
		wg.Wait()
		t.Logf("tenant %s: %v, of them %d with Retry-After: %v", o.tenant, o.status, o.hint, o.text)
	}
}

// One tenant floods: over its rate, or within its limits with huge requests and ever new series. The other one writes as
// before: nothing of it fails, and its answers don't take much longer.
func TestATenantThatFloodsSlowsNobody(t *testing.T) {
	limits := filepath.Join(t.TempDir(), "limits.yaml")
	over := "overrides:\n  over-its-rate: {max_samples_per_second: 1000, max_samples_burst: 1000, max_samples_per_request: 1000}\n"
	if err := os.WriteFile(limits, []byte(over), 0o600); err != nil {
		t.Fatal(err)
	}
	n := newNode(t, nodeConfig{name: "all", target: "all", limits: limits})
	n.Start()
	n.WaitReady()
	const long = 4 * time.Second
	alone := newTenant(n, "steady", 100).steadily(t, long)
	var small, huge [][]byte
	for i := range 4 {
		small = append(small, floodOf("small", i*1000, 1000, time.Now()))
	}
	for i := range 48 {
		huge = append(huge, floodOf("huge", i*20_000, 20_000, time.Now()))
	}
	for _, flood := range []struct {
		tenant      string
		connections int
		bodies      [][]byte
		refusal     int
	}{
		{"over-its-rate", 16, small, http.StatusTooManyRequests},
		{"huge-requests", 48, huge, 0},
	} {
		a := newTenant(n, flood.tenant, flood.connections)
		stop := a.flood(t, flood.connections, flood.bodies)
		p99 := newTenant(n, "steady", 100).steadily(t, long)
		stop()
		// How long anything takes depends on who else uses the processors, so what is compared is with the flood itself:
		// who waits behind all of it waits as long as its own requests do.
		slices.Sort(a.late)
		if most := max(4*alone, time.Second, a.late[len(a.late)/2]/2); p99 > most {
			t.Errorf("while %s floods, p99 is %v, want at most %v", flood.tenant, p99, most)
		}
		t.Logf("tenant %s: p50 %v", flood.tenant, a.late[len(a.late)/2])
		if flood.refusal != 0 && (a.status[flood.refusal] == 0 || a.hint == 0 || a.status[http.StatusServiceUnavailable] > 0) {
			t.Errorf("%s: statuses %v with %d hints, want %d", flood.tenant, a.status, a.hint, flood.refusal)
		}
	}
}

// More comes than there is memory for: what is too much is sent away at once with 503 and Retry-After, memory stays
// bounded, and right after it everything is as before.
func TestOverloadIsAnsweredAndEnds(t *testing.T) {
	const memory = 64 << 20
	n := Varve(t, "all", Flags{"distributor.max_inflight_bytes": "64MiB"})
	n.Start()
	n.WaitReady()
	newTenant(n, "before", 1).steadily(t, time.Second)
	idle := residentBytes(t, n)
	var bodies [][]byte
	for i := range 8 {
		bodies = append(bodies, floodOf("overload", 0, 20_000, time.Now().Add(time.Duration(i)*time.Second)))
	}
	var floods []*oneTenant
	var stops []func()
	for i := range 8 {
		o := newTenant(n, "flood-"+strconv.Itoa(i), 16)
		floods = append(floods, o)
		stops = append(stops, o.flood(t, 16, bodies))
	}
	time.Sleep(5 * time.Second)
	peak := residentBytes(t, n)
	for _, stop := range stops {
		stop()
	}
	refused, taken, hints := []time.Duration{}, 0, 0
	for _, o := range floods {
		refused, taken, hints = append(refused, o.refused...), taken+o.status[http.StatusNoContent], hints+o.hint
		if o.status[http.StatusNoContent] == 0 {
			t.Errorf("tenant %s never got through: %v", o.tenant, o.status)
		}
		if len(o.status) > 2 || o.text[503] != "" && !strings.Contains(o.text[503], "max_inflight_bytes") {
			t.Errorf("tenant %s: %v %v, want 204 and 503 by max_inflight_bytes", o.tenant, o.status, o.text)
		}
	}
	slices.Sort(refused)
	if len(refused) == 0 || taken == 0 || hints != len(refused) {
		t.Fatalf("%d refused with %d hints, %d taken: this was no overload", len(refused), hints, taken)
	}
	t.Logf("%d taken, %d refused within %v (median), memory %d MiB before, %d MiB then", taken, len(refused), refused[len(refused)/2], idle>>20, peak>>20)
	if median := refused[len(refused)/2]; median > time.Second {
		t.Errorf("half of the refusals took more than %v", median)
	}
	// The series that were made meanwhile take their memory, too.
	const series, each = 8 * 20_000, 2 << 10
	if most := idle + 4*memory + series*each; peak > most {
		t.Errorf("it takes %d MiB, want at most %d", peak>>20, most>>20)
	}
	newTenant(n, "after", 1).steadily(t, time.Second)
}

// residentBytes is the greatest memory that a process had so far.
func residentBytes(t *testing.T, n *Node) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		if runtime.GOOS != "linux" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(kb), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
