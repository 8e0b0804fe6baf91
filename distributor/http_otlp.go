package distributor

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/tenant"
)

const (
	otlpProtobuf = "application/x-protobuf"
	otlpJSON     = "application/json"
)

func (r *request) otlp(h *http.Request, id tenant.ID) (Written, error) {
	media := mediaType(h)
	if media != otlpProtobuf && media != otlpJSON {
		return Written{}, fmt.Errorf("%w: Content-Type %q, want %s or %s", remote.ErrUnsupported, media, otlpProtobuf, otlpJSON)
	}
	return r.translated(h, id, func(t *remote.Translation, body []byte) error {
		win := newWindow(r.now, r.lim)
		return t.OTLP(body, remote.OTLPOptions{
			JSON:      media == otlpJSON,
			Names:     otlptranslator.TranslationStrategyOption(r.lim.OTLPTranslationStrategy),
			Promote:   r.lim.OTLPPromoteResourceAttributes,
			MaxLabels: int64(r.lim.MaxLabelsSize),
			OverLabels: func(n int64) (string, string) {
				v := over(tenant.MaxLabelsSize, r.lim.MaxLabelsSize, "attributes have %d bytes", n)
				return string(v.why), v.text
			},
			Window: func(at int64) (string, string) {
				if v := win.check(at); v != nil {
					return string(v.why), v.text
				}
				return "", ""
			},
		})
	})
}

// answerOTLP answers in the encoding of the request: 200, perhaps with a partial success, or a google.rpc.Status. See
// https://opentelemetry.io/docs/specs/otlp/#otlphttp-response.
func (d *Distributor) answerOTLP(w http.ResponseWriter, r *http.Request, written Written, err error) {
	asJSON := mediaType(r) == otlpJSON
	w.Header().Set("Content-Type", otlpProtobuf)
	if asJSON {
		w.Header().Set("Content-Type", otlpJSON)
	}
	if err != nil {
		status := d.fail(w, r, err)
		w.WriteHeader(status)
		_, _ = w.Write(rpcStatus(status, err.Error(), asJSON))
		return
	}
	response := pmetricotlp.NewExportResponse()
	if written.Refused > 0 {
		response.PartialSuccess().SetRejectedDataPoints(int64(written.Refused))
		response.PartialSuccess().SetErrorMessage(written.Message)
	}
	marshal := response.MarshalProto
	if asJSON {
		marshal = response.MarshalJSON
	}
	body, err := marshal()
	if err != nil { // neither has anything that could fail
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body)
}

// rpcStatus is a google.rpc.Status, whose code is google.rpc.Code's.
func rpcStatus(status int, message string, asJSON bool) []byte {
	code := rpcCode(status)
	if asJSON {
		body, _ := json.Marshal(struct { // of a number and a string: it can't fail
			Code    int    `json:"code"`
			Message string `json:"message"`
		}{code, message})
		return body
	}
	body := []byte{1 << 3, byte(code), 2<<3 | 2}
	body = binary.AppendUvarint(body, uint64(len(message)))
	return append(body, message...)
}

// rpcCode is the google.rpc.Code that stands for a status of HTTP:
// https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto.
func rpcCode(status int) int {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return 3 // INVALID_ARGUMENT
	case http.StatusForbidden:
		return 7 // PERMISSION_DENIED
	case http.StatusTooManyRequests:
		return 8 // RESOURCE_EXHAUSTED
	case http.StatusMethodNotAllowed:
		return 12 // UNIMPLEMENTED
	case http.StatusUnauthorized:
		return 16 // UNAUTHENTICATED
	}
	return 14 // UNAVAILABLE
}
