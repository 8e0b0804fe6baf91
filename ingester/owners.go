package ingester

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/ring"
)

// ownersDir is where the bucket remembers the owners of this partition.
func ownersDir(deps Dependencies) string { return catalog.OwnersDir(deps.Partition) }

// ownerObject is where the bucket remembers this owner.
func ownerObject(deps Dependencies) string { return catalog.OwnerName(deps.Partition, deps.Instance) }

// others are the other owners that this partition ever had, by instance.
func others(ctx context.Context, deps Dependencies) (map[string]catalog.Owner, error) {
	all := map[string]catalog.Owner{}
	err := deps.Bucket.Iter(ctx, ownersDir(deps), func(name string) error {
		instance, ok := strings.CutSuffix(path.Base(name), ".json")
		if !ok || instance == deps.Instance {
			return nil
		}
		r, err := catalog.ReadOwner(ctx, deps.Bucket, name)
		if err == nil {
			all[instance] = r
		} else if deps.Bucket.IsObjNotFoundErr(err) { // it has just left
			err = nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list owners: %w", err)
	}
	return all, nil
}

// replacesAnother tells whether this owner, whose disk is empty, may have come after something was acked by a majority
// that it is no part of. It is not if, with it, the partition never had more owners than the replication factor, and
// that never was less: then every majority that acked is one of the same owners, and this one was merely absent.
func replacesAnother(ctx context.Context, deps Dependencies) (bool, error) {
	rf := deps.Ring.View().ReplicationFactor
	all, err := others(ctx, deps)
	if err != nil {
		return false, err
	}
	for _, r := range all {
		if r.ReplicationFactor < rf {
			return true, nil
		}
	}
	return len(all)+1 > rf, nil
}

// forgetGone forgets the owners that this one and others have replaced: those that the ring doesn't show any more and
// that came before a time up to which everything is in the catalog.
func forgetGone(ctx context.Context, deps Dependencies, before int64) error {
	v := deps.Ring.View()
	p, _ := v.Partition(deps.Partition)
	if len(p.Owners) < v.ReplicationFactor {
		return nil // one of those that are missing may come back
	}
	all, err := others(ctx, deps)
	if err != nil {
		return err
	}
	for instance, r := range all {
		here := slices.ContainsFunc(p.Owners, func(o ring.Owner) bool { return o.Instance == instance })
		if here || r.Since.UnixMilli() >= before {
			continue
		}
		if err := deps.Bucket.Delete(ctx, catalog.OwnerName(deps.Partition, instance)); err != nil {
			return err
		}
		deps.Logger.Info("the bucket forgets an owner that was replaced", "instance", instance)
	}
	return nil
}
