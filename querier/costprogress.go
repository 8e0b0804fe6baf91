package querier

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// ProgressHeader of a request asks for interim answers (102, RFC 2518) that have it, too, once a second until the answer is there: how many hours of the window
// are done, "done=37, hours=240". Many clients take an interim answer that they don't know for the answer, so nobody gets one who didn't ask.
const ProgressHeader = "Varve-Cost-Progress"

// interimEvery is how often.
const interimEvery = time.Second

// costProgress is how many hours of a window are done.
type costProgress struct{ done, hours atomic.Int64 }

// set is called after each part of the window that is done.
func (p *costProgress) set(from, at, to int64) {
	p.done.Store(hoursIn(from, at))
	p.hours.Store(hoursIn(from, to))
}

// hoursIn is how many hours there are between two times, parts of hours included.
func hoursIn(from, to int64) int64 {
	if to <= from {
		return 0
	}
	return (hourOf(to-1)-hourOf(from))/hourMillis + 1
}

// String is a dictionary of RFC 8941.
func (p *costProgress) String() string {
	return fmt.Sprintf("done=%d, hours=%d", p.done.Load(), p.hours.Load())
}

// tell sends interim answers to who asks for them, until stop has returned. Nobody else may use w meanwhile.
func (p *costProgress) tell(w http.ResponseWriter, r *http.Request) (stop func()) {
	if r.Header.Get(ProgressHeader) == "" || !r.ProtoAtLeast(1, 1) {
		return func() {}
	}
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticks := time.NewTicker(interimEvery)
		defer ticks.Stop()
		for {
			select {
			case <-over:
				return
			case <-ticks.C:
			}
			if p.hours.Load() > 0 {
				w.Header().Set(ProgressHeader, p.String())
				w.WriteHeader(http.StatusProcessing)
				w.Header().Del(ProgressHeader)
			}
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}
