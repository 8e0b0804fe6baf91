package telemetry

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// errStarting is why a part is not ready that has not reported yet.
var errStarting = errors.New("starting")

// Health knows whether the parts of the process are ready. All methods may be
// called at once.
type Health struct {
	mu    sync.Mutex
	parts map[string]error // nil is ready
}

// NewHealth returns a Health that waits for the parts: none of them is ready
// before Set says so.
func NewHealth(parts ...string) *Health {
	h := &Health{parts: map[string]error{}}
	for _, name := range parts {
		h.parts[name] = errStarting
	}
	return h
}

// Set says that a part is ready (nil), or why it is not: best with how far it
// has come, "replaying the log: 40 % of 3 GiB".
func (h *Health) Set(part string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parts[part] = err
}

// Ready returns nil if all parts are ready, else an error with a line for each
// that is not, in the order of their names.
func (h *Health) Ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var missing []error
	for name, err := range h.parts {
		if err != nil {
			missing = append(missing, fmt.Errorf("%s: %w", name, err))
		}
	}
	slices.SortFunc(missing, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(missing...)
}

// ServeReady answers 200 if the process is ready, else 503 with what is missing.
func (h *Health) ServeReady(w http.ResponseWriter, _ *http.Request) {
	if err := h.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	answer(w, "ready\n")
}

// ServeHealthy answers 200: the process lives and can be asked.
func (h *Health) ServeHealthy(w http.ResponseWriter, _ *http.Request) { answer(w, "healthy\n") }

func answer(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text)) // a client that has gone is no error of ours
}
