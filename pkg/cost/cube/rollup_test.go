package cube

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/money"
)

const dayMillis = 24 * hourMillis

// randomQuantity is often beyond 64 bits.
func randomQuantity(r *rand.Rand) money.Quantity {
	return []money.Quantity{{}, {}, {Lo: r.Uint64N(1 << 50)}, {Lo: 1 << 63}, {Hi: r.Uint64N(3), Lo: r.Uint64()}}[r.IntN(5)]
}

func randomDay(t testing.TB, r *rand.Rand, names *cost.Names, from int64) *cost.Ledger {
	t.Helper()
	l := &cost.Ledger{From: from, To: from + dayMillis, Names: names}
	for range r.IntN(60) {
		i := cost.Item{Kind: cost.Kind(r.IntN(7))}
		var s cost.Subject
		var p cost.Place
		fill(r, reflect.ValueOf(&s).Elem())
		fill(r, reflect.ValueOf(&p).Elem())
		p.Size = cost.Size{CPU: r.Int64N(9), RAM: r.Int64N(9), GPU: r.Int64N(2)}
		i.Subject, i.Place = names.Subject(s), names.Place(p)
		for _, q := range itemQuantities(&i) {
			*q = randomQuantity(r)
		}
		i.Alive, i.CPUKnown, i.RAMKnown, i.GPUKnown = r.Int64N(9), r.Int64N(9), r.Int64N(9), r.Int64N(9)
		l.Items = append(l.Items, i)
		a := cost.AssetItem{Subject: i.Subject, Place: i.Place, Up: r.Int64N(9), Blind: r.Int64N(9)}
		for _, q := range billQuantities(&a) {
			*q = randomQuantity(r)
		}
		l.Assets = append(l.Assets, a)
		l.Warnings = append(l.Warnings, cost.Warning{Name: fmt.Sprint(r.IntN(5)), Count: 1})
		l.Scalings = append(l.Scalings, cost.Scaling{Cluster: fmt.Sprint(r.IntN(5)), At: from, Before: r.Int64N(5), After: 1})
		var scaler cost.Autoscaler
		fill(r, reflect.ValueOf(&scaler).Elem())
		l.Scalers = append(l.Scalers, scaler)
		var n cost.NodeLife
		fill(r, reflect.ValueOf(&n).Elem())
		n.From = from + r.Int64N(dayMillis/2)
		n.To = n.From + 1 + r.Int64N(dayMillis/2)
		l.Lives = append(l.Lives, n)
	}
	sum, err := cost.RollUp(l.From, l.To, l)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// named is a ledger without numbers.
type named struct {
	From, To int64
	Items    []namedItem
	Assets   []namedAsset
	Lives    []cost.NodeLife
	Scalings []cost.Scaling
	Scalers  []cost.Autoscaler
	Warnings []cost.Warning
}

type namedItem struct {
	Subject cost.Subject
	Place   cost.Place
	Item    cost.Item
}

type namedAsset struct {
	Subject cost.Subject
	Place   cost.Place
	Item    cost.AssetItem
}

func withNames(l *cost.Ledger) named {
	n := named{From: l.From, To: l.To, Lives: append([]cost.NodeLife{}, l.Lives...), Scalings: append([]cost.Scaling{}, l.Scalings...), Scalers: append([]cost.Autoscaler{}, l.Scalers...), Warnings: append([]cost.Warning{}, l.Warnings...)}
	for _, i := range l.Items {
		s, p := *l.Names.SubjectOf(i.Subject), *l.Names.PlaceOf(i.Place)
		i.Subject, i.Place = 0, 0
		n.Items = append(n.Items, namedItem{s, p, i})
	}
	for _, a := range l.Assets {
		s, p := *l.Names.SubjectOf(a.Subject), *l.Names.PlaceOf(a.Place)
		a.Subject, a.Place = 0, 0
		n.Assets = append(n.Assets, namedAsset{s, p, a})
	}
	return n
}

func writeRollUp(t testing.TB, old Files, ledgers ...*cost.Ledger) Files {
	t.Helper()
	files := Files{}
	for _, table := range RollUpTables() {
		var out bytes.Buffer
		if err := WriteRollUp(t.Context(), &out, table, old[table], ledgers); err != nil {
			t.Fatal(err)
		}
		files[table] = &memory{data: out.Bytes()}
	}
	return files
}

// A roll-up that is read again has every item and asset of the one that was written, to the last unit and in its order.
func TestRollUpRoundTrip(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 4))
		names := cost.NewNames()
		var ledgers []*cost.Ledger
		var want, got []named
		for day := range r.Int64N(5) + 1 {
			l := randomDay(t, r, names, day*dayMillis)
			ledgers = append(ledgers, l)
			want = append(want, withNames(l))
		}
		files := writeRollUp(t, nil, ledgers...)
		for l, err := range RollUps(t.Context(), files, nil, cost.NewNames()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, withNames(l))
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
		again := writeRollUp(t, writeRollUp(t, nil, ledgers[len(ledgers)-1]), ledgers[:len(ledgers)-1]...)
		for _, table := range RollUpTables() {
			if !bytes.Equal(files[table].(*memory).data, again[table].(*memory).data) {
				t.Errorf("table %s: other bytes", table)
			}
		}
	}
}

