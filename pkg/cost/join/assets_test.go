package join

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-io/varve/pkg/cost"
)

func assetText(h *cost.Hour) (out []string) {
	for _, a := range h.Assets {
		place := a.Zone
		if a.Region != "" {
			place = a.Region + "/" + a.Zone
		}
		out = append(out, fmt.Sprintf("%s %s %s/%s %s %s %s %d", a.Kind, a.Name, a.Namespace, a.Claim, a.Class, place, during(a.From, a.To), a.Quantity))
	}
	for _, s := range h.Shares {
		out = append(out, fmt.Sprintf("share %s %s %s %d", s.Asset, s.Pod, s.Controller.Kind, s.Quantity))
	}
	for _, s := range h.Scalings {
		out = append(out, fmt.Sprintf("scaling %s %s %s %d %d", s.Controller.Kind, s.Controller.Name, during(begin, s.At), s.Before, s.After))
	}
	for _, a := range h.Scalers {
		out = append(out, fmt.Sprintf("autoscaler %s %d-%d: %s, %s at min, %s at max", a.Controller, a.Min, a.Max, millisText(a.Known), millisText(a.AtMin), millisText(a.AtMax)))
	}
	return out
}

func millisText(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }

const twoPods = n1 + `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
kube_pod_info{namespace="x",pod="q",uid="2",node="n1"} -1h..29m30s=1 30m=stale
kube_pod_container_info{namespace="x",pod="p",uid="1",container="c"} -1h..2h=1
`

