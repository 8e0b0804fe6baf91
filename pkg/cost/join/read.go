package join

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/cost/quantity"
	"github.com/varve-io/varve/pkg/series"
)

// reader reads series one at a time. What it hands out is valid until the next one, but for strings that were kept.
type reader struct {
	ctx  context.Context
	src  Source
	opts Options
	kept map[string]string
	// recycler has the room of series, if the source is Recycling.
	recycler series.Recycler
	used     chan []series.Chunked // room of batches
	// numbers are of all names of pods that any hour knows, from 1 on; names are those by their numbers.
	numbers map[podName]int32
	names   []podName

	now    held   // the series that is read, for one hour or several
	shared bool   // several
	reach  window // of all of them
	parsed bool   // fields are those of the series
	groups groups
	words  words

	it      chunkenc.Iterator
	xor     xorReader
	runs    []quantity.Run // what is read, a part of all or own
	own     []quantity.Run
	spreads room[quantity.Spread]
	levels  room[quantity.Level]
	scratch []quantity.Interval
	fields  fields
}

// parse is the fields of the series that is read.
func (r *reader) parse(ls labels.Labels) *fields {
	if !r.parsed {
		r.fields.read(ls, r.opts.ClusterLabel)
		r.parsed = true
	}
	return &r.fields
}

func newReader(ctx context.Context, src Source, o Options) *reader {
	o.ClusterLabel = cmp.Or(o.ClusterLabel, "cluster")
	return &reader{ctx: ctx, src: src, opts: o, kept: map[string]string{}, numbers: map[podName]int32{}, names: make([]podName, 1), used: make(chan []series.Chunked, 2)}
}

// keep is a copy of s that doesn't hold on to the labels s is from; equal strings share one.
func (r *reader) keep(s string) string {
	if k, ok := r.kept[s]; ok {
		return k
	}
	s = strings.Clone(s)
	r.kept[s] = s
	return s
}

// fact is a series of a fact and its samples around the hour.
type fact struct {
	*fields
	labels labels.Labels
	runs   []quantity.Run // at least one
	bridge int64
}

// first and end are the times of the first and the last sample.
func (f fact) first() int64 { return f.runs[0].T }
func (f fact) end() int64   { return f.runs[len(f.runs)-1].Last() }

// levels are the steps of the fact's values × unit.
func (f fact) levels(unit float64) []quantity.Level {
	return quantity.Levels(nil, f.runs, f.bridge, unit)
}

// last is the last value.
func (f fact) last() float64 {
	for _, r := range slices.Backward(f.runs) {
		if !math.IsNaN(r.V) {
			return r.V
		}
	}
	return 0
}

// extent is what is read of each series of a fact.
type extent struct {
	margin int64 // around the hour
	most   int64 // so many samples with a value, 0 for all
}

// What doesn't change needs one sample; lives are read from farther away than the rest, so that gaps are seen from both sides. When a pod got its
// node is read as far as the node is: else it seems to be on it from its creation on.
var (
	first = extent{nearMargin, 1}
	near  = extent{nearMargin, 0}
	wide  = extent{factMargin, 0}
	once  = extent{factMargin, 1}
)

// around is the hour and so much before and after it.
func (j *joiner) around(margin int64) window {
	return window{from: j.Start - margin, to: j.Start + hourLength + margin}
}

// facts calls fn with each series of a metric that has samples around the hour.
func (j *joiner) facts(metric string, e extent, fn func(f fact), ms ...*labels.Matcher) error {
	w := j.around(e.margin)
	w.most = e.most
	return j.each(request{window: w, metric: metric, matchers: ms, fn: func(c *held) error {
		if err := j.decode(c, w); err != nil || len(j.runs) == 0 {
			return err
		}
		f := fact{fields: j.parse(c.Labels), labels: c.Labels, runs: j.runs}
		f.bridge, j.scratch = quantity.Bridge(j.runs, j.scratch)
		fn(f)
		return nil
	}})
}

// held is a series, and its samples once several hours want them.
type held struct {
	series.Chunked
	isDecoded bool
	all       []quantity.Run
	of        sourceID // of a node's meter, once an hour has asked
}

// decode reads the samples of a series in the window into r.runs. What several hours read is decoded once.
func (r *reader) decode(c *held, w window) (err error) {
	if !r.shared {
		r.own, err = r.decodeTo(r.own[:0], c.Chunked, w)
		r.runs = r.own
		return err
	}
	if !c.isDecoded {
		if c.all, err = r.decodeTo(c.all[:0], c.Chunked, r.reach); err != nil {
			return err
		}
		c.isDecoded = true
	}
	r.cut(c.all, w)
	return nil
}

