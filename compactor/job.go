package compactor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"syscall"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/tenant"
)

// outcome is what became of a job, and the value of a metric's label.
type outcome string

const (
	merged      outcome = "merged"
	overtaken   outcome = "overtaken"   // another compactor replaced a source first; nothing was uploaded
	twice       outcome = "twice"       // another compactor replaced a source meanwhile; samples are twice in the bucket
	quarantined outcome = "quarantined" // a source is damaged
	noSpace     outcome = "no_space"
	failed      outcome = "failed"
)

// run executes a job: sources to scratch, merge, results to the bucket, one fact. A source that is damaged or gone is
// quarantined, and the job is over; the next plan is without it.
func (c *Compactor) run(ctx context.Context, id tenant.ID, j job) (_ outcome, err error) {
	dir, done, err := c.scratch.begin(2 * j.bytes())
	if errors.Is(err, errNoSpace) {
		return noSpace, err
	}
	if err != nil {
		return failed, err
	}
	defer func() { err = errors.Join(err, done()) }()
	bad := map[ulid.ULID]string{}
	dirs, err := c.download(ctx, id, j, dir, bad)
	var res block.Merged
	results := filepath.Join(dir, "results")
	if err == nil && len(bad) == 0 {
		if res, err = c.merge(ctx, results, dirs, j); err != nil {
			err = c.blame(ctx, dirs, err, bad)
		}
	}
	switch {
	case err != nil:
		return failed, err
	case len(bad) > 0:
		return c.quarantine(ctx, id, bad)
	}
	return c.replace(ctx, id, j, results, res)
}

// download copies the sources to scratch. What is damaged or missing in the bucket goes to bad.
func (c *Compactor) download(ctx context.Context, id tenant.ID, j job, dir string, bad map[ulid.ULID]string) ([]string, error) {
	var dirs []string
	for _, b := range j.sources {
		err := catalog.Download(ctx, c.deps.Bucket, id, b, dir)
		if errors.Is(err, catalog.ErrCorrupt) { // perhaps on the way
			err = catalog.Download(ctx, c.deps.Bucket, id, b, dir)
		}
		if err == nil {
			c.metrics.bytesIn.Add(float64(b.Bytes))
			dirs = append(dirs, filepath.Join(dir, b.ID.String()))
			continue
		}
		reason := err.Error()
		if !errors.Is(err, catalog.ErrCorrupt) {
			var missingErr error
			if reason, missingErr = c.missing(ctx, id, b); missingErr != nil || reason == "" {
				return nil, errors.Join(err, missingErr)
			}
		}
		bad[b.ID] = reason
	}
	return dirs, nil
}

// missing names a file of the block that is not in the bucket; "" if all are there.
func (c *Compactor) missing(ctx context.Context, id tenant.ID, b catalog.Block) (string, error) {
	names := []string{block.MetaName}
	for _, f := range b.Files {
		names = append(names, f.Name)
	}
	for _, name := range names {
		exists, err := c.deps.Bucket.Exists(ctx, path.Join(id.String(), b.ID.String(), name))
		if err != nil {
			return "", err
		}
		if !exists {
			return name + " is missing in the bucket", nil
		}
	}
	return "", nil
}

// merge merges, and checks that the count of samples is right.
func (c *Compactor) merge(ctx context.Context, dest string, dirs []string, j job) (block.Merged, error) {
	res, err := block.Merge(ctx, dest, dirs, block.MergeSpec{Ranges: j.ranges, Origin: origin(j.sources)})
	if err != nil {
		return res, err
	}
	in := int64(0)
	for _, b := range j.sources {
		in += int64(b.Samples)
	}
	if in != res.In || res.In-res.Duplicates != res.Out {
		return res, fmt.Errorf("the catalog has %d samples in the sources, merging read %d, left out %d duplicates and wrote %d",
			in, res.In, res.Duplicates, res.Out)
	}
	c.metrics.samples.Add(float64(res.In))
	c.metrics.duplicates.Add(float64(res.Duplicates))
	return res, nil
}

