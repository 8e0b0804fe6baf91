package querier_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"github.com/varve-io/varve/pkg/head"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/querier"
)

// owner is an ingester that holds one head.
type owner struct {
	*head.Head
	standing series.Standing
	err      error // it is down
	stuck    bool  // it answers only when the reader has given up
}

func (o *owner) say(ctx context.Context) (series.Standing, error) {
	if o.stuck {
		<-ctx.Done()
		return series.Standing{}, ctx.Err()
	}
	return o.standing, o.err
}

func (o *owner) Select(ctx context.Context, q series.Query) (series.Set, series.Standing, error) {
	st, err := o.say(ctx)
	if err != nil {
		return nil, st, err
	}
	set, err := o.Head.Select(ctx, q)
	return set, st, err
}

func (o *owner) LabelNames(ctx context.Context, q series.Query) ([]string, series.Standing, error) {
	st, err := o.say(ctx)
	if err != nil {
		return nil, st, err
	}
	names, err := o.Head.LabelNames(ctx, q)
	return names, st, err
}

func (o *owner) LabelValues(ctx context.Context, name string, q series.Query) ([]string, series.Standing, error) {
	st, err := o.say(ctx)
	if err != nil {
		return nil, st, err
	}
	names, err := o.Head.LabelValues(ctx, name, q)
	return names, st, err
}

func (o *owner) Exemplars(ctx context.Context, q series.Query, ms [][]*labels.Matcher) ([]series.Exemplars, series.Standing, error) {
	st, err := o.say(ctx)
	if err != nil {
		return nil, st, err
	}
	x, err := o.Head.Exemplars(ctx, q.MinTime, q.MaxTime, ms...)
	return x, st, err
}

func (o *owner) Metadata(ctx context.Context, _ tenant.ID) ([]series.Metadata, series.Standing, error) {
	st, err := o.say(ctx)
	return nil, st, err
}

// cluster is a ring whose views follow one another, and its owners.
type cluster struct {
	views  []*ring.View
	owners map[string]*owner
}

func (c *cluster) View() *ring.View { return c.views[0] }

func (c *cluster) Await(context.Context, *ring.View) error {
	if len(c.views) > 1 {
		c.views = c.views[1:]
	}
	return nil
}

func (c *cluster) Owner(_ context.Context, o ring.Owner) (querier.Owner, error) {
	if c.owners[o.Instance] == nil {
		return nil, errors.New("no such instance")
	}
	return c.owners[o.Instance], nil
}

// newCluster has one partition per entry; each owner of it holds the series {p="…"}.
func newCluster(t *testing.T, partitions ...string) *cluster {
	c := &cluster{owners: map[string]*owner{}}
	var ps []ring.Partition
	for i, name := range partitions {
		p := ring.Partition{ID: int32(i), State: ring.Active}
		for _, zone := range []string{"a", "b", "c"} {
			h := head.New(head.Options{})
			s, _, err := h.Series(labels.FromStrings("p", name))
			if err != nil {
				t.Fatal(err)
			}
			s.AppendFloat(1000, 1)
			c.owners[name+zone] = &owner{Head: h}
			p.Owners = append(p.Owners, ring.Owner{Instance: name + zone, Zone: zone})
		}
		ps = append(ps, p)
	}
	c.views = []*ring.View{ring.NewView(1, 3, ps)}
	return c
}

// read gives the values of label p that a read of everything finds.
func (c *cluster) read() (found []string, partial []string, err error) {
	answer, err := querier.Fanout{Ring: c, Owners: c}.Select(context.Background(), series.Query{Tenant: tenant.Anonymous, MaxTime: 5000})
	if err != nil {
		return nil, nil, err
	}
	for answer.Set.Next() {
		found = append(found, answer.Set.At().Labels.Get("p"))
	}
	return found, answer.Partial, errors.Join(answer.Set.Err(), answer.Set.Close())
}

func TestFanout(t *testing.T) {
	down := errors.New("connection refused")
	tests := []struct {
		name   string
		damage func(*cluster)
		want   []string // nil: unavailable
	}{
		{"all up", func(*cluster) {}, []string{"x", "y"}},
		{"one down in each partition", func(c *cluster) { c.owners["xa"].err, c.owners["yb"].err = down, down }, []string{"x", "y"}},
		{"one stuck", func(c *cluster) { c.owners["xa"].stuck = true }, []string{"x", "y"}},
		{"two down in one partition", func(c *cluster) { c.owners["xa"].err, c.owners["xb"].err = down, down }, nil},
		{"one lost its disk", func(c *cluster) { c.owners["xa"].standing.CompleteSince = 1 }, []string{"x", "y"}},
		{"one lost its disk, another is down", func(c *cluster) {
			c.owners["xa"].standing.CompleteSince = 1
			c.owners["xb"].err = down
		}, nil},
		{"an owner knows a partition that never comes", func(c *cluster) { c.owners["xa"].standing.Partitions = []int32{0, 1, 7} }, nil},
		{"an owner knows a partition that the next view has", func(c *cluster) {
			whole := c.views[0]
			c.views = []*ring.View{ring.NewView(1, 3, whole.Partitions[:1:1]), whole}
			for _, o := range c.owners {
				o.standing.Partitions = []int32{0, 1}
			}
		}, []string{"x", "y"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			c := newCluster(t, "x", "y")
			if strings.HasPrefix(tt.name, "an owner knows a partition that never") {
				for _, o := range c.owners {
					o.standing.Partitions = []int32{0, 1, 7}
				}
			}
			tt.damage(c)
			found, partial, err := c.read()
			if tt.want == nil {
				if _, ok := errors.AsType[*querier.UnavailableError](err); !ok {
					t.Errorf("found %v, error %v: want unavailable", found, err)
				}
				return
			}
			if d := cmp.Diff(tt.want, found); err != nil || d != "" || len(partial) > 0 {
				t.Error(err, d, partial)
			}
		})
	}
}

