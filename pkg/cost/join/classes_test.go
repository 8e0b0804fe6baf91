package join

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-io/varve/pkg/cost"
)

// trafficText is the bytes of rows: received, sent.
func trafficText(h *cost.Hour) (out []string) {
	for _, w := range h.Workloads {
		if w.Network != (cost.Network{}) {
			out = append(out, fmt.Sprintf("%s %s %d %d", w.Pod, w.Class, w.Network.Received, w.Network.Sent))
		}
	}
	return out
}

// sends is a pod p whose interface sends 20 bytes a second.
const sends = `
kube_pod_info{namespace="x",pod="p",uid="1",node="n1"} -1h..2h=1
container_network_transmit_bytes_total{namespace="x",pod="p",interface="eth0",id="/kubepods/pod1"} -1h..2h=0+20
`

// An hour is 3600 s. Series are of the daemon's scrape, whose own pod and namespace are others.
func TestTrafficByClass(t *testing.T) {
	egress := func(labels, points string) string {
		return "kubecost_pod_network_egress_bytes_total{pod_name=\"p\",namespace=\"x\",pod=\"network-costs-1\"," + labels + "} " + points + "\n"
	}
	const (
		internet    = `internet="true",same_region="false",same_zone="false"`
		crossRegion = `internet="false",same_region="false",same_zone="false"`
		crossZone   = `internet="false",same_region="true",same_zone="false"`
		inZone      = `internet="false",same_region="true",same_zone="true"`
	)
	for _, c := range []struct {
		name   string
		series string
		want   []string
	}{
		{"cAdvisor only", sends, []string{"p  0 72000"}},
		{"classes, and what they leave", sends + egress(internet, "-1h..2h=7+2") + egress(crossRegion, "-1h..2h=0+3") + egress(crossZone, "-1h..2h=0+4") +
			egress(inZone, "-1h..2h=0+5"),
			[]string{"p  0 21600", "p cross_region 0 10800", "p cross_zone 0 14400", "p in_zone 0 18000", "p internet 0 7200"}},
		{"more than the interface has", sends + egress(internet, "-1h..2h=0+25"), []string{"p internet 0 90000"}},
		{"without cAdvisor", strings.Split(sends, "container")[0] + egress(crossZone, "-1h..2h=0+1"), []string{"p cross_zone 0 3600"}},
		{"old names of labels", sends + egress(`internet="false",sameRegion="true",sameZone="false"`, "-1h..2h=0+20"), []string{"p cross_zone 0 72000"}},
		{"labels that were renamed", sends + strings.ReplaceAll(egress(inZone, "-1h..2h=0+20"), `namespace="x"`, `namespace="kubecost",exported_namespace="x"`),
			[]string{"p in_zone 0 72000"}},
		{"labels that don't tell", sends + egress(`internet="false",same_region="",same_zone=""`, "-1h..2h=0+30"), []string{"p  0 108000"}},
		{"services of one class are added", sends + egress(internet+`,service="a"`, "-1h..2h=0+3") + egress(internet+`,service="b"`, "-1h..2h=0+4"),
			[]string{"p  0 46800", "p internet 0 25200"}},
		{"two scrapers are one", sends + egress(internet+`,replica="a"`, "-1h..2h=0+20") + egress(internet+`,replica="b"`, "-1h..2h=9+20"), []string{"p internet 0 72000"}},
		// The counter falls to 60 in the 30 s before 20m: it grew by 60 instead of 300.
		{"the daemon restarts", sends + egress(internet, "-1h..19m30s=0+10 20m..2h=60+10"), []string{"p  0 36240", "p internet 0 35760"}},
		// Another instance from 20m on, whose first 5 bytes nobody knows the time of: 30 s are not known.
		{"the daemon comes back as another one", sends + egress(internet+`,instance="a"`, "-1h..19m30s=0+10") + egress(internet+`,instance="b"`, "20m..2h=5+10"),
			[]string{"p  0 36300", "p internet 0 35700"}},
		// From 30m on only. Of the interface's 72000 bytes 36000 have a class, whenever they were.
		{"a daemon that comes later", sends + egress(internet, "30m..2h=0+20"), []string{"p  0 36000", "p internet 0 36000"}},
		{"no daemon for 10 minutes", sends + egress(internet, "-1h..20m=0+20 30m..2h=99999+20"), []string{"p  0 12000", "p internet 0 60000"}},
		{"a pod in the host's network", strings.Replace(sends, `uid="1"`, `uid="1",host_network="true"`, 1) + egress(internet, "-1h..2h=0+20"), nil},
		{"a pod that nobody knows", sends + strings.ReplaceAll(egress(internet, "-1h..2h=0+20"), `pod_name="p"`, `pod_name="gone"`), []string{"p  0 72000"}},
		{"received", sends + strings.ReplaceAll(egress(crossZone, "-1h..2h=0+1"), "egress", "ingress"), []string{"p  0 72000", "p cross_zone 3600 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := load(t, n1, agent, c.series)
			h := w.hour(Options{})
			if d := cmp.Diff(c.want, trafficText(h)); d != "" {
				t.Error(d)
			}
			if slices.ContainsFunc(h.Warnings, func(w cost.Warning) bool { return w.Name == UsageWithoutPod }) {
				t.Errorf("warnings %+v", h.Warnings)
			}
			for w.seed = range uint64(3) {
				slices.Reverse(w.series)
				together, err := Hours(t.Context(), w, Options{}, []int64{begin - hourLength, begin, begin + hourLength})
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(h, together[1]); d != "" {
					t.Errorf("read with other hours: %s", d)
				}
			}
		})
	}
}
