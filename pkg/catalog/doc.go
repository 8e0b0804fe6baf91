// Package catalog owns which blocks of a tenant exist, are usable, and are to be deleted; and how a block comes
// whole into the bucket and leaves it.
//
// One object per tenant says it all, so that readers never list. Object stores have no conditional writes, so the
// object is the fold of immutable facts, each an object of its own: blocks added, removed, quarantined, deleted. A
// fact is kept for days after it was folded in, and whoever writes folds in every fact that the object lacks, then
// reads it back and looks again. The fold is commutative, associative and idempotent, and a removal always wins, so
// that writers who overtake or overwrite each other lose nothing. docs/formats/catalog.md has the bytes.
//
// It promises:
//   - after Commit returned, the fact is stored for good, and was in the catalog. A writer that dies right after it
//     overwrote the catalog with an older fold may hide the fact again until the next Commit or Sync of the tenant:
//     look once more before deleting the only other copy of a block;
//   - a block is in the catalog only if its files were in the bucket, with their sizes, at that time;
//   - a catalog that is lost or damaged is made again from the blocks in the bucket and the facts.
package catalog
