package rpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/varve-io/varve/pkg/series"
)

// frameSize is how many bytes of records are sent at once, at least.
const frameSize = 128 << 10

// read answers one read.
func (s *Server) read(stream grpc.ServerStream) (err error) {
	select {
	case s.reads <- struct{}{}:
		defer func() { <-s.reads }()
	default:
		return fmt.Errorf("%w: %d reads are under way", series.ErrUnavailable, maxReads)
	}
	ctx, cancel := context.WithTimeout(stream.Context(), maxReadTime)
	defer cancel()
	var f frame
	if err := stream.RecvMsg(&f); err != nil {
		return err
	}
	r, err := parseRequest(f.body)
	if err != nil {
		return err
	}
	began := time.Now()
	defer func() { s.metrics.read(r.verb, began, err) }()
	return s.answer(ctx, &r, &answerWriter{stream: stream})
}

// answer asks the ingester and sends what it says.
func (s *Server) answer(ctx context.Context, r *request, w *answerWriter) error {
	switch r.verb {
	case selectSeries:
		set, standing, err := s.ingester.Select(ctx, r.query)
		if err != nil {
			return err
		}
		return w.series(set, standing)
	case labelNames:
		names, standing, err := s.ingester.LabelNames(ctx, r.query)
		return writeAll(w, names, standing, err, appendString)
	case labelValues:
		values, standing, err := s.ingester.LabelValues(ctx, r.name, r.query)
		return writeAll(w, values, standing, err, appendString)
	case exemplars:
		found, standing, err := s.ingester.Exemplars(ctx, r.query, r.groups)
		return writeAll(w, found, standing, err, appendExemplars)
	case families:
		found, standing, err := s.ingester.Metadata(ctx, r.query.Tenant)
		return writeAll(w, found, standing, err, appendFamily)
	}
	if err := w.begin(s.ingester.Standing()); err != nil {
		return err
	}
	return w.end()
}

// answerWriter sends an answer's frames.
type answerWriter struct {
	stream  grpc.ServerStream
	buf     []byte // of records that are not sent yet
	records uint64
}

func (w *answerWriter) begin(s series.Standing) error {
	return w.stream.SendMsg(&frame{body: appendStanding([]byte{frameStanding}, s)})
}

// wrote counts a record and sends the frame once it is large enough.
func (w *answerWriter) wrote() error {
	w.records++
	if len(w.buf) < frameSize {
		return nil
	}
	return w.flush()
}

// room makes the buffer begin with the frame's kind.
func (w *answerWriter) room() {
	if w.buf == nil {
		w.buf = append(make([]byte, 0, frameSize+frameSize/8), frameRecords)
	}
}

// flush sends the frame and leaves its bytes to gRPC.
func (w *answerWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	f := &frame{body: w.buf}
	w.buf = nil
	return w.stream.SendMsg(f)
}

func (w *answerWriter) end() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.stream.SendMsg(&frame{body: binary.AppendUvarint([]byte{frameEnd}, w.records)})
}

func (w *answerWriter) series(set series.Set, standing series.Standing) (err error) {
	defer func() {
		if cerr := set.Close(); err == nil {
			err = cerr
		}
	}()
	if err := w.begin(standing); err != nil {
		return err
	}
	for set.Next() {
		w.room()
		w.buf = appendSeries(w.buf, set.At())
		if err := w.wrote(); err != nil {
			return err
		}
	}
	if err := set.Err(); err != nil {
		return err
	}
	return w.end()
}

// writeAll sends an answer that is in memory.
func writeAll[T any](w *answerWriter, records []T, standing series.Standing, err error, add func([]byte, T) []byte) error {
	if err != nil {
		return err
	}
	if err := w.begin(standing); err != nil {
		return err
	}
	for _, r := range records {
		w.room()
		w.buf = add(w.buf, r)
		if err := w.wrote(); err != nil {
			return err
		}
	}
	return w.end()
}
