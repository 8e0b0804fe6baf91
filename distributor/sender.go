package distributor

import (
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/time/rate"

	"github.com/varve-io/varve/pkg/tenant"
)

// sender is a tenant that writes: its series, and its quotas.
type sender struct {
	*table
	id       tenant.ID
	hash     uint64        // of the id, in tokens
	lastSeen atomic.Uint32 // Unix seconds
	samples  *rate.Limiter
	creation *rate.Limiter
	diary    diary
	replicas replicas
	held     int64 // bytes of its requests in memory; memory.mu guards it
	working  int64 // inflated bytes of those that are worked on; turns.mu guards it
}

// newSender begins with full quotas: a sender that starts brings all its series at once.
func newSender(id tenant.ID, l *tenant.Limits, now time.Time) *sender {
	return &sender{
		id: id, hash: xxhash.Sum64String(id.String()) * 31, table: newTable(), diary: diary{since: now},
		samples:  rate.NewLimiter(perSecond(l.MaxSamplesPerSecond), l.MaxSamplesBurst),
		creation: rate.NewLimiter(perSecond(l.MaxNewSeriesPerSecond), l.MaxNewSeriesBurst),
	}
}

// perSecond is a quota's rate, 0 being none.
func perSecond(n int) rate.Limit {
	if n == 0 {
		return rate.Inf
	}
	return rate.Limit(n)
}

// adjust makes the quotas those of the limits.
func (s *sender) adjust(l *tenant.Limits) {
	set(s.samples, l.MaxSamplesPerSecond, l.MaxSamplesBurst)
	set(s.creation, l.MaxNewSeriesPerSecond, l.MaxNewSeriesBurst)
}

func set(l *rate.Limiter, n, burst int) {
	if limit := perSecond(n); l.Limit() != limit {
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
