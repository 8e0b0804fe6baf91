// Package distributor owns the way in: it takes write requests, decides every refusal, spreads the rest over the
// partitions of the ring, and answers once a majority of each partition's owners has synced what it was sent.
//
// It promises that a 2xx means all of it is stored, that whatever was refused is named with its limit, and that one
// slow or absent owner never holds up the others. When an owner dies, its batches fail and the quorum goes on without
// it; when it comes back it gets a new stream, whose dictionary the next requests fill.
//
// The series table is what makes it cheap: senders repeat the same label bytes in every request, so a series is
// parsed, validated and placed once, and found again by a hash of those bytes.
package distributor
