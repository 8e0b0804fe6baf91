// Package telemetry owns how Varve tells about itself: the logger, the metrics
// registry, tracing, health, and the HTTP handlers that serve them.
//
// It promises that nothing here is global unless package main asks for it
// ([Tracing.Install]), that every label has a bounded set of values, and that a
// process is not ready before every part that was named has said so.
package telemetry