// origin is what the sources have in common.
func origin(sources []catalog.Block) block.Varve {
	o := block.Varve{Partition: sources[0].Partition, Replica: sources[0].Replica}
	for _, b := range sources {
		if b.Partition != o.Partition {
			o.Partition = -1
		}
		if b.Replica != o.Replica {
			o.Replica = ""
		}
	}
	return o
}

// blame looks for damage in the sources of a merge that failed; what it finds goes to bad. If there is none, the error
// stays.
func (c *Compactor) blame(ctx context.Context, dirs []string, cause error, bad map[ulid.ULID]string) error {
	var system syscall.Errno
	if ctx.Err() != nil || errors.As(cause, &system) {
		return cause
	}
	var damage *block.CorruptError
	isNamed := errors.As(cause, &damage)
	for _, dir := range dirs {
		if isNamed && filepath.Base(dir) != damage.Block.String() {
			continue
		}
		report, err := block.Verify(ctx, block.Dir(dir))
		if err != nil {
			return errors.Join(cause, err)
		}
		if len(report.Problems) > 0 {
			bad[report.Meta.ULID] = report.Problems[0].Error()
		}
	}
	if len(bad) == 0 {
		return cause
	}
	return nil
}

// quarantine makes known that blocks are not to be compacted. Those that another compactor replaced, and perhaps
// deleted, meanwhile are not worth a word.
func (c *Compactor) quarantine(ctx context.Context, id tenant.ID, bad map[ulid.ULID]string) (outcome, error) {
	cat, err := c.deps.Catalog.Sync(ctx, id)
	if err != nil {
		return failed, err
	}
	maps.DeleteFunc(bad, func(b ulid.ULID, _ string) bool {
		_, there := cat.Block(b)
		return !there
	})
	if len(bad) == 0 {
		return overtaken, nil
	}
	if _, err := c.deps.Catalog.Commit(ctx, id, catalog.Fact{Quarantine: bad}); err != nil {
		return failed, err
	}
	for b, reason := range bad {
		c.metrics.quarantined.Inc()
		c.logger.Error("block is damaged and not compacted any more; queries still read it", "tenant", id.String(), "block", b, "reason", reason)
	}
	return quarantined, nil
}

// replace puts the results into the place of the sources, in the bucket and in the catalog.
func (c *Compactor) replace(ctx context.Context, id tenant.ID, j job, results string, res block.Merged) (outcome, error) {
	if isReplaced, err := c.replaced(ctx, id, j); err != nil {
		return failed, err
	} else if isReplaced {
		return overtaken, nil
	}
	var fact catalog.Fact
	for _, b := range j.sources {
		fact.Remove = append(fact.Remove, b.ID)
	}
	bytes := int64(0)
	for _, m := range res.Blocks {
		b, err := catalog.Upload(ctx, c.deps.Bucket, id, filepath.Join(results, m.ULID.String()))
		if err != nil {
			return failed, err
		}
		b.Sources = nil // hundreds, of which nobody asks; meta.json keeps them
		bytes += b.Bytes
		fact.Add = append(fact.Add, b)
	}
	// What is uploaded can't be taken back: another compactor may have found it in the bucket. So it is committed even
	// if the sources were replaced meanwhile.
	isReplaced, err := c.replaced(ctx, id, j)
	if err != nil {
		return failed, err
	}
	if _, err := c.deps.Catalog.Commit(ctx, id, fact); err != nil {
		return failed, err
	}
	c.metrics.blocksIn.Add(float64(len(j.sources)))
	c.metrics.blocksOut.Add(float64(len(fact.Add)))
	c.metrics.bytesOut.Add(float64(bytes))
	c.logger.Info("blocks merged", "tenant", id.String(), "job", j.String(), "results", len(fact.Add), "samples", res.Out,
		"duplicates", res.Duplicates, "bytes_in", j.bytes(), "bytes_out", bytes)
	if isReplaced {
		return twice, nil
	}
	return merged, nil
}

// replaced tells whether a source is not in the catalog any more.
func (c *Compactor) replaced(ctx context.Context, id tenant.ID, j job) (bool, error) {
	cat, err := c.deps.Catalog.Sync(ctx, id)
	if err != nil {
		return false, err
	}
	for _, b := range j.sources {
		if _, there := cat.Block(b.ID); !there {
			return true, nil
		}
	}
	return false, nil
}
