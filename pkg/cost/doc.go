// Package cost owns the nouns and the law of the cost analysis: what an hour of a cluster was (Hour), whose each part of it is
// (Items, by the law), and what that is in money (reports, with a price book).
//
// It is pure: it reads no samples, files or clocks. Quantities are integers and money is an exact rational until it is
// printed, so sums don't depend on any order, a roll-up says what the hours say to the last bit, and
// the lines of a report add up to its bill. docs/cost.md is the method.
package cost
