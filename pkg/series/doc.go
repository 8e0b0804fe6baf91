// Package series owns the nouns of the data path: what a distributor sends to the owners of a partition (Batch),
// what a source of series answers (Set, Chunked), and how answers of several sources become one (Merge, NewIterator).
//
// It promises that an encoded batch means the same on every owner and after every replay, that reading a batch
// never panics and never allocates more than the batch's own size bears out, and that merging is exact and
// deterministic: no sample twice, none lost, and of two values for one series and time the same one stays
// everywhere, whatever the order of the sources.
package series
