package join

import (
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/cost/quantity"
	"github.com/varve-io/varve/pkg/series"
)

// groups are the series of one metric of usage that are integrated together, for all hours of a pass. Those of one group may lie anywhere among
// the others: they are counted first, and wait for each other then.
type groups struct {
	counts  map[seriesGroup]int32
	waiting map[seriesGroup][]source
	none    bool // there is no series of the metric
	// Room for the sources of a group, and for those of them that an hour has.
	all, some []source
	samples   [8][]quantity.Run // of the first sources
}

func (g *groups) reset() {
	*g = groups{counts: map[seriesGroup]int32{}, waiting: map[seriesGroup][]source{}, none: true, all: g.all, some: g.some, samples: g.samples}
}

// seriesGroup is a group by numbers, since there are as many as containers: of its pods' name, which is 0 if no hour knows it, and of words.
type seriesGroup struct{ pods, container, part int32 }

// words are names that many groups have, by numbers.
type words struct {
	numbers map[string]int32
	all     []string
}

func (w *words) number(s string) int32 {
	n, ok := w.numbers[s]
	if !ok {
		if w.numbers == nil {
			w.numbers = map[string]int32{}
		}
		n, s = int32(len(w.all)), strings.Clone(s)
		w.numbers[s], w.all = n, append(w.all, s)
	}
	return n
}

// groupOf is the group of the series that is read; ok is false if it is none of a known pod, or must not be counted.
func (r *reader) groupOf(m *usageOf) (g seriesGroup, ok bool) {
	f := r.parse(r.now.Labels)
	if m.more != nil {
		m.more(f, r.now.Labels)
	}
	f.number = r.numbers[podName{f.cluster, f.namespace, f.pod}]
	container, part, ok := m.group(f)
	if !ok || f.number == 0 {
		return g, false
	}
	return seriesGroup{f.number, r.words.number(container), r.words.number(part)}, true
}

// group counts the series that is read, or hands it to all hours, with the others of its group once they are all there.
func (r *reader) group(hours []*hourOf) error {
	m := hours[0].at.usage
	g, ok := r.groupOf(m)
	if hours[0].at.labels {
		r.groups.none = false
		if ok {
			r.groups.counts[g]++
		}
		return nil
	}
	f := &r.fields
	s := source{held: &r.now, id: xxhash.Sum64String(r.now.Labels.Get("id"))}
	s.uid, s.run = cgroup(f.id)
	if !ok {
		return r.unknown(hours, f.number, podName{f.cluster, f.namespace, f.pod})
	}
	if r.groups.counts[g] <= 1 {
		r.groups.all = append(r.groups.all[:0], s)
		return r.complete(hours, g, r.groups.all)
	}
	s, err := r.copied(s)
	if err != nil {
		return err
	}
	all := append(r.groups.waiting[g], s)
	if len(all) < int(r.groups.counts[g]) {
		r.groups.waiting[g] = all
		return nil
	}
	delete(r.groups.waiting, g)
	return r.complete(hours, g, all)
}

// unknown is for a series that isn't counted.
func (r *reader) unknown(hours []*hourOf, number int32, name podName) error {
	for _, h := range hours {
		if r.shared && !h.at.reaches(r.now.Chunks) || h.podsOf(number) != nil {
			continue
		}
		if err := h.leaveOut(h.at.usage, name, &r.now); err != nil {
			return err
		}
	}
	return nil
}

// complete hands all sources of a group to all hours.
func (r *reader) complete(hours []*hourOf, g seriesGroup, all []source) error {
	if len(all) > 1 {
		r.groups.lend(all)
		defer r.groups.takeBack(all)
	}
	for _, h := range hours {
		if err := r.completeOf(h, g, all); err != nil {
			return err
		}
	}
	return nil
}

// lend gives the first sources room for their samples.
func (g *groups) lend(all []source) {
	for i := range min(len(all), len(g.samples)) {
		all[i].all = g.samples[i]
	}
}

func (g *groups) takeBack(all []source) {
	for i := range min(len(all), len(g.samples)) {
		g.samples[i], all[i].all = all[i].all, nil
	}
}

func (r *reader) completeOf(h *hourOf, g seriesGroup, all []source) error {
	some := all
	if r.shared {
		some = r.groups.some[:0]
		for _, s := range all {
			if h.at.reaches(s.Chunks) {
				some = append(some, s)
			}
		}
		r.groups.some = some
	}
	pods := h.podsOf(g.pods)
	if pods == nil {
		for _, s := range some {
			if err := h.leaveOut(h.at.usage, r.names[g.pods], s.held); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) > 1 {
		var err error
		if some, err = r.telling(some, h.at.window); err != nil {
			return err
		}
	}
	if len(some) == 0 {
		return nil
	}
	return h.at.usage.add(groupKey{pods, r.words.all[g.container], r.words.all[g.part]}, some)
}

// telling are those that have samples in the window: that chunks of others may reach into it must not show.
func (r *reader) telling(all []source, w window) ([]source, error) {
	w.most = 1
	some := r.groups.some[:0]
	for _, s := range all {
		if err := r.decode(s.held, w); err != nil {
			return nil, err
		}
		if len(r.runs) > 0 {
			some = append(some, s)
		}
	}
	r.groups.some = some
	return some, nil
}

// endGroups is for groups whose other series went meanwhile.
func (r *reader) endGroups(hours []*hourOf) error {
	for g, all := range r.groups.waiting {
		if err := r.complete(hours, g, all); err != nil {
			return err
		}
	}
	clear(r.groups.waiting)
	return nil
}

// copied is a copy of what of the source any hour can need: it outlives the series' room.
func (r *reader) copied(s source) (source, error) {
	c := series.Chunked{Labels: s.Labels.Copy()}
	size := 0
	for _, m := range s.Chunks {
		if m.MinTime < r.reach.to && m.MaxTime >= r.reach.from {
			c.Chunks, size = append(c.Chunks, m), size+len(m.Chunk.Bytes())
		}
	}
	data := make([]byte, 0, size)
	for i, m := range c.Chunks {
		from := len(data)
		data = append(data, m.Chunk.Bytes()...)
		x, err := chunkenc.FromData(m.Chunk.Encoding(), data[from:len(data):len(data)])
		if err != nil {
			return s, fmt.Errorf("series %s: %w", c.Labels, err)
		}
		c.Chunks[i].Chunk = x
	}
	return source{uid: r.keep(s.uid), run: strings.Clone(s.run), id: s.id, held: &held{Chunked: c}}, nil
}
