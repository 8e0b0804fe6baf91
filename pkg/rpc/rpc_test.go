package rpc

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"go.uber.org/goleak"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is an ingester that keeps the batches that it gets, in their order, and says what the test tells it to.
type recorder struct {
	mu       sync.Mutex
	batches  []string
	ready    error
	refuse   func(batch []byte) error
	hold     chan struct{} // receipts wait until it is closed
	series   []series.Chunked
	limit    error // ends the series with an error
	standing series.Standing
	closed   int
	queries  []series.Query
}

func (r *recorder) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ready
}

func (r *recorder) Push(batch []byte) (series.Receipt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		if err := r.refuse(batch); err != nil {
			return nil, err
		}
	}
	r.batches = append(r.batches, string(batch[:min(len(batch), 64)]))
	return heldReceipt{r.hold, series.Ack{Conflicts: len(r.batches), First: "first"}}, nil
}

func (r *recorder) pushed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches)
}

type heldReceipt struct {
	hold chan struct{}
	ack  series.Ack
}

func (h heldReceipt) Wait(ctx context.Context) (series.Ack, error) {
	if h.hold == nil {
		return h.ack, nil
	}
	select {
	case <-h.hold:
		return h.ack, nil
	case <-ctx.Done():
		return series.Ack{}, ctx.Err()
	}
}

func (r *recorder) Standing() series.Standing { return r.standing }

func (r *recorder) Select(_ context.Context, q series.Query) (series.Set, series.Standing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queries = append(r.queries, q)
	if q.Limit == 13 {
		return nil, series.Standing{}, fmt.Errorf("%w: no such thing", series.ErrNotFound)
	}
	return &slowSet{r: r, left: r.series}, r.standing, nil
}

type slowSet struct {
	r    *recorder
	left []series.Chunked
	at   series.Chunked
	err  error
}

func (s *slowSet) Next() bool {
	if len(s.left) == 0 {
		s.err = s.r.limit
		return false
	}
	s.at, s.left = s.left[0], s.left[1:]
	return true
}
func (s *slowSet) At() series.Chunked { return s.at }
func (s *slowSet) Err() error         { return s.err }
func (s *slowSet) Close() error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.closed++
	return nil
}

func (r *recorder) LabelNames(context.Context, series.Query) ([]string, series.Standing, error) {
	return []string{"__name__", "job"}, r.standing, nil
}

func (r *recorder) LabelValues(_ context.Context, name string, q series.Query) ([]string, series.Standing, error) {
	if q.Limit == 1 {
		many := make([]string, 100_000)
		for i := range many {
			many[i] = fmt.Sprintf("%s-%06d", name, i)
		}
		return many, r.standing, nil
	}
	return nil, r.standing, &tenant.LimitError{Limit: tenant.MaxQuerySeries, Max: 1, Subject: "too much"}
}

func (r *recorder) Exemplars(_ context.Context, _ series.Query, ms [][]*labels.Matcher) ([]series.Exemplars, series.Standing, error) {
	return []series.Exemplars{{
		Labels:    labels.FromStrings("groups", fmt.Sprint(len(ms)), "matcher", ms[1][0].String()),
		Exemplars: []exemplar.Exemplar{{Labels: labels.FromStrings("trace", "1"), Value: 1.5, Ts: -7, HasTs: true}},
	}}, r.standing, nil
}

func (r *recorder) Metadata(context.Context, tenant.ID) ([]series.Metadata, series.Standing, error) {
	return []series.Metadata{{Family: "up", Metadata: metadata.Metadata{Type: "gauge", Unit: "", Help: "is up"}}}, r.standing, nil
}

// world is one server and a pool that reaches it.
type world struct {
	*recorder
	pool  *Pool
	owner ring.Owner
	stop  func() // stops the server
}

type oneRing struct{ owner ring.Owner }

func (o oneRing) View() *ring.View {
	return ring.NewView(1, 1, []ring.Partition{{ID: 0, State: ring.Active, Owners: []ring.Owner{o.owner}}})
}