func TestOverlappingPeriodsAreRefused(t *testing.T) {
	names := cost.NewNames()
	a, b := &cost.Ledger{From: 0, To: dayMillis, Names: names}, &cost.Ledger{From: hourMillis, To: dayMillis, Names: names}
	if err := WriteRollUp(t.Context(), &bytes.Buffer{}, Items, nil, []*cost.Ledger{a, b}); err == nil {
		t.Error("they were written")
	}
	if err := WriteRollUp(t.Context(), &bytes.Buffer{}, Items, nil, []*cost.Ledger{a, a}); err == nil {
		t.Error("one was written twice")
	}
}

// yearOfDays is the roll-ups of n workloads over a year, by month.
func yearOfDays(b *testing.B, n int) []Files {
	r := rand.New(rand.NewPCG(5, 5))
	names := cost.NewNames()
	var items []cost.Item
	for i := range n {
		s := cost.Subject{Container: "app", Owner: cost.Owner{
			Cluster: fmt.Sprintf("cluster-%d", i%5), Namespace: fmt.Sprintf("team-%03d", i%300), QoS: "Burstable",
			Controller: cost.Controller{Kind: "Deployment", Name: fmt.Sprintf("service-%05d", i)},
			Labels:     cost.Labels{{Name: "app", Value: fmt.Sprintf("service-%05d", i)}, {Name: "team", Value: fmt.Sprintf("team-%03d", i%300)}},
		}}
		p := cost.Place{Class: cost.Class{
			Kind: cost.NodeClass, Cluster: s.Cluster, Type: fmt.Sprintf("m5.%dxlarge", 1<<(i%4)), Region: "eu-west-1", Zone: fmt.Sprintf("eu-west-1%c", 'a'+i%3),
			Size: cost.Size{CPU: int64(4000 << (i % 4)), RAM: int64(16<<30) << (i % 4)}, Labels: cost.Labels{{Name: "pool", Value: "general"}},
		}}
		items = append(items, cost.Item{Subject: names.Subject(s), Place: names.Place(p)})
	}
	var months []Files
	for month := range int64(12) {
		var days []*cost.Ledger
		for day := month * 365 / 12; day < (month+1)*365/12; day++ {
			l := &cost.Ledger{From: day * dayMillis, To: (day + 1) * dayMillis, Names: names}
			for _, i := range items {
				i.CPU = cost.Parts{Used: money.Units(r.Int64N(1 << 36)), Unused: money.Units(r.Int64N(1 << 36)), Request: money.Units(86_400_000_000)}
				i.RAM = cost.Parts{Used: money.Units(r.Int64N(1 << 46)), Unused: money.Units(r.Int64N(1 << 46)), Request: money.Units(86_400 << 30)}
				i.Received, i.Sent = money.Units(r.Int64N(1<<34)), money.Units(r.Int64N(1<<34))
				i.Alive, i.CPUKnown, i.RAMKnown = dayMillis, dayMillis, dayMillis
				l.Items = append(l.Items, i)
			}
			days = append(days, l)
		}
		var out bytes.Buffer
		if err := WriteRollUp(b.Context(), &out, Items, nil, days); err != nil {
			b.Fatal(err)
		}
		months = append(months, Files{Items: &memory{data: out.Bytes()}})
	}
	return months
}

// cpuTime is the process's, since others share the machine.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What a report by namespace and day reads of a year of ten thousand workloads.
func BenchmarkYearByNamespace(b *testing.B) {
	months := yearOfDays(b, 10_000)
	columns := Columns{Items: {
		"kind", "cluster", "namespace", "class", "class_cluster", "class_type", "region", "zone", "spot",
		"size_cpu_mcore", "size_ram_bytes", "size_gpu_mgpu", "class_labels",
		"cpu_used_core_us", "cpu_unused_core_us", "cpu_usage_unknown_core_us",
		"ram_used_byte_s", "ram_unused_byte_s", "ram_usage_unknown_byte_s",
		"gpu_used_gpu_us", "gpu_unused_gpu_us", "gpu_usage_unknown_gpu_us", "amount", "network_received_bytes", "network_sent_bytes",
	}}
	b.ReportAllocs()
	begin := cpuTime(b)
	defer func() { b.ReportMetric((cpuTime(b)-begin).Seconds()/float64(b.N), "cpu-s/op") }()
	for b.Loop() {
		var read, size, rows int64
		names := cost.NewNames()
		for _, files := range months {
			src := files[Items].(*memory)
			src.bytes = 0
			for l, err := range RollUps(b.Context(), files, columns, names) {
				if err != nil {
					b.Fatal(err)
				}
				rows += int64(len(l.Items))
			}
			read += src.bytes
			size += src.Size()
		}
		b.ReportMetric(float64(size)/3_650_000, "B/row")
		b.ReportMetric(float64(read)/1e6, "MB-read")
		b.ReportMetric(float64(rows), "items")
	}
}

