package querier

import (
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/varve-io/varve/pkg/cost/cube"
)

const (
	// aheadBytes bounds what all answers together hold of files whose turn has not come.
	aheadBytes = 32 << 20
	// aheadOfFile is how much of one stretch is fetched before its turn; the rest of it is fetched as it is read.
	aheadOfFile = 16 << 20
	// aheadStretches is how many stretches of an answer are fetched at once.
	aheadStretches = 32
)

// costAhead fetches stretches of a plan from cubes side by side, before their turn. They are read in order.
type costAhead struct {
	plan *costPlan
	ctx  context.Context
	fail context.CancelCauseFunc
	room *semaphore.Weighted
	next int         // the first stretch that was not begun
	all  []*fetching // not read yet, in order
}

// fetching is a stretch whose files are being fetched.
type fetching struct {
	files cube.Files
	err   error
	room  int64         // that it takes
	done  chan struct{} // closed once files and err are there
	close func()
}

// lookAhead has a context that ends with the first error of a file, whose cause it is.
func (p *costPlan) lookAhead(ctx context.Context) *costAhead {
	ctx, fail := context.WithCancelCause(ctx)
	return &costAhead{plan: p, ctx: ctx, fail: fail, room: p.reader.ahead}
}

// files are those of the stretch whose turn it is, to be closed by done.
func (a *costAhead) files(stretch int) (files cube.Files, done func(), err error) {
	a.begin(stretch)
	f := a.all[0]
	a.all = a.all[1:]
	<-f.done
	return f.files, func() { a.end(f) }, f.err
}

// begin begins to fetch what there is room for, from the stretch whose turn it is. If there is no room for that one, it is only opened.
func (a *costAhead) begin(turn int) {
	for a.next = max(a.next, turn); a.next < len(a.plan.stretches) && len(a.all) < aheadStretches; a.next++ {
		s := a.plan.stretches[a.next]
		if s.level == "" {
			continue
		}
		columns := columnsOf(a.plan.question, s.level)
		files, closeAll := a.plan.reader.files(a.plan.manifest, s)
		f := &fetching{room: min(sizeOf(files, columns), aheadOfFile), done: make(chan struct{}), close: closeAll}
		if !a.room.TryAcquire(f.room) {
			if a.next > turn {
				closeAll()
				return
			}
			f.room = 0
		}
		a.all = append(a.all, f)
		go func() {
			defer close(f.done)
			if f.files, f.err = cube.Ahead(a.ctx, s.level, files, columns, s.to, f.room); f.err != nil {
				a.fail(f.err)
			}
		}()
	}
}

// sizeOf is how large the chosen tables are.
func sizeOf(files cube.Files, columns cube.Columns) (bytes int64) {
	for table := range columns {
		if f := files[table]; f != nil {
			bytes += f.Size()
		}
	}
	return bytes
}

func (a *costAhead) end(f *fetching) {
	<-f.done
	f.close()
	a.room.Release(f.room)
}

// stop ends what is being fetched, and waits for that.
func (a *costAhead) stop() {
	a.fail(context.Canceled)
	for _, f := range a.all {
		a.end(f)
	}
}
