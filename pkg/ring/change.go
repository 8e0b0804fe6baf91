package ring

import (
	"context"
	"fmt"

	dskit "github.com/grafana/dskit/ring"
	"github.com/grafana/dskit/services"
)

// SetState makes a partition active or inactive. An inactive one takes no writes any more; its owners still answer for
// what they hold.
func (r *Ring) SetState(ctx context.Context, partition int32, s State) error {
	m := r.members.Load()
	if m == nil {
		return errNotRunning
	}
	to := dskit.PartitionActive
	if s == Inactive {
		to = dskit.PartitionInactive
	}
	if err := dskit.NewPartitionRingEditor(partitionsKey, m.partitions).ChangePartitionState(ctx, partition, to); err != nil {
		return fmt.Errorf("make partition %d %s: %w", partition, s, err)
	}
	r.look()
	return nil
}

// SetInactive ends the writes to this process' partition.
func (r *Ring) SetInactive(ctx context.Context) error {
	if !r.deps.Owner {
		return errNoOwner
	}
	return r.SetState(ctx, int32(r.cfg.Partition), Inactive)
}

// Own is the partition that this process owns, if it owns one.
func (r *Ring) Own() int32 { return int32(r.cfg.Partition) }

// Leave takes this process out of the ring for good, and with its last owner the partition. All that it holds must be
// in the catalog by then. Run goes on following the ring.
func (r *Ring) Leave(ctx context.Context) error {
	m := r.members.Load()
	switch {
	case m == nil:
		return errNotRunning
	case !r.deps.Owner:
		return errNoOwner
	case m.left.Swap(true):
		return nil
	}
	m.partition.SetRemoveOwnerOnShutdown(true)
	m.instance.SetKeepInstanceInTheRingOnShutdown(false)
	for _, s := range []services.Service{m.partition, m.instance} {
		if err := services.StopAndAwaitTerminated(context.WithoutCancel(ctx), s); err != nil {
			return fmt.Errorf("leave ring: %w", err)
		}
	}
	return r.remove(ctx, m, r.cfg.Instance)
}

// Forget takes an instance out of the ring that will never come back, and with the last owner its partition: what it
// alone held is given up. Quorums go on counting the configured owners, so that a partition that lost two of three is
// unavailable until others have taken their place.
func (r *Ring) Forget(ctx context.Context, instance string) error {
	m := r.members.Load()
	if m == nil {
		return errNotRunning
	}
	if instance == r.cfg.Instance && r.deps.Owner {
		return fmt.Errorf("forget %s: it is this process, which can leave", instance)
	}
	if err := r.remove(ctx, m, instance); err != nil {
		return err
	}
	err := m.instances.CAS(ctx, instancesKey, func(in any) (any, bool, error) {
		d := dskit.GetOrCreateRingDesc(in)
		if _, ok := d.Ingesters[instance]; !ok {
			return nil, false, nil
		}
		d.RemoveIngester(instance)
		return d, true, nil
	})
	if err != nil {
		return fmt.Errorf("forget %s: %w", instance, err)
	}
	r.look()
	return nil
}

// remove takes an owner out of its partition, and the partition away where nobody owns it any more.
func (r *Ring) remove(ctx context.Context, m *members, instance string) error {
	err := m.partitions.CAS(ctx, partitionsKey, func(in any) (any, bool, error) {
		d := dskit.GetOrCreatePartitionRingDesc(in)
		id := int32(r.cfg.Partition) // of this process, which may have been removed already
		if o, ok := d.Owners[instance]; ok {
			id = o.OwnedPartition
		} else if instance != r.cfg.Instance {
			return nil, false, nil
		}
		changed := d.RemoveOwner(instance)
		if d.HasPartition(id) && d.PartitionOwnersCount(id) == 0 {
			d.RemovePartition(id)
			changed = true
		}
		if !changed {
			return nil, false, nil
		}
		return d, true, nil
	})
	if err != nil {
		return fmt.Errorf("take %s out of the ring: %w", instance, err)
	}
	r.look()
	return nil
}

// look has the store read at once.
func (r *Ring) look() {
	select {
	case r.refresh <- struct{}{}:
	default:
	}
}
