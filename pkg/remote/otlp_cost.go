package remote

import "fmt"

// maxNesting is how deep attributes, and so the reading of a request, may be nested: each level takes some of the
// reader's stack. Of JSON, an attribute within an attribute is four levels.
const (
	maxNesting     = 64
	maxNestingJSON = 4 * maxNesting
)

// message is one kind of message of OTLP: how many bytes of memory one takes when it is read, and where others stand
// in it.
type message struct {
	bytes  int64
	fields [13]*message
	packed [2]uint64 // fields of packed numbers, each of which may take eight times its bytes
}

// otlpRequest is an ExportMetricsServiceRequest.
var otlpRequest = otlpMessages()

func otlpMessages() *message {
	type fields = [13]*message
	value := &message{bytes: 48}
	attribute := &message{bytes: 64, fields: fields{2: value}}
	value.fields = fields{
		5: {bytes: 32, fields: fields{1: value}},
		6: {bytes: 32, fields: fields{1: attribute}},
	}
	exemplar := &message{bytes: 128, fields: fields{7: attribute}}
	buckets := &message{bytes: 64, packed: [2]uint64{2}}
	number := message{bytes: 192, fields: fields{7: attribute, 5: exemplar}}
	histogram := message{bytes: 256, fields: fields{9: attribute, 8: exemplar}, packed: [2]uint64{6, 7}}
	exponential := message{bytes: 384, fields: fields{1: attribute, 11: exemplar, 8: buckets, 9: buckets}}
	summary := message{bytes: 192, fields: fields{7: attribute, 6: {bytes: 48}}}
	points := func(m message) *message { return &message{bytes: 64, fields: fields{1: &m}} }
	metric := &message{bytes: 192, fields: fields{
		5: points(number), 7: points(number), 9: points(histogram), 10: points(exponential), 11: points(summary), 12: attribute,
	}}
	scope := &message{bytes: 128, fields: fields{3: attribute}}
	resource := &message{bytes: 128, fields: fields{1: attribute, 3: {bytes: 128}}}
	return &message{fields: fields{1: {bytes: 256, fields: fields{
		1: resource, 2: {bytes: 256, fields: fields{1: scope, 2: metric}},
	}}}}
}

// otlpCost is about how many bytes of memory reading a request takes. Two bytes can be a message that takes hundreds, and
// nesting takes stack, so both are looked at before the request is read. Errors wrap ErrMalformed, or ErrTooLarge where it
// would take more than most.
func otlpCost(body []byte, json bool, most int64) (int64, error) {
	s := costs{sum: int64(len(body)), most: most}
	if json {
		err := s.json(body)
		return s.sum, err
	}
	err := s.protobuf(otlpRequest, body, 0)
	return s.sum, err
}

// costs adds up what parts of a request cost.
type costs struct{ sum, most int64 }

func (s *costs) add(n int64) error {
	if s.sum += n; s.sum > s.most {
		return fmt.Errorf("%w: reading it takes more than %d bytes of memory (distributor.max_inflight_bytes)", ErrTooLarge, s.most)
	}
	return nil
}

func (s *costs) protobuf(m *message, p []byte, depth int) error {
	if depth > maxNesting {
		return tooDeep(maxNesting)
	}
	w := fields{p: p}
	for w.next() {
		if w.wire != wireBytes || w.id >= uint64(len(m.fields)) {
			continue
		}
		cost, inner := int64(0), m.fields[w.id]
		if w.id == m.packed[0] || w.id == m.packed[1] {
			cost = 8 * int64(len(w.data()))
		}
		if inner != nil {
			cost = inner.bytes
		}
		if err := s.add(cost); err != nil {
			return err
		}
		if inner == nil {
			continue
		}
		if err := s.protobuf(inner, w.data(), depth+1); err != nil {
			return err
		}
	}
	return w.err("ExportMetricsServiceRequest")
}

func tooDeep(most int) error {
	return fmt.Errorf("%w: OTLP: its messages are nested more than %d deep", ErrMalformed, most)
}

// perObject is what an object or array of JSON takes; a value of an array takes less than perValue.
const (
	perObject = 192
	perValue  = 8
)

func (s *costs) json(body []byte) (err error) {
	depth, quoted := 0, false
	for i := 0; i < len(body) && err == nil; i++ {
		c := body[i]
		switch {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxNestingJSON {
				return tooDeep(maxNestingJSON)
			}
			err = s.add(perObject)
		case c == '}' || c == ']':
			depth--
		case c == ',':
			err = s.add(perValue)
		}
	}
	return err
}
