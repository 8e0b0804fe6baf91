// Varve keeps Prometheus metrics for years in object storage and answers PromQL over them. One binary: by default one
// process does everything on local disk; -target splits it over machines.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/telemetry"
)

func main() {
	if err := run(os.Args[1:], os.Environ(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "varve:", err)
		os.Exit(1)
	}
}

func run(args, environ []string, out io.Writer) error {
	cfg := Default()
	loaded, err := config.Load(&cfg, config.Options{Args: args, Environ: environ})
	if err != nil {
		return err
	}
	switch build := telemetry.ReadBuild(); {
	case loaded.Version:
		_, err := fmt.Fprintln(out, "varve", build.Version, build.Revision, build.GoVersion)
		return err
	case loaded.Help:
		usage, err := config.Usage(&cfg)
		return errors.Join(err, write(out, usage))
	case loaded.Print:
		return loaded.WriteYAML(out)
	case loaded.Check:
		return write(out, []byte("the configuration is valid\n"))
	default:
		return serve(cfg, build)
	}
}

func write(w io.Writer, p []byte) error {
	_, err := w.Write(p)
	return err
}

// serve runs until a signal asks to stop; a second one ends the process at once.
func serve(cfg Config, build telemetry.Build) error {
	logger, err := telemetry.NewLogger(cfg.Log, os.Stderr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	tracing, err := telemetry.NewTracing(ctx, build)
	if err != nil {
		return err
	}
	tracing.Install(logger)
	defer func() { _ = tracing.Shutdown(context.WithoutCancel(ctx)) }()

	p, err := wire(cfg, build, logger)
	if err != nil {
		return err
	}
	return p.run(ctx)
}
