package rpc

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// What a read asks for.
type verb byte

const (
	selectSeries verb = 1 + iota
	labelNames
	labelValues
	exemplars
	families
	standing
)

// request is a read as it goes over the wire.
type request struct {
	verb   verb
	query  series.Query
	name   string              // of labelValues
	groups [][]*labels.Matcher // of exemplars
}

// Bounds of a request.
const (
	maxRequestBytes = 1 << 20
	maxMatchers     = 10_000
)

func (r *request) appendTo(dst []byte) []byte {
	dst = append(dst, byte(r.verb))
	dst = appendString(dst, r.query.Tenant.String())
	dst = binary.AppendVarint(dst, r.query.MinTime)
	dst = binary.AppendVarint(dst, r.query.MaxTime)
	dst = binary.AppendUvarint(dst, uint64(max(r.query.Limit, 0)))
	skip := byte(0)
	if r.query.SkipChunks {
		skip = 1
	}
	dst = append(dst, skip)
	dst = appendString(dst, r.name)
	dst = appendMatchers(dst, r.query.Matchers)
	dst = binary.AppendUvarint(dst, uint64(len(r.groups)))
	for _, g := range r.groups {
		dst = appendMatchers(dst, g)
	}
	return dst
}

func appendMatchers(dst []byte, ms []*labels.Matcher) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ms)))
	for _, m := range ms {
		dst = append(dst, byte(m.Type))
		dst = appendString(dst, m.Name)
		dst = appendString(dst, m.Value)
	}
	return dst
}

// parseRequest reads a request; its error is of kind series.ErrInvalid.
func parseRequest(p []byte) (request, error) {
	if len(p) > maxRequestBytes {
		return request{}, fmt.Errorf("%w request: %d bytes, at most %d are read", series.ErrInvalid, len(p), maxRequestBytes)
	}
	d := decoder{p: p}
	var r request
	r.verb = verb(d.byte())
	id := d.string()
	r.query.MinTime, r.query.MaxTime = d.varint(), d.varint()
	r.query.Limit = int(d.uvarint() & math.MaxInt32)
	r.query.SkipChunks = d.byte() == 1
	r.name = d.string()
	var err error
	if r.query.Matchers, err = d.matchers(); err != nil {
		return request{}, err
	}
	for n := d.count(); n > 0 && !d.bad; n-- {
		g, err := d.matchers()
		if err != nil {
			return request{}, err
		}
		r.groups = append(r.groups, g)
	}
	if d.bad || len(d.p) > 0 || r.verb < selectSeries || r.verb > standing {
		return request{}, fmt.Errorf("%w request: it doesn't parse", series.ErrInvalid)
	}
	if r.verb == standing && id == "" {
		return r, nil
	}
	if r.query.Tenant, err = tenant.Parse(id); err != nil {
		return request{}, fmt.Errorf("%w request: %w", series.ErrInvalid, err)
	}
	return r, nil
}

