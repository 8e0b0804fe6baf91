package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/ingester"
	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/ring"
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

func (c catalogOf) Blocks(ctx context.Context, id tenant.ID, fresh bool) ([]querier.BlockInfo, func(ulid.ULID) bool, error) {
	read := func() (*catalog.Catalog, error) { return c.cache.Get(ctx, id, catalogAge) }
	if fresh {
		read = func() (*catalog.Catalog, error) { return c.cache.Refresh(ctx, id) }
	}
	cat, err := read()
	if err != nil {
		return nil, nil, err
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
	cat, err := o.s.catalogs.Get(ctx, id, catalogAge)
	if err != nil {
		return nil, err
	}
	entry, ok := cat.Block(b)
	if !ok {
		return nil, fmt.Errorf("block %s of tenant %s has left the catalog: %w", b, id, fs.ErrNotExist)
	}
	return block.Open(ctx, entry.OpenFiles(o.s.reader, id), entry.Meta())
}

// localDialer leads to the ingester of this process.
type localDialer struct{ i *ingester.Ingester }

func (d localDialer) Dial(context.Context, ring.Owner) (distributor.Owner, error) {
	if err := d.i.Ready(); err != nil {
		return nil, err
	}
	return &localOwner{i: d.i, broken: make(chan struct{})}, nil
}

// localOwner breaks, as a connection would, where the stream must begin anew.
type localOwner struct {
	i      *ingester.Ingester
	broken chan struct{}
}

func (o *localOwner) Push(batch []byte) (series.Receipt, error) {
	r, err := o.i.Push(batch)
	if errors.Is(err, series.ErrUnknownNumber) || errors.Is(err, series.ErrCorrupt) {
		o.Close()
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (o *localOwner) Broken() <-chan struct{} { return o.broken }

func (o *localOwner) Close() {
	select {
	case <-o.broken:
	default:
		close(o.broken)
	}
}

// localOwners is the one owner that a single process has.
type localOwners struct{ i *ingester.Ingester }

func (o localOwners) Owner(context.Context, ring.Owner) (querier.Owner, error) { return o.i, nil }

type noPeers struct{}

func (noPeers) Standings(context.Context) []series.Standing { return nil }

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
