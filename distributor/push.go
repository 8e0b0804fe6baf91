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
	"github.com/prometheus/prometheus/model/value"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// The errors of a write; the HTTP status that each means stands beside it.
var (
	ErrUnavailable = errors.New("unavailable")   // 503: send it again
	ErrRate        = errors.New("over the rate") // 429: slow down
	errOverload    = fmt.Errorf("%w: too many write requests at once", ErrUnavailable)
	errNoPartition = errors.New("no partition takes writes yet")
)

// Written is what became of a write request that was taken.
type Written struct {
	Floats, Histograms, Exemplars int   // stored
	ByRule, OfReplica             Drops // dropped by write_relabel, and because another replica is stored
	Refused                       int   // samples that are not stored, or that conflict with what was
	Skipped                       int   // values that are no numbers
	Message                       string
}

// request is one write on its way; it is used again for others.
type request struct {
	d       *Distributor
	*desk   // while it is worked on
	refused refusals
	dropped refusals // without a word to the sender

	sender    *sender
	lim       *tenant.Limits
	version   uint32 // what the request decides is decided at this version,
	rules     uint32 // by limits and a ring that are as they are since this one
	trail     trail
	window    window
	now       time.Time
	seconds   uint32 // now, in Unix time
	view      *ring.View
	written   Written
	sent      int
	exemplars int     // seen
	charged   int     // samples that the tenant's rate was charged with
	out       int64   // bytes of definitions, descriptions and exemplars in batches
	held      int64   // bytes of all requests' memory,
	holder    *sender // of what this tenant may have of it
	parts     map[int32]*part
	order     []*part
	latest    *part // where the series before went
	ballots   ballots
	inTexts   bool       // labels get no numbers: those of an earlier building were too old when it was sent
	violation *violation // of the current series, where it goes nowhere
}

func newRequest(d *Distributor) *request {
	return &request{d: d, parts: map[int32]*part{}}
}

// push stores what an inflated request holds. Errors wrap remote.ErrMalformed, remote.ErrTooLarge, ErrRate,
// ErrUnavailable, or are a *tenant.LimitError. After ErrUnavailable some of it may be stored, and the sender sends all of
// it again; Written then says what is known to be.
func (r *request) push(ctx context.Context, id tenant.ID, p remote.Protocol, body []byte) (Written, error) {
	defer r.release()
	r.sender, r.charged, r.inTexts = r.d.sender(id), 0, false
	if r.held == 0 {
		r.holder = r.sender
	}
	if err := r.d.turns.begin(ctx, r.sender, int64(len(body)), time.Duration(r.d.cfg.AckTimeout)); err != nil {
		return Written{}, err
	}
	defer r.d.turns.end(r.sender, int64(len(body)))
	r.sitDown()
	if err := r.decoder.Reset(p, body); err != nil {
		return Written{}, err
	}
	for range maxRebuilds {
		err := r.build()
		if err == nil {
			err = r.send()
		}
		if errors.Is(err, errStale) {
			r.inTexts = r.inTexts || errors.Is(err, errLate)
			r.decoder.Rewind()
			continue
		}
		if err != nil {
			return Written{}, err
		}
		r.leaveDesk()
		return r.await(ctx)
	}
	return Written{}, fmt.Errorf("%w: owners keep coming and going", ErrUnavailable)
}

// maxRebuilds bounds how often a request is built again because an owner came back meanwhile.
const maxRebuilds = 8

