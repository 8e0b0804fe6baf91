package join

import (
	"context"
	"fmt"
	"iter"

	"github.com/varve-io/varve/pkg/cost"
)

// Ledgers divides the slots of the query's window (cost.Query.SlotEnd), one after the other, as they are asked for: hours, and parts of
// hours that the window or a step cuts. They share their names, which are the options' if it has some. The options' Start, From and To are not used. An error is
// the last that comes.
func Ledgers(ctx context.Context, src Source, o Options, q cost.Query) iter.Seq2[*cost.Ledger, error] {
	return func(yield func(*cost.Ledger, error) bool) {
		names := o.Names
		if names == nil {
			names = cost.NewNames()
		}
		for from := q.From; from < q.To; from = o.To {
			o.Start, o.From, o.To = from-from%hourLength, from, q.SlotEnd(from)
			slot := o
			if o.To-o.From == hourLength {
				slot.From, slot.To = 0, 0
			}
			h, err := Hour(ctx, src, slot)
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
