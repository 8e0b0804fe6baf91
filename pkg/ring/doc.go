// Package ring owns which partitions there are, in which state, and who holds them: an immutable View of it, and the
// arithmetic of quorums over the configured replication factor. Beside it, its store carries which replicas of HA pairs
// distributors have elected. It is the only importer of dskit's ring and of memberlist.
//
// It promises that a View never changes under its user, that a series' hash leads to the same partition in every
// process that knows the same partitions, and that quorums count configured owners, never the ones that happen to be
// registered or healthy.
package ring
