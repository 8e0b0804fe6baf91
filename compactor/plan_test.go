package compactor

import (
	"crypto/rand"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/catalog"
)

const hour = int64(3600_000)

var testRule = rule{settle: hour, quiet: 10 * hour, maxBytes: 10_000, maxBlocks: 8}

// planned is a block of a plan's test, named by n and made at that time.
func planned(n byte, made, mint, maxt, bytes int64) catalog.Block {
	b := catalog.Block{MinTime: mint, MaxTime: maxt, Bytes: bytes, Samples: uint64(bytes), Partition: -1}
	_ = b.ID.SetTime(uint64(made))
	b.ID[15] = n
	return b
}

// words says what jobs do in the fewest words: the numbers of the sources, by job.
func words(jobs []job) string {
	var out []string
	for _, j := range jobs {
		var names []string
		for _, b := range j.sources {
			names = append(names, fmt.Sprint(b.ID[15]))
		}
		slices.Sort(names)
		kind := fmt.Sprintf("%dh", j.width/hour)
		if j.width == 0 {
			kind = "cut"
		}
		out = append(out, kind+" "+strings.Join(names, "+"))
	}
	return strings.Join(out, ", ")
}

func TestPlan(t *testing.T) {
	at := func(n byte, from, to, bytes int64) catalog.Block {
		return planned(n, to*hour, from*hour, to*hour, bytes)
	}
	bad, foreign, mimir, replica := at(2, 0, 2, 100), at(2, 0, 2, 100), at(2, 0, 2, 100), at(2, 0, 2, 100)
	bad.Quarantined = "damaged"
	foreign.ExternalLabels = map[string]string{"cluster": "eu"}
	mimir.ExternalLabels = map[string]string{"__compactor_shard_id__": "1_of_4"}
	replica.Partition = 7
	var many []catalog.Block
	for n := range byte(9) {
		many = append(many, at(n, 0, 2, 100))
	}
	for _, c := range []struct {
		name   string
		blocks []catalog.Block
		now    int64
		want   string
	}{
		{"nothing", nil, 100, ""},
		{"one block stays", []catalog.Block{at(1, 0, 2, 100)}, 100, ""},
		{"replicas", []catalog.Block{at(1, 0, 2, 100), replica, at(3, 0, 2, 90)}, 3, "2h 1+2+3"},
		{"not settled", []catalog.Block{at(1, 0, 2, 100), at(2, 0, 2, 100)}, 2, ""},
		{"small range first", []catalog.Block{at(1, 0, 2, 100), at(2, 0, 2, 100), at(3, 2, 4, 100)}, 13, "2h 1+2"},
		{"half a day", []catalog.Block{at(1, 0, 2, 100), at(2, 4, 6, 100), at(3, 10, 12, 100)}, 13, "12h 1+2+3"},
		{"half a day is not settled", []catalog.Block{at(1, 0, 2, 100), at(2, 4, 6, 100)}, 12, ""},
		{"a day", []catalog.Block{at(1, 0, 12, 100), at(2, 14, 24, 100), at(3, 24, 26, 100)}, 25, "24h 1+2"},
		{"days are not merged", []catalog.Block{at(1, 0, 24, 100), at(2, 24, 48, 100)}, 100, ""},
		{"before 1970", []catalog.Block{at(1, -24, -12, 100), at(2, -12, 0, 100)}, 100, "24h 1+2"},
		{"late and light", []catalog.Block{at(1, 0, 2, 900), at(2, 0, 2, 100)}, 4, ""},
		{"late and an eighth", []catalog.Block{at(1, 0, 2, 800), at(2, 0, 2, 100)}, 4, "2h 1+2"},
		{"light ones among themselves", []catalog.Block{at(1, 0, 24, 9000), at(2, 0, 2, 100), at(3, 0, 2, 90)}, 27, "2h 2+3"},
		{"a light one waits", []catalog.Block{at(1, 0, 24, 9000), at(2, 0, 2, 100)}, 33, ""},
		{"until the day is quiet", []catalog.Block{at(1, 0, 24, 9000), at(2, 0, 2, 100)}, 34, "24h 1+2"},
		{"quarantined", []catalog.Block{at(1, 0, 2, 100), bad}, 100, ""},
		{"others go on", []catalog.Block{at(1, 0, 2, 100), bad, at(3, 0, 2, 100)}, 100, "2h 1+3"},
		{"labels outside of the series", []catalog.Block{at(1, 0, 2, 100), foreign}, 100, ""},
		{"labels that name a process", []catalog.Block{at(1, 0, 2, 100), mimir}, 100, "2h 1+2"},
		{"over the midnight", []catalog.Block{at(1, 18, 36, 100), at(2, 0, 18, 100), at(3, 30, 36, 50)}, 49, "cut 1"},
		{"over the midnight, not settled", []catalog.Block{at(1, 18, 36, 100)}, 48, ""},
		{"odd ranges within a day", []catalog.Block{planned(1, 0, hour/2, 3*hour, 100), at(2, 2, 4, 100)}, 13, "12h 1+2"},
		{"too many for one", many, 100, "2h 0+1+2+3+4+5+6+7"},
		{"too large for one", []catalog.Block{at(1, 0, 2, 4000), at(2, 2, 4, 4000), at(3, 4, 6, 4000), at(4, 6, 8, 4000)}, 100, "12h 1+2, 12h 3+4"},
		{"too large for any", []catalog.Block{at(1, 0, 2, 10_001), at(2, 0, 2, 100)}, 100, ""},
		{"empty range of time", []catalog.Block{planned(1, 0, hour, hour, 1), at(2, 0, 2, 100)}, 100, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			slices.SortFunc(c.blocks, func(a, b catalog.Block) int { return int(a.MinTime - b.MinTime) })
			if got := words(plan(c.blocks, c.now*hour, testRule)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestCut(t *testing.T) {
	jobs := plan([]catalog.Block{planned(1, 0, -hour, 49*hour+1, 100)}, 1000*hour, testRule)
	want := []block.TimeRange{{MinTime: -hour}, {MinTime: 0, MaxTime: 24 * hour}, {MinTime: 24 * hour, MaxTime: 48 * hour}, {MinTime: 48 * hour, MaxTime: 49*hour + 1}}
	if d := cmp.Diff(want, jobs[0].ranges); d != "" || len(jobs) != 1 {
		t.Errorf("%d jobs: %s", len(jobs), d)
	}
}

// executed gives the blocks after a job, as if a share of the bytes of all sources but one were duplicates, and how
// many bytes were written.
func executed(blocks []catalog.Block, j job, now int64, duplicates func(job) float64) ([]catalog.Block, int64) {
	mint, maxt, bytes := int64(math.MaxInt64), int64(math.MinInt64), 0.0
	largest := int64(0)
	for _, b := range j.sources {
		mint, maxt, largest = min(mint, b.MinTime), max(maxt, b.MaxTime), max(largest, b.Bytes)
		bytes += float64(b.Bytes)
	}
	bytes -= (bytes - float64(largest)) * duplicates(j)
	blocks = slices.DeleteFunc(blocks, func(b catalog.Block) bool {
		return slices.ContainsFunc(j.sources, func(s catalog.Block) bool { return s.ID == b.ID })
	})
	ranges := j.ranges
	if len(ranges) == 0 {
		ranges = []block.TimeRange{{MinTime: mint, MaxTime: maxt}}
	}
	for _, r := range ranges {
		id, err := ulid.New(uint64(now), rand.Reader)
		if err != nil {
			panic(err)
		}
		part := int64(math.Ceil(bytes * float64(r.MaxTime-r.MinTime) / float64(maxt-mint)))
		blocks = append(blocks, catalog.Block{ID: id, MinTime: r.MinTime, MaxTime: r.MaxTime, Bytes: part, Partition: -1})
	}
	slices.SortFunc(blocks, func(a, b catalog.Block) int { return int(a.MinTime - b.MinTime) })
	return blocks, int64(bytes)
}

// settleAll plans and executes until there is nothing to do.
func settleAll(t interface{ Fatalf(string, ...any) }, blocks []catalog.Block, now int64, r rule, duplicates func(job) float64) (_ []catalog.Block, written int64) {
	for round := 0; ; round++ {
		jobs := plan(blocks, now, r)
		if len(jobs) == 0 {
			return blocks, written
		}
		if round > 200 {
			t.Fatalf("no end of planning: %s", words(jobs))
		}
		seen := map[ulid.ULID]bool{}
		for _, j := range jobs {
			if j.width != 0 && (len(j.sources) < 2 || len(j.sources) > r.maxBlocks || j.bytes() > r.maxBytes) {
				t.Fatalf("job of %d blocks with %d bytes", len(j.sources), j.bytes())
			}
			for _, b := range j.sources {
				if seen[b.ID] {
					t.Fatalf("block %s is in two jobs", b.ID)
				}
				seen[b.ID] = true
			}
			var n int64
			blocks, n = executed(blocks, j, now, duplicates)
			written += n
		}
	}
}

// TestPlanEnds: whatever the blocks, planning and executing ends, and every byte is rewritten a bounded number of times.
func TestPlanEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rule{settle: hour, quiet: 10 * hour, maxBytes: rapid.Int64Range(100, 1_000_000).Draw(t, "max bytes"), maxBlocks: rapid.IntRange(2, 64).Draw(t, "max blocks")}
		var blocks []catalog.Block
		now, written, in, widest := int64(0), int64(0), int64(0), 1.0
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			for range rapid.IntRange(0, 12).Draw(t, "new blocks") {
				mint := rapid.Int64Range(-30*hour, 60*hour).Draw(t, "mint")
				width := rapid.SampledFrom([]int64{1, hour, 2 * hour, 18 * hour, 40 * hour}).Draw(t, "width")
				bytes := rapid.Int64Range(1, 10_000).Draw(t, "bytes")
				id, _ := ulid.New(uint64(max(now, 0)), rand.Reader)
				blocks = append(blocks, catalog.Block{ID: id, MinTime: mint, MaxTime: mint + width, Bytes: bytes, Partition: -1})
				in, widest = in+bytes, max(widest, float64(bytes))
			}
			now += rapid.Int64Range(0, 30*hour).Draw(t, "pause")
			var n int64
			share := rapid.Float64Range(0, 1).Draw(t, "duplicates")
			blocks, n = settleAll(t, blocks, now, r, func(job) float64 { return share })
			written += n
		}
		// A byte is written once by each merge whose smaller part it is in, each time into twice as large a block
		// unless it is a duplicate, and up to growth times that as part of the largest; once by a cut; once a step by
		// the quiet rule.
		doublings := math.Log2(float64(max(in, 2)))
		if limit := float64(in) * ((growth+1)*(doublings+1) + 12 + 2); float64(written) > limit {
			t.Fatalf("%d bytes written for %d bytes, more than %.0f", written, in, limit)
		}
		for i, b := range blocks {
			if b.MinTime >= b.MaxTime {
				t.Fatalf("block %d is [%d, %d)", i, b.MinTime, b.MaxTime)
			}
		}
	})
}

