package ingester

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/varve-io/varve/pkg/ring"
)

// ownerRecord is what the bucket has of each owner that a partition ever had.
type ownerRecord struct {
	Since             time.Time `json:"since"`
	ReplicationFactor int       `json:"replication_factor"` // the configured one when the owner came
}

// ownersDir is where the bucket remembers the owners of this partition.
func ownersDir(deps Dependencies) string { return fmt.Sprintf("varve/owners/%d/", deps.Partition) }

// ownerObject is where the bucket remembers this owner.
func ownerObject(deps Dependencies) string { return ownersDir(deps) + deps.Instance + ".json" }

// others are the other owners that this partition ever had, by instance.
func others(ctx context.Context, deps Dependencies) (map[string]ownerRecord, error) {
	all := map[string]ownerRecord{}
	err := deps.Bucket.Iter(ctx, ownersDir(deps), func(name string) error {
		instance, ok := strings.CutSuffix(path.Base(name), ".json")
		if !ok || instance == deps.Instance {
			return nil
		}
		r, err := readOwner(ctx, deps, name)
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

func readOwner(ctx context.Context, deps Dependencies, name string) (r ownerRecord, err error) {
	body, err := deps.Bucket.Get(ctx, name)
	if err != nil {
		return r, err
	}
	data, err := io.ReadAll(io.LimitReader(body, 64<<10))
	if err := errors.Join(err, body.Close()); err != nil {
		return r, err
	}
	_ = json.Unmarshal(data, &r) // what can't be read is of the least factor
	return r, nil
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
		if err := deps.Bucket.Delete(ctx, ownersDir(deps)+instance+".json"); err != nil {
			return err
		}
		deps.Logger.Info("the bucket forgets an owner that was replaced", "instance", instance)
	}
	return nil
}
