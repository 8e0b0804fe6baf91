// Package price owns the price book: rules that give nodes, volumes, load balancers, traffic and clusters their prices, by the hour from
// which they are in force. docs/cost.md has its format.
//
// A book is immutable. The latest list with from <= t is the whole book at t. In each section the first rule that matches wins. What no rule matches
// gets the built-in price, and the answer says so.
package price