// TestAmplification plays weeks as they usually go: three replicas of each two hours, and a little that comes late.
func TestAmplification(t *testing.T) {
	r := newRule(Default())
	rng := mrand.New(mrand.NewPCG(1, 2))
	duplicates := func(j job) float64 {
		if j.width == 2*hour { // replicas
			return 1
		}
		return 0
	}
	var blocks []catalog.Block
	in, written, most := int64(0), int64(0), 0
	arrive := func(at, mint, bytes int64) {
		id, err := ulid.New(uint64(at), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, catalog.Block{ID: id, MinTime: mint, MaxTime: mint + 2*hour, Bytes: bytes, Partition: int(bytes % 3)})
	}
	for epoch := range int64(14 * 12) {
		at := epoch*2*hour + 2*hour + hour/4
		for range 3 {
			size := 100_000 + rng.Int64N(10_000)
			arrive(at, epoch*2*hour, size)
			arrive(at, (epoch-1)*2*hour, 20+rng.Int64N(500)) // late by up to two hours
			in += size / 3
		}
		if epoch%12 == 5 {
			arrive(at, (epoch-20)*2*hour, 100) // and very late
		}
		for now := at; now < at+2*hour; now += hour / 2 {
			var n int64
			blocks, n = settleAll(t, blocks, now, r, duplicates)
			written += n
		}
		most = max(most, len(blocks))
	}
	blocks, n := settleAll(t, blocks, (15*24+30)*hour, r, duplicates)
	written += n
	t.Logf("%.2f bytes written for each byte, at most %d blocks, %d in the end", float64(written)/float64(in), most, len(blocks))
	if float64(written) > 4.5*float64(in) || most > 60 || len(blocks) > 16 {
		t.Errorf("%.2f bytes written for each byte, at most %d blocks, %d in the end", float64(written)/float64(in), most, len(blocks))
	}
}

func TestRuleOfDefaults(t *testing.T) {
	if r := newRule(Default()); r.quiet != 25*hour || r.settle != 2*hour+hour/2 {
		t.Errorf("%+v", r)
	}
	cfg := Default()
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	if err := (&Config{DeleteDelay: Default().DeleteDelay * 1000}).Validate(); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("errors: %v", err)
	}
}
