// Package head owns the samples of one tenant in one epoch, in memory: it takes them in, answers for them while
// they come in, and hands them over to a block writer when the epoch is cut.
//
// The rules:
//
//   - A head only grows. There is no truncation, no garbage collection and no reference that outlives it: at the
//     end of its epoch it is sealed (appends are refused from then on), read a last time, and freed whole.
//   - Samples come in any order. Those after their series' newest go to the series' open chunk, which is sealed at
//     120 samples; late ones gather in a small buffer and are sealed into chunks of their own. Nothing is refused
//     for its time.
//   - Of two samples of one series and time the same one stays on every replica, whatever the order in which they
//     came: series.Wins and series.CompareHistograms decide. An exact duplicate is no event.
//   - Reading never stops appending for longer than it takes to copy one open chunk. A selection sees, of every
//     series, all samples whose append had returned when the selection began; of later ones it may see some.
//   - What can't be kept is refused with an outcome, never with a panic: a malformed histogram, an append after Seal.
//
// A head is volatile: whoever needs its samples after a crash keeps a log of them. A snapshot of each series
// (snapshot.go) spares reading that log from its beginning: sealed chunks never change, so only new ones are stored
// again, and the open ones are restored with their encoder's state.
package head
