package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/querier"
)

// hoursProgress tells how far the hours of a window are: once a second on one line of a terminal, else every ten seconds.
type hoursProgress struct {
	w           io.Writer
	onTerminal  bool
	now         func() time.Time
	begun, last time.Time
}

// progress is nil if nobody is to be told.
func (o *costOptions) progress(s *session) *hoursProgress {
	onTerminal := isTerminal(s.notice)
	if !o.Progress && !onTerminal {
		return nil
	}
	return &hoursProgress{w: s.notice, onTerminal: onTerminal, now: time.Now}
}

func (p *hoursProgress) begin() {
	p.begun = p.now()
	p.last = p.begun
}

// told tells what a server says of how far it is, until end has been called.
func (p *hoursProgress) told(ctx context.Context) (_ context.Context, end func()) {
	var mu sync.Mutex
	over := false
	p.begin()
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
			mu.Lock()
			defer mu.Unlock()
			var done, of int64
			if n, _ := fmt.Sscanf(header.Get(querier.ProgressHeader), "done=%d, hours=%d", &done, &of); n == 2 && of > 0 && !over {
				p.say(done, of)
			}
			return nil
		}}), func() {
			mu.Lock()
			defer mu.Unlock()
			over = true
			p.end()
		}
}

const hourMillis = int64(time.Hour / time.Millisecond)

// watched are the hours of the window, and tells how far they are.
func watched(hours iter.Seq2[*cost.Ledger, error], window cost.Query, p *hoursProgress) iter.Seq2[*cost.Ledger, error] {
	return func(yield func(*cost.Ledger, error) bool) {
		p.begin()
		defer p.end()
		for l, err := range hours {
			if l != nil {
				p.say((l.To-window.From)/hourMillis, (window.To-window.From)/hourMillis)
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

func (p *hoursProgress) say(done, of int64) {
	now, every := p.now(), 10*time.Second
	if p.onTerminal {
		every = time.Second
	}
	if done < 1 || now.Sub(p.last) < every {
		return
	}
	p.last = now
	left := time.Duration(float64(now.Sub(p.begun)) / float64(done) * float64(of-done)).Round(time.Second)
	text := fmt.Sprintf("read %s of %s hours, %d %%; about %s left", number(done), number(of), 100*done/of, left)
	if p.onTerminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
		return
	}
	fmt.Fprintln(p.w, text)
}

// end takes the line from the terminal.
func (p *hoursProgress) end() {
	if p.onTerminal && p.last != p.begun {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
