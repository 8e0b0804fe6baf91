// Package remote owns what senders speak: remote write 1.0 and 2.0, read in place as a sequence of series, and OTLP,
// Influx lines and Prometheus' text, which become requests of 2.0 before they are read.
//
// It promises never to panic, never to allocate more than the request's own size bears out (a body is refused by
// its declared size before it is inflated), and to keep every bit of every value. It scans the fields that make up
// nearly all of a request itself, because a general protobuf decoder costs ten times as much; the rare ones
// (histograms) go through Prometheus' generated code. Formats: prometheus/prompb/remote.proto and
// prometheus/prompb/io/prometheus/write/v2/types.proto.
package remote
