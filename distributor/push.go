package distributor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// The errors of a write; the HTTP status that each means stands beside it.
var (
	ErrUnavailable = errors.New("unavailable")   // 503: send it again
	ErrRate        = errors.New("over the rate") // 429: slow down
	errNoPartition = errors.New("no partition takes writes yet")
)

// Written is what became of a write request that was taken.
type Written struct {
	Floats, Histograms, Exemplars int // stored
	Refused                       int // samples that are not stored, or that conflict with what was
	Message                       string
}

// request is one write on its way; it is used again for others.
type request struct {
	d       *Distributor
	body    remote.Body
	decoder *remote.Request
	scratch labels.ScratchBuilder
	refused refusals

	sender     *sender
	lim        *tenant.Limits
	generation uint32 // of limits
	window     window
	now        time.Time
	view       *ring.View
	written    Written
	sent       int
	exemplars  int   // seen
	charged    int   // samples that the tenant's rate was charged with
	out        int64 // bytes of definitions, descriptions and exemplars in batches
	held       int64 // bytes of all requests' memory
	parts      map[int32]*part
	order      []*part
}

func newRequest(d *Distributor) *request {
	return &request{d: d, decoder: remote.NewRequest(d.hasher), parts: map[int32]*part{}}
}

// push stores what an inflated request holds. Errors wrap remote.ErrMalformed, remote.ErrTooLarge, ErrRate,
// ErrUnavailable, or are a *tenant.LimitError. After ErrUnavailable some of it may be stored, and the sender sends all of
// it again; Written then says what is known to be.
func (r *request) push(ctx context.Context, id tenant.ID, p remote.Protocol, body []byte) (Written, error) {
	if err := r.decoder.Reset(p, body); err != nil {
		return Written{}, err
	}
	defer r.release()
	r.sender, r.charged = r.d.sender(id), 0
	for range maxRebuilds {
		if err := r.build(); err != nil {
			return Written{}, err
		}
		err := r.send()
		if errors.Is(err, errStale) {
			r.decoder.Rewind()
			continue
		}
		if err != nil {
			return Written{}, err
		}
		return r.await(ctx)
	}
	return Written{}, fmt.Errorf("%w: owners keep coming and going", ErrUnavailable)
}

// maxRebuilds bounds how often a request is built again because an owner came back meanwhile.
const maxRebuilds = 8

// build reads the request into batches for each partition.
func (r *request) build() error {
	r.begin()
	for n := 0; r.decoder.Next(); n++ {
		s := &r.decoder.Series
		samples := len(s.Floats) + len(s.Histograms)
		r.sent += samples
		if most := r.lim.MaxSamplesPerRequest; r.sent > most || n >= most {
			return r.tooMany()
		}
		if samples+s.Exemplars == 0 {
			continue
		}
		if err := r.series(s, samples); err != nil {
			return err
		}
	}
	if err := r.decoder.Err(); errors.Is(err, remote.ErrTooMany) {
		return r.tooMany()
	} else if err != nil {
		return err
	}
	if err := r.metadata(); err != nil {
		return err
	}
	return r.charge(r.written.Floats + r.written.Histograms)
}

// charge takes samples off the tenant's rate, less what an earlier building of the request has taken.
func (r *request) charge(samples int) error {
	more := samples - r.charged
	if more <= 0 {
		return nil
	}
	if !r.sender.samples.AllowN(r.now, more) {
		return fmt.Errorf("%w: %w", ErrRate, &tenant.LimitError{Limit: tenant.MaxSamplesPerSecond, Max: r.lim.MaxSamplesPerSecond, Subject: fmt.Sprintf("tenant %s sends %d samples more", r.sender.id, more)})
	}
	r.charged = samples
	return nil
}

func (r *request) tooMany() error {
	return &tenant.LimitError{Limit: tenant.MaxSamplesPerRequest, Max: r.lim.MaxSamplesPerRequest, Subject: "request has more samples or series"}
}