func serve(t testing.TB, r *recorder, address string, serverTLS *tls.Config) (string, func()) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := NewServer(ServerConfig{Cluster: "test", Instance: "ingester-0", TLS: serverTLS, Logger: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry()}, r)
	go func() { done <- s.Serve(ctx, l) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func newPool(t testing.TB, owner ring.Owner, cfg PoolConfig) *Pool {
	t.Helper()
	if cfg.Cluster == "" {
		cfg.Cluster = "test"
	}
	cfg.Logger, cfg.Reg = slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	p := NewPool(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, oneRing{owner}) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return p
}

func newWorld(t testing.TB, r *recorder) *world {
	t.Helper()
	address, stop := serve(t, r, "127.0.0.1:0", nil)
	owner := ring.Owner{Instance: "ingester-0", Address: address}
	return &world{recorder: r, pool: newPool(t, owner, PoolConfig{}), owner: owner, stop: stop}
}

func (w *world) dial(t testing.TB) Link {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l, err := w.pool.Dial(ctx, w.owner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func within(t testing.TB, d time.Duration, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(d):
		t.Fatalf("%s: not within %v", what, d)
	}
}

func TestPushInOrder(t *testing.T) {
	w := newWorld(t, &recorder{})
	l := w.dial(t)
	var want []string
	var receipts []series.Receipt
	for i := range 5000 {
		batch := fmt.Appendf(nil, "batch %d", i)
		r, err := l.Push(batch, kept)
		if err != nil {
			t.Fatal(err)
		}
		want, receipts = append(want, string(batch)), append(receipts, r)
	}
	for i, r := range receipts {
		ack, err := r.Wait(t.Context())
		if err != nil || ack != (series.Ack{Conflicts: i + 1, First: "first"}) {
			t.Fatalf("receipt %d: %+v, %v", i, ack, err)
		}
	}
	if diff := cmp.Diff(want, w.pushed()); diff != "" {
		t.Error(diff)
	}
}

// A refusal fails one batch; one that ends the dictionary breaks the link, and every batch behind it.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		err    error
		breaks bool
	}{
		{fmt.Errorf("%w: log is fenced", series.ErrUnavailable), false},
		{fmt.Errorf("%w: what", series.ErrInvalid), false},
		{errors.New("anything"), false},
		{fmt.Errorf("%w: number 7", series.ErrUnknownNumber), true},
		{fmt.Errorf("%w: section 9", series.ErrCorrupt), true},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			r := &recorder{refuse: func(b []byte) error {
				if string(b) == "bad" {
					return c.err
				}
				return nil
			}}
			w := newWorld(t, r)
			for _, where := range []string{"remote", "local"} {
				l := w.dial(t)
				if where == "local" {
					l, _ = openLocal(r)
				}
				err := push(t, l, "bad")
				kind := kindOf(codeOf(c.err))
				if where == "local" {
					kind = c.err
				}
				if !errors.Is(err, kind) {
					t.Errorf("%s: %v, want kind %v", where, err, kind)
				}
				if c.breaks {
					within(t, 5*time.Second, l.Broken(), "break")
					if err := push(t, l, "good"); !errors.Is(err, series.ErrUnavailable) {
						t.Errorf("%s: push on a broken link: %v", where, err)
					}
				} else if err := push(t, l, "good"); err != nil {
					t.Errorf("%s: %v", where, err)
				}
				l.Close()
			}
		})
	}
}

func push(t testing.TB, l Link, batch string) error {
	t.Helper()
	r, err := l.Push([]byte(batch), kept)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = r.Wait(ctx)
	return err
}

func TestNotReady(t *testing.T) {
	r := &recorder{ready: errors.New("replaying")}
	w := newWorld(t, r)
	if _, err := w.pool.Dial(t.Context(), w.owner); !errors.Is(err, series.ErrUnavailable) {
		t.Fatalf("dial: %v", err)
	}
	r.mu.Lock()
	r.ready = nil
	r.mu.Unlock()
	w.dial(t)
}

// When the owner goes, all that is not acked fails; when it is back, a new link works.
func TestBreakAndReconnect(t *testing.T) {
	r := &recorder{hold: make(chan struct{})}
	w := newWorld(t, r)
	l := w.dial(t)
	var receipts []series.Receipt
	for range 10 {
		rec, err := l.Push([]byte("held"), kept)
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, rec)
	}
	go w.stop()
	within(t, 10*time.Second, l.Broken(), "break")
	for _, rec := range receipts {
		if _, err := rec.Wait(t.Context()); !errors.Is(err, series.ErrUnavailable) {
			t.Fatalf("receipt of a broken link: %v", err)
		}
	}
	w.stop()
	began := time.Now()
	if _, err := w.pool.Dial(t.Context(), w.owner); !errors.Is(err, series.ErrUnavailable) {
		t.Fatalf("dial a dead owner: %v", err)
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("dialling a dead owner took %v", d)
	}
	serve(t, &recorder{}, w.owner.Address, nil)
	if err := push(t, w.redial(t), "again"); err != nil {
		t.Fatal(err)
	}
}

