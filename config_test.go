package main

import (
	"strings"
	"testing"

	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/ring"
)

func TestConfigurationsThatCanNotBeMeant(t *testing.T) {
	cluster := []string{"-ring.cluster=c", "-bucket.dir=/b"}
	for want, args := range map[string][]string{
		"target":           {"-target=everything"},
		"http.address":     {"-http.address=0.0.0.0:9009"},
		"ring.cluster":     {"-target=querier"},
		"tls.cert":         append(cluster, "-rpc.address=0.0.0.0:9011"),
		"ring.zone":        append(cluster, "-ring.replication_factor=3"),
		"bucket.dir":       {"-ring.cluster=c"},
		"self.tenant":      {"-self.tenant=a", "-tenants.tokens_file=f"},
		"compactor.settle": {"-ingester.head_period=12h"},
	} {
		cfg := Default()
		_, err := config.Load(&cfg, config.Options{Args: args})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want an error about %s", args, err, want)
		}
	}
	for _, args := range [][]string{
		{}, {"-http.address=0.0.0.0:9009", "-http.insecure_allow_unauthenticated=true"},
		append(cluster, "-target=querier"), append(cluster, "-ring.replication_factor=3", "-ring.zone=a", "-target=ingester"),
	} {
		cfg := Default()
		if _, err := config.Load(&cfg, config.Options{Args: args}); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestAPartitionHasOneOwnerPerZone(t *testing.T) {
	owners := []ring.Owner{{Instance: "a-0", Zone: "a"}, {Instance: "b-0", Zone: "b"}, {Instance: "c-0", Zone: "c"}}
	three := ring.NewView(1, 3, []ring.Partition{{ID: 0, State: ring.Active, Owners: owners}})
	two := ring.NewView(1, 3, []ring.Partition{{ID: 0, State: ring.Active, Owners: owners[:2]}})
	for _, c := range []struct {
		name, instance, zone string
		view                 *ring.View
		ok                   bool
	}{
		{"comes back", "a-0", "a", three, true},
		{"other name, same zone", "a-1", "a", three, false},
		{"fourth zone", "d-0", "d", three, false},
		{"place is free", "c-1", "c", two, true},
	} {
		cfg := ring.Default()
		cfg.Instance, cfg.Zone, cfg.Partition, cfg.ReplicationFactor = c.instance, c.zone, 0, 3
		if err := admit(cfg, c.view); (err == nil) != c.ok {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}
