package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/thanos-io/objstore"
	"golang.org/x/sync/errgroup"
)

// Owner is what the bucket has of an ingester that owns a partition, until it has shipped everything and stopped. docs/formats/catalog.md has
// the bytes.
type Owner struct {
	// Since is when it came.
	Since time.Time `json:"since"`
	// ReplicationFactor is the least that was configured while it was there.
	ReplicationFactor int `json:"replication_factor"`
	// ShippedBefore: of what it received before this time, by its clock, everything is in the catalogs. Zero if it never said so.
	ShippedBefore time.Time `json:"shipped_before,omitzero"`
}

const (
	ownersRoot = "varve/owners/"
	maxOwner   = 64 << 10 // bytes of a record
)

// OwnersDir is where the bucket has the owners of a partition.
func OwnersDir(partition int32) string { return fmt.Sprintf("%s%d/", ownersRoot, partition) }

// OwnerName is the object of one owner.
func OwnerName(partition int32, instance string) string {
	return OwnersDir(partition) + instance + ".json"
}

// ReadOwner reads the object of that name. What can't be understood is an owner of whom nothing is known.
func ReadOwner(ctx context.Context, bkt objstore.BucketReader, name string) (o Owner, err error) {
	body, err := bkt.Get(ctx, name)
	if err != nil {
		return o, err
	}
	data, err := io.ReadAll(io.LimitReader(body, maxOwner))
	if err := errors.Join(err, body.Close()); err != nil {
		return o, err
	}
	if json.Unmarshal(data, &o) != nil {
		o = Owner{}
	}
	return o, nil
}

// WriteOwner writes it. Only the owner itself may.
func WriteOwner(ctx context.Context, bkt objstore.Bucket, name string, o Owner) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return bkt.Upload(ctx, name, bytes.NewReader(data))
}

// ShippedBefore is the time before which everything that was received and acked is in the catalogs of all tenants: read them after this.
// ok is false if the bucket knows of no partition that could ack anything.
func (s *Store) ShippedBefore(ctx context.Context) (at time.Time, ok bool, err error) {
	owners, err := s.owners(ctx)
	if err != nil {
		return at, false, fmt.Errorf("read owners: %w", err)
	}
	for _, of := range owners {
		if t, acks := shippedBefore(of); acks && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	return at, ok, nil
}

// shippedBefore is that of one partition. What was acked is at a majority of the replication factor, so as many owners may lack as don't make
// one. Owners without a record have shipped everything. acks is false for a partition that has too few owners for a majority.
func shippedBefore(owners []Owner) (at time.Time, acks bool) {
	slices.SortFunc(owners, func(a, b Owner) int { return a.ShippedBefore.Compare(b.ShippedBefore) })
	least := slices.MinFunc(owners, func(a, b Owner) int { return a.ReplicationFactor - b.ReplicationFactor })
	lacking := max(least.ReplicationFactor, 0) / 2
	if lacking >= len(owners) {
		return at, false
	}
	return owners[lacking].ShippedBefore, true
}

// owners are all that the bucket knows, by partition.
func (s *Store) owners(ctx context.Context) (map[string][]Owner, error) {
	var names []string
	err := s.bkt.Iter(ctx, ownersRoot, func(name string) error {
		if strings.HasSuffix(name, ".json") {
			names = append(names, name)
		}
		return nil
	}, objstore.WithRecursiveIter())
	if err != nil {
		return nil, err
	}
	found := make([]Owner, len(names))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, name := range names {
		g.Go(func() (err error) {
			found[i], err = ReadOwner(gctx, s.bkt, name)
			if s.bkt.IsObjNotFoundErr(err) { // it has just left
				names[i], err = "", nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := map[string][]Owner{}
	for i, name := range names {
		if name != "" {
			all[path.Dir(name)] = append(all[path.Dir(name)], found[i])
		}
	}
	return all, nil
}