func (d *decoder) matchers() ([]*labels.Matcher, error) {
	n := d.count()
	if n > maxMatchers {
		return nil, fmt.Errorf("%w request: %d matchers, at most %d are read", series.ErrInvalid, n, maxMatchers)
	}
	var ms []*labels.Matcher
	for ; n > 0 && !d.bad; n-- {
		t, name, value := labels.MatchType(d.byte()), d.string(), d.string()
		if d.bad || t > labels.MatchNotRegexp {
			d.fail()
			break
		}
		m, err := labels.NewMatcher(t, name, value)
		if err != nil {
			return nil, fmt.Errorf("%w matcher: %w", series.ErrInvalid, err)
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// An answer is frames: the standing, any number of records frames, and the end, which says how many records there were.
const (
	frameStanding = 1 + iota
	frameRecords
	frameEnd
)

func appendStanding(dst []byte, s series.Standing) []byte {
	dst = binary.AppendVarint(dst, s.CompleteSince)
	dst = binary.AppendVarint(dst, s.ShippedBefore)
	dst = appendIDs(dst, s.Released)
	dst = appendIDs(dst, s.Held)
	dst = binary.AppendUvarint(dst, uint64(len(s.Partitions)))
	for _, p := range s.Partitions {
		dst = binary.AppendVarint(dst, int64(p))
	}
	return dst
}

func appendIDs(dst []byte, ids []ulid.ULID) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		dst = append(dst, id[:]...)
	}
	return dst
}

func (d *decoder) ids() (ids []ulid.ULID) {
	for n := d.count(); n > 0 && !d.bad; n-- {
		var id ulid.ULID
		copy(id[:], d.take(uint64(len(id))))
		ids = append(ids, id)
	}
	return ids
}

func (d *decoder) standing() series.Standing {
	s := series.Standing{CompleteSince: d.varint(), ShippedBefore: d.varint(), Released: d.ids(), Held: d.ids()}
	for n := d.count(); n > 0 && !d.bad; n-- {
		s.Partitions = append(s.Partitions, int32(d.varint()))
	}
	return s
}

func appendSeries(dst []byte, s series.Chunked) []byte {
	dst = appendLabels(dst, s.Labels)
	dst = binary.AppendUvarint(dst, uint64(len(s.Chunks)))
	for _, c := range s.Chunks {
		data := c.Chunk.Bytes()
		dst = append(dst, byte(c.Chunk.Encoding()))
		dst = binary.AppendVarint(dst, c.MinTime)
		dst = binary.AppendUvarint(dst, uint64(c.MaxTime-c.MinTime))
		dst = binary.AppendUvarint(dst, uint64(len(data)))
		dst = append(dst, data...)
	}
	return dst
}

// minChunk is the least number of bytes that a chunk of any encoding has: its count of samples and its flags.
const minChunk = 2

// series reads one series; its chunks point into what is decoded.
func (d *decoder) series() series.Chunked {
	s := series.Chunked{Labels: d.labels()}
	n := d.count()
	if n > 0 {
		s.Chunks = make([]chunks.Meta, 0, min(n, 1024))
	}
	for ; n > 0 && !d.bad; n-- {
		encoding := chunkenc.Encoding(d.byte())
		c := chunks.Meta{MinTime: d.varint()}
		c.MaxTime = c.MinTime + int64(d.uvarint())
		data := d.bytes()
		if len(data) < minChunk || c.MaxTime < c.MinTime {
			d.fail()
			break
		}
		var err error
		if c.Chunk, err = chunkenc.FromData(encoding, data); err != nil {
			d.fail()
			break
		}
		s.Chunks = append(s.Chunks, c)
	}
	return s
}

func appendExemplars(dst []byte, e series.Exemplars) []byte {
	dst = appendLabels(dst, e.Labels)
	dst = binary.AppendUvarint(dst, uint64(len(e.Exemplars)))
	for _, x := range e.Exemplars {
		dst = binary.AppendVarint(dst, x.Ts)
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(x.Value))
		dst = appendLabels(dst, x.Labels)
	}
	return dst
}

func (d *decoder) exemplars() series.Exemplars {
	e := series.Exemplars{Labels: d.labels()}
	for n := d.count(); n > 0 && !d.bad; n-- {
		e.Exemplars = append(e.Exemplars, exemplar.Exemplar{
			HasTs: true, Ts: d.varint(), Value: math.Float64frombits(d.fixed64()), Labels: d.labels(),
		})
	}
	return e
}

func appendFamily(dst []byte, m series.Metadata) []byte {
	dst = appendString(dst, m.Family)
	dst = appendString(dst, string(m.Type))
	dst = appendString(dst, m.Unit)
	return appendString(dst, m.Help)
}

func (d *decoder) family() series.Metadata {
	m := series.Metadata{Family: d.string()}
	m.Metadata = metadata.Metadata{Type: model.MetricType(d.string()), Unit: d.string(), Help: d.string()}
	return m
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendLabels(dst []byte, ls labels.Labels) []byte {
	dst = binary.AppendUvarint(dst, uint64(ls.Len()))
	ls.Range(func(l labels.Label) {
		dst = appendString(dst, l.Name)
		dst = appendString(dst, l.Value)
	})
	return dst
}

// decoder takes fields off the front of p. After a field that isn't there, bad stays set and every field is zero.
type decoder struct {
	p       []byte
	bad     bool
	builder labels.ScratchBuilder
}

func (d *decoder) fail() { d.bad, d.p = true, nil }

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.p)) {
		d.fail()
		return nil
	}
	b := d.p[:n:n]
	d.p = d.p[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.p)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.p)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) fixed64() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) bytes() []byte { return d.take(d.uvarint()) }

func (d *decoder) string() string { return string(d.bytes()) }

// count is the number of things that follow; each takes a byte at least, so it is bounded by what is there.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.p)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) labels() labels.Labels {
	d.builder.Reset()
	for n := d.count(); n > 0 && !d.bad; n-- {
		d.builder.Add(d.string(), d.string())
	}
	return d.builder.Labels()
}
