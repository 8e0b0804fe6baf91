package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const (
	pollPeriod  = 5 * time.Second
	maxFileSize = 16 << 20 // bytes of a limits or tokens file
)

// watched is a file that is read again when its content changes, and the
// immutable value that its last good content meant.
type watched[T any] struct {
	path   string
	parse  func(data []byte) (*T, error)
	logger *slog.Logger

	current atomic.Pointer[T]

	mu      sync.Mutex // reloads one at a time
	content []byte     // of the last attempt, good or not
	err     error      // of the last attempt

	successful prometheus.Gauge
	changes    prometheus.Counter
	failures   prometheus.Counter
	changed    prometheus.Gauge
}

// newWatched reads path for the first time; an empty path is an empty file that never changes.
func newWatched[T any](kind string, d Dependencies, parse func([]byte) (*T, error)) (*watched[T], error) {
	auto := promauto.With(prometheus.WrapRegistererWith(prometheus.Labels{"file": kind}, d.Registerer))
	w := &watched[T]{
		path: d.File, parse: parse, logger: d.Logger,
		successful: auto.NewGauge(prometheus.GaugeOpts{
			Name: "varve_tenant_file_reload_successful",
			Help: "Whether the file could be read and was valid when it was last looked at; if not, its last good content holds.",
		}),
		changes: auto.NewCounter(prometheus.CounterOpts{
			Name: "varve_tenant_file_changes_total",
			Help: "How often a new content of the file took effect.",
		}),
		failures: auto.NewCounter(prometheus.CounterOpts{
			Name: "varve_tenant_file_reload_failures_total",
			Help: "How often the file could not be read or was not valid.",
		}),
		changed: auto.NewGauge(prometheus.GaugeOpts{
			Name: "varve_tenant_file_changed_timestamp_seconds",
			Help: "When a new content of the file last took effect.",
		}),
	}
	if d.File == "" {
		value, err := parse(nil)
		w.current.Store(value)
		w.successful.Set(1)
		return w, err
	}
	return w, w.reload()
}

// reload reads the file now. If it can't be read or is not valid, what it meant
// before holds on, and the error says what is wrong.
func (w *watched[T]) reload() error {
	if w.path == "" {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	content, err := readFile(w.path)
	if err == nil && w.content != nil && bytes.Equal(content, w.content) {
		return w.err
	}
	var value *T
	if err == nil {
		value, err = w.parse(content)
	}
	w.content, w.err = content, err
	if err != nil {
		w.failures.Inc()
		w.successful.Set(0)
		return err
	}
	w.current.Store(value)
	w.successful.Set(1)
	w.changes.Inc()
	w.changed.SetToCurrentTime()
	return nil
}

// run looks at the file every few seconds until ctx ends, and logs each change
// and each new failure. It returns nil.
func (w *watched[T]) run(ctx context.Context) error {
	if w.path == "" {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(pollPeriod)
	defer ticker.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		before := w.current.Load()
		switch err := w.reload(); {
		case err != nil && err.Error() != said:
			said = err.Error()
			w.logger.Error("reload failed, the last good content holds", "file", w.path, "err", err)
		case err == nil && (said != "" || w.current.Load() != before):
			said = ""
			w.logger.Info("file reloaded", "file", w.path)
		}
	}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read tenants' file: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read tenants' file: %w", err)
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("read tenants' file %s: %w", path, errors.New("it has over 16 MiB"))
	}
	return data, nil
}

// Dependencies are what [NewOverrides] and [NewTokens] need.
type Dependencies struct {
	File       string // empty for none
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}
