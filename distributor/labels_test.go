package distributor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// told is what an owner was told of a stream's numbers.
type told struct {
	series map[series.Number]string
	labels [series.LabelsKept]struct {
		number series.LabelNumber
		label  labels.Label
	}
	texts   int // labels that came
	written int // series that came as texts
}

// read takes in what a batch says of numbers, and tells which series it defines. It knows no more labels than an owner keeps.
func (t *told) read(b *series.Batch) (defined []series.Number, err error) {
	err = b.Labels(func(k series.LabelNumber, l labels.Label) error {
		at := &t.labels[k%series.LabelsKept]
		l.Name, l.Value = strings.Clone(l.Name), strings.Clone(l.Value)
		if at.label.Name != "" && (at.number > k || at.number == k && at.label != l) {
			return fmt.Errorf("label %d is said to be %v, where %d was %v", k, l, at.number, at.label)
		}
		at.number, at.label = k, l
		t.texts++
		return nil
	})
	if err != nil {
		return nil, err
	}
	var all series.Definitions
	if err := b.Definitions(&all); err != nil {
		return nil, err
	}
	t.written += len(all.Numbers)
	err = b.Numbered(&all, func(k series.LabelNumber) (uint32, error) {
		at := t.labels[k%series.LabelsKept]
		if at.number != k || at.label.Name == "" {
			return 0, fmt.Errorf("%w: label %d, where %d is", series.ErrUnknownNumber, k, at.number)
		}
		all.Pairs = append(all.Pairs, at.label)
		return uint32(len(all.Pairs) - 1), nil
	})
	if err != nil {
		return nil, err
	}
	for i, n := range all.Numbers {
		var ls []labels.Label
		for _, place := range all.Labels(i) {
			ls = append(ls, all.Pairs[place])
		}
		s := labels.New(ls...).String()
		if was := t.series[n]; was != "" && was != s {
			return nil, fmt.Errorf("number %d was %s and is now %s", n, was, s)
		}
		t.series[n] = s
	}
	return all.Numbers, nil
}

// told is what all owners were told of the stream as it is now: the labels and series that came as texts.
func (y *yard) told(name string) (texts, written int) {
	k := y.keepers[name]
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, t := range k.known {
		if id.Generation == y.streams[0].currentGeneration() {
			texts, written = texts+t.texts, written+t.written
		}
	}
	return texts, written
}

func TestLabelsGoOutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 3, "a", "b", "c")
		synctest.Wait()
		check := func(when string, want int) {
			t.Helper()
			for name := range y.keepers {
				if texts, written := y.told(name); texts != want || written > 0 {
					t.Errorf("%s: %s got %d labels, %d series as texts; want %d, 0", when, name, texts, written, want)
				}
			}
		}
		y.mustPush(time.Now(), 1, "u", "v")
		check("two series of a job", 3)
		y.mustPush(time.Now(), 1, "w")
		check("one more", 4)
		y.mustPush(time.Now(), 1, "u", "v", "w")
		check("known ones", 4)
		y.keepers.bounce("b")
		time.Sleep(time.Second)
		synctest.Wait()
		y.mustPush(time.Now(), 1, "w", "v")
		check("after b came back", 3)
		time.Sleep(10 * time.Minute) // the labels are forgotten, and their numbers are not given again
		synctest.Wait()
		if y.streams[0].labels.sets != nil {
			t.Error("the labels are kept for nothing")
		}
		y.mustPush(time.Now(), 1, "x")
		check("after a rest", 5)
		y.sound()
	})
}

// Labels that some owner did not take go out again, until all have them.
func TestLabelsThatWereRefusedGoOutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 3, "a", "b", "c")
		synctest.Wait()
		y.keepers["c"].full = true
		y.mustPush(time.Now(), 1, "u")
		y.keepers["c"].full = false
		for n, name := range []string{"v", "w", "x"} {
			y.mustPush(time.Now(), 1, name)
			a, _ := y.told("a")
			c, _ := y.told("c")
			if a != 4+n || c != 2+n {
				t.Errorf("%s: a got %d labels, c %d, want %d and %d", name, a, c, 4+n, 2+n)
			}
		}
		y.sound()
	})
}

