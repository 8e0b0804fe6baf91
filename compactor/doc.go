// Package compactor owns what becomes of blocks in the bucket: it merges them, removes those past their tenant's
// retention, deletes the data of removed ones after a grace, and compares the catalog with the bucket. And it counts
// costs: hours of cost cubes, out of blocks, before retention takes these.
//
// It promises that no sample is lost or changed by it: a merge has every sample of its sources once, counted, and
// replaces them in the catalog by one fact; a source's data stays for delete_delay after that. It may die at any
// step: what it leaves is a scratch directory, which the next start removes, a partial upload, which a later
// comparison with the bucket removes, or a whole block that nobody knows, which a later comparison adds; its samples
// are then there twice, are read once, and are merged again. Several compactors may share tenants for the same
// reason: at worst they do a job twice. A block that is damaged, or that has vanished, is quarantined (it stays in
// the catalog and is not compacted any more) and holds up no other. If the bucket is gone or the scratch disk is full,
// nothing happens but errors and retries.
//
// plan.go, which is pure, says which blocks are to be merged; job.go merges them; care.go keeps retention, deletes and
// compares; cost.go says which hours are counted, cost_files.go writes them and their roll-ups.
package compactor
