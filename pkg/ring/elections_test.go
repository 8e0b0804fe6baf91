package ring

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestElectionMerge(t *testing.T) {
	a := Election{Term: 3, Replica: "a", Floor: 10, Newest: 50, Beat: 7, Seen: 100}
	for _, tc := range []struct {
		name        string
		other, want Election
	}{
		{"the same", a, a},
		{"newer word of the same", Election{3, "a", 12, 60, 9, 101}, Election{3, "a", 12, 60, 9, 101}},
		{"older word of the same", Election{3, "a", 9, 40, 6, 99}, a},
		{"higher term", Election{4, "b", 20, 0, 1, 101}, Election{4, "b", 50, 0, 1, 101}},
		{"lower term that stored more", Election{2, "b", 5, 70, 99, 98}, Election{3, "a", 70, 50, 7, 100}},
		{"elected at once, lesser name", Election{3, "b", 11, 45, 99, 101}, Election{3, "a", 45, 50, 7, 101}},
		{"nothing", Election{}, a},
	} {
		if diff := cmp.Diff(tc.want, a.Merge(tc.other)); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
		if diff := cmp.Diff(tc.want, tc.other.Merge(a)); diff != "" {
			t.Errorf("%s, the other way round: %s", tc.name, diff)
		}
	}
}

// However gossip orders, groups and repeats what it carries, all end with the same.
func TestElectionMergeIsTheSameInAnyOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		said := make([]Election, 2+rnd.IntN(5))
		for i := range said {
			said[i] = Election{
				Term: 1 + rnd.Uint64N(3), Replica: string(rune('a' + rnd.IntN(3))), Floor: rnd.Int64N(9), Newest: rnd.Int64N(9),
				Beat: rnd.Uint64N(4), Seen: rnd.Int64N(5),
			}
		}
		want := said[0]
		for _, e := range said[1:] {
			want = want.Merge(e)
		}
		for range 10 {
			order := rnd.Perm(len(said))
			cut := rnd.IntN(len(said))
			var left, right Election
			for _, i := range order[:cut] {
				left = left.Merge(said[i])
			}
			for _, i := range order[cut:] {
				right = right.Merge(said[i])
			}
			got := left.Merge(right).Merge(said[rnd.IntN(len(said))])
			if got != want {
				t.Fatalf("%+v in order %v, cut at %d: %+v, want %+v", said, order, cut, got, want)
			}
		}
	}
}

func TestLedgerMergesOnlyWhatChanges(t *testing.T) {
	one, two := Contest{"team-a", "eu/1"}, Contest{"team-a", "eu/2"}
	l := &ledger{Elections{one: {Term: 1, Replica: "a", Seen: 10}}}
	change, err := l.Merge(&ledger{Elections{one: {Term: 1, Replica: "a", Seen: 10}, two: {Term: 1, Replica: "b", Seen: 20}}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"team-a/eu/2"}, change.MergeContent()); diff != "" {
		t.Error(diff)
	}
	if again, err := l.Merge(change, false); again != nil || err != nil {
		t.Errorf("merged twice: %v, %v", again, err)
	}
	if _, removed := l.RemoveTombstones(time.Time{}); removed != 0 || len(l.Elections) != 2 {
		t.Error("reading forgets")
	}
	if _, removed := l.RemoveTombstones(time.Unix(15, 0).Add(ElectionKept)); removed != 1 || len(l.Elections) != 1 {
		t.Errorf("%d forgotten, %v left", removed, l.Elections)
	}
}

