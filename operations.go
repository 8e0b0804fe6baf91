package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/varve-io/varve/ingester"
	"github.com/varve-io/varve/pkg/ring"
)

// operations are what an operator can ask of an ingester, on the admin listener. Each answers when it is done.
type operations struct {
	ingester *ingester.Ingester
	ring     *ring.Ring // nil for a process that is alone
	logger   *slog.Logger
}

func (o operations) register(mux *http.ServeMux) {
	mux.HandleFunc("POST /ingester/flush", o.do("flush", o.ingester.Flush, "everything is in the catalog"))
	if o.ring != nil {
		mux.HandleFunc("POST /ingester/leave", o.do("leave", o.leave, "left the ring; the process can be stopped and its disk be deleted"))
	}
}

func (o operations) do(name string, f func(context.Context) error, done string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o.logger.Info("asked to "+name, "remote", r.RemoteAddr)
		if err := f(context.WithoutCancel(r.Context())); err != nil {
			o.logger.Error("asked to "+name, "error", err)
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, done)
	}
}

const (
	gossipPause  = 5 * time.Second            // by then every distributor knows of a change of the ring
	catalogPause = catalogAge + 5*time.Second // by then no querier uses a catalog from before
)

// leave takes an ingester out of a cluster without losing anything: no more writes come to its partition, what it has
// goes to the bucket, queriers learn of that, and then nobody needs it.
func (o operations) leave(ctx context.Context) error {
	if err := o.ring.SetInactive(ctx); err != nil {
		return err
	}
	time.Sleep(gossipPause)
	if err := o.ingester.Leave(ctx); err != nil {
		return err
	}
	time.Sleep(catalogPause)
	return o.ring.Leave(ctx)
}
