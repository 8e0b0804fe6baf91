package rpc

import (
	"fmt"
	"sync"

	"github.com/varve-io/varve/pkg/series"
)

// localLink is a link to the ingester of this process: a batch is in its log when Push returns.
type localLink struct {
	ingester Ingester
	once     sync.Once
	broken   chan struct{}
}

func openLocal(i Ingester) (Link, error) {
	if err := i.Ready(); err != nil {
		return nil, fmt.Errorf("%w: %w", series.ErrUnavailable, err)
	}
	return &localLink{ingester: i, broken: make(chan struct{})}, nil
}

// Push implements Link. Unlike a remote owner's, a refusal comes at once. The ingester keeps nothing of the bytes.
func (l *localLink) Push(batch []byte, free func()) (series.Receipt, error) {
	defer free()
	select {
	case <-l.broken:
		return nil, fmt.Errorf("%w: link to this process: %w", series.ErrUnavailable, errClosed)
	default:
	}
	r, err := l.ingester.Push(batch)
	if breaks(err) {
		l.Close()
	}
	return r, err
}

// Broken implements Link.
func (l *localLink) Broken() <-chan struct{} { return l.broken }

// Close implements Link.
func (l *localLink) Close() { l.once.Do(func() { close(l.broken) }) }