// Distributors hear of each other's elections, by gossip and by a store; an election that lost is overruled.
func TestElectionsAreShared(t *testing.T) {
	for _, store := range []string{storeGossip, storeEtcd} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			var n0, n1 *node
			if store == storeGossip {
				a, b := address(t), address(t)
				n0, n1 = start(t, gossiping("distributor-0", "", a, b), Dependencies{}), start(t, gossiping("distributor-1", "", b, a), Dependencies{})
			} else {
				cfg := Default()
				cfg.Cluster, cfg.Store, cfg.StoreEndpoints = "test", storeEtcd, []string{startEtcd(t)}
				cfg.Instance = "distributor-0"
				n0 = start(t, cfg, Dependencies{})
				cfg.Instance = "distributor-1"
				n1 = start(t, cfg, Dependencies{})
			}
			now, c := time.Now().Unix(), Contest{"team-a", "eu"}
			at0, at1 := n0.elections(t), n1.elections(t)
			n0.publish(t, Elections{c: {Term: 1, Replica: "b", Newest: 30, Seen: now}})
			n1.publish(t, Elections{c: {Term: 1, Replica: "a", Newest: 20, Seen: now}})
			want := Election{Term: 1, Replica: "a", Floor: 30, Newest: 20, Seen: now}
			awaitElection(t, at0, c, want)
			awaitElection(t, at1, c, want)
			n0.publish(t, Elections{c: {Term: 2, Replica: "b", Floor: 20, Seen: now}, {"team-b", "eu"}: {Term: 1, Replica: "x", Seen: now}})
			awaitElection(t, at1, c, Election{Term: 2, Replica: "b", Floor: 30, Seen: now})
			awaitElection(t, at1, Contest{"team-b", "eu"}, Election{Term: 1, Replica: "x", Seen: now})
			n1.publish(t, Elections{c: {Term: 2, Replica: "b", Floor: 30, Seen: now}}) // says nothing new
		})
	}
}

// elections is what a node hears, until the test ends.
func (n *node) elections(t *testing.T) <-chan Elections {
	heard := make(chan Elections, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.WatchElections(ctx, func(e Elections) {
			select {
			case heard <- e:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return heard
}

// publish publishes as soon as the node is there.
func (n *node) publish(t *testing.T, e Elections) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := n.PublishElections(t.Context(), e)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func awaitElection(t *testing.T, heard <-chan Elections, c Contest, want Election) {
	t.Helper()
	var last Elections
	for deadline := time.After(20 * time.Second); ; {
		select {
		case last = <-heard:
			if last[c] == want {
				return
			}
		case <-deadline:
			t.Fatalf("heard %+v of %v, want %+v", last, c, want)
		}
	}
}

// A process that is alone knows after a restart whom it had elected.
func TestElectionFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "elections")
	var log bytes.Buffer
	open := func() (*ElectionFile, Elections) {
		t.Helper()
		f, err := OpenElectionFile(path, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		var all Elections
		ctx, cancel := context.WithCancel(t.Context())
		f.WatchElections(ctx, func(e Elections) { all = e; cancel() })
		return f, all
	}
	f, all := open()
	if len(all) != 0 {
		t.Errorf("at first: %v", all)
	}
	now, c := time.Now().Unix(), Contest{"team-a", "eu"}
	for i, e := range []Election{{Term: 1, Replica: "a", Newest: 5, Seen: now}, {Term: 2, Replica: "b", Seen: now}} {
		if err := f.PublishElections(t.Context(), Elections{c: e, {"team-a", "old"}: {Term: 1, Seen: 1}}); err != nil {
			t.Fatal(i, err)
		}
	}
	_, all = open()
	if diff := cmp.Diff(Elections{c: {Term: 2, Replica: "b", Floor: 5, Seen: now}}, all); diff != "" {
		t.Error(diff)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, all = open(); len(all) != 0 || !strings.Contains(log.String(), "damaged") {
		t.Errorf("%v; the log says %q", all, log.String())
	}
	if _, err := OpenElectionFile(filepath.Dir(path), nil); err == nil {
		t.Error("a directory is no file")
	}
}

func FuzzLedger(f *testing.F) {
	for _, e := range []Elections{{}, {{"t", "c"}: {Term: 1, Replica: "a"}}} {
		b, err := ledgerCodec{}.Encode(&ledger{e})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ledgerCodec{}.Decode(b)
		if err != nil {
			return
		}
		again, err := ledgerCodec{}.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		if w, err := (ledgerCodec{}).Decode(again); err != nil || !cmp.Equal(v.(*ledger).Elections, w.(*ledger).Elections) {
			t.Errorf("%v, after encoding %v, %v", v, w, err)
		}
	})
}