// A request that is built again must not rely on what it said in vain.
func TestLabelsOfWhatWasThrownAwayAreSaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		synctest.Wait()
		r := newRequest(y.Distributor)
		r.sitDown()
		r.sender = y.sender(tenant.Anonymous)
		r.holder = r.sender
		if err := r.decoder.Reset(remote.WriteV1, bodyOf(t, time.Now(), 1, "u", "v")); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := r.build(); err != nil {
				t.Fatal(err)
			}
			r.decoder.Rewind()
		}
		if err := errors.Join(r.build(), r.send()); err != nil {
			t.Fatal(err)
		}
		r.release()
		if texts, _ := y.told("a"); texts != 3 {
			t.Errorf("%d labels went out, want 3", texts)
		}
		y.sound()
	})
}

// twoBatches is a request with a sample of u, as many of many as a batch has, and one of v: so u is defined in one batch, v in another, and
// many in both.
func twoBatches(t *testing.T) []byte {
	now := time.Now().UnixMilli()
	w := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{
		{Labels: []prompb.Label{{Name: "__name__", Value: "u"}, {Name: "job", Value: "test"}}, Samples: []prompb.Sample{{Timestamp: now}}},
		{Labels: []prompb.Label{{Name: "__name__", Value: "many"}, {Name: "job", Value: "test"}}},
		{Labels: []prompb.Label{{Name: "__name__", Value: "v"}, {Name: "job", Value: "test"}}, Samples: []prompb.Sample{{Timestamp: now}}},
	}}
	for n := range 450_000 {
		w.Timeseries[1].Samples = append(w.Timeseries[1].Samples, prompb.Sample{Timestamp: now - int64(n), Value: 1})
	}
	raw, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Each batch of a request says what it needs, whatever becomes of the others.
func TestLabelsOfSeveralBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw := twoBatches(t)
		for refused := 1; refused <= 2; refused++ {
			y, s := newScale(t)
			for n, want := range []int{3, 1, 0} { // labels that come as texts when a batch is refused, then none
				s.batches, s.refuse, s.told.texts = 0, []int{refused, 0, 0}[n], 0
				_, err := newRequest(y.Distributor).push(t.Context(), tenant.Anonymous, remote.WriteV1, raw)
				if n == 0 && !errors.Is(err, ErrUnavailable) || n > 0 && err != nil {
					t.Fatal(err)
				}
				if s.batches != 2 || s.told.texts != want {
					t.Errorf("push %d after batch %d was refused: %d batches, %d labels as texts, want 2 and %d", n, refused, s.batches, s.told.texts, want)
				}
			}
			if len(s.problems) > 0 {
				t.Error(s.problems[0])
			}
		}
	})
}

// meddler is an owner to whom something happens with each batch.
type meddler struct {
	*scale
	happens func()
}

func (m meddler) Dial(context.Context, ring.Owner) (Owner, error) { return m, nil }

func (m meddler) Push(p []byte, free func()) (series.Receipt, error) {
	r, err := m.scale.Push(p, free)
	m.happens()
	return r, err
}

