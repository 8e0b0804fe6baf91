// Package promql tests that PromQL means here what it means in Prometheus, whatever way the samples took: remote write
// into a real distributor, a real ingester with its log, blocks in a real bucket with its catalog, and a real querier
// over all of them.
//
// It promises that Prometheus' own scripts pass with the samples in the head, in the bucket and split across both, and
// that what does not pass is named line by line, with the reason; and that random samples, written late, twice and
// out of order, are answered for exactly as Prometheus' own storage answers.
package promql
