package block

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-io/varve/pkg/series"
)

// What comes in room that is used again is what Select gives, until the room is freed; and it is used again.
func TestRoomIsUsedAgain(t *testing.T) {
	all := testSeries(2400, 0, 2*hour)
	blocks := []*Block{openDir(t, foreignBlock(t, all[:1500])), openDir(t, foreignBlock(t, all[900:]))}
	rooms := map[any]int{}
	var rec series.Recycler
	for _, q := range []series.Query{{MaxTime: 2 * hour}, {MinTime: hour, MaxTime: hour}, {MaxTime: hour, SkipChunks: true}} {
		var plain, into []series.Set
		for _, b := range blocks {
			b.Reuse(1)
			p, err := b.Select(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			s, err := b.SelectInto(t.Context(), q, &rec)
			if err != nil {
				t.Fatal(err)
			}
			plain, into = append(plain, p), append(into, s)
		}
		want, set := collect(t, series.Merge(plain...)), series.Merge(into...)
		var batch []series.Chunked
		for more := true; more; {
			if more = set.Next(); more {
				batch = append(batch, set.At())
			}
			if len(batch) < 100 && more {
				continue
			}
			retired := rec.Retired()
			if d := cmp.Diff(want[:min(len(batch), len(want))], batch, chunkedEqual); len(batch) > 0 && d != "" {
				t.Fatal(d)
			}
			for _, r := range retired {
				rooms[r]++
			}
			rec.Free(retired)
			want, batch = want[len(batch):], nil
		}
		if err := set.Err(); err != nil || len(want) > 0 {
			t.Fatalf("%d series are missing: %v", len(want), err)
		}
		if err := set.Close(); err != nil {
			t.Fatal(err)
		}
	}
	uses := 0
	for _, n := range rooms {
		uses += n
	}
	if len(rooms) > 8 || uses < 3*len(rooms) {
		t.Errorf("%d rooms were used %d times", len(rooms), uses)
	}
}

func TestSymbolTable(t *testing.T) {
	var table symbolTable
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 3 {
		model := map[uint32]string{}
		for range 20_000 {
			n := uint32(rng.IntN(30_000)) << rng.IntN(18)
			place, isNew := table.place(n)
			if _, known := model[n]; known == isNew {
				t.Fatalf("round %d: symbol %d is new: %v", round, n, isNew)
			}
			if isNew {
				model[n] = fmt.Sprint(n)
				table.texts[place] = model[n]
			}
		}
		for n, text := range model {
			if got := table.text(n); got != text {
				t.Fatalf("round %d: symbol %d is %q", round, n, got)
			}
		}
		table.reset()
	}
}
