package cube

import (
	"bytes"
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/varve-io/varve/pkg/cost"
)

const hourMillis = 3_600_000

// memory is a Source that counts what is read.
type memory struct {
	data  []byte
	bytes int64
	calls int
}

func (m *memory) Size() int64 { return int64(len(m.data)) }

func (m *memory) Ranges(_ context.Context, ranges []struct{ Off, Len int64 }) ([][]byte, error) {
	m.calls++
	var out [][]byte
	for _, r := range ranges {
		m.bytes += r.Len
		out = append(out, m.data[r.Off:][:r.Len])
	}
	return out, nil
}

// fill sets every field below v to a random value: new fields of rows are tested without being named here.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i))
		}
	case reflect.String:
		v.SetString([]string{"", "a", "b/ü", "kube-system", "x\x00y"}[r.IntN(5)])
	case reflect.Int64:
		v.SetInt([]int64{0, 1, -1, 3_600_000, r.Int64() - r.Int64(), 1 << 40}[r.IntN(6)])
	case reflect.Int32:
		v.SetInt(int64(r.Int32N(200)))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Slice:
		if n := r.IntN(4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(r, v.Index(i))
			}
		}
	default:
		panic(v.Kind())
	}
}

func randomHour(r *rand.Rand, start int64) *cost.Hour {
	h := &cost.Hour{}
	v := reflect.ValueOf(h).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Slice {
			n := r.IntN(30)
			f.Set(reflect.MakeSlice(f.Type(), n, n))
			for k := range n {
				fill(r, f.Index(k))
			}
		}
	}
	h.Start = start
	return h
}

func inOrder[R any](t *table[R], rows []R) []R {
	var out []R
	for _, r := range t.sorted(rows) {
		out = append(out, *r)
	}
	return out
}

// sortHour puts an hour's rows in the order of files.
func sortHour(h *cost.Hour) {
	h.Workloads = inOrder(workloadTable(), h.Workloads)
	h.Nodes = inOrder(nodeTable(), h.Nodes)
	h.Assets = inOrder(assetTable(), h.Assets)
	h.Shares = inOrder(shareTable(), h.Shares)
	h.Scalings = inOrder(scalingTable("hour"), h.Scalings)
	h.Scalers = inOrder(scalerTable("hour"), h.Scalers)
	h.Warnings = inOrder(warningTable("hour"), h.Warnings)
}

func write(t testing.TB, old Files, hours ...*cost.Hour) Files {
	t.Helper()
	files := Files{}
	for _, table := range HourTables() {
		var out bytes.Buffer
		if err := WriteHours(t.Context(), &out, table, old[table], hours); err != nil {
			t.Fatal(err)
		}
		files[table] = &memory{data: out.Bytes()}
	}
	return files
}

func readAll(t testing.TB, files Files, columns Columns) (hours []*cost.Hour) {
	t.Helper()
	for h, err := range Hours(t.Context(), files, columns) {
		if err != nil {
			t.Fatal(err)
		}
		c := *h
		c.Workloads, c.Nodes, c.Assets = slices.Clone(h.Workloads), slices.Clone(h.Nodes), slices.Clone(h.Assets)
		c.Shares, c.Scalings, c.Warnings = slices.Clone(h.Shares), slices.Clone(h.Scalings), slices.Clone(h.Warnings)
		c.Scalers = slices.Clone(h.Scalers)
		hours = append(hours, &c)
	}
	return hours
}

func sameBytes(t *testing.T, got, want Files) {
	t.Helper()
	for _, table := range HourTables() {
		if !bytes.Equal(got[table].(*memory).data, want[table].(*memory).data) {
			t.Errorf("table %s: other bytes", table)
		}
	}
}

// What is written is read again: every field of every row, in order.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		var want []*cost.Hour
		for i := range r.Int64N(24) + 1 {
			want = append(want, randomHour(r, i*hourMillis))
		}
		files := write(t, nil, want...)
		for _, h := range want {
			sortHour(h)
		}
		if diff := cmp.Diff(want, readAll(t, files, nil), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	}
}

