package catalog

import (
	"strings"
	"testing"
	"time"

	"github.com/thanos-io/objstore"
)

func TestShippedBefore(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time { return time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC) }
	for _, c := range []struct {
		name string
		// owners are replication factor and minutes by "partition/instance".
		owners map[string][2]int
		want   int // 0: it isn't told
	}{
		{"nobody", nil, 0},
		{"one process", map[string][2]int{"0/a": {1, 7}}, 7},
		{"another owner of it, whose disk is needed", map[string][2]int{"0/a": {1, 7}, "0/b": {1, 5}}, 5},
		{"the slowest partition", map[string][2]int{"0/a": {1, 7}, "1/b": {1, 5}}, 5},
		{"one of three is down", map[string][2]int{"0/a": {3, 7}, "0/b": {3, 1}, "0/c": {3, 8}}, 7},
		{"two of three are down", map[string][2]int{"0/a": {3, 2}, "0/b": {3, 1}, "0/c": {3, 8}}, 2},
		{"one has left", map[string][2]int{"0/a": {3, 7}, "0/b": {3, 1}}, 7},
		{"one alone acks nothing", map[string][2]int{"0/a": {3, 7}}, 0},
		{"a partition that begins holds up nothing", map[string][2]int{"0/a": {3, 7}, "0/b": {3, 6}, "0/c": {3, 7}, "1/d": {3, 1}}, 7},
		{"a fourth in the place of a dead one: the dead one and one other may have acked", map[string][2]int{"0/a": {3, 7}, "0/b": {3, 6}, "0/c": {3, 1}, "0/d": {3, 9}}, 6},
		{"one came under a lesser factor", map[string][2]int{"0/a": {1, 2}, "0/b": {3, 6}, "0/c": {3, 7}}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := objstore.NewInMemBucket()
			for name, o := range c.owners {
				owner := Owner{Since: at(0), ReplicationFactor: o[0], ShippedBefore: at(o[1])}
				if err := WriteOwner(t.Context(), b, ownersRoot+name+".json", owner); err != nil {
					t.Fatal(err)
				}
			}
			got, ok, err := newStore(t, b, time.Now).ShippedBefore(t.Context())
			if err != nil || ok != (c.want != 0) || ok && !got.Equal(at(c.want)) {
				t.Errorf("%s, %v, %v", got, ok, err)
			}
		})
	}
}

// A record that says nothing, or can't be read, holds up everything.
func TestAnOwnerThatNeverTold(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"since":"2026-01-01T00:00:00Z","replication_factor":1}`, `{"shipped_before":"2026-01-01T00:00:00Z","replication_factor":"`} {
		b := objstore.NewInMemBucket()
		if err := b.Upload(t.Context(), OwnerName(3, "a"), strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := newStore(t, b, time.Now).ShippedBefore(t.Context()); err != nil || !ok || !got.IsZero() {
			t.Errorf("%s: %s, %v, %v", text, got, ok, err)
		}
	}
}
