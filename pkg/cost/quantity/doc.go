// Package quantity owns exact integrals of what metrics say over time: steps, counters, and the larger of both. It promises integers
// whose pieces telescope: an interval's integral is the sum of its parts'.
package quantity
