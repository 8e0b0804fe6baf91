package distributor

import (
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/tenant"
)

// Drops is what was taken and then not stored, as the tenant asked for.
type Drops struct{ Floats, Histograms, Exemplars int }

func (d Drops) samples() int { return d.Floats + d.Histograms }

// rewritten is what becomes of a series' labels before they are checked.
type rewritten struct {
	labels  []labels.Label // as they are stored
	ascii   bool           // the labels are known to have nothing else
	keep    bool           // no rule drops the series
	replica uint16         // of the HA pair that it comes from; 0 for none
	refused *violation
}

// rewrite takes the replica's label away from series of HA pairs, and then applies the tenant's rules.
func (r *request) rewrite(spelling []labels.Label) rewritten {
	out := rewritten{labels: spelling, keep: true}
	if !r.lim.HADedupe && len(r.lim.WriteRelabel) == 0 {
		out.ascii = r.decoder.ASCII(spelling)
		return out
	}
	ls := labels.New(spelling...)
	r.rewriter.Reset(ls)
	if r.lim.HADedupe {
		out.replica, out.refused = r.replicaOf(ls)
	}
	if out.replica != 0 {
		r.rewriter.Del(r.lim.HAReplicaLabel)
	}
	if out.keep = r.lim.WriteRelabel.Apply(r.rewriter); out.keep {
		r.stored = r.stored[:0]
		r.rewriter.Labels().Range(func(l labels.Label) { r.stored = append(r.stored, l) })
		out.labels = r.stored
	}
	return out
}

// maxReplicaName bounds the names that distributors tell each other, in bytes.
const maxReplicaName = 256

// replicaOf is the number of the replica that a series comes from; 0 for one without both labels.
func (r *request) replicaOf(ls labels.Labels) (uint16, *violation) {
	cluster, name := ls.Get(r.lim.HAClusterLabel), ls.Get(r.lim.HAReplicaLabel)
	if cluster == "" || name == "" {
		return 0, nil
	}
	if len(cluster) > maxReplicaName || len(name) > maxReplicaName {
		return 0, invalid("labels %q and %q, which name an HA pair, have %d and %d bytes, at most %d are allowed",
			r.lim.HAClusterLabel, r.lim.HAReplicaLabel, len(cluster), len(name), maxReplicaName)
	}
	n := r.sender.replicas.number(replica{ring.Contest{Tenant: r.sender.id.String(), Cluster: cluster}, name}, r.lim.MaxHAReplicas, r.seconds)
	if n == 0 {
		return 0, over(tenant.MaxHAReplicas, r.lim.MaxHAReplicas, "replica %q of cluster %q is one more", name, cluster)
	}
	return n, nil
}