// redial dials until the owner is there.
func (w *world) redial(t testing.TB) Link {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		l, err := w.pool.Dial(t.Context(), w.owner)
		if err == nil {
			t.Cleanup(l.Close)
			return l
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// An owner that is too slow loses its link, not its sender's memory.
func TestOverflow(t *testing.T) {
	r := &recorder{hold: make(chan struct{})}
	defer close(r.hold)
	w := newWorld(t, r)
	l := w.dial(t)
	batch := make([]byte, 8<<20)
	var err error
	for i := 0; err == nil; i++ {
		if i > maxUnackedBytes/len(batch) {
			t.Fatal("no overflow")
		}
		_, err = l.Push(batch, kept)
	}
	if !errors.Is(err, errOverflow) || !errors.Is(err, series.ErrUnavailable) {
		t.Fatal(err)
	}
	within(t, time.Second, l.Broken(), "break")
	if _, err := l.Push(make([]byte, MaxBatch+1), kept); !errors.Is(err, series.ErrLimited) {
		t.Errorf("batch beyond the limit: %v", err)
	}
}

// A batch of the greatest size goes through.
func TestLargestBatch(t *testing.T) {
	if testing.Short() {
		t.Skip("uses memory")
	}
	w := newWorld(t, &recorder{})
	if err := push(t, w.dial(t), string(make([]byte, MaxBatch))); err != nil {
		t.Fatal(err)
	}
}

// A frozen peer takes connections and bytes, and never answers: here a proxy that stops copying.
func TestFrozenOwner(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	address, _ := serve(t, r, "127.0.0.1:0", nil)
	proxy := newProxy(t, address)
	owner := ring.Owner{Instance: "ingester-0", Address: proxy.address}
	w := &world{recorder: r, pool: newPool(t, owner, PoolConfig{}), owner: owner}
	l := w.dial(t)
	if err := push(t, l, "before"); err != nil {
		t.Fatal(err)
	}
	reads, _ := w.pool.Reads(owner)
	proxy.freeze()
	rec, err := l.Push([]byte("after"), kept)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	failed := make(chan error, 1)
	go func() {
		_, _, err := reads.LabelNames(t.Context(), series.Query{Tenant: someTenant(t)})
		failed <- err
	}()
	within(t, probeEvery+probeTimeout+2*time.Second, l.Broken(), "break")
	if _, err := rec.Wait(t.Context()); !errors.Is(err, series.ErrUnavailable) {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("read: %v", err)
	}
	t.Logf("noticed after %v", time.Since(began))
	if _, err := w.pool.Dial(t.Context(), owner); err == nil {
		t.Error("a frozen owner opened a link")
	}
	proxy.thaw()
	l = w.redial(t)
	if err := push(t, l, "thawed"); err != nil {
		t.Error(err)
	}
}

// Another process at the address, or a caller from another cluster, is refused.
func TestMeantForAnother(t *testing.T) {
	address, _ := serve(t, &recorder{}, "127.0.0.1:0", nil)
	for _, c := range []struct{ cluster, instance string }{{"test", "ingester-1"}, {"other", "ingester-0"}} {
		owner := ring.Owner{Instance: c.instance, Address: address}
		p := newPool(t, owner, PoolConfig{Cluster: c.cluster})
		if _, err := p.Dial(t.Context(), owner); !errors.Is(err, series.ErrUnavailable) {
			t.Errorf("%+v: dial: %v", c, err)
		}
		reads, err := p.Reads(owner)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := reads.LabelNames(t.Context(), series.Query{Tenant: someTenant(t)}); !errors.Is(err, series.ErrUnavailable) {
			t.Errorf("%+v: read: %v", c, err)
		}
	}
}

func TestLocal(t *testing.T) {
	r := &recorder{standing: series.Standing{CompleteSince: 5}}
	owner := ring.Owner{Instance: "all"}
	p := newPool(t, owner, PoolConfig{Local: r})
	l, err := p.Dial(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	if err := push(t, l, "batch"); err != nil {
		t.Error(err)
	}
	l.Close()
	within(t, time.Second, l.Broken(), "close")
	if s, err := p.Standing(t.Context(), owner); err != nil || s.CompleteSince != 5 {
		t.Error(s, err)
	}
	if _, err := newPool(t, owner, PoolConfig{}).Dial(t.Context(), owner); !errors.Is(err, series.ErrUnavailable) {
		t.Error(err)
	}
}

func someTenant(t testing.TB) tenant.ID {
	t.Helper()
	id, err := tenant.Parse("team-a")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func someSeries(t testing.TB, n int) []series.Chunked {
	t.Helper()
	var all []series.Chunked
	for i := range n {
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		if err != nil {
			t.Fatal(err)
		}
		for j := range 120 {
			app.Append(0, int64(i*1000+j*15), float64(j)*1.1)
		}
		all = append(all, series.Chunked{
			Labels: labels.FromStrings("__name__", "m", "i", fmt.Sprintf("%07d", i)),
			Chunks: []chunks.Meta{
				{MinTime: int64(i * 1000), MaxTime: int64(i*1000 + 119*15), Chunk: c},
				{MinTime: math.MinInt64, MaxTime: math.MaxInt64, Chunk: c},
			},
		})
	}
	return all
}

func TestReads(t *testing.T) {
	standing := series.Standing{CompleteSince: -3, ShippedBefore: 77, Released: []ulid.ULID{ulid.Make(), ulid.Make()}, Held: []ulid.ULID{ulid.Make()}, Partitions: []int32{0, 4, math.MaxInt32}}
	r := &recorder{standing: standing, series: someSeries(t, 5000)}
	w := newWorld(t, r)
	reads, err := w.pool.Reads(w.owner)
	if err != nil {
		t.Fatal(err)
	}
	q := series.Query{
		Tenant: someTenant(t), MinTime: -5, MaxTime: 9, Limit: 3, SkipChunks: true,
		Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "job", "a|b"), labels.MustNewMatcher(labels.MatchNotEqual, "x", "")},
	}
	set, got, err := reads.Select(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; set.Next(); n++ {
		want, have := r.series[n], set.At()
		if !labels.Equal(want.Labels, have.Labels) || len(have.Chunks) != 2 {
			t.Fatalf("series %d: %v, want %v", n, have, want)
		}
		for i, c := range have.Chunks {
			o := want.Chunks[i]
			if c.MinTime != o.MinTime || c.MaxTime != o.MaxTime || string(c.Chunk.Bytes()) != string(o.Chunk.Bytes()) {
				t.Fatalf("series %d, chunk %d differs", n, i)
			}
		}
	}
	if err := errors.Join(set.Err(), set.Close()); err != nil || n != len(r.series) {
		t.Errorf("%d series, %v", n, err)
	}
	check(t, "standing of select", got, standing, nil)
	if have := r.queries[0]; have.Tenant != q.Tenant || have.MinTime != -5 || have.MaxTime != 9 || have.Limit != 3 || !have.SkipChunks || fmt.Sprint(have.Matchers) != fmt.Sprint(q.Matchers) {
		t.Errorf("query arrived as %+v", have)
	}
	names, got, err := reads.LabelNames(t.Context(), q)
	check(t, "names", names, []string{"__name__", "job"}, err)
	check(t, "standing of names", got, standing, nil)
	values, _, err := reads.LabelValues(t.Context(), "pod", series.Query{Tenant: q.Tenant, Limit: 1})
	if err != nil || len(values) != 100_000 || values[99_999] != "pod-099999" {
		t.Errorf("%d values, %v", len(values), err)
	}
	if _, _, err := reads.LabelValues(t.Context(), "pod", q); !errors.Is(err, series.ErrLimited) {
		t.Errorf("limit: %v", err)
	}
	ex, _, err := reads.Exemplars(t.Context(), q, [][]*labels.Matcher{q.Matchers, {labels.MustNewMatcher(labels.MatchEqual, "a", "b")}})
	if err != nil || len(ex) != 1 || ex[0].Labels.Get("matcher") != `a="b"` || ex[0].Labels.Get("groups") != "2" || ex[0].Exemplars[0].Ts != -7 || ex[0].Exemplars[0].Value != 1.5 {
		t.Errorf("exemplars %v, %v", ex, err)
	}
	md, _, err := reads.Metadata(t.Context(), q.Tenant)
	check(t, "metadata", md, []series.Metadata{{Family: "up", Metadata: metadata.Metadata{Type: "gauge", Help: "is up"}}}, err)
	s, err := w.pool.Standing(t.Context(), w.owner)
	check(t, "standing", s, standing, err)
	all := Peers{Pool: w.pool, Ring: oneRing{w.owner}, Instance: "ingester-9"}.Standings(t.Context())
	check(t, "peers", all, []series.Standing{standing}, nil)
	if all := (Peers{Pool: w.pool, Ring: oneRing{w.owner}, Instance: "ingester-0"}).Standings(t.Context()); len(all) != 0 {
		t.Errorf("an owner is its own peer: %v", all)
	}
	if _, _, err := reads.Select(t.Context(), series.Query{Tenant: q.Tenant, Limit: 13}); !errors.Is(err, series.ErrNotFound) {
		t.Errorf("not found: %v", err)
	}
}

func check[T any](t *testing.T, what string, got, want T, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// An answer that breaks off is an error, however it does.
func TestBrokenAnswers(t *testing.T) {
	t.Parallel()
	r := &recorder{series: someSeries(t, 50_000)}
	w := newWorld(t, r)
	reads, err := w.pool.Reads(w.owner)
	if err != nil {
		t.Fatal(err)
	}
	q := series.Query{Tenant: someTenant(t)}
	t.Run("ingester fails", func(t *testing.T) {
		r.limit = fmt.Errorf("%w: block has gone", series.ErrUnavailable)
		defer func() { r.limit = nil }()
		set, _, err := reads.Select(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for set.Next() {
		}
		if !errors.Is(set.Err(), series.ErrUnavailable) {
			t.Error(set.Err())
		}
		set.Close()
	})
	t.Run("caller gives up", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		set, _, err := reads.Select(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		set.Next()
		gaveUp := errors.New("gave up")
		cancel(gaveUp)
		for set.Next() {
		}
		if !errors.Is(set.Err(), gaveUp) {
			t.Error(set.Err())
		}
		set.Close()
	})
	t.Run("server stops", func(t *testing.T) {
		set, _, err := reads.Select(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		set.Next()
		w.stop() // the reader doesn't read, so it waits as long as it ever does
		n := 1
		for set.Next() {
			n++
		}
		if err := set.Err(); err == nil || n >= len(r.series) {
			t.Errorf("%d series, error %v", n, err)
		}
		set.Close()
	})
	if r.closed != len(r.queries) {
		t.Errorf("%d of %d sets closed", r.closed, len(r.queries))
	}
}

// proxy forwards one address to another, until it is told to stop copying.
type proxy struct {
	address string
	mu      sync.Mutex
	frozen  chan struct{} // closed while it runs
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: l.Addr().String(), frozen: make(chan struct{})}
	close(p.frozen)
	var conns sync.WaitGroup
	var open []net.Conn
	conns.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			open = append(open, in, out)
			p.mu.Unlock()
			conns.Go(func() { p.copy(in, out) })
			conns.Go(func() { p.copy(out, in) })
		}
	})
	t.Cleanup(func() {
		p.thaw()
		l.Close()
		p.mu.Lock()
		for _, c := range open {
			c.Close()
		}
		p.mu.Unlock()
		conns.Wait()
	})
	return p
}

func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		frozen := p.frozen
		p.mu.Unlock()
		<-frozen
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = make(chan struct{})
}

func (p *proxy) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.frozen:
	default:
		close(p.frozen)
	}
}

