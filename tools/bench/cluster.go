package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/varve-io/varve/integration/loopback"
)

// zones is the replication factor: each zone has one ingester, which owns the one partition.
const zones = 3

// cluster builds the processes of a cluster on one bucket, a directory that all share.
type cluster struct {
	b      *bench
	dir    string
	gossip []string // of the ingesters
}

// startCluster starts a distributor, three ingesters, and a querier with a compactor, each a process of its own. The processes
// are in this order.
func startCluster(ctx context.Context, b *bench) (*target, error) {
	dir, err := b.fresh("cluster")
	if err != nil {
		return nil, err
	}
	gossip, err := loopback.Free(zones)
	if err != nil {
		return nil, err
	}
	c := &cluster{b, dir, gossip}
	t := &target{name: "Varve, RF 3", dir: dir, tenant: "load"}
	var programs []program
	var addresses, admins []string
	for _, name := range []string{"distributor", "ingester-0", "ingester-1", "ingester-2", "querier"} {
		p, address, admin, err := c.member(name)
		if err != nil {
			return nil, err
		}
		programs, addresses, admins = append(programs, p), append(addresses, "http://"+address), append(admins, "http://"+admin)
	}
	t.write, t.query = addresses[0]+"/api/v1/push", addresses[len(addresses)-1]+"/prometheus"
	t.admin, t.log = admins[1], filepath.Join(programs[1].dir, "data", "ingester", "wal")
	t.front = admins[0]
	return t, t.startAll(ctx, programs)
}

// startAll starts processes at once and waits until all are ready.
func (t *target) startAll(ctx context.Context, programs []program) error {
	for _, p := range programs {
		s, err := launch(ctx, p)
		if err != nil {
			t.close()
			return err
		}
		t.processes = append(t.processes, s)
	}
	for _, s := range t.processes {
		if err := s.waitReady(ctx); err != nil {
			t.close()
			return err
		}
	}
	return nil
}

// member is the process of that name.
func (c *cluster) member(name string) (p program, address, admin string, err error) {
	free, err := loopback.Free(4)
	if err != nil {
		return p, "", "", err
	}
	p, target := program{name: name, path: c.b.varve, dir: filepath.Join(c.dir, name), ready: "http://" + free[1] + "/-/ready"}, name
	gossip := free[3]
	p.args = []string{
		"-data_dir=" + filepath.Join(p.dir, "data"), "-http.address=" + free[0], "-admin.address=" + free[1], "-rpc.address=" + free[2],
		"-ring.cluster=bench", "-ring.instance=" + name, fmt.Sprintf("-ring.replication_factor=%d", zones),
		"-ring.join=" + c.gossip[0], "-bucket.dir=" + filepath.Join(c.dir, "bucket"),
	}
	var zone int
	switch n, _ := fmt.Sscanf(name, "ingester-%d", &zone); {
	case n == 1:
		target, gossip = "ingester", c.gossip[zone]
		p.args = append(p.args, fmt.Sprintf("-ring.zone=zone-%d", zone), "-ring.partition=0")
	case name == "querier":
		target = "querier,compactor"
	}
	p.args = append(p.args, "-target="+target, "-ring.address="+gossip)
	return p, free[0], free[1], nil
}
