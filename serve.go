package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// stage adds what runs beside each other; a later stage is stopped before an earlier one.
func (p *process) stage(runs ...func(context.Context) error) { p.stages = append(p.stages, runs) }

// run serves until ctx ends or something fails.
func (p *process) run(ctx context.Context) error {
	for part := range p.ready {
		p.health.Set(part, errStarting)
	}
	p.stage(p.listen(p.cfg.Admin.Address, p.admin), p.listen(p.cfg.HTTP.Address, p.data))
	p.stage(p.reportHealth)
	if p.cfg.Self.Tenant != "" && p.cfg.runs("distributor") {
		p.stage(p.writeOwnMetrics)
	}
	if !loopback(p.cfg.Admin.Address) {
		p.logger.Warn("whoever reaches the admin listener may see everything, flush, and take instances out of the ring", "address", p.cfg.Admin.Address)
	}
	if p.cfg.HTTP.Open {
		p.logger.Warn("anybody who reaches the data listener may write and read every tenant", "address", p.cfg.HTTP.Address)
	}
	err := runStages(ctx, p.stages)
	for _, c := range p.closers {
		err = errors.Join(err, c())
	}
	return err
}

// runStages starts all stages, and when ctx ends or one fails, stops them from the last to the first.
func runStages(ctx context.Context, stages [][]func(context.Context) error) error {
	if len(stages) == 0 {
		<-ctx.Done()
		return nil
	}
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, gctx := errgroup.WithContext(own)
	for _, run := range stages[0] {
		g.Go(func() error { return run(gctx) })
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(gctx, cancel)
	err := runStages(inner, stages[1:])
	stop()
	return errors.Join(err, g.Wait())
}

// listen serves a mux on an address.
func (p *process) listen(address string, mux http.Handler) func(context.Context) error {
	return func(ctx context.Context) error {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return err
		}
		p.logger.Info("listening", "address", l.Addr().String())
		server := &http.Server{
			Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
			ErrorLog: slog.NewLogLogger(p.logger.Handler(), slog.LevelDebug),
		}
		context.AfterFunc(ctx, func() {
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
			defer cancel()
			_ = server.Shutdown(grace)
		})
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
}

var errStarting = errors.New("starting")

// reportHealth keeps what /-/ready says.
func (p *process) reportHealth(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		for name, ready := range p.ready {
			p.health.Set(name, ready())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
