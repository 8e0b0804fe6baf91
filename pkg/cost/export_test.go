package cost

import "github.com/varve-io/varve/pkg/cost/money"

// UnusedAmount is Unused before it was rounded.
func (l *Line) UnusedAmount() money.Amount { return l.unused }

// Amount is Unused before it was rounded.
func (l *ScaleLine) Amount() money.Amount { return l.unused }

// Amount is Idle before it was rounded.
func (n *NodeEvents) Amount() money.Amount { return n.idle }

// BorderOf is where the first step after t begins.
func BorderOf(q *Query, t int64) int64 { return q.border(t) }

// All are the subjects and places that have numbers.
func (n *Names) All() ([]Subject, []Place) { return n.subjects.values, n.places.values }
