package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/thanos-io/objstore"
	"golang.org/x/sync/errgroup"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/tenant"
)

// PartialDelay is how old the newest object of a block without meta.json must be before the block counts as given
// up: an upload may take hours, and go on after a restart.
const PartialDelay = 48 * time.Hour

// Report is what Reconcile found. Lists are ordered by ID.
type Report struct {
	// Added were in the bucket but unknown, Removed are marked for deletion by another system.
	Added, Removed []ulid.ULID
	// Vanished are in the catalog but not in the bucket. They stay in the catalog: somebody must look.
	Vanished []ulid.ULID
	// Partial were begun long ago and have no meta.json: clean them with Delete.
	Partial []ulid.ULID
	// Skipped can't be used, and why.
	Skipped map[ulid.ULID]string
}

// Reconcile compares the catalog with a listing of the bucket: at take-over of a tenant, and daily. Blocks that
// nobody knows are added, as are those of a bucket that Cortex or Mimir wrote; blocks that another system marked for
// deletion are removed; old facts are deleted.
func (s *Store) Reconcile(ctx context.Context, id tenant.ID) (Report, error) {
	rep, err := s.reconcile(ctx, id)
	if err != nil {
		return Report{}, fmt.Errorf("reconcile catalog of %s: %w", id, err)
	}
	return rep, nil
}

func (s *Store) reconcile(ctx context.Context, id tenant.ID) (Report, error) {
	before, err := s.Load(ctx, id)
	if errors.Is(err, ErrCorrupt) {
		before, err = empty(id), nil
	}
	if err != nil {
		return Report{}, err
	}
	cat, err := s.settle(ctx, id, nil)
	if err != nil {
		return Report{}, err
	}
	found, err := s.survey(ctx, id, cat)
	if err != nil {
		return Report{}, err
	}
	rep := found.report
	if rep.Vanished, err = s.vanished(ctx, cat, found.dirs); err != nil {
		return Report{}, err
	}
	if !found.fact.empty() {
		if cat, err = s.Commit(ctx, id, found.fact); err != nil {
			return Report{}, err
		}
	}
	rep.Added = nil // what settle found, if it made the catalog anew, counts too
	for _, b := range cat.Blocks {
		if !before.Knows(b.ID) {
			rep.Added = append(rep.Added, b.ID)
		}
	}
	slices.SortFunc(rep.Added, ulid.ULID.Compare)
	return rep, s.deleteFacts(ctx, cat)
}

// rebuild is a catalog of the blocks in the bucket.
func (s *Store) rebuild(ctx context.Context, id tenant.ID) (*Catalog, error) {
	found, err := s.survey(ctx, id, empty(id))
	if err != nil {
		return nil, fmt.Errorf("rebuild: %w", err)
	}
	if len(found.dirs) > 0 {
		s.metrics.rebuilds.Inc()
	}
	found.fact.ID = ulid.ULID{} // not one of the bucket's facts
	_ = found.fact.ID.SetTime(ulid.Timestamp(s.now()))
	cat := Fold(empty(id), found.fact)
	cat.facts = nil
	return cat, nil
}

// surveyed is what a listing says beyond a catalog.
type surveyed struct {
	dirs   map[ulid.ULID]bool // all blocks, whole or not
	fact   Fact
	report Report
}