// someLabels are none to three, in few combinations.
func someLabels(r *rand.Rand) (ls cost.Labels) {
	for _, name := range []string{"app", "team", "tier"} {
		if n := r.IntN(4); n > 0 {
			ls = append(ls, cost.Label{Name: name, Value: fmt.Sprint(n)})
		}
	}
	return ls
}

// Whatever names are read, rows that differ in others only are added up: to the last unit what reading all of them gives.
func TestRowsAreAddedUpByTheNamesThatAreRead(t *testing.T) {
	const namespaces, places = 7, 5
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 9))
		names := cost.NewNames()
		var days []*cost.Ledger
		for day := range int64(4) {
			l := &cost.Ledger{From: day * dayMillis, To: (day + 1) * dayMillis, Names: names}
			for range 100 + r.IntN(300) {
				s := cost.Subject{Container: fmt.Sprint(r.IntN(3)), Owner: cost.Owner{
					Cluster: "c", Namespace: fmt.Sprint(r.IntN(namespaces)), Controller: cost.Controller{Kind: "Job", Name: fmt.Sprint(r.IntN(1000))},
					Labels: someLabels(r),
				}}
				p := cost.Place{Class: cost.Class{Kind: cost.NodeClass, Spot: r.IntN(2) == 0, Size: cost.Size{CPU: r.Int64N(2)}}}
				for n := range r.IntN(places) { // lists of several lengths
					p.Labels = append(p.Labels, cost.Label{Name: fmt.Sprint("l", n), Value: "x"})
				}
				i := cost.Item{Kind: cost.Kind(r.IntN(2)), Subject: names.Subject(s), Place: names.Place(p), Alive: r.Int64N(9)}
				for k, q := range itemQuantities(&i) {
					if k%3 != int(seed%3) { // others are constant in the file
						*q = randomQuantity(r)
					}
				}
				l.Items = append(l.Items, i)
			}
			sum, err := cost.RollUp(l.From, l.To, l)
			if err != nil {
				t.Fatal(err)
			}
			days = append(days, sum)
		}
		files := writeRollUp(t, nil, days...)
		for _, by := range [][]string{nil, {"namespace"}, {"controller", "namespace", "label:team"}, {"label:team"}, {"label:app", "label:none", "label:team"}} {
			got := itemsBy(t, by, RollUps(t.Context(), files, ReportColumns(DayLevel, by), cost.NewNames()))
			want := itemsBy(t, by, func(yield func(*cost.Ledger, error) bool) {
				for _, d := range days {
					yield(d, nil)
				}
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d, by %v: %s", seed, by, diff)
			}
			if len(got) == 0 {
				t.Fatal("there are no items")
			}
		}
	}
}

// A roll-up that is damaged anywhere is one, or gives the same items where nothing is read.
func TestEveryFlippedByteOfARollUpIsFound(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 1))
	names := cost.NewNames()
	files := writeRollUp(t, nil, randomDay(t, r, names, 0), randomDay(t, r, names, dayMillis))
	for _, table := range []Table{Items, Bill} {
		whole := files[table].(*memory).data
		read := func(data []byte) (rows string, err error) {
			for l, err := range RollUps(t.Context(), Files{table: &memory{data: data}}, ReportColumns(DayLevel, []string{"namespace"}), cost.NewNames()) {
				if err != nil {
					return "", err
				}
				rows += fmt.Sprint(withNames(l))
			}
			return rows, nil
		}
		want, err := read(whole)
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			data := bytes.Clone(whole)
			at := r.IntN(len(data))
			data[at] ^= 1 << r.IntN(8)
			rows, err := read(data)
			if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
				t.Fatalf("%s: byte %d: %v", table, at, err)
			}
			if err == nil && rows != want {
				t.Fatalf("%s: byte %d: other rows", table, at)
			}
		}
	}
}

// itemsBy adds items up by day, kind, place and the names that a report by these dimensions reads.
func itemsBy(t *testing.T, by []string, ledgers iter.Seq2[*cost.Ledger, error]) map[string]cost.Item {
	t.Helper()
	all := map[string]cost.Item{}
	for l, err := range ledgers {
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range l.Items {
			s, p := *l.Names.SubjectOf(i.Subject), l.Names.PlaceOf(i.Place)
			if !slices.Contains(by, "controller") {
				s.Controller = cost.Controller{}
			}
			if !slices.Contains(by, "namespace") {
				s.Namespace = ""
			}
			s.Labels = slices.DeleteFunc(slices.Clone(s.Labels), func(l cost.Label) bool { return !slices.Contains(by, "label:"+l.Name) })
			s.Container = ""
			key := fmt.Sprint(l.From, i.Kind, s, *p)
			sum := all[key]
			to := itemQuantities(&sum)
			for k, q := range itemQuantities(&i) {
				*to[k] = to[k].Plus(*q)
			}
			sum.Alive += i.Alive
			all[key] = sum
		}
	}
	return all
}