// cut makes r.runs of what of all is in the window.
func (r *reader) cut(all []quantity.Run, w window) {
	at := sort.Search(len(all), func(i int) bool { return all[i].Last() >= w.from })
	some := all[at:]
	some = some[:sort.Search(len(some), func(i int) bool { return some[i].T >= w.to })]
	if n := len(some); n == 0 || w.most == 0 && some[0].T >= w.from && some[n-1].Last() < w.to {
		r.runs = some
		return
	}
	r.xor.window, r.xor.runs, r.xor.values, r.xor.over, r.xor.short = w, r.own[:0], 0, false, false
	for i := 0; i < len(some) && !r.xor.over; i++ {
		r.xor.add(some[i])
	}
	r.own = r.xor.runs
	r.runs = r.own
}

func (r *reader) decodeTo(dst []quantity.Run, c series.Chunked, w window) ([]quantity.Run, error) {
	r.xor.window, r.xor.runs, r.xor.values, r.xor.over, r.xor.short = w, dst, 0, false, false
	err := r.chunks(c, w)
	return r.xor.runs, err
}

func (r *reader) chunks(c series.Chunked, w window) error {
	if !apart(c.Chunks) {
		return r.merged(c, w)
	}
	for _, m := range c.Chunks {
		if m.MaxTime < w.from {
			continue
		}
		if m.MinTime >= w.to || r.xor.over {
			return nil
		}
		if err := r.xor.read(m.Chunk.Bytes()); err != nil {
			return fmt.Errorf("series %s: %w", c.Labels, err)
		}
	}
	return nil
}

// apart tells of chunks of floats that are one after the other.
func apart(all []chunks.Meta) bool {
	for i, m := range all {
		if m.Chunk.Encoding() != chunkenc.EncXOR || i > 0 && m.MinTime <= all[i-1].MaxTime {
			return false
		}
	}
	return true
}

// merged is decode for chunks of several writers.
func (r *reader) merged(c series.Chunked, w window) error {
	r.it = series.NewIterator(c.Chunks, r.it)
	for kind := r.it.Seek(w.from); kind != chunkenc.ValNone && !r.xor.over; kind = r.it.Next() {
		if kind == chunkenc.ValFloat {
			t, v := r.it.At()
			r.xor.add(quantity.Run{T: t, N: 1, V: v})
		}
	}
	return r.it.Err()
}

func equal(name, v string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchEqual, name, v)
}

func anyOf(name string, vs ...string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchRegexp, name, strings.Join(vs, "|"))
}

func not(name, v string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchNotEqual, name, v)
}

// fields are the labels that joining needs. They refer to the series they are of.
type fields struct {
	cluster, namespace, pod, uid, container, node, id string
	ownerKind, ownerName                              string
	createdKind, createdName                          string
	replicaset, job                                   string
	resource, phase, qos, priority, restartPolicy     string
	provider, systemUUID, cpu, device, iface, gpu     string
	hostNetwork                                       bool
	number                                            int32 // of the pod's name, 0 if that isn't known
}

// read takes the fields of ls. What a scrape renamed to exported_ because the target's own labels had the name is meant.
func (f *fields) read(ls labels.Labels, clusterLabel string) {
	*f = fields{}
	exported := false
	ls.Range(func(l labels.Label) {
		if l.Name == clusterLabel {
			f.cluster = l.Value
			return
		}
		if strings.HasPrefix(l.Name, "exported_") {
			exported = true
		}
		f.set(l.Name, l.Value)
	})
	if exported {
		ls.Range(func(l labels.Label) {
			if name, ok := strings.CutPrefix(l.Name, "exported_"); ok {
				f.set(name, l.Value)
			}
		})
	}
}

func (f *fields) set(name, v string) {
	switch name {
	case "namespace":
		f.namespace = v
	case "pod":
		f.pod = v
	case "uid":
		f.uid = v
	case "container":
		f.container = v
	case "node":
		f.node = v
	case "id":
		f.id = v
	case "resource":
		f.resource = v
	case "phase":
		f.phase = v
	case "cpu":
		f.cpu = v
	case "device":
		f.device = v
	case "interface":
		f.iface = v
	case "UUID":
		f.gpu = v
	default:
		f.setOwner(name, v)
	}
}

func (f *fields) setOwner(name, v string) {
	switch name {
	case "owner_kind":
		f.ownerKind = v
	case "owner_name":
		f.ownerName = v
	case "created_by_kind":
		f.createdKind = v
	case "created_by_name":
		f.createdName = v
	case "replicaset":
		f.replicaset = v
	case "job_name":
		f.job = v
	case "qos_class":
		f.qos = v
	case "priority_class":
		f.priority = v
	case "restart_policy":
		f.restartPolicy = v
	case "provider_id":
		f.provider = v
	case "system_uuid":
		f.systemUUID = v
	case "host_network":
		f.hostNetwork = v == "true"
	}
}
