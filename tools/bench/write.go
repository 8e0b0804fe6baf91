package main

import (
	"context"
	"errors"

	"github.com/varve-io/varve/tools/loadgen/load"
)

// contender is one row of a comparison.
type contender struct {
	name  string
	start starter
	spec  spec
	runs  int
}

// contenders are varve with remote write 1.0 and 2.0, and the peers at hand.
func (b *bench) contenders(s spec) []contender {
	second := s
	second.protocol = load.RemoteWrite2
	all := []contender{
		{"Varve, remote write 1.0", startVarve, s, b.runs},
		{"Varve, remote write 2.0", startVarve, second, b.runs},
	}
	for _, p := range peers() {
		path := b.peers[p.name]
		if path == "" {
			continue
		}
		begin := func(ctx context.Context, b *bench) (*target, error) { return p.start(ctx, b, path) }
		all = append(all, contender{p.name + ", 1.0", begin, s, b.peerRuns})
		if p.name == "Prometheus" {
			all = append(all, contender{p.name + ", 2.0", begin, second, b.peerRuns})
		}
	}
	return all
}

// compare runs contenders in turns, so that what else the machine does hits all of them. One that fails is left out of the
// next rounds.
func (b *bench) compare(ctx context.Context, t *table, all []contender, one func(context.Context, *target, spec) (figures, error)) error {
	rounds := 0
	for _, c := range all {
		rounds = max(rounds, c.runs)
	}
	var failed error
	for round := range rounds {
		for i := range all {
			c := &all[i]
			if round >= c.runs || ctx.Err() != nil {
				continue
			}
			b.say("%s, run %d of %d", c.name, round+1, c.runs)
			s := c.spec
			s.first = round == 0
			f, err := b.with(ctx, c.start, func(t *target) (figures, error) { return one(ctx, t, s) })
			if err != nil {
				b.say("  %v", err)
				failed, c.runs = errors.Join(failed, err), 0
				continue
			}
			t.add(c.name, f)
			b.say("  %s", t.summary(f))
		}
	}
	return errors.Join(failed, ctx.Err())
}

// with starts a fresh server for one run, and removes it afterwards.
func (b *bench) with(ctx context.Context, start starter, run func(*target) (figures, error)) (figures, error) {
	t, err := start(ctx, b)
	if err != nil {
		return nil, err
	}
	defer t.close()
	t.again = start
	return run(t)
}

// writeSuite measures what the write path costs, the bytes it leaves, and the same of the peers.
func writeSuite(ctx context.Context, b *bench) ([]*table, error) {
	s := spec{series: or(b.series, 100_000), steps: or(b.steps, 240), senders: b.senders}
	t := &table{
		Title: loadTitle("Writing, one process", s),
		Note:  "CPU in seconds per million samples. Steady: once every series has had its first sample. Memory in MiB. Log and block in bytes per sample.",
		columns: []column{
			{"CPU", "cpu", 2}, {"CPU, steady", "steady cpu", 2}, {"M samples/s", "rate", 2}, {"Peak memory", "peak", 0},
			{"Memory at the end", "end", 0}, {"p50 ms", "p50", 1}, {"p99 ms", "p99", 1}, {"Log", "log", 2}, {"Block and index", "block", 2},
		},
	}
	return []*table{t}, b.compare(ctx, t, b.contenders(s), b.writeOnce)
}

func (b *bench) writeOnce(ctx context.Context, t *target, s spec) (figures, error) {
	f, ledger, err := b.send(ctx, t, s)
	if err != nil {
		return nil, err
	}
	if t.log != "" {
		log, err := size(t.log)
		if err != nil {
			return nil, err
		}
		f["log"] = float64(log) / f["samples"]
	}
	if t.admin != "" { // a peer is believed
		if err := b.check(ctx, t, ledger, s); err != nil {
			return nil, err
		}
	}
	if t.blocks != nil {
		blocks, err := t.blocks(ctx)
		if err != nil {
			return nil, err
		}
		f["block"] = float64(blocks) / f["samples"]
	}
	return f, nil
}
