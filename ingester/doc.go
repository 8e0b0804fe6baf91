// Package ingester owns what was written lately: it logs batches, keeps their samples in heads, answers for them, and
// every epoch cuts the heads into blocks, ships these to the bucket, and lets go of what is safe there.
//
// It promises that what it acked is synced to its log before the ack; that it answers for every acked sample until a
// block with that sample is in the catalog; and that after the loss of anything it acked it says so (Standing), so
// that no reader takes its silence for absence. When the bucket is gone, blocks stay and are served from local disk.
// When the log fails, writes are refused until it has a new segment; reads go on.
//
// The data path: Push (push.go) resolves a batch's numbers to series (stream.go), logs the batch, applies it to the
// current epoch's heads (epoch.go) and waits for the sync. Rotate (rotate.go) begins a new epoch at one position of the
// log; cut (cut.go) turns the old one into local blocks; ship (ship.go) moves them to the bucket. Select (select.go)
// merges heads and local blocks. At a start, writes are taken while the log is still being replayed (recover.go).
package ingester