// Where so many labels were new that owners have forgotten those of a request, it is built again, with texts.
func TestLateBatchesAreWrittenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y, s := newScale(t)
		y.streams[0].close()
		st := newStream(0, meddler{s, func() { y.streams[0].labels.next.Add(series.LabelsKept) }}, y.versions)
		y.streams[0] = st
		st.follow(owners("a"))
		synctest.Wait()
		raw := twoBatches(t)
		r := newRequest(y.Distributor)
		for range 2 { // the second time it is a request as all others
			if got, err := r.push(t.Context(), tenant.Anonymous, remote.WriteV1, raw); err != nil || got.Floats != 450_002 {
				t.Fatalf("%+v %v", got, err)
			}
		}
		if len(s.problems) > 0 {
			t.Error(s.problems[0])
		}
		if s.told.texts != 3 || s.told.written != 1 {
			t.Errorf("%d labels, %d series as texts, want those of u and many, and v", s.told.texts, s.told.written)
		}
		if _, _, err := st.push(st.currentGeneration(), 0, letterOf("late")); !errors.Is(err, errLate) || !errors.Is(err, errStale) {
			t.Errorf("a batch that needs label 0: %v", err)
		}
	})
}

// listener is an owner that takes what it is told in, in the order in which it comes, and refuses some of it.
type listener struct {
	mu       sync.Mutex
	known    map[uint32]*told // by generation
	taken    int
	problems []error
	broken   chan struct{}
}

func (l *listener) Dial(context.Context, ring.Owner) (Owner, error) { return l, nil }
func (l *listener) Broken() <-chan struct{}                         { return l.broken }
func (l *listener) Close()                                          {}

func (l *listener) Push(p []byte, free func()) (series.Receipt, error) {
	defer free()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taken++; l.taken%17 == 0 {
		return nil, errors.New("full")
	}
	b, err := series.ParseBatch(p)
	if err == nil {
		t := l.known[b.Stream.Generation]
		if t == nil {
			t = &told{series: map[series.Number]string{}}
			l.known[b.Stream.Generation] = t
		}
		_, err = t.read(&b)
	}
	if err != nil {
		l.problems = append(l.problems, err)
	}
	return settled{}, nil
}

// Whoever builds batches at once, with many new labels: every owner knows each series, whatever it was not told.
func TestLabelsWhileAllMoves(t *testing.T) {
	l := &listener{known: map[uint32]*told{}, broken: make(chan struct{})}
	s := newStream(0, l, newVersions())
	defer s.close()
	s.follow(owners("a"))
	for s.joined() == 0 {
		runtime.Gosched()
	}
	const builders, rounds, each = 8, 120, 60
	var meant sync.Map // series by generation and number
	var made, late, written atomic.Int64
	var all sync.WaitGroup
	for builder := range builders {
		all.Go(func() {
			random, b := rand.New(rand.NewPCG(1, uint64(builder))), &draft{}
			for round := range rounds {
				generation, _, d := s.current()
				b.begin(series.StreamID{Generation: generation}, tenant.Anonymous)
				for range 1 + random.IntN(3) { // batches
					first := len(b.texts)
					for i := range each {
						ls := []labels.Label{
							{Name: "__name__", Value: fmt.Sprint("m", random.IntN(500))}, {Name: "job", Value: fmt.Sprint("job", random.IntN(20))},
							{Name: "pod", Value: fmt.Sprint("pod", builder, round, i/2)}, {Name: "uid", Value: fmt.Sprint(made.Add(1))},
						}
						n, of := s.number()
						meant.Store([2]uint32{of, uint32(n)}, labels.New(ls...).String())
						if of != generation {
							continue
						}
						if d.define(b, n, ls) == 0 {
							b.DefineLabels(n, ls)
							written.Add(1)
						}
					}
					_, whole, err := s.push(generation, b.oldest, letterOf(string(b.AppendTo(nil))))
					if late.Add(int64(btoi(errors.Is(err, errLate)))); err != nil && !errors.Is(err, errStale) {
						t.Error(err)
					}
					if whole {
						d.setKnown(b.texts[first:])
					}
					b.turn(b.Stream(), b.Tenant())
				}
				if builder == 0 && round%40 == 39 {
					renumber(s)
				}
			}
		})
	}
	all.Wait()
	count, labels := 0, 0
	for generation, told := range l.known {
		for n, got := range told.series {
			if want, _ := meant.Load([2]uint32{generation, uint32(n)}); got != want {
				t.Fatalf("series %d of generation %d is %s, want %v", n, generation, got, want)
			}
		}
		count, labels = count+len(told.series), labels+told.texts
	}
	t.Logf("%d series, %d labels with %d texts, %d batches were late, %d series were written out", count, 4*count, labels, late.Load(), written.Load())
	if len(l.problems) > 0 {
		t.Errorf("%d problems, the first: %v", len(l.problems), l.problems[0])
	}
	if labels < 3*series.LabelsKept || labels > 3*count || count < builders*rounds*each {
		t.Errorf("%d series, %d texts", count, labels)
	}
}

