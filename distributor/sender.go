package distributor

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/varve-io/varve/pkg/tenant"
)

// sender is a tenant that writes: its series, and its quotas.
type sender struct {
	id       tenant.ID
	table    *table
	series   atomic.Int64
	lastSeen atomic.Uint32 // Unix seconds
	samples  *rate.Limiter
	creation *rate.Limiter
}

func newSender(id tenant.ID) *sender {
	return &sender{id: id, table: newTable(), samples: rate.NewLimiter(rate.Inf, 0), creation: rate.NewLimiter(rate.Inf, 0)}
}

// adjust makes the quotas those of the limits.
func (s *sender) adjust(l *tenant.Limits) {
	set(s.samples, l.MaxSamplesPerSecond, l.MaxSamplesBurst)
	set(s.creation, l.MaxNewSeriesPerSecond, l.MaxNewSeriesBurst)
}

func set(l *rate.Limiter, perSecond, burst int) {
	limit := rate.Limit(perSecond)
	if perSecond == 0 {
		limit = rate.Inf
	}
	if l.Limit() != limit {
		l.SetLimit(limit)
	}
	if l.Burst() != burst {
		l.SetBurst(burst)
	}
}

// mayCreate is nil if the tenant may have one more series.
func (s *sender) mayCreate(now time.Time, l *tenant.Limits) *violation {
	if n := s.series.Load(); l.MaxActiveSeries > 0 && n >= int64(l.MaxActiveSeries) {
		return over(tenant.MaxActiveSeries, l.MaxActiveSeries, "tenant %s has %d active series", s.id, n)
	}
	if !s.creation.AllowN(now, 1) {
		return over(tenant.MaxNewSeriesPerSecond, l.MaxNewSeriesPerSecond, "tenant %s makes new series too fast", s.id)
	}
	return nil
}
