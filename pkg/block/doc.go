// Package block owns TSDB blocks, immutable directories of series in Prometheus' own layout: it writes them, reads
// them over any storage that can give byte ranges, selects from them, merges and verifies them.
//
// It promises that what it reads is what was written or an error: every entry, list, table group and chunk is
// checked against a CRC before it is believed, and an error names block, file and offset. A block that was written
// is complete, synced to disk and readable by Prometheus before it appears under its name. Merging keeps exactly the
// union of the samples. Memory is bounded by the batch of series in work, never by the block.
//
// The layout is that of https://github.com/prometheus/prometheus/tree/main/tsdb/docs/format (index version 2, chunks
// version 1). Beside it lies one file of ours, the sparse header, described in docs/formats/block.md; a block
// without it is read as well, at the cost of one pass over two tables of its index.
package block
