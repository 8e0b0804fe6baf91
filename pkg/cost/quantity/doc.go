// Package quantity owns exact integrals of what metrics say over time. A gauge is a right-continuous step (Level), a counter spreads its
// increases evenly (Spread); both are sorted lists of pieces that don't overlap, and what is between pieces is unknown.
//
// It promises integers whose pieces telescope: however an interval is split, the integrals of its parts add up to its own, to the
// last unit. It is pure, and costs no allocation per sample.
//
// Units: milliseconds; CPU and GPUs in thousandths, so that one of them for one millisecond is a core-microsecond; bytes.
package quantity