// defined tells an owner of series in one batch. The result is how many labels came as texts.
func (owner *told) defined(t *testing.T, d *dictionary, b *draft, all [][]labels.Label) int {
	t.Helper()
	owner.series, owner.texts = map[series.Number]string{}, 0
	b.begin(series.StreamID{}, tenant.Anonymous)
	for n, ls := range all {
		before := b.Size()
		if size := d.define(b, series.Number(n), ls); b.Size()-before > size {
			t.Fatalf("%v takes %d bytes, at most %d were said", ls, b.Size()-before, size)
		}
	}
	batch, err := series.ParseBatch(b.AppendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.read(&batch); err != nil {
		t.Fatal(err)
	}
	for n, ls := range all {
		if got, want := owner.series[series.Number(n)], labels.New(ls...).String(); got != want {
			t.Fatalf("series %d is %s, want %s", n, got, want)
		}
	}
	return owner.texts
}

func TestLabelsThatShareAPlace(t *testing.T) {
	if size := unsafe.Sizeof(labelSet{}); size != 64 {
		t.Errorf("a set has %d bytes: it is not one line of a cache", size)
	}
	d, b := newDictionary(), &draft{}
	var all [][]labels.Label
	for n := 0; len(all) < 20; n++ {
		if l := (labels.Label{Name: "n", Value: fmt.Sprint(n)}); d.hashOf(&l).set() == 7 {
			all = append(all, []labels.Label{{Name: "a", Value: "b"}, l})
		}
	}
	all = append(append(all, all...), all...)
	if n := new(told).defined(t, d, b, all); n != 61 {
		t.Errorf("%d texts, want a's, and one for each series: they drive each other out", n)
	}
}

func TestLabelsAreTheirs(t *testing.T) {
	d, b := newDictionary(), &draft{}
	l := func(nv ...string) (ls []labels.Label) {
		for i := 0; i < len(nv); i += 2 {
			ls = append(ls, labels.Label{Name: nv[i], Value: nv[i+1]})
		}
		return ls
	}
	owner := &told{}
	longest := strings.Repeat("x", longLabel-1)
	all := [][]labels.Label{
		l("a", "bc"), l("ab", "c"), l("xb", "c"), l("ab", "c", "b", "c"), l("abc", "x"), l("a", "bc", "ab", "c"), l("a", "b", "ab", "bc", "b", "bc"),
		l("a", "ab", "ab", "a"), l("b", "c"), l("ab", "c", "b", "c"), l("a", longest), l("a", longest, "b", longest[1:]),
	}
	for range 2 {
		if n := owner.defined(t, d, b, all); n != 12 {
			t.Errorf("%d texts, want 12", n)
		}
	}
	d.setKnown(b.texts)
	if n := owner.defined(t, d, b, all); n != 0 {
		t.Errorf("%d texts of labels that are known", n)
	}
	for n := range series.LabelsKept / newAtMost {
		var more [][]labels.Label
		for i := range newAtMost {
			more = append(more, l("n", fmt.Sprint(n, i)))
		}
		owner.defined(t, d, b, more)
		d.setKnown(b.texts)
	}
	if n := owner.defined(t, d, b, all); n != 12 {
		t.Errorf("%d texts of labels that no owner has any more, want 12", n)
	}
}

// All of a hash is of the label, even where name and value are the same: its halves are not (with a chance of 2^-32).
func TestHashesOfLabelsLikeTheirNames(t *testing.T) {
	h := newDictionary().hashOf(&labels.Label{Name: "pod", Value: "pod"})
	if upper := uint32(h.hash >> 32); upper == uint32(h.hash) {
		t.Errorf("both halves are %#x", upper)
	}
}

func TestLabelsThatGetNoNumbers(t *testing.T) {
	d, b := newDictionary(), &draft{}
	b.begin(series.StreamID{}, tenant.Anonymous)
	series1 := func(name, value string) int {
		return d.define(b, 1, []labels.Label{{Name: "__name__", Value: "m"}, {Name: name, Value: value}})
	}
	if n := series1("a", strings.Repeat("x", longLabel)); n != 0 || !b.Empty() {
		t.Errorf("a label of more than %d bytes takes %d", longLabel, n)
	}
	d.next.Store(math.MaxUint32 / 2)
	if n := series1("a", "b"); n != 0 || !b.Empty() || !d.spent() {
		t.Errorf("without numbers it takes %d bytes", n)
	}
	d.next.Store(5)
	for n := range newAtMost - 1 {
		if series1("a", fmt.Sprint(n)) == 0 {
			t.Fatalf("the %dth label gets no number", n)
		}
	}
	size := b.Size()
	if n := series1("a", "more"); n != 0 || b.Size() != size {
		t.Error("a request gets numbers without end")
	}
	b.turn(b.Stream(), b.Tenant())
	if series1("a", "1") != 0 {
		t.Error("another batch of the request gets numbers")
	}
	b.begin(b.Stream(), b.Tenant())
	if series1("a", "more") == 0 {
		t.Error("the next request gets none")
	}
}

// Before the numbers of labels end, the stream begins anew.
func TestNumbersOfLabelsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 1, "a")
		synctest.Wait()
		y.mustPush(time.Now(), 1, "u")
		before := y.streams[0].currentGeneration()
		y.streams[0].labels.next.Store(math.MaxUint32/2 - 1)
		for _, name := range []string{"v", "w", "x"} {
			y.mustPush(time.Now(), 1, name, "u")
		}
		if g := y.streams[0].currentGeneration(); g != before+1 {
			t.Errorf("generation %d, want %d", g, before+1)
		}
		if texts, _ := y.told("a"); texts != 4 {
			t.Errorf("%d texts in the new generation, want those of w, u, x", texts)
		}
		y.sound()
	})
}

// BenchmarkDefine is what it takes to say which series numbers stand for: the 50 of a new pod, with ten labels, in each batch.
func BenchmarkDefine(b *testing.B) {
	const batches, each = 2000, 50
	all := make([][]labels.Label, batches*each)
	for n := range all {
		podLabels(n).Range(func(l labels.Label) { all[n] = append(all[n], l) })
	}
	for _, numbered := range []bool{false, true} {
		b.Run(map[bool]string{false: "texts", true: "numbers"}[numbered], func(b *testing.B) {
			d, of := newDictionary(), &draft{}
			took, n, bytes := time.Duration(0), 0, 0
			for b.Loop() {
				some := all[n%batches*each:][:each]
				n++
				of.begin(series.StreamID{}, tenant.Anonymous)
				begun := cpuTime(b)
				for i, ls := range some {
					if !numbered || d.define(of, series.Number(i), ls) == 0 {
						of.DefineLabels(series.Number(i), ls)
					}
				}
				took += cpuTime(b) - begun
				bytes += of.Size()
				d.setKnown(of.texts)
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(n)/each/10, "ns/label")
			b.ReportMetric(float64(bytes)/float64(n)/each, "B/series")
			b.ReportMetric(0, "ns/op")
		})
	}
}
