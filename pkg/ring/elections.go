package ring

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/grafana/dskit/kv/memberlist"
	"github.com/klauspost/compress/snappy"
)

// Contest is what replicas of a Prometheus are elected for: a cluster of a tenant.
type Contest struct{ Tenant, Cluster string }

// Election is which replica of a cluster is stored. Times of samples are in milliseconds.
type Election struct {
	Term    uint64 `json:"term"` // from 1; each new choice has a higher one
	Replica string `json:"replica"`
	// Floor is the newest time that another replica may have stored: only what is later is taken from this one.
	Floor int64 `json:"floor"`
	// Newest is the time of the newest sample of this replica that is known to be stored.
	Newest int64 `json:"newest"`
	// Beat grows while samples of the replica come in. Who sees it grow knows, by its own clock, that they do.
	Beat uint64 `json:"beat"`
	// Seen is when it last grew, in Unix seconds. It only decides what is forgotten, after hours.
	Seen int64 `json:"seen"`
}

// Merge is what both together say. It is the same in whichever order, and however often, elections are merged: the
// higher term wins, then the lesser name, and what the others are known to have stored raises the winner's floor.
func (e Election) Merge(other Election) Election {
	win, lose := e, other
	if e.Term < other.Term || e.Term == other.Term && e.Replica > other.Replica {
		win, lose = other, e
	}
	if win.Term == lose.Term && win.Replica == lose.Replica {
		win.Floor, win.Newest, win.Beat = max(e.Floor, other.Floor), max(e.Newest, other.Newest), max(e.Beat, other.Beat)
	} else {
		win.Floor = max(win.Floor, lose.Floor, lose.Newest)
	}
	win.Seen = max(e.Seen, other.Seen)
	return win
}

// Elections are those of all tenants.
type Elections map[Contest]Election

// merge takes in what others say, and returns what that changed.
func (s Elections) merge(others Elections) Elections {
	changed := Elections{}
	for c, theirs := range others {
		ours, ok := s[c]
		if ok {
			theirs = ours.Merge(theirs)
		}
		if !ok || ours != theirs {
			s[c], changed[c] = theirs, theirs
		}
	}
	return changed
}

// ElectionKept is how long a contest is remembered in which nobody is heard of. Samples that old are usually too late
// for the past window, so that nothing can come up twice.
const ElectionKept = 6 * time.Hour

// forget drops the contests in which nobody was heard of since a time.
func (s Elections) forget(before time.Time) (dropped int) {
	for c, e := range s {
		if e.Seen < before.Unix() {
			delete(s, c)
			dropped++
		}
	}
	return dropped
}

// PublishElections tells all members of elections. What they say otherwise is merged.
func (r *Ring) PublishElections(ctx context.Context, mine Elections) error {
	m := r.members.Load()
	if m == nil {
		return errNotRunning
	}
	err := m.elections.CAS(ctx, electionsKey, func(in any) (any, bool, error) {
		all := &ledger{Elections{}}
		if known, ok := in.(*ledger); ok && known != nil {
			all = known.clone()
		}
		if len(all.merge(mine)) == 0 {
			return nil, false, nil
		}
		all.forget(time.Now().Add(-ElectionKept))
		return all, true, nil
	})
	if err != nil {
		return fmt.Errorf("publish elections: %w", err)
	}
	return nil
}

// WatchElections calls take with all elections, as soon as the ring is joined, even if there are none, and when they
// change, until ctx ends; never two at a time. What take gets is its own.
func (r *Ring) WatchElections(ctx context.Context, take func(Elections)) {
	changed := make(chan struct{}, 1)
	var watching sync.WaitGroup
	watching.Go(func() { r.notice(ctx, changed) })
	defer watching.Wait()
	tick := time.NewTicker(r.timing.poll)
	defer tick.Stop()
	for {
		if m := r.members.Load(); m != nil {
			v, err := m.elections.Get(ctx, electionsKey)
			switch known, _ := v.(*ledger); {
			case err == nil && known != nil:
				take(known.Elections)
			case err == nil:
				take(Elections{})
			case ctx.Err() == nil:
				r.log.Warn("read elections: the last ones are kept", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-changed:
		}
	}
}

// notice says when the store's elections have changed.
func (r *Ring) notice(ctx context.Context, changed chan<- struct{}) {
	for ctx.Err() == nil {
		if m := r.members.Load(); m != nil {
			m.elections.WatchKey(ctx, electionsKey, func(any) bool {
				select {
				case changed <- struct{}{}:
				default:
				}
				return true
			})
		}
		select { // it is not joined yet, or not any more
		case <-ctx.Done():
		case <-time.After(r.timing.poll):
		}
	}
}

// ledger is the elections as the store has them.
type ledger struct{ Elections }

func (l *ledger) clone() *ledger { return &ledger{maps.Clone(l.Elections)} }

// Merge implements memberlist.Mergeable.
func (l *ledger) Merge(other memberlist.Mergeable, _ bool) (memberlist.Mergeable, error) {
	if other == nil {
		return nil, nil
	}
	theirs, ok := other.(*ledger)
	if !ok {
		return nil, fmt.Errorf("merge elections with %T", other)
	}
	if changed := l.Elections.merge(theirs.Elections); len(changed) > 0 {
		return &ledger{changed}, nil
	}
	return nil, nil
}

// MergeContent implements memberlist.Mergeable.
func (l *ledger) MergeContent() []string {
	names := make([]string, 0, len(l.Elections))
	for c := range l.Elections {
		names = append(names, c.Tenant+"/"+c.Cluster) // no tenant has a slash in its name
	}
	return names
}

// RemoveTombstones implements memberlist.Mergeable. There are none, but whoever merges forgets what is old.
func (l *ledger) RemoveTombstones(limit time.Time) (total, removed int) {
	if limit.IsZero() {
		return 0, 0
	}
	return 0, l.forget(limit.Add(-ElectionKept))
}

// Clone implements memberlist.Mergeable.
func (l *ledger) Clone() memberlist.Mergeable { return l.clone() }

// ledgerCodec writes a ledger as JSON, packed with snappy.
type ledgerCodec struct{}

// record is an election with its contest.
type record struct {
	Tenant  string `json:"tenant"`
	Cluster string `json:"cluster"`
	Election
}

// maxLedgerBytes bounds what a packed ledger may unpack to.
const maxLedgerBytes = 256 << 20

// CodecID implements codec.Codec.
func (ledgerCodec) CodecID() string { return "varveElections" }

// Encode implements codec.Codec.
func (ledgerCodec) Encode(v any) ([]byte, error) {
	l, ok := v.(*ledger)
	if !ok {
		return nil, fmt.Errorf("encode elections: they are a %T", v)
	}
	all := make([]record, 0, len(l.Elections))
	for c, e := range l.Elections {
		all = append(all, record{c.Tenant, c.Cluster, e})
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("encode elections: %w", err)
	}
	return snappy.Encode(nil, text), nil
}

// Decode implements codec.Codec.
func (ledgerCodec) Decode(packed []byte) (any, error) {
	if n, err := snappy.DecodedLen(packed); err != nil || n > maxLedgerBytes {
		return nil, fmt.Errorf("decode elections: %d bytes, at most %d: %w", n, maxLedgerBytes, err)
	}
	text, err := snappy.Decode(nil, packed)
	if err != nil {
		return nil, fmt.Errorf("decode elections: %w", err)
	}
	var all []record
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("decode elections: %w", err)
	}
	l := &ledger{Elections{}}
	for _, r := range all {
		l.Elections[Contest{r.Tenant, r.Cluster}] = r.Election
	}
	return l, nil
}
