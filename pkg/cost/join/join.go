package join

import (
	"context"
	"fmt"
	"strings"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/quantity"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// Source has the samples: blocks of the bucket, or all that a querier can see.
type Source interface {
	// Select answers with the series that match. Their chunks may reach beyond the range.
	Select(ctx context.Context, q series.Query) (series.Set, error)
}

// Recycling is a Source that can use the room of series again. That saves a third of the garbage.
type Recycling interface {
	// SelectInto is Select; what it gives is valid until the recycler gets its room back.
	SelectInto(ctx context.Context, q series.Query, rec *series.Recycler) (series.Set, error)
}

// How far around the hour samples are read, in milliseconds: facts so that a gap of theirs is seen from both sides, usage so that
// what it was at the hour's edges is known.
const (
	factMargin  = int64(60 * 60_000)
	nearMargin  = int64(30 * 60_000)
	usageMargin = quantity.MinBridge // nearMargin where the bridge is longer
	hourLength  = int64(60 * 60_000)
)

// Margin is how far before and after an hour its rows depend on samples, in milliseconds.
const Margin = factMargin

// Options say which hour of whom, and how its series are labelled.
type Options struct {
	Tenant tenant.ID
	// Start of the hour, in Unix milliseconds.
	Start int64
	// From and To count only [From, To) of the hour; both 0 count all of it. What is read is the same, so the quantities of parts
	// add up to those of the hour.
	From, To int64
	// ClusterLabel is the label with the cluster's name, "cluster" if empty. Series without it are of a cluster without a name.
	ClusterLabel string
	// Labels are the Kubernetes labels of pods and namespaces, by their Kubernetes names, that become dimensions.
	Labels []string
	// Names are those of Ledgers, which adds to them; nil makes new ones.
	Names *cost.Names
}

// Hour reads one hour. An error is one of the source's or of the options.
func Hour(ctx context.Context, src Source, o Options) (*cost.Hour, error) {
	hours, err := pass(newReader(ctx, src, o), o, []int64{o.Start})
	if err != nil {
		return nil, err
	}
	return hours[0], nil
}

func newJoiner(r *reader, o Options) (*joiner, error) {
	if o.Start%hourLength != 0 {
		return nil, fmt.Errorf("the hour begins at %d ms, which is not at a full hour", o.Start)
	}
	slot := span{o.Start, o.Start + hourLength}
	if o.From != 0 || o.To != 0 {
		if o.From < slot.from || o.To > slot.to || o.From >= o.To {
			return nil, fmt.Errorf("from %d ms to %d ms is no part of the hour that begins at %d ms", o.From, o.To, o.Start)
		}
		slot = span{o.From, o.To}
	}
	return &joiner{
		Options: o, slot: slot,
		reader:     r,
		nodes:      map[nodeName]*nodeSet{},
		owners:     map[ownerName]owner{},
		namespaces: map[namespaceName]*dims{},
		clusters:   map[string]*clusterFacts{},
		volumes:    map[assetName]*asset{},
		balancers:  map[assetName]*asset{},
		addresses:  map[addressName][]*nodeSet{},
		starts:     map[uint64]int64{},
		warnings:   warnings{},
	}, nil
}

// joiner is one hour on its way to rows.
type joiner struct {
	Options
	slot span // of the hour, which is counted
	*reader
	yield func(*request) bool
	stage stage

	numbered   []*podSet // by the reader's numbers, nil of names that only other hours know
	nodes      map[nodeName]*nodeSet
	owners     map[ownerName]owner
	namespaces map[namespaceName]*dims
	clusters   map[string]*clusterFacts
	volumes    map[assetName]*asset
	balancers  map[assetName]*asset
	scalings   []cost.Scaling
	scalers    []cost.Autoscaler
	addresses  map[addressName][]*nodeSet
	starts     map[uint64]int64 // of containers that started around the hour, by hash of their cgroup
	warnings   warnings
}

func (j *joiner) read() error {
	for step, read := range []func() error{j.readPods, j.readContainers, j.readOwners, j.readLabels, j.readNodes,
		j.readVolumes, j.readBalancers, j.readScalings, j.readScalers, j.readUsage} {
		j.stage = stage{step: step}
		if err := read(); err != nil {
			return err
		}
	}
	return nil
}

// sanitize is how kube-state-metrics makes a label's name of one of Kubernetes.
func sanitize(name string) string {
	return "label_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}
