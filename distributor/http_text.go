package distributor

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/tenant"
)

const openMetrics = "application/openmetrics-text"

func (r *request) text(h *http.Request, id tenant.ID) (Written, error) {
	if err := textual(h, openMetrics); err != nil {
		return Written{}, err
	}
	return r.translated(h, id, func(t *remote.Translation, body []byte) error {
		if mediaType(h) == openMetrics && !remote.IsOpenMetrics(body) {
			return fmt.Errorf("%w: text that is said to be OpenMetrics doesn't end with # EOF: it is cut off", remote.ErrMalformed)
		}
		return t.Text(body)
	})
}

func (r *request) influx(h *http.Request, id tenant.ID) (Written, error) {
	if err := textual(h); err != nil {
		return Written{}, err
	}
	precision, err := remote.Precision(h.URL.Query().Get("precision"))
	if err != nil {
		return Written{}, err
	}
	return r.translated(h, id, func(t *remote.Translation, body []byte) error { return t.Influx(body, precision) })
}

// textual refuses what is said not to be text. curl says of what it sends that it is a form.
func textual(h *http.Request, more ...string) error {
	taken := append([]string{"", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream"}, more...)
	if media := mediaType(h); !slices.Contains(taken, media) {
		return fmt.Errorf("%w: Content-Type %q, want text/plain", remote.ErrUnsupported, media)
	}
	return nil
}

func mediaType(h *http.Request) string {
	t := h.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(t); err == nil {
		return media
	}
	return t
}

// skippedHeader says how many values of a request were strings, which no sample can have.
const skippedHeader = "X-Varve-Strings-Skipped"

// answerInflux answers as InfluxDB does. Senders for version 1 read error, those for version 2 code and message.
func (d *Distributor) answerInflux(w http.ResponseWriter, r *http.Request, written Written, err error) {
	if written.Skipped > 0 {
		w.Header().Set(skippedHeader, strconv.Itoa(written.Skipped))
	}
	status, message := http.StatusNoContent, ""
	switch {
	case err != nil:
		status, message = d.fail(w, r, err), err.Error()
	case written.Refused > 0:
		status, message = http.StatusBadRequest, "partial write: "+written.Message
	default:
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"code": influxCode(status), "message": message, "error": message})
}

// influxCode is what InfluxDB's HTTP API calls the error that a status means.
func influxCode(status int) string {
	switch status {
	case http.StatusBadRequest, http.StatusUnsupportedMediaType:
		return "invalid"
	case http.StatusUnauthorized:
		return "unauthorized"
	case http.StatusForbidden:
		return "forbidden"
	case http.StatusMethodNotAllowed:
		return "method not allowed"
	case http.StatusRequestEntityTooLarge:
		return "request too large"
	case http.StatusTooManyRequests:
		return "too many requests"
	}
	return "unavailable"
}
