package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/ingester"
	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/querier"
)

// network is the links between the processes of a cluster.
type network struct {
	mu       sync.Mutex
	up       map[string]*ingester.Ingester
	cut      map[[2]string]bool
	loseAcks map[[2]string]bool
	frozen   map[string]chan struct{} // closed when it thaws
	links    map[*link]bool
}

func newNetwork() *network {
	return &network{up: map[string]*ingester.Ingester{}, cut: map[[2]string]bool{}, loseAcks: map[[2]string]bool{}, frozen: map[string]chan struct{}{}, links: map[*link]bool{}}
}

// reach is the ingester at the other end, if there is a way to it.
func (n *network) reach(from, to string) (*ingester.Ingester, error) {
	n.mu.Lock()
	i, cut := n.up[to], n.cut[[2]string{from, to}]
	n.mu.Unlock()
	switch {
	case cut:
		return nil, fmt.Errorf("no route from %s to %s", from, to)
	case i == nil:
		return nil, fmt.Errorf("%s is down", to)
	}
	return i, i.Ready()
}

// plug connects an ingester, or with nil takes it away.
func (n *network) plug(name string, i *ingester.Ingester) {
	n.mu.Lock()
	n.up[name] = i
	n.mu.Unlock()
	if i == nil {
		n.breakLinks("", name)
	}
}

// pass waits while an ingester is frozen.
func (n *network) pass(ctx context.Context, to string) error {
	n.mu.Lock()
	thaw := n.frozen[to]
	n.mu.Unlock()
	if thaw == nil {
		return nil
	}
	select {
	case <-thaw:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (n *network) set(from, to string, cut bool) {
	n.mu.Lock()
	n.cut[[2]string{from, to}] = cut
	n.mu.Unlock()
	if cut {
		n.breakLinks(from, to)
	}
}

// breakLinks ends the links between two processes; an empty name stands for any.
func (n *network) breakLinks(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.links {
		if (from == "" || l.from == from) && (to == "" || l.to == to) {
			l.end()
		}
	}
}

// losesAcks makes the next batch from one process to another arrive, its answer be lost, and the link break.
func (n *network) losesAcks(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loseAcks[[2]string{from, to}] = true
}

func (n *network) freeze(to string, yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if yes {
		n.frozen[to] = make(chan struct{})
		return
	}
	close(n.frozen[to])
	delete(n.frozen, to)
}

// dialer is a distributor's way into the network.
type dialer struct {
	*network
	from string
}

func (d dialer) Dial(ctx context.Context, o ring.Owner) (distributor.Owner, error) {
	if err := d.pass(ctx, o.Instance); err != nil {
		return nil, err
	}
	if _, err := d.reach(d.from, o.Instance); err != nil {
		return nil, err
	}
	l := &link{network: d.network, from: d.from, to: o.Instance, queue: make(chan *receipt, 100), broken: make(chan struct{})}
	d.mu.Lock()
	d.links[l] = true
	d.mu.Unlock()
	l.workers.Go(l.deliver)
	return l, nil
}

// link carries the batches of one stream in their order.
type link struct {
	*network
	from, to string
	queue    chan *receipt
	once     sync.Once
	broken   chan struct{}
	workers  sync.WaitGroup
}

var errBroken = errors.New("link is broken")

func (l *link) Push(batch []byte, _ func()) (series.Receipt, error) {
	r := &receipt{batch: batch, done: make(chan struct{})}
	select {
	case <-l.broken:
		return nil, errBroken
	case l.queue <- r:
		return r, nil
	default:
		l.end()
		return nil, errors.New("queue is full")
	}
}

func (l *link) Broken() <-chan struct{} { return l.broken }
func (l *link) end()                    { l.once.Do(func() { close(l.broken) }) }

func (l *link) Close() {
	l.end()
	l.workers.Wait()
	l.mu.Lock()
	delete(l.links, l)
	l.mu.Unlock()
	for {
		select {
		case r := <-l.queue:
			r.settle(series.Ack{}, errBroken)
		default:
			return
		}
	}
}

// deliver takes batches to the ingester until the link breaks. What is on its way then may have arrived.
func (l *link) deliver() {
	ctx, cancel := context.WithCancelCause(context.Background())
	l.workers.Go(func() { <-l.broken; cancel(errBroken) })
	defer l.end()
	for {
		var r *receipt
		select {
		case <-l.broken:
			return
		case r = <-l.queue:
		}
		if err := l.pass(ctx, l.to); err != nil {
			r.settle(series.Ack{}, err)
			return
		}
		i, err := l.reach(l.from, l.to)
		if err != nil {
			r.settle(series.Ack{}, err)
			return
		}
		taken, err := i.Push(r.batch)
		if err != nil {
			r.settle(series.Ack{}, err)
			if errors.Is(err, series.ErrUnknownNumber) || errors.Is(err, series.ErrCorrupt) {
				return
			}
			continue
		}
		l.mu.Lock()
		silent := l.loseAcks[[2]string{l.from, l.to}]
		delete(l.loseAcks, [2]string{l.from, l.to})
		l.mu.Unlock()
		if silent {
			r.settle(series.Ack{}, errBroken)
			return
		}
		l.workers.Go(func() { r.settle(taken.Wait(ctx)) })
	}
}

type receipt struct {
	batch []byte
	done  chan struct{}
	ack   series.Ack
	err   error
}

func (r *receipt) settle(ack series.Ack, err error) {
	r.ack, r.err = ack, err
	close(r.done)
}

func (r *receipt) Wait(ctx context.Context) (series.Ack, error) {
	select {
	case <-r.done:
		return r.ack, r.err
	case <-ctx.Done():
		return series.Ack{}, context.Cause(ctx)
	}
}

// owners is the querier's way into the network.
type owners struct{ *network }

func (o owners) Owner(ctx context.Context, owner ring.Owner) (querier.Owner, error) {
	if err := o.pass(ctx, owner.Instance); err != nil {
		return nil, err
	}
	i, err := o.reach("q", owner.Instance)
	if err != nil {
		return nil, err
	}
	return i, nil
}

// peers is how an ingester asks the other owners of its partition.
type peers struct {
	*network
	self      string
	partition int32
	view      *viewHolder
}

func (p peers) Standings(context.Context) []series.Standing {
	var all []series.Standing
	partition, _ := p.view.View().Partition(p.partition)
	for _, o := range partition.Owners {
		if o.Instance == p.self {
			continue
		}
		if i, err := p.reach(p.self, o.Instance); err == nil {
			all = append(all, i.Standing())
		}
	}
	return all
}

// faulty is a bucket that may be down.
type faulty struct {
	objstore.Bucket
	mu   sync.Mutex
	down bool
}

var errDown = errors.New("the bucket is down")

func (f *faulty) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return errDown
	}
	return nil
}

