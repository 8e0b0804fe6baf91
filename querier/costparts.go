package querier

import (
	"iter"
	"strings"

	"github.com/varve-io/varve/pkg/cost"
)

// hoursProRata is the warning of hours that a window or a step cuts, and whose samples are gone: their parts are shares of the hour by time.
const hoursProRata = "hours_pro_rata"

// proRata is the warning of these hours, if there are any. It names the first ones.
func proRata(hours []int64) []cost.Warning {
	const named = 5
	var names []string
	for _, h := range hours[:min(len(hours), named)] {
		names = append(names, cost.Time(h).String())
	}
	switch {
	case len(hours) == 0:
		return nil
	case len(hours) > named:
		names = append(names, "…")
	}
	return []cost.Warning{{Name: hoursProRata, Count: int64(len(hours)), Example: strings.Join(names, ", ")}}
}

// divided are the ledgers of an hour of a cube: one, or one for each slot that is within the stretch if the hour is cut.
func divided(h *cost.Hour, q *cost.Query, s stretch, names *cost.Names) iter.Seq2[*cost.Ledger, error] {
	return func(yield func(*cost.Ledger, error) bool) {
		end := min(h.Start+hourMillis, s.to)
		for from := max(h.Start, s.from); from < end; from = q.SlotEnd(from) {
			part, err := h, error(nil)
			if to := q.SlotEnd(from); to-from < hourMillis {
				part, err = h.Part(from, to)
			}
			var l *cost.Ledger
			if err == nil {
				l, err = q.Method.Ledger(part, names)
			}
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}
