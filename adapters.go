package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/ingester"
	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/rpc"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/querier"
)

// ringer is the ring as all components need it.
type ringer interface {
	View() *ring.View
	Await(ctx context.Context, v *ring.View) error
}

// singleRing is the ring of one process. It never changes.
type singleRing struct{ view *ring.View }

func (r singleRing) View() *ring.View { return r.view }

func (r singleRing) Await(ctx context.Context, _ *ring.View) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// shipper is the ingester's catalog.
type shipper struct {
	store  *catalog.Store
	bucket bucket.Bucket
}

func (s shipper) Ship(ctx context.Context, id tenant.ID, dir string) error {
	b, err := catalog.Upload(ctx, s.bucket, id, dir)
	if err != nil {
		return err
	}
	_, err = s.store.Commit(ctx, id, catalog.Fact{Add: []catalog.Block{b}})
	return err
}

func (s shipper) Knows(ctx context.Context, id tenant.ID, b ulid.ULID) (bool, error) {
	c, err := s.store.Load(ctx, id)
	if err != nil {
		return false, err
	}
	return c.Knows(b), nil
}

// catalogOf is the querier's catalog.
type catalogOf struct{ cache *catalog.Cache }

// While the bucket is gone, an older catalog serves. That leaves no gap: blocks that were let go of since are named by
// the ingesters, for longer than such a catalog is used, and then the querier asks for a fresh one.
func (c catalogOf) Blocks(ctx context.Context, id tenant.ID, fresh bool) ([]querier.BlockInfo, func(ulid.ULID) bool, error) {
	if fresh {
		cat, err := c.cache.Refresh(ctx, id)
		return infos(cat, err)
	}
	return infos(lately(ctx, c.cache, id))
}

// lately is a tenant's catalog, an older one while the bucket is gone.
func lately(ctx context.Context, c *catalog.Cache, id tenant.ID) (*catalog.Catalog, error) {
	cat, err := c.Get(ctx, id, catalogAge)
	if err != nil {
		if old := c.Last(id, catalogAtWorst); old != nil {
			return old, nil
		}
	}
	return cat, err
}

func infos(cat *catalog.Catalog, err error) ([]querier.BlockInfo, func(ulid.ULID) bool, error) {
	if err != nil {
		return nil, nil, &querier.UnavailableError{Reason: fmt.Sprintf("which blocks there are can't be read from the bucket: %v", err)}
	}
	infos := make([]querier.BlockInfo, 0, len(cat.Blocks))
	for _, b := range cat.Blocks {
		infos = append(infos, querier.BlockInfo{ID: b.ID, MinTime: b.MinTime, MaxTime: b.MaxTime})
	}
	return infos, cat.Knows, nil
}

// opener opens blocks in the bucket for the querier.
type opener struct{ s *shared }

func (o opener) OpenBlock(ctx context.Context, id tenant.ID, b ulid.ULID) (querier.Block, error) {
	cat, err := lately(ctx, o.s.catalogs, id)
	if err != nil {
		return nil, err
	}
	entry, ok := cat.Block(b)
	if !ok {
		return nil, fmt.Errorf("block %s of tenant %s has left the catalog: %w", b, id, fs.ErrNotExist)
	}
	return block.Open(ctx, entry.OpenFiles(o.s.reader, id), entry.Meta())
}

// prices are tenants' price books, one object each.
type prices struct{ bucket bucket.Bucket }

func (p prices) name(id tenant.ID) string { return id.String() + "/varve/cost/prices.yaml" }

func (p prices) Book(ctx context.Context, id tenant.ID) (*price.Book, error) {
	r, err := p.bucket.Get(ctx, p.name(id))
	if p.bucket.IsObjNotFoundErr(err) {
		return price.Default(), nil
	}
	if err != nil {
		return nil, &querier.UnavailableError{Reason: fmt.Sprintf("the price book can't be read from the bucket: %v", err)}
	}
	text, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, &querier.UnavailableError{Reason: fmt.Sprintf("the price book can't be read from the bucket: %v", err)}
	}
	return price.Parse(text)
}

func (p prices) Put(ctx context.Context, id tenant.ID, b *price.Book) error {
	if err := p.bucket.Upload(ctx, p.name(id), bytes.NewReader(b.Text())); err != nil {
		return &querier.UnavailableError{Reason: fmt.Sprintf("the price book can't be written to the bucket: %v", err)}
	}
	return nil
}

// cubes are what the compactor has counted of costs.
type cubes struct {
	bucket bucket.Bucket
	reader *bucket.Reader
}

func (c cubes) Manifest(ctx context.Context, id tenant.ID) (*cube.Manifest, error) {
	m, err := cube.Load(ctx, c.bucket, id)
	if err != nil && !errors.Is(err, cube.ErrDamaged) && !errors.Is(err, cube.ErrVersion) {
		return nil, &querier.UnavailableError{Reason: fmt.Sprintf("which hours of costs were counted can't be read from the bucket: %v", err)}
	}
	return m, err
}

func (c cubes) Open(name string, size int64) querier.CubeFile { return c.reader.File(name, size) }

// served is the ingester as rpc serves it.
type served struct{ *ingester.Ingester }

// Ready is nil while batches are taken: links don't wait for the replay's end, when reads are answered.
func (s served) Ready() error { return s.Accepting() }

func (s served) Push(batch []byte) (series.Receipt, error) {
	r, err := s.Ingester.Push(batch)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// peers asks the other owners of this process' partition.
type peers struct {
	s *shared
	c ring.Config
}

func (p peers) Standings(ctx context.Context) []series.Standing {
	return rpc.Peers{Pool: p.s.pool, Ring: p.s.ring, Instance: p.c.Instance, Partition: int32(p.c.Partition)}.Standings(ctx)
}

// dialer leads the distributor to owners.
type dialer struct{ *rpc.Pool }

func (d dialer) Dial(ctx context.Context, o ring.Owner) (distributor.Owner, error) {
	l, err := d.Pool.Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// owners leads the querier to owners.
type owners struct{ *rpc.Pool }

func (o owners) Owner(_ context.Context, owner ring.Owner) (querier.Owner, error) {
	r, err := o.Reads(owner)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// authenticated lets through whom the tokens allow, and tells the handler the tenants.
func authenticated(t *tenant.Tokens, scope tenant.Scope, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		identity, err := t.Authenticate(r, scope)
		if err != nil {
			http.Error(w, err.Error(), tenant.HTTPStatus(err))
			return
		}
		names := make([]string, len(identity.Tenants))
		for i, id := range identity.Tenants {
			names[i] = id.String()
		}
		r.Header.Set(tenant.Header, strings.Join(names, "|"))
		next.ServeHTTP(w, r)
	})
}