// Bytes depend on rows only: not on the order of rows and hours, on how often a day was rewritten, or on what an hour was before.
func TestSameRowsGiveTheSameBytes(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 2))
		var hours []*cost.Hour
		for i := range int64(24) {
			hours = append(hours, randomHour(r, i*hourMillis))
		}
		want := write(t, nil, hours...)
		r.Shuffle(len(hours), func(i, k int) { hours[i], hours[k] = hours[k], hours[i] })
		got := write(t, nil, randomHour(r, hours[20].Start))
		for rest := hours; len(rest) > 0; {
			n := min(r.IntN(5)+1, len(rest))
			for _, h := range rest[:n] {
				r.Shuffle(len(h.Workloads), func(i, k int) { h.Workloads[i], h.Workloads[k] = h.Workloads[k], h.Workloads[i] })
			}
			got = write(t, got, rest[:n]...)
			rest = rest[n:]
		}
		sameBytes(t, got, want)
	}
}

// A rewrite copies the row groups that stay, and the bytes are those of a file written at once.
func TestRowGroupsAreCopied(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var hours []*cost.Hour
	for i := range int64(8) {
		h := &cost.Hour{Start: i * hourMillis}
		for k := range int64(70_000) {
			h.Warnings = append(h.Warnings, cost.Warning{Name: "gap", Cluster: "a", Count: 2*k + r.Int64N(2)})
		}
		hours = append(hours, h)
	}
	want := write(t, nil, hours...)
	f, err := Open(t.Context(), Warnings, want[Warnings])
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f.parquet.RowGroups()); n != 4 {
		t.Fatalf("%d row groups of eight hours of 70,000 rows, want 4", n)
	}
	got := write(t, write(t, nil, hours[:5]...), hours[5:]...)
	sameBytes(t, got, want)

	// A row that lacks in the middle moves the borders of groups behind it.
	short := *hours[2]
	short.Warnings = short.Warnings[:10]
	got = write(t, want, &short)
	sameBytes(t, got, write(t, nil, hours[0], hours[1], &short, hours[3], hours[4], hours[5], hours[6], hours[7]))
	sameBytes(t, write(t, got, hours[2]), want)
}

// A report that needs few columns reads few bytes, and leaves out the rest of the rows.
func TestProjectionReadsFewBytes(t *testing.T) {
	day := write(t, nil, clusterDay(1000)...)
	src := day[Workloads].(*memory)
	src.bytes, src.calls = 0, 0
	hours := readAll(t, day, Columns{Workloads: {"namespace", "cpu_used_core_us"}})
	if part := float64(src.bytes) / float64(len(src.data)); part > 0.15 {
		t.Errorf("read %d bytes of %d", src.bytes, len(src.data))
	}
	if src.calls > 3 {
		t.Errorf("%d calls for a footer and one row group", src.calls)
	}
	w := hours[5].Workloads[17]
	if w.Namespace == "" || w.CPU.Used == 0 || w.UID != "" || w.CPUSketch != nil || w.RAM.Used != 0 {
		t.Errorf("read %+v", w)
	}
	for _, column := range []string{"colour", "colour:team", "namespace:team"} {
		for _, err := range Hours(t.Context(), day, Columns{Workloads: {column}}) {
			if err == nil {
				t.Errorf("the unknown column %s is no error", column)
			}
		}
	}
}

// Of labels, those are read that are asked for.
func TestLabelsByName(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	h := &cost.Hour{}
	for i := range int64(40_000) { // several pages
		h.Workloads = append(h.Workloads, cost.Workload{Alive: i, Owner: cost.Owner{Labels: someLabels(r)}})
	}
	files := write(t, nil, h)
	for _, asked := range [][]string{{"team"}, {"app", "tier"}, {"none"}, {"none", "team"}, nil} {
		columns := []string{"alive_ms"}
		for _, name := range asked {
			columns = append(columns, "labels:"+name)
		}
		got := readAll(t, files, Columns{Workloads: columns})[0].Workloads
		if len(got) != len(h.Workloads) {
			t.Fatalf("%d rows", len(got))
		}
		for _, w := range got {
			want := slices.DeleteFunc(slices.Clone(h.Workloads[w.Alive].Labels), func(l cost.Label) bool { return !slices.Contains(asked, l.Name) })
			if !slices.Equal(w.Labels, want) {
				t.Fatalf("%v of row %d: %v, want %v", asked, w.Alive, w.Labels, want)
			}
		}
	}
}
