// Package cost owns the nouns and the law of the cost analysis: what an hour of a cluster was (Hour), whose each part of it is
// (Ledger, by the law of a Method), and what that is in money (Report, Fleet, with a price book).
//
// It is pure: it reads no samples, files or clocks. Quantities are integers and money is a whole number of grains until it is
// printed, so sums don't depend on any order, a roll-up says what the hours say to the last bit, and
// the lines of a report add up to its bill. docs/cost.md is the method.
//
//	Method.Ledger   an hour's nodes and assets, divided among those who held them
//	RollUp          ledgers of a day or month as one, without pods and names of nodes
//	Builder         ledgers to a Report: lines by dimensions and steps, shared costs, residual, hash
//	FleetBuilder    ledgers to a Fleet: assets, their costs and how much of them was used
//	Scales          ledgers to the changes of replicas and nodes
package cost