func (r *request) begin() {
	d := r.d
	r.generation = uint32(d.deps.Limits.Generation())
	r.lim = d.deps.Limits.For(r.sender.id)
	r.now = d.deps.Now()
	r.view = d.deps.Ring.View()
	r.decoder.MaxSamples = r.lim.MaxSamplesPerRequest
	ms := r.now.UnixMilli()
	r.window = window{oldest: ms - time.Duration(r.lim.PastWindow).Milliseconds(), newest: ms + time.Duration(r.lim.FutureWindow).Milliseconds(), lim: r.lim}
	r.sender.adjust(r.lim)
	r.sender.lastSeen.Store(uint32(r.now.Unix()))
	r.written, r.sent, r.exemplars, r.out = Written{}, 0, 0, 0
	r.refused.reset()
	clear(r.parts)
	r.order = r.order[:0]
}

// series adds one series' samples to its partition's batch, or refuses them.
func (r *request) series(s *remote.Series, samples int) error {
	p, n, v, err := r.locate(s.Key)
	if err != nil {
		return err
	}
	if v != nil {
		r.refused.add(v.why, samples, func() string { return v.text })
		return nil
	}
	for i, f := range s.Floats {
		if f.Time < r.window.oldest || f.Time > r.window.newest {
			r.refuse(r.window.check(f.Time))
			continue
		}
		if p, n, err = r.room(p, n, i); err != nil {
			return err
		}
		p.builder.Float(n, f.Time, f.Value)
		r.written.Floats++
	}
	for i := range s.Histograms {
		if p, n, err = r.room(p, n, i); err != nil {
			return err
		}
		r.histogram(p, n, &s.Histograms[i])
	}
	if s.Exemplars == 0 {
		return nil
	}
	return r.addExemplars(p, n, s.Exemplars)
}

// addExemplars adds those of the current series that are valid, while the request may have more.
func (r *request) addExemplars(p *part, n series.Number, sent int) error {
	before := r.written.Exemplars
	var failed error
	err := r.decoder.Exemplars(r.lim.MaxExemplarsPerRequest-r.exemplars, func(e exemplar.Exemplar) {
		if failed != nil || !exemplarValid(&e) || e.Ts < r.window.oldest || e.Ts > r.window.newest {
			return
		}
		if p, n, failed = r.room(p, n, 1); failed != nil {
			return
		}
		size := p.builder.Size()
		p.builder.Exemplar(n, e)
		r.written.Exemplars++
		failed = r.writeOut(p.builder.Size() - size)
	})
	r.exemplars += sent
	r.d.metrics.exemplarsDropped.Add(float64(sent - (r.written.Exemplars - before)))
	return errors.Join(err, failed)
}

func (r *request) histogram(p *part, n series.Number, h *remote.Histogram) {
	v := r.window.check(h.Time)
	if v == nil {
		v = checkHistogram(h, r.lim)
	}
	switch {
	case v != nil:
		r.refuse(v)
		return
	case h.H != nil:
		p.builder.Histogram(n, h.Time, h.H)
	default:
		p.builder.FloatHistogram(n, h.Time, h.FH)
	}
	r.written.Histograms++
}

// refuse counts a sample of the current series as refused.
func (r *request) refuse(v *violation) {
	r.refused.add(v.why, 1, func() string {
		if err := r.decoder.Labels(&r.scratch, maxLabels); err != nil {
			return v.text
		}
		return shortened(r.scratch.Labels().String()) + ": " + v.text
	})
}

// maxLabels bounds what is parsed of a series before the tenant's own limit is looked at.
const maxLabels = 1024

// locate finds or makes the current series' number in the batch of its partition.
func (r *request) locate(k remote.Key) (*part, series.Number, *violation, error) {
	shard := r.sender.table.shard(k)
	e, known := shard.find(k, uint32(r.now.Unix()))
	if known && e.limits == r.generation && e.view == r.view.Version && e.defined {
		p, err := r.part(e.partition)
		if err != nil {
			return nil, 0, nil, err
		}
		if e.generation == p.generation {
			p.used += e.size()
			return p, e.number, nil, nil
		}
	}
	return r.define(shard, k, e, known)
}

