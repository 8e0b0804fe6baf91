package cost

import "fmt"

// Method is how much of a node a workload is said to hold. Its name stands in every report.
type Method string

// Methods.
const (
	MaxRequestUsage Method = "max-request-usage/v1" // the larger of request and usage at each instant
	RequestOnly     Method = "request-only/v1"
	UsageOnly       Method = "usage-only/v1" // where usage is unknown, the request
)

// ParseMethod takes a name, with or without its version, or "" for max-request-usage.
func ParseMethod(s string) (Method, error) {
	switch s {
	case "", string(MaxRequestUsage), "max-request-usage":
		return MaxRequestUsage, nil
	case string(RequestOnly), "request-only":
		return RequestOnly, nil
	case string(UsageOnly), "usage-only":
		return UsageOnly, nil
	}
	return "", fmt.Errorf("method: there is no %q, but max-request-usage, request-only and usage-only", s)
}

// holding is what is held: used, unused, and unknown.
func (m Method) holding(h *Held) [3]int64 {
	switch m {
	case RequestOnly:
		return [3]int64{max(h.Request-h.Unused-h.Unknown, 0), h.Unused, h.Unknown}
	case UsageOnly:
		return [3]int64{h.Used, 0, h.Unknown}
	default:
		return [3]int64{h.Used, h.Unused, h.Unknown}
	}
}
