package ingester

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
)

// owners gives a view of one partition with these owners.
func owners(rf int, names ...string) viewOf {
	p := ring.Partition{ID: 0, State: ring.Active}
	for _, n := range names {
		p.Owners = append(p.Owners, ring.Owner{Instance: n})
	}
	return viewOf{ring.NewView(1, rf, []ring.Partition{p})}
}

// newOwner is an owner with an empty disk that starts beside others, with their bucket.
func newOwner(t *testing.T, name string, bucket objstore.Bucket, view viewOf) *bed {
	b := newBedOf(t, time.Hour)
	b.instance, b.bucket, b.ring = name, bucket, view
	b.start()
	return b
}

// Owners with empty disks are complete from the start only while the partition never had more of them than the
// replication factor: an owner of another name in the place of a dead one lacks what that one and another acked.
func TestANewNameInTheOldPlaceIsNoWitness(t *testing.T) {
	for _, c := range []struct {
		name     string
		rf       int
		complete []string // come first
		replaced []string // come then
	}{
		{"one process", 1, []string{"a"}, nil},
		{"one process in the place of another", 1, []string{"a"}, []string{"x"}},
		{"a first start, or owners that come late", 3, []string{"a", "b", "c"}, nil},
		{"the place of one, and of another", 3, []string{"a", "b", "c"}, []string{"x", "y"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bucket, nobody := objstore.NewInMemBucket(), owners(c.rf)
			for _, name := range c.complete {
				if since := newOwner(t, name, bucket, nobody).Standing().CompleteSince; since != 0 {
					t.Errorf("%s says that it is complete since %d", name, since)
				}
			}
			for _, name := range c.replaced {
				if newOwner(t, name, bucket, nobody).Standing().CompleteSince == 0 {
					t.Errorf("%s says that it has everything", name)
				}
			}
		})
	}
}

// Under a lesser replication factor, a sample may have been acked by fewer owners than later reads leave out.
func TestANewOwnerAfterAGreaterFactorIsNoWitness(t *testing.T) {
	bucket := objstore.NewInMemBucket()
	newOwner(t, "a", bucket, owners(1, "a"))
	if newOwner(t, "b", bucket, owners(3, "a")).Standing().CompleteSince == 0 {
		t.Error("it says that it has what only the first owner acked")
	}
}

// A newcomer lacks what others receive until the ring shows it, however long that takes and however often it restarts.
func TestANewcomerIsCompleteSinceTheRingShowsIt(t *testing.T) {
	bucket := objstore.NewInMemBucket()
	for _, name := range []string{"a", "b", "c"} {
		newOwner(t, name, bucket, owners(3, "a", "b", "c"))
	}
	b := newOwner(t, "x", bucket, owners(3, "a", "b", "c"))
	for _, restart := range []bool{false, true} {
		if restart {
			b.restart()
		}
		for range 2 {
			before := time.Now().UnixMilli()
			if since := b.Standing().CompleteSince; since < before {
				t.Errorf("not in the ring yet, it is complete since %d, before %d", since, before)
			}
		}
	}
	b.stop()
	b.ring = owners(3, "b", "c", "x")
	b.start()
	joined := b.Standing().CompleteSince
	if before := time.Now().UnixMilli(); joined < before {
		t.Errorf("it is complete since %d, before every distributor knows it", joined)
	}
	b.restart()
	if since := b.Standing().CompleteSince; since != joined {
		t.Errorf("after a restart it is complete since %d, not %d", since, joined)
	}

	// Once it has healed, the dead owner is forgotten, and those that are there are not.
	if err := forgetGone(t.Context(), b.deps, joined); err != nil {
		t.Fatal(err)
	}
	left, err := others(t.Context(), b.deps)
	if _, gone := left["a"]; err != nil || gone || len(left) != 2 {
		t.Errorf("the bucket knows %v: %v", left, err)
	}
	if newOwner(t, "y", bucket, owners(3, "b", "c", "x")).Standing().CompleteSince == 0 {
		t.Error("the next one that takes a place says that it has everything")
	}
}

// deafBucket takes nothing.
type deafBucket struct{ objstore.Bucket }

var errDeaf = errors.New("bucket has gone")

func (deafBucket) Exists(context.Context, string) (bool, error) { return false, errDeaf }

// An owner that was flushed and forgotten, and comes back with its disk while the bucket is gone, serves; that nobody
// would notice the loss of its disk is shown.
func TestAnOwnerThatTheBucketDoesNotKnowShowsIt(t *testing.T) {
	b := newBed(t)
	b.push(func(bl *series.Builder) { bl.Define(0, named("a")); bl.Float(0, 1000, 1) })
	if err := b.Leave(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.stop()
	if _, err := os.Stat(b.dir); err != nil {
		t.Fatal(err)
	}
	there := b.bucket
	b.bucket = deafBucket{there}
	b.start()
	registered := func() float64 {
		t.Helper()
		all, err := b.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.GetName() == "varve_ingester_registered" {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return -1
	}
	if b.Standing().CompleteSince != 0 || registered() != 0 {
		t.Errorf("complete since %d, registered is %v", b.Standing().CompleteSince, registered())
	}
	b.stop()
	b.bucket = there
	if b.start(); registered() != 1 {
		t.Error("with the bucket back, it is not registered")
	}
}
