package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// The errors of reading a request; the HTTP status that each means stands beside it.
var (
	ErrMalformed   = errors.New("malformed request")      // 400
	ErrTooLarge    = errors.New("request is too large")   // 413
	ErrUnsupported = errors.New("unsupported media type") // 415
	ErrTooMany     = errors.New("too many samples")       // 400: more than Request.MaxSamples
)

// Protocol is what a write request speaks.
type Protocol uint8

// The protocols of write requests.
const (
	WriteV1 Protocol = 1 + iota // prometheus.WriteRequest
	WriteV2                     // io.prometheus.write.v2.Request
)

// ProtocolOf reads the headers of a write request. Errors wrap ErrUnsupported.
func ProtocolOf(h http.Header) (Protocol, error) {
	if enc := h.Get("Content-Encoding"); enc != "" && enc != "snappy" {
		return 0, fmt.Errorf("%w: Content-Encoding %q, want snappy", ErrUnsupported, enc)
	}
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || media != "application/x-protobuf" {
		return 0, fmt.Errorf("%w: Content-Type %q, want application/x-protobuf", ErrUnsupported, h.Get("Content-Type"))
	}
	switch proto := params["proto"]; proto {
	case "", "prometheus.WriteRequest":
		return WriteV1, nil
	case "io.prometheus.write.v2.Request":
		return WriteV2, nil
	default:
		return 0, fmt.Errorf("%w: protobuf message %q, want prometheus.WriteRequest or io.prometheus.write.v2.Request", ErrUnsupported, proto)
	}
}

// Body is a request's bytes in buffers that are used again.
type Body struct {
	packed, raw []byte
	gzip        *gzip.Reader
	zstd        *zstd.Decoder
}

// Receive takes the body off a request. limit is in bytes. Errors wrap ErrTooLarge, or are the connection's own.
func (b *Body) Receive(r *http.Request, limit int64) error {
	if r.ContentLength > limit {
		return tooLarge("compressed", r.ContentLength, limit)
	}
	return b.receive(r, limit)
}

// Inflate is what was received, which is packed with Snappy, in the bytes of to if they suffice. The inflated size is
// checked before anything is allocated for it; limit is in bytes. Errors wrap ErrTooLarge or ErrMalformed.
func (b *Body) Inflate(to []byte, limit int64) ([]byte, error) {
	n, err := s2.DecodedLen(b.packed)
	if err != nil {
		return nil, fmt.Errorf("%w: snappy: %w", ErrMalformed, err)
	}
	if int64(n) > limit {
		return nil, tooLarge("inflated", int64(n), limit)
	}
	if cap(to) < n {
		to = make([]byte, n+n/8) // the next one may be a little longer
	}
	raw, err := s2.Decode(to[:n], b.packed)
	if err != nil {
		return nil, fmt.Errorf("%w: snappy: %w", ErrMalformed, err)
	}
	return raw, nil
}

// ReadEncoded takes the body off a request whose Content-Encoding is none, gzip or zstd, and inflates it. limit is in
// bytes and holds for both forms. hold is asked before so many bytes, in all, are taken for it; its error ends the
// reading. Errors wrap ErrUnsupported, ErrTooLarge or ErrMalformed, or are hold's or the connection's own.
func (b *Body) ReadEncoded(r *http.Request, limit int64, hold func(bytes int64) error) ([]byte, error) {
	encoding := strings.ToLower(r.Header.Get("Content-Encoding"))
	switch encoding {
	case "", "identity", "gzip", "zstd":
	default:
		return nil, fmt.Errorf("%w: Content-Encoding %q, want gzip, zstd or none", ErrUnsupported, encoding)
	}
	if err := b.Receive(r, limit); err != nil {
		return nil, err
	}
	var from io.Reader
	var err error
	taken := int64(len(b.packed))
	switch encoding {
	case "gzip":
		from, err = b.ungzip()
	case "zstd":
		taken += zstdWindow
		if err := hold(taken); err != nil {
			return nil, err
		}
		from, err = b.unzstd()
	default:
		return b.packed, nil
	}
	if err == nil {
		err = b.inflate(from, limit, func(n int64) error { return hold(taken + n) })
	}
	return b.raw, err
}

func (b *Body) ungzip() (io.Reader, error) {
	if b.gzip == nil {
		b.gzip = new(gzip.Reader)
	}
	if err := b.gzip.Reset(bytes.NewReader(b.packed)); err != nil {
		return nil, fmt.Errorf("%w: gzip: %w", ErrMalformed, err)
	}
	return b.gzip, nil
}

// zstdWindow is what RFC 8878 advises a decoder to support, and what one may take besides what it inflates.
const zstdWindow = 8 << 20

func (b *Body) unzstd() (_ io.Reader, err error) {
	if b.zstd == nil {
		b.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
	}
	if err := b.zstd.Reset(bytes.NewReader(b.packed)); err != nil {
		return nil, fmt.Errorf("%w: zstd: %w", ErrMalformed, err)
	}
	return b.zstd, nil
}

// inflate fills raw, a step at a time, so that a small body that inflates to much is stopped before it has. hold is asked
// for raw's bytes.
func (b *Body) inflate(from io.Reader, limit int64, hold func(int64) error) error {
	b.raw = b.raw[:0]
	for {
		if len(b.raw) == cap(b.raw) {
			n := min(max(2*cap(b.raw), 4*len(b.packed), 4096), int(limit)+1)
			if err := hold(int64(n)); err != nil {
				return err
			}
			b.raw = append(make([]byte, 0, n), b.raw...)
		}
		n, err := from.Read(b.raw[len(b.raw):cap(b.raw)])
		b.raw = b.raw[:len(b.raw)+n]
		if int64(len(b.raw)) > limit {
			return tooLarge("inflated", int64(len(b.raw)), limit)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: inflate: %w", ErrMalformed, err)
		}
	}
}

func (b *Body) receive(r *http.Request, limit int64) error {
	b.packed = b.packed[:0]
	if n := int(r.ContentLength) + 1; n > cap(b.packed) { // one more, so that the last Read sees the end
		b.packed = make([]byte, 0, n)
	}
	for {
		if len(b.packed) == cap(b.packed) {
			b.packed = append(b.packed, 0)[:len(b.packed)]
		}
		n, err := r.Body.Read(b.packed[len(b.packed):cap(b.packed)])
		b.packed = b.packed[:len(b.packed)+n]
		if int64(len(b.packed)) > limit {
			return tooLarge("compressed", int64(len(b.packed)), limit)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read body: %w", err)
		}
	}
}

func tooLarge(form string, n, limit int64) error {
	return fmt.Errorf("%w: %d bytes %s, at most %d are allowed (max_request_bytes)", ErrTooLarge, n, form, limit)
}
