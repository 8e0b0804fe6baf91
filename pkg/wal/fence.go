package wal

import (
	"context"
	"fmt"
	"time"
)

const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// fence stops the log after a failed write or sync: g, the group in flight if there is one, and all groups behind it
// fail, and the segment is left as it is. What the kernel did with the pages of a failed sync is unknown, so nothing is
// written behind them and no later sync of this file is believed.
func (l *Log) fence(g *group, cause error) {
	err := fmt.Errorf("%w: %w", ErrFenced, cause)
	l.mu.Lock()
	l.term.Fences++
	l.refuse = err
	l.fencedAt = time.Now()
	if g != nil {
		l.finishLocked(g, err)
	}
	l.failLocked(err)
	l.mu.Unlock()
	l.closeSegment()
	if noSpace(cause) {
		l.releaseReserve()
	}
	l.o.Events.Fenced(err)
}

// recover begins a new segment as soon as the disk lets it, and then takes records again. It is false if ctx ended.
func (l *Log) recover(ctx context.Context) bool {
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		l.checkSpace()
		err := l.begin(l.Term().Epoch)
		if err == nil {
			break
		}
		l.o.Events.RetryFailed(err)
		if noSpace(err) {
			l.releaseReserve()
		}
		retry := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			retry.Stop()
			return false
		case <-retry.C:
		}
	}
	l.checkSpace()
	l.mu.Lock()
	l.refuse = nil
	down := time.Since(l.fencedAt)
	l.mu.Unlock()
	l.o.Events.Recovered(down)
	return true
}
