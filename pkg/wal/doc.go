// Package wal is the ingester's log: records of all tenants in one sequence of files, in epochs that are deleted whole.
//
// # What it promises
//
// A record whose Wait returned nil is on disk: a later Replay hands it to the caller, in the order of the Appends of its
// epoch, after any crash, power loss or failed write in between. A record whose Wait returned an error was not acked; a
// Replay may or may not hand it out. A record is handed out at most once.
//
// # How
//
// Append copies a record into the group that is collecting. One goroutine, Run, takes the group, writes it as frames,
// calls fdatasync once and wakes everybody who waits for the group; the next group collects meanwhile. Frames lie in
// segments (files), segments in epochs (directories). A process never writes into a file that an earlier one left: it
// begins a new segment, whose header names the length up to which the one before it counts.
//
// The first error of a write or a sync fences the log: the group in flight and those behind it fail, their segment is
// closed and never touched again, and the log refuses Appends until a new segment has been written and synced. No
// operator is needed. Below a low-water mark of free space Append refuses too, before the disk is full.
//
// Damage found at replay costs the frames that it hits and nothing else; Damage says how many acked records are missing,
// which record numbers in frames and headers make countable. A group that a crash tore, and that nobody was told of, is
// no loss.
//
// The format is described in docs/formats/wal.md.
package wal
