package join

import (
	"context"
	"fmt"
	"iter"

	"github.com/varve-io/varve/pkg/cost"
)

// Ledgers divides the hours of [from, to), one after the other, as they are asked for; the first and the last may be cut. They share
// their names. The options' Start, From and To are not used. An error is the last that comes.
func Ledgers(ctx context.Context, src Source, o Options, q cost.Query) iter.Seq2[*cost.Ledger, error] {
	return func(yield func(*cost.Ledger, error) bool) {
		names := cost.NewNames()
		for o.Start = q.From - q.From%hourLength; o.Start < q.To; o.Start += hourLength {
			o.From, o.To = max(o.Start, q.From), min(o.Start+hourLength, q.To)
			if o.To-o.From == hourLength {
				o.From, o.To = 0, 0
			}
			h, err := Hour(ctx, src, o)
			var l *cost.Ledger
			if err == nil {
				if l, err = q.Method.Ledger(h, names); err != nil {
					err = fmt.Errorf("hour %s: %w", cost.Time(o.Start), err)
				}
			}
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}