// bucketOf is a catalog and its blocks, some of which are gone.
type bucketOf struct {
	stale, fresh []querier.BlockInfo
	gone         map[ulid.ULID]bool
	opened       int
}

func (b *bucketOf) Blocks(_ context.Context, _ tenant.ID, fresh bool) ([]querier.BlockInfo, func(ulid.ULID) bool, error) {
	list := b.stale
	if fresh {
		list = b.fresh
	}
	known := func(id ulid.ULID) bool {
		for _, i := range list {
			if i.ID == id {
				return true
			}
		}
		return false
	}
	return list, known, nil
}

// openHead is a block that is a head, named by its ID.
type openHead struct{ *head.Head }

func (openHead) Close() error { return nil }

func (b *bucketOf) OpenBlock(_ context.Context, _ tenant.ID, id ulid.ULID) (querier.Block, error) {
	if b.gone[id] {
		return nil, fs.ErrNotExist
	}
	b.opened++
	h := head.New(head.Options{})
	s, _, err := h.Series(labels.FromStrings("id", id.String()))
	if err == nil {
		s.AppendFloat(1000, 1)
	}
	return openHead{h}, err
}

func TestFanoutTellsWhatOwnersHold(t *testing.T) {
	c := newCluster(t, "x")
	held := map[ulid.ULID]bool{}
	for n, zone := range []string{"a", "b", "c"} {
		c.owners["x"+zone].standing.Held = []ulid.ULID{{byte(n + 1)}}
	}
	c.owners["xc"].err = errors.New("connection refused")
	answer, err := querier.Fanout{Ring: c, Owners: c}.Select(context.Background(), series.Query{Tenant: tenant.Anonymous, MaxTime: 5000})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Set.Close()
	for _, id := range answer.Held {
		held[id] = true
	}
	if len(held) != 2 || held[ulid.ULID{3}] {
		t.Errorf("held are %v, want those of the two that answered", answer.Held)
	}
}

func TestBlocks(t *testing.T) {
	one, two := ulid.ULID{1}, ulid.ULID{2}
	info := func(ids ...ulid.ULID) (list []querier.BlockInfo) {
		for _, id := range ids {
			list = append(list, querier.BlockInfo{ID: id, MinTime: 0, MaxTime: 2000})
		}
		return list
	}
	released := func(id ulid.ULID) querier.RecentMeta { return querier.RecentMeta{Released: []ulid.ULID{id}} }
	tests := []struct {
		name   string
		bucket bucketOf
		recent querier.RecentMeta
		want   []ulid.ULID // nil: an error
	}{
		{"as known", bucketOf{stale: info(one), fresh: info(one, two)}, querier.RecentMeta{}, []ulid.ULID{one}},
		{"released, so the catalog is read anew", bucketOf{stale: info(one), fresh: info(one, two)}, released(two), []ulid.ULID{one, two}},
		{"released, but never seen", bucketOf{stale: info(one), fresh: info(one)}, released(two), nil},
		{"vanished, so its heir is read", bucketOf{stale: info(one), fresh: info(two), gone: map[ulid.ULID]bool{one: true}}, querier.RecentMeta{}, []ulid.ULID{two}},
		{"held by an owner, so not read in the bucket", bucketOf{stale: info(one, two), gone: map[ulid.ULID]bool{one: true}}, querier.RecentMeta{Held: []ulid.ULID{one}}, []ulid.ULID{two}},
		{"vanished, never skipped", bucketOf{stale: info(one, two), fresh: info(one, two), gone: map[ulid.ULID]bool{one: true}}, querier.RecentMeta{}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			blocks := querier.NewBlocks(&tt.bucket, &tt.bucket, 1)
			set, err := blocks.Select(context.Background(), series.Query{Tenant: tenant.Anonymous, MaxTime: 1500}, tt.recent)
			if tt.want == nil {
				if err == nil {
					t.Error("no error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []ulid.ULID
			for set.Next() {
				got = append(got, ulid.MustParse(set.At().Labels.Get("id")))
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			if err := errors.Join(set.Err(), set.Close(), blocks.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}
