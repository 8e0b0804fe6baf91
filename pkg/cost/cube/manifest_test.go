package cube

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/oklog/ulid/v2"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/tenant"
)

func someManifest(t testing.TB) *Manifest {
	t.Helper()
	id, err := tenant.Parse("t")
	if err != nil {
		t.Fatal(err)
	}
	return &Manifest{
		Tenant: id,
		Objects: []Object{
			{HourLevel, dayLength, 2 * dayLength, Workloads, "hours/1970-01-02/workloads-1.parquet", 7, 3},
			{HourLevel, dayLength, 2 * dayLength, Nodes, "hours/1970-01-02/nodes-1.parquet", 8, 3},
			{HourLevel, 2 * dayLength, 3 * dayLength, Nodes, "hours/1970-01-03/nodes-1.parquet", 9, 3},
			{DayLevel, 0, 31 * dayLength, Items, "days/1970-01/items-1.parquet", 9, 3},
		},
		Days: []Day{
			{
				Start: dayLength, Closed: 7, Dirty: 2, Frozen: 1, Sources: []Known{{ulid.ULID{1}, 7}},
				Settings: []Applied{{Settings{"cluster", nil}, 3}, {Settings{"c", []string{"team"}}, 4}},
			},
			{Start: 2 * dayLength, Closed: allHours, RolledUp: true},
		},
		Months: []int64{0},
	}
}

func TestManifestSaysWhatThereIs(t *testing.T) {
	m := someManifest(t)
	for _, c := range []struct {
		level Level
		start int64
		want  bool
	}{
		{HourLevel, dayLength, true},
		{HourLevel, dayLength + hourLength, false}, // dirty
		{HourLevel, dayLength + 2*hourLength, true},
		{HourLevel, dayLength + 3*hourLength, false},
		{HourLevel, dayLength + 1, false},
		{HourLevel, 0, false},
		{DayLevel, dayLength, false},
		{DayLevel, 2 * dayLength, true},
		{DayLevel, 2*dayLength + hourLength, false},
		{MonthLevel, 0, true},
		{MonthLevel, 31 * dayLength, false},
	} {
		if got := m.Has(c.level, c.start); got != c.want {
			t.Errorf("%s at %d: %t", c.level, c.start, got)
		}
	}
	var opened []string
	files := m.Files(HourLevel, dayLength+5*hourLength, func(name string, size int64) Source {
		opened = append(opened, name)
		return nil
	})
	want := []string{"t/varve/cost/hours/1970-01-02/workloads-1.parquet", "t/varve/cost/hours/1970-01-02/nodes-1.parquet"}
	if diff := cmp.Diff(want, opened); diff != "" || len(files) != 2 {
		t.Errorf("%d files: %s", len(files), diff)
	}
	if s, ok := m.SettingsOf(dayLength + 2*hourLength); !ok || s.ClusterLabel != "c" {
		t.Errorf("settings %v", s)
	}
}

func TestManifestComesBack(t *testing.T) {
	bkt := objstore.NewInMemBucket()
	m := someManifest(t)
	empty, err := Load(t.Context(), bkt, m.Tenant)
	if err != nil || len(empty.Days) != 0 || empty.Has(HourLevel, 0) {
		t.Fatalf("a tenant without a manifest has %v, %v", empty, err)
	}
	if err := Save(t.Context(), bkt, m, time.UnixMilli(5)); err != nil {
		t.Fatal(err)
	}
	got, err := Load(t.Context(), bkt, m.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got, cmp.Comparer(func(a, b tenant.ID) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if got.Generation != 1 {
		t.Errorf("generation %d", got.Generation)
	}
	if err := Save(t.Context(), bkt, empty, time.UnixMilli(6)); !errors.Is(err, ErrOvertaken) {
		t.Errorf("an old manifest was saved over a newer one: %v", err)
	}
}

func TestManifestRefusesWhatCannotBe(t *testing.T) {
	m := someManifest(t)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"no JSON":           {`x`, ErrDamaged},
		"newer":             {`{"version":3,"tenant":"t"}`, ErrVersion},
		"older":             {`{"version":1,"tenant":"t"}`, ErrVersion},
		"no version":        {`{"tenant":"t"}`, ErrDamaged},
		"another's":         {`{"version":2,"tenant":"u"}`, ErrDamaged},
		"days in disorder":  {`{"version":2,"tenant":"t","days":[{"start":86400000,"closed":1},{"start":0,"closed":1}]}`, ErrDamaged},
		"no midnight":       {`{"version":2,"tenant":"t","days":[{"start":1,"closed":1}]}`, ErrDamaged},
		"dirty, not closed": {`{"version":2,"tenant":"t","days":[{"start":0,"closed":1,"dirty":2}]}`, ErrDamaged},
		"dirty and frozen":  {`{"version":2,"tenant":"t","days":[{"start":0,"closed":1,"dirty":1,"frozen":1}]}`, ErrDamaged},
		"rolled up in part": {`{"version":2,"tenant":"t","days":[{"start":0,"closed":1,"rolled_up":true}]}`, ErrDamaged},
		"elsewhere":         {`{"version":2,"tenant":"t","objects":[{"name":"../../u/x.parquet","size":1}]}`, ErrDamaged},
		"deletes blocks":    {`{"version":2,"tenant":"t","removed":[{"name":"../x/index"}]}`, ErrDamaged},
	} {
		if _, err := decodeManifest(m.Tenant, enc.EncodeAll([]byte(c.text), nil)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := decodeManifest(m.Tenant, []byte("not zstd")); !errors.Is(err, ErrDamaged) {
		t.Errorf("not zstd: %v", err)
	}
}

func FuzzManifest(f *testing.F) {
	m := someManifest(f)
	data, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeManifest(m.Tenant, data)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := got.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeManifest(m.Tenant, again); err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
	})
}
