package cube

import (
	"crypto/rand"
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

// What ended by a time goes by whole months; a year's file stays until the year is over.
func TestManifestLetsGoOfOldMonths(t *testing.T) {
	at := func(year, month, day int) int64 {
		return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).UnixMilli()
	}
	m := &Manifest{Tenant: tenant.Anonymous}
	put := func(level Level, at int64) {
		name, err := NameOf(level, at, Nodes, "0123456789abcdef")
		if err != nil {
			t.Fatal(err)
		}
		m.Put(Object{Level: level, Start: at, Table: Nodes, Name: name, Size: 1}, time.UnixMilli(0))
	}
	for _, day := range []int64{at(2025, 12, 31), at(2026, 1, 1), at(2026, 1, 31), at(2026, 2, 1)} {
		m.Counted(day, Settings{}, nil)
		month, _ := MonthOf(day)
		m.RolledUp(MonthLevel, month)
		put(HourLevel, day)
		put(DayLevel, month)
		put(MonthLevel, month)
	}
	for _, c := range []struct {
		before                int64
		days, months, objects int
	}{
		{at(2026, 1, 1) - 1, 4, 3, 4 + 3 + 2},
		{at(2026, 1, 1), 3, 2, 3 + 2 + 1},
		{at(2026, 1, 31), 3, 2, 3 + 2 + 1},
		{at(2026, 2, 1), 1, 1, 1 + 1 + 1},
		{at(2026, 3, 1), 0, 0, 1},
		{at(2027, 1, 1), 0, 0, 0},
	} {
		had := len(m.Days) + len(m.Months) + len(m.Objects)
		isChanged := m.Expire(c.before, time.UnixMilli(7))
		if len(m.Days) != c.days || len(m.Months) != c.months || len(m.Objects) != c.objects || isChanged != (had != c.days+c.months+c.objects) {
			t.Errorf("before %s: %d days, %d months, %d objects, %v", time.UnixMilli(c.before).UTC(), len(m.Days), len(m.Months), len(m.Objects), isChanged)
		}
		if err := m.check(); err != nil {
			t.Error(err)
		}
	}
	if len(m.Removed) != 9 || m.Removed[0].At != 7 {
		t.Errorf("%d are to be deleted", len(m.Removed))
	}
}

// A year of hours is no burden to who asks about costs: days whose blocks are merged name these, only the last ones all of what 20 partitions with
// three owners shipped.
func TestAManifestOfAYearIsSmall(t *testing.T) {
	m := &Manifest{Tenant: tenant.Anonymous}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for n := range 365 {
		day := begin.AddDate(0, 0, n).UnixMilli()
		known := make([]ulid.ULID, 3)
		if n >= 360 {
			known = make([]ulid.ULID, 3*12*20*3) // three days of two hours each
		}
		for i := range known {
			known[i] = ulid.MustNew(uint64(day)+uint64(i), rand.Reader)
		}
		for hour := day; hour < day+dayLength; hour += hourLength {
			m.Counted(hour, Settings{ClusterLabel: "cluster"}, known)
		}
		m.Day(day).RolledUp = true
		for _, table := range HourTables() {
			name, err := NameOf(HourLevel, day, table, Sum(known[0][:]))
			if err != nil {
				t.Fatal(err)
			}
			m.Put(Object{Level: HourLevel, Start: day, Table: table, Name: name, Size: day % 9999, Rows: day % 999}, begin)
		}
	}
	data, err := m.encode()
	if err != nil || len(data) > 512<<10 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	t.Logf("%d bytes", len(data))
}