func (s *Store) survey(ctx context.Context, id tenant.ID, cat *Catalog) (*surveyed, error) {
	out := &surveyed{dirs: map[ulid.ULID]bool{}, report: Report{Skipped: map[ulid.ULID]string{}}}
	err := s.bkt.Iter(ctx, tenantDir(id), func(name string) error {
		b, err := ulid.ParseStrict(path.Base(name))
		if err == nil && name == blockDir(id, b) {
			out.dirs[b] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	marked, err := s.marked(ctx, id)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for b := range out.dirs {
		_, present := cat.Block(b)
		switch {
		case marked[b] && (present || !cat.Knows(b)):
			mu.Lock()
			out.fact.Remove = append(out.fact.Remove, b)
			mu.Unlock()
		case !cat.Knows(b):
			g.Go(func() error {
				v, err := s.inspect(gctx, id, b)
				mu.Lock()
				defer mu.Unlock()
				out.note(b, v)
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, l := range [][]ulid.ULID{out.fact.Remove, out.report.Added, out.report.Partial} {
		slices.SortFunc(l, ulid.ULID.Compare)
	}
	out.report.Removed = out.fact.Remove
	return out, nil
}

// verdict is what one unknown directory turned out to be; the zero verdict is one to leave alone for now.
type verdict struct {
	block           *Block
	marked, partial bool
	skip            string
}

func (o *surveyed) note(id ulid.ULID, v verdict) {
	switch {
	case v.block != nil:
		o.fact.Add = append(o.fact.Add, *v.block)
		o.report.Added = append(o.report.Added, id)
	case v.marked:
		o.fact.Remove = append(o.fact.Remove, id)
	case v.partial:
		o.report.Partial = append(o.report.Partial, id)
	case v.skip != "":
		o.report.Skipped[id] = v.skip
	}
}

// marked are the blocks with a deletion mark where Cortex and Mimir keep copies of all marks.
func (s *Store) marked(ctx context.Context, id tenant.ID) (map[ulid.ULID]bool, error) {
	out := map[ulid.ULID]bool{}
	err := s.bkt.Iter(ctx, tenantDir(id)+"markers/", func(name string) error {
		if stem, ok := strings.CutSuffix(path.Base(name), "-deletion-mark.json"); ok {
			if b, err := ulid.ParseStrict(stem); err == nil {
				out[b] = true
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list deletion marks: %w", err)
	}
	return out, nil
}

func (s *Store) inspect(ctx context.Context, id tenant.ID, b ulid.ULID) (verdict, error) {
	isMarked, err := s.bkt.Exists(ctx, blockDir(id, b)+"deletion-mark.json")
	if err != nil || isMarked {
		return verdict{marked: isMarked}, err
	}
	raw, err := s.get(ctx, metaName(id, b), maxFactBytes)
	if s.bkt.IsObjNotFoundErr(err) {
		return s.inspectPartial(ctx, id, b)
	}
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return verdict{}, fmt.Errorf("read meta.json of %s: %w", b, err)
	}
	meta, external, err := parseMeta(raw)
	switch {
	case err != nil:
		return verdict{skip: err.Error()}, nil
	case meta.ULID != b:
		return verdict{skip: fmt.Sprintf("meta.json is that of block %s", meta.ULID)}, nil
	case meta.Stats.NumTombstones > 0:
		return verdict{skip: fmt.Sprintf("%d deletions that only Prometheus can apply", meta.Stats.NumTombstones)}, nil
	}
	files, problem, err := s.files(ctx, id, meta)
	if err != nil || problem != "" {
		return verdict{skip: problem}, err
	}
	out := newBlock(meta, files, external)
	if err := out.check(); err != nil {
		return verdict{skip: err.Error()}, nil
	}
	return verdict{block: &out}, nil
}

// inspectPartial looks at a block without meta.json: it is being uploaded, being deleted, or given up.
func (s *Store) inspectPartial(ctx context.Context, id tenant.ID, b ulid.ULID) (verdict, error) {
	newest := ulid.Time(b.Time())
	err := s.bkt.IterWithAttributes(ctx, blockDir(id, b), func(a objstore.IterObjectAttributes) error {
		if at, ok := a.LastModified(); ok && at.After(newest) {
			newest = at
		}
		return nil
	}, objstore.WithRecursiveIter(), objstore.WithUpdatedAt())
	if err != nil {
		return verdict{}, fmt.Errorf("list block %s: %w", b, err)
	}
	return verdict{partial: s.now().Sub(newest) > PartialDelay}, nil
}

// thanosMeta is the section that Thanos, Cortex and Mimir add to meta.json.
type thanosMeta struct {
	Thanos struct {
		Labels     map[string]string `json:"labels"`
		Downsample struct {
			Resolution int64 `json:"resolution"`
		} `json:"downsample"`
	} `json:"thanos"`
}

// parseMeta reads a meta.json of ours or of others; the labels are those outside of the series.
func parseMeta(raw []byte) (block.Meta, map[string]string, error) {
	meta, err := block.ParseMeta(raw)
	if err != nil {
		return block.Meta{}, nil, err
	}
	var t thanosMeta
	if err := json.Unmarshal(raw, &t); err != nil {
		return block.Meta{}, nil, fmt.Errorf("read meta.json: %w", err)
	}
	if r := t.Thanos.Downsample.Resolution; r != 0 {
		return block.Meta{}, nil, fmt.Errorf("downsampled by Thanos to %d ms", r)
	}
	return meta, t.Thanos.Labels, nil
}

// files are the block's files as meta.json lists them, checked against the bucket, or, for a block of others, as
// the bucket lists them. The string says what is wrong with the block.
func (s *Store) files(ctx context.Context, id tenant.ID, meta block.Meta) ([]block.FileSum, string, error) {
	dir := blockDir(id, meta.ULID)
	var files []block.FileSum
	if meta.Varve != nil {
		files = meta.Varve.Files
	}
	recorded := len(files) > 0
	if !recorded {
		err := s.bkt.Iter(ctx, dir, func(name string) error {
			name = strings.TrimPrefix(name, dir)
			if name == "index" || name == block.HeaderName || strings.HasPrefix(name, "chunks/") && fileName(name) {
				files = append(files, block.FileSum{Name: name})
			}
			return nil
		}, objstore.WithRecursiveIter())
		if err != nil {
			return nil, "", fmt.Errorf("list block %s: %w", meta.ULID, err)
		}
	}
	files = slices.Clone(files)
	for i, f := range files {
		attrs, err := s.bkt.Attributes(ctx, dir+f.Name)
		if s.bkt.IsObjNotFoundErr(err) {
			return nil, "incomplete: no " + f.Name, nil
		}
		if err != nil {
			return nil, "", fmt.Errorf("attributes of %s%s: %w", dir, f.Name, err)
		}
		if recorded && attrs.Size != f.Size {
			return nil, fmt.Sprintf("incomplete: %s has %d of %d bytes", f.Name, attrs.Size, f.Size), nil
		}
		files[i].Size = attrs.Size
	}
	if !slices.ContainsFunc(files, func(f block.FileSum) bool { return f.Name == "index" }) {
		return nil, "incomplete: no index", nil
	}
	return files, "", nil
}

// vanished are blocks of the catalog that the listing lacks, and that are really not there.
func (s *Store) vanished(ctx context.Context, cat *Catalog, dirs map[ulid.ULID]bool) ([]ulid.ULID, error) {
	var out []ulid.ULID
	for _, b := range cat.Blocks {
		if dirs[b.ID] {
			continue
		}
		exists, err := s.bkt.Exists(ctx, metaName(cat.Tenant, b.ID))
		if err != nil {
			return nil, fmt.Errorf("look for block %s: %w", b.ID, err)
		}
		if !exists {
			out = append(out, b.ID)
		}
	}
	slices.SortFunc(out, ulid.ULID.Compare)
	return out, nil
}

// deleteFacts deletes facts that the catalog in the bucket has and that are old by their own time and the store's.
func (s *Store) deleteFacts(ctx context.Context, cat *Catalog) error {
	var old []string
	now := s.now()
	err := s.bkt.IterWithAttributes(ctx, factsDir(cat.Tenant), func(a objstore.IterObjectAttributes) error {
		f, err := ulid.ParseStrict(strings.TrimSuffix(path.Base(a.Name), ".json"))
		at, ok := a.LastModified()
		if err == nil && ok && cat.has(f) && now.Sub(ulid.Time(f.Time())) > FactKeep && now.Sub(at) > FactKeep {
			old = append(old, a.Name)
		}
		return nil
	}, objstore.WithUpdatedAt())
	if err != nil {
		return fmt.Errorf("list old facts: %w", err)
	}
	for _, name := range old {
		if err := s.bkt.Delete(ctx, name); err != nil && !s.bkt.IsObjNotFoundErr(err) {
			return fmt.Errorf("delete old fact: %w", err)
		}
	}
	return nil
}