func (f *faulty) set(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *faulty) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Bucket.Get(ctx, name)
}

func (f *faulty) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Bucket.GetRange(ctx, name, off, length)
}

func (f *faulty) Upload(ctx context.Context, name string, r io.Reader, opts ...objstore.ObjectUploadOption) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Bucket.Upload(ctx, name, r, opts...)
}

func (f *faulty) Exists(ctx context.Context, name string) (bool, error) {
	if err := f.err(); err != nil {
		return false, err
	}
	return f.Bucket.Exists(ctx, name)
}

func (f *faulty) Delete(ctx context.Context, name string) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Bucket.Delete(ctx, name)
}

func (f *faulty) Attributes(ctx context.Context, name string) (objstore.ObjectAttributes, error) {
	if err := f.err(); err != nil {
		return objstore.ObjectAttributes{}, err
	}
	return f.Bucket.Attributes(ctx, name)
}

func (f *faulty) Iter(ctx context.Context, dir string, visit func(string) error, opts ...objstore.IterOption) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Bucket.Iter(ctx, dir, visit, opts...)
}

func (f *faulty) IterWithAttributes(ctx context.Context, dir string, visit func(objstore.IterObjectAttributes) error, opts ...objstore.IterOption) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Bucket.IterWithAttributes(ctx, dir, visit, opts...)
}
