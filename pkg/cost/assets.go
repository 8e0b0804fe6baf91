package cost

import (
	"fmt"

	"github.com/varve-io/varve/pkg/cost/money"
)

type assetKey struct {
	kind          AssetKind
	cluster, name string
	from          int64
}

// assets bills volumes and load balancers to those who share them; what is left is unmounted or unattributed.
func (l *law) assets() error {
	left := map[assetKey]*int64{}
	rest := make([]int64, len(l.hour.Assets))
	places := map[assetKey]uint32{}
	for i := range l.hour.Assets {
		a := &l.hour.Assets[i]
		key := a.key()
		place := l.place(a.place())
		rest[i] = a.Quantity
		left[key], places[key] = &rest[i], place
		subject := Subject{Owner: Owner{Cluster: a.Cluster, Namespace: a.Namespace, Pod: a.Claim}}
		l.collector.addAsset(&AssetItem{Subject: l.subject(subject), Place: place, Amount: money.Units(a.Quantity)})
	}
	for i := range l.hour.Shares {
		s := &l.hour.Shares[i]
		key := s.key()
		of := left[key]
		if of == nil {
			l.warn(ShareWithoutAsset, s.Cluster, s.Asset)
			continue
		}
		if *of -= s.Quantity; *of < 0 {
			return fmt.Errorf("shares of %s %q of cluster %q are more than it is", s.Kind, s.Asset, s.Cluster)
		}
		l.collector.add(&Item{
			Kind: Workloads, Subject: l.subject(Subject{Owner: s.Owner}), Place: places[key], Amount: money.Units(s.Quantity),
		})
	}
	l.nobodys(rest)
	return nil
}

// nobodys bills what is left of the assets.
func (l *law) nobodys(rest []int64) {
	for i, quantity := range rest {
		a := &l.hour.Assets[i]
		kind := Unmounted
		if a.Kind == LoadBalancerAsset {
			kind = Unattributed
		}
		if quantity > 0 {
			subject := Subject{Owner: Owner{Cluster: a.Cluster, Namespace: a.Namespace}}
			l.collector.add(&Item{Kind: kind, Subject: l.subject(subject), Place: l.place(a.place()), Amount: money.Units(quantity)})
		}
	}
}

func (a *Asset) place() Place {
	return Place{
		Class: Class{Kind: ClassKind(a.Kind), Cluster: a.Cluster, Type: a.Class, Region: a.Region, Zone: a.Zone, Labels: a.Labels},
		Name:  a.Name,
	}
}