// build reads the request into batches for each partition.
func (r *request) build() error {
	r.begin()
	defer r.shed()
	r.trail.life.RLock()
	defer r.trail.life.RUnlock()
	for n := 0; r.decoder.Next(r.trail.guess()); n++ {
		s := &r.decoder.Series
		samples := len(s.Floats) + len(s.Histograms)
		r.sent += samples
		if most := r.lim.MaxSamplesPerRequest; r.sent > most || n >= most {
			return r.tooMany()
		}
		if samples+s.Exemplars == 0 {
			continue
		}
		if err := r.series(s); err != nil {
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
	r.d.metrics.lookedUp(r.trail.taken)
	if err := r.charge(r.written.Floats + r.written.Histograms); err != nil {
		return err
	}
	r.noteHeard()
	return nil
}

// shed lets go of indexes that the request's new series have outgrown.
func (r *request) shed() {
	if r.trail.taken.fresh > 0 {
		r.trail.shed()
	}
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
	r.catchUp()
	r.now = r.d.deps.Now()
	r.seconds = uint32(r.now.Unix())
	r.trail.begin(r.sender.table)
	r.decoder.MaxSamples = r.lim.MaxSamplesPerRequest
	r.window = newWindow(r.now, r.lim)
	r.sender.adjust(r.lim)
	r.sender.lastSeen.Store(r.seconds)
	r.written, r.sent, r.exemplars, r.out = Written{}, 0, 0, 0
	r.refused.reset()
	r.dropped.reset()
	r.ballots.reset()
	clear(r.parts)
	r.order, r.latest = r.order[:0], nil
}

// catchUp takes limits and ring as they are now, with a version at which they are so.
func (r *request) catchUp() {
	d := r.d
	for {
		st := d.versions.current.Load()
		generation := d.deps.Limits.Generation()
		r.lim, r.view = d.deps.Limits.For(r.sender.id), d.deps.Ring.View()
		if st.limits == generation && st.view == r.view.Version {
			r.version, r.rules = st.version, st.rules
			return
		}
		d.versions.moved(st, generation, r.view.Version)
	}
}

// series adds one series' samples to its partition's batch, or refuses them.
func (r *request) series(s *remote.Series) error {
	at, err := r.locate(s)
	if err != nil {
		return err
	}
	if at.part == nil {
		r.turnAway(at, s)
		return nil
	}
	if at.ballot != nil {
		r.choose(at.ballot, s)
	}
	for i, f := range s.Floats {
		if f.Time < r.window.oldest || f.Time > r.window.newest {
			r.refuse(r.window.check(f.Time))
			continue
		}
		if i > 0 {
			if at, err = r.room(at, i); err != nil {
				return err
			}
		}
		at.part.builder.Float(at.number, f.Time, f.Value)
		r.written.Floats++
		if value.IsStaleNaN(f.Value) {
			r.trail.ended()
		}
	}
	for i := range s.Histograms {
		if at, err = r.room(at, i); err != nil {
			return err
		}
		r.histogram(at, &s.Histograms[i])
	}
	if s.Exemplars == 0 {
		return nil
	}
	return r.addExemplars(at, s.Exemplars)
}

// turnAway counts the samples of a series that goes nowhere.
func (r *request) turnAway(at spot, s *remote.Series) {
	if v := r.violation; v != nil {
		r.refused.add(v.why, len(s.Floats)+len(s.Histograms), func() string { return v.text })
		return
	}
	to, why := &r.written.ByRule, relabelDropped
	if at.ballot != nil {
		to, why = &r.written.OfReplica, haDropped
	}
	to.Floats += len(s.Floats)
	to.Histograms += len(s.Histograms)
	to.Exemplars += s.Exemplars
	r.dropped.add(why, len(s.Floats)+len(s.Histograms), r.subject)
}

// addExemplars adds those of the current series that are valid, while the request may have more.
func (r *request) addExemplars(at spot, sent int) error {
	before := r.written.Exemplars
	var failed error
	err := r.decoder.Exemplars(r.lim.MaxExemplarsPerRequest-r.exemplars, func(e exemplar.Exemplar) {
		if failed != nil || !exemplarValid(&e) || e.Ts < r.window.oldest || e.Ts > r.window.newest {
			return
		}
		if at, failed = r.room(at, 1); failed != nil {
			return
		}
		size := at.part.builder.Size()
		at.part.builder.Exemplar(at.number, e)
		r.written.Exemplars++
		failed = r.writeOut(at.part.builder.Size() - size)
	})
	r.exemplars += sent
	if n := sent - (r.written.Exemplars - before); n > 0 {
		r.d.metrics.exemplarsDropped.Add(float64(n))
		r.dropped.add(exemplarsDropped, n, r.subject)
	}
	return errors.Join(err, failed)
}

func (r *request) histogram(at spot, h *remote.Histogram) {
	v := r.window.check(h.Time)
	if v == nil {
		v = checkHistogram(h, r.lim)
	}
	switch {
	case v != nil:
		r.refuse(v)
		return
	case h.H != nil:
		at.part.builder.Histogram(at.number, h.Time, h.H)
	default:
		at.part.builder.FloatHistogram(at.number, h.Time, h.FH)
	}
	r.written.Histograms++
}

// refuse counts a sample of the current series as refused.
func (r *request) refuse(v *violation) {
	r.refused.add(v.why, 1, func() string {
		if err := r.parse(); err != nil {
			return v.text
		}
		return inWords(r.spelling) + ": " + v.text
	})
}

// subject is the current series, for the example of something that is dropped.
func (r *request) subject() string {
	if err := r.parse(); err != nil {
		return err.Error()
	}
	return inWords(r.spelling)
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
func (r *request) seriesMetadata(p *part, ls []labels.Label) error {
	m, ok, err := r.decoder.SeriesMetadata()
	if err != nil || !ok || !r.cut(&m) {
		return err
	}
	m.Family = family(metricName(ls), m.Type)
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
