package querier

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
)

func view(rf int, state ring.State, owners ...int) *ring.View {
	var ps []ring.Partition
	for id, n := range owners {
		p := ring.Partition{ID: int32(id), State: state}
		for zone := range n {
			p.Owners = append(p.Owners, ring.Owner{Instance: fmt.Sprintf("i-%c-%d", 'a'+zone, id)})
		}
		ps = append(ps, p)
	}
	return ring.NewView(1, rf, ps)
}

func TestLacking(t *testing.T) {
	tests := []struct {
		name      string
		view      *ring.View
		witnesses []string
		want      []int32
	}{
		{"one owner of one", view(1, ring.Active, 1), []string{"i-a-0"}, nil},
		{"none of one", view(1, ring.Active, 1), nil, []int32{0}},
		{"two of three", view(3, ring.Active, 3), []string{"i-a-0", "i-c-0"}, nil},
		{"one of three", view(3, ring.Active, 3), []string{"i-a-0"}, []int32{0}},
		{"one registered of three", view(3, ring.Active, 1), []string{"i-a-0"}, []int32{0}},
		{"no owner registered", view(3, ring.Active, 0), nil, []int32{0}},
		{"inactive counts too", view(3, ring.Inactive, 3), []string{"i-a-0"}, []int32{0}},
		{"pending is content with those it has", view(3, ring.Pending, 1), []string{"i-a-0"}, nil},
		{"pending with all its owners", view(3, ring.Pending, 3), []string{"i-a-0"}, []int32{0}},
		{"two dead that share no partition", view(3, ring.Active, 3, 3), []string{"i-a-0", "i-b-0", "i-a-1", "i-c-1"}, nil},
		{"two dead that share one", view(3, ring.Active, 3, 3), []string{"i-a-0", "i-a-1", "i-b-1", "i-c-1"}, []int32{0}},
		{"even factor", view(2, ring.Active, 2), []string{"i-a-0"}, nil},
		{"a stranger", view(1, ring.Active, 1), []string{"i-x-0"}, []int32{0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := map[string]bool{}
			for _, i := range tt.witnesses {
				w[i] = true
			}
			if d := cmp.Diff(tt.want, lacking(tt.view, w)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestBearsWitness(t *testing.T) {
	const lost = 1_700_000_000_000
	for _, tt := range []struct {
		since, mint int64
		want        bool
	}{
		{0, -1 << 63, true},
		{lost, -1 << 63, false},
		{lost, lost, false},
		{lost, lost + 600_001, false}, // the limit by a clock that is ahead
		{lost, lost + 900_000, false},
		{lost, lost + 900_001, true},
		{lost, anytime, true},
	} {
		if got := bearsWitness(series.Standing{CompleteSince: tt.since}, tt.mint); got != tt.want {
			t.Errorf("complete since %d, read from %d: %v", tt.since, tt.mint, got)
		}
	}
}
