package distributor

import (
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/tenant"
)

// A token is what it was in all versions: a distributor of another one would send a series elsewhere.
func TestTokensNeverChange(t *testing.T) {
	r := &request{desk: &desk{}, sender: newSender(tenant.Anonymous, &tenant.Limits{}, time.Now())}
	all := [][]labels.Label{
		nil,
		{{Name: "__name__", Value: "up"}},
		{{Name: "__name__", Value: "up"}, {Name: "job", Value: "é\xff"}},
		{{Name: "__name__", Value: strings.Repeat("x", 5000)}, {Name: strings.Repeat("y", 1021), Value: "z"}},
	}
	for _, ls := range all {
		want := uint32(xxhash.Sum64String(tenant.Anonymous.String())*31 + labels.StableHash(labels.New(ls...)))
		if got := r.token(ls); got != want {
			t.Errorf("%.50s: %d, want %d", inWords(ls), got, want)
		}
	}
	if got, want := r.token(all[1]), uint32(2565779012); got != want {
		t.Errorf("of up: %d, want %d", got, want)
	}
}