// Whatever a peer sends is refused without a panic.
func FuzzRequest(f *testing.F) {
	id, _ := tenant.Parse("a")
	m := []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "a", "b.*")}
	for v := selectSeries; v <= standing; v++ {
		r := request{verb: v, query: series.Query{Tenant: id, MinTime: -1, MaxTime: 1 << 40, Limit: 9, Matchers: m}, name: "n", groups: [][]*labels.Matcher{m, nil}}
		f.Add(r.appendTo(nil))
	}
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := parseRequest(p)
		if err != nil {
			return
		}
		again, err := parseRequest(r.appendTo(nil))
		if err != nil || string(again.appendTo(nil)) != string(r.appendTo(nil)) {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

func FuzzRecords(f *testing.F) {
	for _, s := range someSeries(f, 2) {
		f.Add(appendSeries(nil, s))
	}
	f.Add(appendExemplars(nil, series.Exemplars{Labels: labels.FromStrings("a", "b"), Exemplars: []exemplar.Exemplar{{Value: math.NaN()}}}))
	f.Add(appendFamily(nil, series.Metadata{Family: "f"}))
	f.Add(appendStanding(nil, series.Standing{Released: []ulid.ULID{{1}}, Held: []ulid.ULID{{2}}, Partitions: []int32{1}}))
	f.Add((&acked{number: 1, code: 3, text: "no"}).appendTo(nil))
	f.Add(binary.AppendUvarint(nil, math.MaxUint64))
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, parse := range []func(*decoder){
			func(d *decoder) {
				for _, c := range d.series().Chunks {
					_ = c.Chunk.NumSamples()
				}
			},
			func(d *decoder) { d.exemplars() },
			func(d *decoder) { d.family() },
			func(d *decoder) { d.standing() },
		} {
			parse(&decoder{p: p})
		}
		parseAck(p)
		parseBatch(p)
	})
}