// define is locate for a series that is new, or whose entry no longer holds.
func (r *request) define(shard *shard, k remote.Key, e entry, known bool) (*part, series.Number, *violation, error) {
	if err := r.decoder.Labels(&r.scratch, maxLabels); err != nil {
		return nil, 0, &violation{invalidLabels, err.Error()}, nil
	}
	ls := r.scratch.Labels()
	if !known || e.limits != r.generation {
		if v := checkLabels(ls, r.lim); v != nil {
			return nil, 0, v, nil
		}
		e.limits = r.generation
	}
	if !known {
		if v := r.sender.mayCreate(r.now, r.lim); v != nil {
			return nil, 0, v, nil
		}
		e.token, e.seen = token(r.sender.id, ls), uint32(r.now.Unix())
	}
	partition, ok := r.view.PartitionOf(e.token)
	if !ok {
		return nil, 0, nil, fmt.Errorf("%w: %w", ErrUnavailable, errNoPartition)
	}
	p, err := r.part(partition)
	if err != nil {
		return nil, 0, nil, err
	}
	if e.partition != partition || e.generation != p.generation {
		e.partition, e.defined = partition, false
		e.number, e.generation = p.stream.number()
	}
	e.view = r.view.Version
	if e.defined {
		p.used += e.size()
	} else if err := r.addDefinition(p, k, &e, ls); err != nil {
		return nil, 0, nil, err
	}
	if shard.put(k, e) {
		r.sender.series.Add(1)
	}
	return p, e.number, nil, nil
}

// addDefinition says in the batch what the entry's number stands for.
func (r *request) addDefinition(p *part, k remote.Key, e *entry, ls labels.Labels) error {
	before := p.builder.Size()
	p.builder.Define(e.number, ls)
	size := p.builder.Size() - before
	e.setSize(size)
	p.pending = append(p.pending, definition{k, e.number})
	return errors.Join(r.writeOut(size), r.seriesMetadata(p, ls))
}

// token is a series' place in the ring, the same in every process.
func token(id tenant.ID, ls labels.Labels) uint32 {
	return uint32(xxhash.Sum64String(id.String())*31 + labels.StableHash(ls))
}

// metadata adds the families that a 1.0 request describes, each to the partition of its name.
func (r *request) metadata() error {
	var failed error
	err := r.decoder.Metadata(func(m series.Metadata) {
		if failed != nil || m.Family == "" || !r.cut(&m) {
			return
		}
		partition, ok := r.view.PartitionOf(uint32(xxhash.Sum64String(m.Family)))
		if !ok {
			failed = fmt.Errorf("%w: %w", ErrUnavailable, errNoPartition)
			return
		}
		p, err := r.part(partition)
		if err != nil {
			failed = err
			return
		}
		failed = r.describe(p, m)
	})
	return errors.Join(err, failed)
}

// seriesMetadata adds what a 2.0 request says of the family of a series that it defines.
func (r *request) seriesMetadata(p *part, ls labels.Labels) error {
	m, ok, err := r.decoder.SeriesMetadata()
	if err != nil || !ok || !r.cut(&m) {
		return err
	}
	m.Family = family(ls.Get(labels.MetricName), m.Type)
	return r.describe(p, m)
}

// describe adds a family's description to the batch.
func (r *request) describe(p *part, m series.Metadata) error {
	before := p.builder.Size()
	p.builder.Metadata(m)
	return r.writeOut(p.builder.Size() - before)
}

// cut shortens what is too long in a family's description; false if its name is what is too long.
func (r *request) cut(m *series.Metadata) bool {
	most := r.lim.MaxMetadataLength
	m.Help, m.Unit = m.Help[:min(len(m.Help), most)], m.Unit[:min(len(m.Unit), most)]
	m.Help, m.Unit = strings.ToValidUTF8(m.Help, ""), strings.ToValidUTF8(m.Unit, "")
	return len(m.Family) <= r.lim.MaxLabelValueLength
}

// family is the name of a series' metric family.
func family(name string, t model.MetricType) string {
	switch t {
	case model.MetricTypeHistogram, model.MetricTypeGaugeHistogram, model.MetricTypeSummary:
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if base, ok := strings.CutSuffix(name, suffix); ok {
				return base
			}
		}
	}
	return name
}
