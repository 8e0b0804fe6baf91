package bucket

import (
	"container/list"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// pageOverhead is about what an entry of the page cache takes besides its data and name.
const pageOverhead = 200

// pageCache keeps the pages used last, up to a number of bytes.
type pageCache struct {
	mu      sync.Mutex
	max     int64
	used    int64
	order   *list.List // of *cachedPage, last used first
	entries map[pageKey]*list.Element
}

type cachedPage struct {
	key  pageKey
	data []byte
}

func (p *cachedPage) cost() int64 { return int64(cap(p.data)+len(p.key.name)) + pageOverhead }

func newPageCache(maxBytes int64) *pageCache {
	return &pageCache{max: maxBytes, order: list.New(), entries: map[pageKey]*list.Element{}}
}

// get is nil for a page that is not there.
func (c *pageCache) get(key pageKey) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cachedPage).data
}

func (c *pageCache) put(key pageKey, data []byte) {
	page := &cachedPage{key, data}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.entries[key])
	if page.cost() > c.max {
		return
	}
	c.entries[key] = c.order.PushFront(page)
	c.used += page.cost()
	for c.used > c.max {
		c.remove(c.order.Back())
	}
}

func (c *pageCache) drop(key pageKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.entries[key])
}

func (c *pageCache) remove(e *list.Element) {
	if e == nil {
		return
	}
	page := c.order.Remove(e).(*cachedPage)
	delete(c.entries, page.key)
	c.used -= page.cost()
}

type readerMetrics struct {
	memoryHits, diskHits, misses prometheus.Counter
	gets, getBytes               prometheus.Counter
}

func newReaderMetrics(reg prometheus.Registerer) *readerMetrics {
	f := promauto.With(reg)
	pages := f.NewCounterVec(prometheus.CounterOpts{
		Name: "varve_bucket_pages_total", Help: "Pages of 64 KiB asked for, by where they were found.",
	}, []string{"source"})
	return &readerMetrics{
		memoryHits: pages.WithLabelValues("memory"),
		diskHits:   pages.WithLabelValues("disk"),
		misses:     pages.WithLabelValues("bucket"),
		gets:       f.NewCounter(prometheus.CounterOpts{Name: "varve_bucket_page_gets_total", Help: "Range requests for pages."}),
		getBytes:   f.NewCounter(prometheus.CounterOpts{Name: "varve_bucket_page_read_bytes_total", Help: "Bytes received by range requests for pages."}),
	}
}
