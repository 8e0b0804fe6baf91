package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/varve-io/varve/ingester"
	"github.com/varve-io/varve/pkg/ring"
)

// operations are what an operator can see and ask of a process, on the admin listener. An action is a POST, and
// answers when it is done.
type operations struct {
	ingester *ingester.Ingester // nil for a process that is none
	ring     *ring.Ring         // nil for a process that is alone
	logger   *slog.Logger
}

func (o operations) register(mux *http.ServeMux) {
	if o.ring != nil {
		mux.HandleFunc("GET /ring", o.ring.ServeRing)
		mux.HandleFunc("GET /memberlist", o.ring.ServeMembers)
		mux.HandleFunc("POST /ring/forget", o.do("forget an instance", o.forget))
		mux.HandleFunc("POST /ring/activate", o.do("activate a partition", o.activate))
	}
	if o.ingester != nil {
		mux.HandleFunc("POST /ingester/flush", o.do("flush", o.flush))
		if o.ring != nil {
			mux.HandleFunc("POST /ingester/leave", o.do("leave", o.leave))
		}
	}
}

// do makes a handler of an action, which says what it has done.
func (o operations) do(name string, act func(context.Context, *http.Request) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o.logger.Info("asked to "+name, "remote", r.RemoteAddr, "query", r.URL.RawQuery)
		done, err := act(context.WithoutCancel(r.Context()), r)
		if err != nil {
			o.logger.Error("asked to "+name, "error", err)
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		fmt.Fprintln(w, done)
	}
}

func (o operations) flush(ctx context.Context, _ *http.Request) (string, error) {
	return "everything is in the catalog", o.ingester.Flush(ctx)
}

// forget gives up what an instance alone held that will never come back; another can then take its place.
func (o operations) forget(ctx context.Context, r *http.Request) (string, error) {
	instance := r.FormValue("instance")
	if instance == "" {
		return "", errors.New("say which: ?instance=NAME")
	}
	return instance + " is forgotten", o.ring.Forget(ctx, instance)
}

// activate takes back that a partition was made inactive.
func (o operations) activate(ctx context.Context, r *http.Request) (string, error) {
	id, err := strconv.ParseInt(r.FormValue("partition"), 10, 32)
	if err != nil {
		return "", errors.New("say which: ?partition=NUMBER")
	}
	return fmt.Sprintf("partition %d takes writes", id), o.ring.SetState(ctx, int32(id), ring.Active)
}

const (
	gossipPause  = 5 * time.Second            // by then every distributor knows of a change of the ring
	catalogPause = catalogAge + 5*time.Second // by then no querier uses a catalog from before
)

// leave takes an ingester out of a cluster without losing anything: no more writes come to its partition, what it has
// goes to the bucket, queriers learn of that, and then nobody needs it.
func (o operations) leave(ctx context.Context, _ *http.Request) (string, error) {
	if err := o.dispensable(); err != nil {
		return "", err
	}
	if err := o.ring.SetInactive(ctx); err != nil {
		return "", err
	}
	time.Sleep(gossipPause)
	if err := o.ingester.Leave(ctx); err != nil {
		return "", err
	}
	time.Sleep(catalogPause)
	return "left the ring: the process can be stopped and its disk be deleted", o.ring.Leave(ctx)
}

// dispensable refuses to end the last partition that takes writes.
func (o operations) dispensable() error {
	own := o.ring.Own()
	for _, p := range o.ring.View().Partitions {
		if p.ID != own && p.State == ring.Active {
			return nil
		}
	}
	return fmt.Errorf("partition %d is the only one that takes writes: the cluster would refuse all of them", own)
}

// admit refuses an owner whose place is taken: a partition has one owner in each zone, and as many as the replication
// factor says, or quorums would not overlap.
func admit(c ring.Config, v *ring.View) error {
	p, _ := v.Partition(int32(c.Partition))
	others := 0
	for _, o := range p.Owners {
		if o.Instance == c.Instance {
			continue
		}
		others++
		if o.Zone == c.Zone && c.ReplicationFactor > 1 {
			return fmt.Errorf("partition %d has an owner in zone %q already, %s; if that one will never come back, POST /ring/forget?instance=%s to any member's admin.address", c.Partition, c.Zone, o.Instance, o.Instance)
		}
	}
	if others >= c.ReplicationFactor {
		return fmt.Errorf("partition %d has %d owners already, as many as ring.replication_factor says", c.Partition, others)
	}
	return nil
}
