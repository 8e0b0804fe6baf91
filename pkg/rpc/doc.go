// Package rpc carries batches and reads between components: a server in front of an ingester, and a pool of clients that
// reach owners of partitions over gRPC, or in memory where the owner is this process.
//
// It promises that the batches of one link are pushed in their order, each once at most, and that a link breaks as a
// whole: after an error nothing more goes through it, and every batch that is not acked by then fails. An answer to a
// read that ends without an error is complete. Errors keep their kind over the wire (series.ErrInvalid and its like).
// Queues, messages, streams and answers are bounded. A peer that is gone is noticed at once, one that is frozen within
// a few seconds. With TLS only holders of a certificate of the cluster's own authority can connect, and a peer that is
// not the instance that was meant refuses.
//
// The format on the wire is docs/formats/rpc.md.
package rpc
