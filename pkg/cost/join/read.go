package join

import (
	"context"
	"errors"
	"math"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/cost/quantity"
	"github.com/varve-io/varve/pkg/series"
)

// reader reads series one at a time. What it hands out is valid until the next one, but for strings that were kept.
type reader struct {
	ctx  context.Context
	src  Source
	opts Options
	kept map[string]string

	it      chunkenc.Iterator
	samples []quantity.Sample
	spreads []quantity.Spread
	levels  []quantity.Level
	scratch []int64
	fields  fields
}

func newReader(ctx context.Context, src Source, o Options) *reader {
	return &reader{ctx: ctx, src: src, opts: o, kept: map[string]string{}}
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
	labels  labels.Labels
	samples []quantity.Sample
	bridge  int64
}

// levels are the steps of the fact's values × unit.
func (f fact) levels(unit float64) []quantity.Level {
	return quantity.Levels(nil, f.samples, f.bridge, unit)
}

// last is the last value.
func (f fact) last() float64 {
	for i := len(f.samples) - 1; i >= 0; i-- {
		if v := f.samples[i].V; !math.IsNaN(v) {
			return v
		}
	}
	return 0
}

// extent is what is read of each series of a fact.
type extent struct {
	margin int64 // around the hour
	most   int   // so many samples with a value, 0 for all
}

// What doesn't change needs one sample; lives are read from farther away than the rest, so that gaps are seen from both sides.
var (
	first = extent{usageMargin, 1}
	near  = extent{usageMargin, 0}
	wide  = extent{factMargin, 0}
)

// facts calls fn with each series of a metric that has samples around the hour.
func (r *reader) facts(metric string, e extent, fn func(f fact), ms ...*labels.Matcher) error {
	from, to := r.opts.Start-e.margin, r.opts.Start+hourLength+e.margin
	return r.each(series.Query{MinTime: from, MaxTime: to}, metric, ms, func(c series.Chunked) error {
		if err := r.decode(c, from, to, e.most); err != nil || len(r.samples) == 0 {
			return err
		}
		f := fact{fields: &r.fields, labels: c.Labels, samples: r.samples}
		f.bridge, r.scratch = quantity.Bridge(r.samples, r.scratch)
		r.fields.read(c.Labels, r.opts.ClusterLabel)
		fn(f)
		return nil
	})
}

// each calls fn with each series of a metric.
func (r *reader) each(q series.Query, metric string, ms []*labels.Matcher, fn func(series.Chunked) error) (err error) {
	q.Tenant = r.opts.Tenant
	q.Matchers = append(ms[:len(ms):len(ms)], labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, metric))
	set, err := r.src.Select(r.ctx, q)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	for set.Next() {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := fn(set.At()); err != nil {
			return err
		}
	}
	return set.Err()
}

// decode reads the samples of a series in [from, to] into r.samples, at most so many with a value, 0 for all.
func (r *reader) decode(c series.Chunked, from, to int64, most int) error {
	r.samples = r.samples[:0]
	values := 0
	r.it = series.NewIterator(c.Chunks, r.it)
	for kind := r.it.Seek(from); kind != chunkenc.ValNone; kind = r.it.Next() {
		if kind != chunkenc.ValFloat {
			continue
		}
		t, v := r.it.At()
		if t > to {
			break
		}
		r.samples = append(r.samples, quantity.Sample{T: t, V: v})
		if !math.IsNaN(v) {
			if values++; values == most {
				break
			}
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
