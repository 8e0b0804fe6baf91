// Package load makes, sends and verifies a Kubernetes-like metrics load whose every sample is a pure function of
// a seed.
//
// It owns four things:
//
//   - Generator: which series exist, which labels they carry, and which value each has at each step. Nothing is
//     remembered: the value of a slot at a step is computed from (seed, slot, step) alone, bit for bit the same in
//     every process.
//   - Writer: sends the load as a Prometheus does, over remote write 1.0 or 2.0, in the order of time, one request
//     at a time per lane, with retries.
//   - Ledger: an append-only file that says for each range of positions whether it was acked, refused, or is unknown.
//     An intent is in the file before the first byte goes to the server, so a position that the ledger does not name was
//     never sent, whatever was killed in the meantime.
//   - Verifier: reads everything back and compares it with Generator and Ledger: each acked sample is there exactly
//     once with exactly its bits, refused ones are absent, unknown ones are absent or right, and nothing else exists.
//
// # Words
//
// A slot is one place for a series, numbered 0 … Series−1. With churn the series in a slot is replaced from time to time:
// (slot, generation) is one series. A step is one scrape of all slots. A lane is one ordered stream of requests, as a shard of a
// Prometheus' remote-write queue is: lane l owns the slots l, l+Lanes, l+2·Lanes … and belongs to tenant l mod Tenants.
// A position counts (step, slot) pairs along a lane, so a request is a lane and a range of positions.
package load