func TestAssets(t *testing.T) {
	for _, c := range []struct {
		name, series string
		want         []string
	}{
		{
			// A volume of 100 bytes, of 200 from 15m on, unseen from 40m to 50m: 90000 + 540000 byte-seconds. p and q mount it, q until 30m:
			// each has 45000 + 90000, then p alone 1800 × 200.
			"a volume and two pods", twoPods + `
kube_persistentvolume_info{persistentvolume="pv",storageclass="ssd"} -1h..40m=1 50m..2h=1
kube_persistentvolume_labels{persistentvolume="pv",label_topology_kubernetes_io_zone="z1"} -1h..2h=1
kube_persistentvolume_capacity_bytes{persistentvolume="pv"} -1h..14m30s=100 15m..40m=200 50m..2h=200
kube_persistentvolume_claim_ref{persistentvolume="pv",name="data",claim_namespace="x"} -1h..2h=1
kube_pod_spec_volumes_persistentvolumeclaims_info{namespace="x",pod="p",uid="1",volume="a",persistentvolumeclaim="data"} -1h..2h=1
kube_pod_spec_volumes_persistentvolumeclaims_info{namespace="x",pod="p",uid="1",volume="b",persistentvolumeclaim="data"} -1h..2h=1
kube_pod_spec_volumes_persistentvolumeclaims_info{namespace="x",pod="q",uid="2",volume="a",persistentvolumeclaim="data"} -1h..2h=1
`, []string{
				"volume pv x/data ssd z1 0s-1h0m0s 630000",
				"share pv p Pod 495000",
				"share pv q Pod 135000",
			},
		},
		{
			// Deleted at 10m; nobody mounts it. 1 byte × 600 s.
			"a volume that nobody mounts", twoPods + `
kube_persistentvolume_info{persistentvolume="pv",storageclass="ssd"} -1h..9m30s=1 10m=stale
kube_persistentvolume_capacity_bytes{persistentvolume="pv"} -1h..9m30s=1 10m=stale
`, []string{"volume pv / ssd  0s-10m0s 600"},
		},
		{
			// p is behind it from 10m on, q until its end at 30m: 600 s for q alone, 1200 s for both, 1800 s for p alone. The slice of
			// the other service has no labels; nobody is behind it after q.
			"load balancers", twoPods + `
kube_service_spec_type{namespace="x",service="web",type="LoadBalancer"} -1h..2h=1
kube_service_spec_type{namespace="x",service="inner",type="ClusterIP"} -1h..2h=1
kube_service_spec_type{namespace="x",service="old",type="LoadBalancer"} -1h..2h=1
kube_endpointslice_labels{namespace="x",endpointslice="odd",label_kubernetes_io_service_name="web"} -1h..2h=1
kube_endpointslice_endpoints{namespace="x",endpointslice="odd",targetref_kind="Pod",targetref_namespace="x",targetref_name="p",ready="true"} 10m..2h=1
kube_endpointslice_endpoints{namespace="x",endpointslice="odd",targetref_kind="Pod",targetref_namespace="x",targetref_name="p",ready="false"} -1h..9m30s=1
kube_endpointslice_endpoints{namespace="x",endpointslice="odd",targetref_kind="Pod",targetref_namespace="x",targetref_name="q",ready="true"} -1h..1h=1
kube_endpointslice_endpoints{namespace="x",endpointslice="old-abc12",targetref_kind="Pod",targetref_namespace="x",targetref_name="q",ready="true"} -1h..1h=1
`, []string{
				"load_balancer x/old x/   0s-1h0m0s 3600000",
				"load_balancer x/web x/   0s-1h0m0s 3600000",
				"share x/old q Pod 1800000",
				"share x/web p Pod 2400000",
				"share x/web q Pod 1200000",
			},
		},
		{
			// No slices of old are known. Its addresses are p's from 10m on, q's until its end at 30m, one that is not ready, one of nobody, and the
			// node's, which a pod in the host's network has: 600 s for q alone, 1200 s for both, 1800 s for p alone.
			"a load balancer without slices", n1 + `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1",pod_ip="10.1.0.1"} -1h..2h=1
kube_pod_info{namespace="x",pod="q",uid="2",node="n1",pod_ip="10.1.0.2"} -1h..29m30s=1 30m=stale
kube_pod_info{namespace="x",pod="r",uid="3",node="n1",pod_ip="10.1.0.2"} 50m..2h=1
kube_pod_info{namespace="x",pod="h",uid="4",node="n1",pod_ip="10.0.0.1",host_network="true"} -1h..2h=1
kube_pod_info{namespace="x",pod="s",uid="5",node="n1",pod_ip="10.1.0.3"} -1h..2h=1
kube_pod_info{cluster="other",namespace="x",pod="p",uid="6",node="n1",pod_ip="10.1.0.1"} -1h..2h=1
kube_service_spec_type{namespace="x",service="web",type="LoadBalancer"} -1h..2h=1
kube_service_spec_type{namespace="x",service="old",type="LoadBalancer"} -1h..2h=1
kube_endpointslice_endpoints{namespace="x",endpointslice="web-abc12",targetref_kind="Pod",targetref_namespace="x",targetref_name="s",ready="true"} -1h..2h=1
kube_endpoint_address{namespace="x",endpoint="web",ip="10.1.0.1",ready="true"} -1h..2h=1
kube_endpoint_address{namespace="x",endpoint="old",ip="10.1.0.1",ready="true"} 10m..2h=1
kube_endpoint_address{namespace="x",endpoint="old",ip="10.1.0.2",ready="true"} -1h..30m=1 30m30s=stale
kube_endpoint_address{namespace="x",endpoint="old",ip="10.1.0.3",ready="false"} -1h..2h=1
kube_endpoint_address{namespace="x",endpoint="old",ip="10.0.0.1",ready="true"} -1h..2h=1
kube_endpoint_address{namespace="x",endpoint="old",ip="10.9.9.9",ready="true"} -1h..2h=1
`, []string{
				"load_balancer x/old x/   0s-1h0m0s 3600000",
				"load_balancer x/web x/   0s-1h0m0s 3600000",
				"share x/old p Pod 2400000",
				"share x/old q Pod 1200000",
				"share x/web s Pod 3600000",
			},
		},
		{
			// pv is where its pods' nodes are: in one region, in two zones. one is on one node.
			"volumes without labels", `
kube_node_info{node="n1",provider_id="i-1"} -1h..2h=1
kube_node_info{node="n2",provider_id="i-2"} -1h..2h=1
kube_node_labels{node="n1",label_topology_kubernetes_io_region="eu",label_topology_kubernetes_io_zone="eu-1"} -1h..2h=1
kube_node_labels{node="n2",label_topology_kubernetes_io_region="eu",label_topology_kubernetes_io_zone="eu-2"} -1h..2h=1
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
kube_pod_info{namespace="x",pod="q",uid="2",node="n2"} -1h..2h=1
kube_persistentvolume_capacity_bytes{persistentvolume="one"} -1h..2h=1
kube_persistentvolume_capacity_bytes{persistentvolume="pv"} -1h..2h=1
kube_persistentvolumeclaim_info{namespace="x",persistentvolumeclaim="d",volumename="pv"} -1h..2h=1
kube_persistentvolumeclaim_info{namespace="x",persistentvolumeclaim="e",volumename="one"} -1h..2h=1
kube_pod_spec_volumes_persistentvolumeclaims_info{namespace="x",pod="p",uid="1",persistentvolumeclaim="d"} -1h..2h=1
kube_pod_spec_volumes_persistentvolumeclaims_info{namespace="x",pod="q",uid="2",persistentvolumeclaim="d"} -1h..2h=1
kube_pod_spec_volumes_persistentvolumeclaims_info{namespace="x",pod="q",uid="2",persistentvolumeclaim="e"} -1h..2h=1
`, []string{"volume one x/e  eu/eu-2 0s-1h0m0s 3600", "volume pv x/d  eu/ 0s-1h0m0s 3600", "share one q Pod 3600", "share pv p Pod 1800", "share pv q Pod 1800"},
		},
		{
			// Three pods share 100 bytes for a second: 34 + 33 + 33.
			"shares that don't divide", n1 + `
kube_persistentvolume_info{persistentvolume="pv"} 0s=1 1s=stale
kube_persistentvolume_capacity_bytes{persistentvolume="pv"} 0s=100 1s=stale
kube_persistentvolumeclaim_info{namespace="x",persistentvolumeclaim="d",volumename="pv"} 0s=1 1s=stale
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
kube_pod_info{namespace="x",pod="q",uid="2",node="n1"} -1h..2h=1
kube_pod_info{namespace="x",pod="r",uid="3",node="n1"} -1h..2h=1
kube_pod_spec_volumes_persistentvolumeclaims_info{namespace="x",pod="p",uid="1",persistentvolumeclaim="d"} -1h..2h=1
kube_pod_spec_volumes_persistentvolumeclaims_info{namespace="x",pod="q",uid="2",persistentvolumeclaim="d"} -1h..2h=1
kube_pod_spec_volumes_persistentvolumeclaims_info{namespace="x",pod="r",uid="3",persistentvolumeclaim="d"} -1h..2h=1
`, []string{"volume pv x/d   0s-1s 100", "share pv p Pod 34", "share pv q Pod 33", "share pv r Pod 33"},
		},
		{
			// 3 are wanted until 10m, at the minimum; 5 until 20m, at the maximum; then 2, below the minimum, which is 1 from 40m on. From 50m on nobody knows.
			"an autoscaler", twoPods + `
kube_horizontalpodautoscaler_info{namespace="x",horizontalpodautoscaler="h",scaletargetref_kind="Deployment",scaletargetref_name="web"} -1h..2h=1
kube_horizontalpodautoscaler_spec_min_replicas{namespace="x",horizontalpodautoscaler="h"} -1h..39m30s=3 40m..49m30s=1 50m=stale
kube_horizontalpodautoscaler_spec_max_replicas{namespace="x",horizontalpodautoscaler="h",instance="a"} -1h..2h=5
kube_horizontalpodautoscaler_spec_max_replicas{namespace="x",horizontalpodautoscaler="h",instance="b"} -1h..2h=5
kube_horizontalpodautoscaler_status_desired_replicas{namespace="x",horizontalpodautoscaler="h"} -1h..9m30s=3 10m..19m30s=5 20m..2h=2
`, []string{"autoscaler Deployment/web 1-5: 50m0s, 30m0s at min, 10m0s at max"},
		},
		{
			"scalings", twoPods + `
kube_deployment_spec_replicas{namespace="x",deployment="web",instance="a"} -1h..9m30s=3 10m..19m30s=5 20m..2h=2
kube_deployment_spec_replicas{namespace="x",deployment="web",instance="b"} -1h..9m30s=3 10m..19m30s=5
kube_statefulset_replicas{namespace="x",statefulset="db"} -30m..-5m=1 0s..1h=2 1h30s..2h=3
`, []string{"scaling Deployment web 0s-10m0s 3 5", "scaling Deployment web 0s-20m0s 5 2", "scaling StatefulSet db 0s-0s 1 2"},
		},
	} {
		if d := cmp.Diff(c.want, assetText(load(t, c.series).hour(Options{}))); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}
