package compactor

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/cube"
)

// tableSpace is scratch for the table of a cube, beside twice the one that it replaces.
const tableSpace = 256 << 20

func (j *costJob) writeHours(ctx context.Context, day int64, hours []*cost.Hour) error {
	return j.write(ctx, cube.HourLevel, day, cube.HourTables(), func(w io.Writer, t cube.Table, old cube.Source) error {
		return cube.WriteHours(ctx, w, t, old, hours)
	})
}

// rollUpDay sums the hours of a complete day, out of the cube.
func (j *costJob) rollUpDay(ctx context.Context, day int64) error {
	sum := cost.NewSum(cost.MaxRequestUsage, cost.NewNames(), day, day+dayWidth)
	for h, err := range cube.Hours(ctx, j.files(cube.HourLevel, day), cube.RollUpColumns()) {
		if err == nil {
			err = sum.AddHour(h)
		}
		if err != nil {
			return err
		}
	}
	return j.writeRollUp(ctx, cube.DayLevel, day, sum.Ledger())
}

// months rolls up the months whose days are all there.
func (j *costJob) months(ctx context.Context) error {
	complete := map[int64]int64{} // days that are rolled up, by month
	for _, d := range j.manifest.Days {
		if month, _ := cube.MonthOf(d.Start); d.RolledUp {
			complete[month]++
		}
	}
	for month, days := range complete {
		_, end := cube.MonthOf(month)
		if days*dayWidth != end-month || j.manifest.Has(cube.MonthLevel, month) {
			continue
		}
		if err := j.rollUpMonth(ctx, month, end); err != nil {
			return fmt.Errorf("month of %s: %w", cost.Time(month), err)
		}
		if err := j.save(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (j *costJob) rollUpMonth(ctx context.Context, month, end int64) error {
	names := cost.NewNames()
	sum := cost.NewSum("", names, month, end) // the method of all stored roll-ups
	for l, err := range cube.RollUps(ctx, j.files(cube.DayLevel, month), nil, names) {
		if err == nil {
			err = sum.Add(l)
		}
		if err != nil {
			return err
		}
	}
	return j.writeRollUp(ctx, cube.MonthLevel, month, sum.Ledger())
}

func (j *costJob) writeRollUp(ctx context.Context, level cube.Level, start int64, sum *cost.Ledger) error {
	err := j.write(ctx, level, start, cube.RollUpTables(), func(w io.Writer, t cube.Table, old cube.Source) error {
		return cube.WriteRollUp(ctx, w, t, old, []*cost.Ledger{sum})
	})
	if err == nil {
		j.manifest.RolledUp(level, start)
	}
	return err
}

// files are those of the cube as the manifest has them now.
func (j *costJob) files(level cube.Level, at int64) cube.Files {
	return j.manifest.Files(level, at, func(name string, size int64) cube.Source { return j.reader.File(name, size) })
}

type writeTable func(w io.Writer, t cube.Table, old cube.Source) error

// write writes tables anew and enters them in the manifest, which is not saved.
func (j *costJob) write(ctx context.Context, level cube.Level, at int64, tables []cube.Table, fill writeTable) (err error) {
	old := j.files(level, at)
	most := int64(0)
	for _, f := range old {
		most = max(most, f.Size())
	}
	dir, done, err := j.scratch.begin(tableSpace + 2*most)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	for _, t := range tables {
		if err := j.writeTable(ctx, filepath.Join(dir, string(t)), cube.Object{Level: level, Start: at, Table: t}, old[t], fill); err != nil {
			return fmt.Errorf("table %s: %w", t, err)
		}
	}
	return nil
}

// writeTable writes one to scratch, which tells its name, reads its footer back, and uploads it.
func (j *costJob) writeTable(ctx context.Context, path string, o cube.Object, old cube.Source, fill writeTable) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	sum, w := sha256.New(), bufio.NewWriterSize(f, 1<<20)
	if err := fill(io.MultiWriter(w, sum), o.Table, old); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	local := localFile{f}
	written, err := cube.Open(ctx, o.Table, local)
	if err != nil {
		return err
	}
	for _, s := range written.Spans() {
		o.Rows += s.Rows
	}
	name, err := cube.NameOf(o.Level, o.Start, o.Table, fmt.Sprintf("%x", sum.Sum(nil)[:8]))
	if err != nil {
		return err
	}
	o.Name, o.Size = name, local.Size()
	if slices.ContainsFunc(j.manifest.Objects, func(p cube.Object) bool { return p.Name == o.Name }) {
		return nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := j.deps.Bucket.Upload(ctx, j.manifest.Path(o.Name), f); err != nil {
		return err
	}
	j.metrics.costBytes.Add(float64(o.Size))
	j.manifest.Put(o, j.now)
	return nil
}

// localFile is a cube.Source.
type localFile struct{ *os.File }

// Size implements cube.Source.
func (f localFile) Size() int64 {
	st, err := f.Stat()
	if err != nil {
		return 0
	}
	return st.Size()
}

// Ranges implements cube.Source.
func (f localFile) Ranges(_ context.Context, ranges []struct{ Off, Len int64 }) ([][]byte, error) {
	out := make([][]byte, len(ranges))
	for i, r := range ranges {
		out[i] = make([]byte, r.Len)
		if _, err := f.ReadAt(out[i], r.Off); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// sweep deletes objects that the manifest let go of long enough ago.
func (j *costJob) sweep(ctx context.Context) error {
	before := j.now.Add(-j.cubeDelay()).UnixMilli()
	var errs []error
	gone := map[string]bool{}
	for _, r := range j.manifest.Removed {
		if r.At > before || strings.Contains(r.Name, "..") {
			continue
		}
		err := j.deps.Bucket.Delete(ctx, j.manifest.Path(r.Name))
		if err != nil && !j.deps.Bucket.IsObjNotFoundErr(err) {
			errs = append(errs, err)
			break
		}
		gone[r.Name] = true
	}
	if len(gone) == 0 {
		return errors.Join(errs...)
	}
	j.manifest.Removed = slices.DeleteFunc(j.manifest.Removed, func(r cube.Removed) bool { return gone[r.Name] })
	return errors.Join(append(errs, j.save(ctx))...)
}

// sweepUnnamed deletes, once a day, objects that a compactor wrote long ago and died before the manifest named them.
func (j *costJob) sweepUnnamed(ctx context.Context) error {
	j.mu.Lock()
	last := j.state(j.id).costSwept
	j.mu.Unlock()
	if len(j.manifest.Objects) == 0 || j.now.Sub(last) < reconcileEvery {
		return nil
	}
	named := map[string]bool{}
	for _, o := range j.manifest.Objects {
		named[j.manifest.Path(o.Name)] = true
	}
	for _, r := range j.manifest.Removed {
		named[j.manifest.Path(r.Name)] = true
	}
	err := j.deps.Bucket.Iter(ctx, j.manifest.Path(""), func(name string) error {
		if named[name] || !strings.HasSuffix(name, ".parquet") {
			return nil
		}
		a, err := j.deps.Bucket.Attributes(ctx, name)
		if err != nil || j.now.Sub(a.LastModified) < unnamedDelay {
			return err
		}
		j.logger.Info("part of a cost cube that no manifest names is deleted", "tenant", j.id.String(), "object", name)
		return j.deps.Bucket.Delete(ctx, name)
	}, objstore.WithRecursiveIter())
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.state(j.id).costSwept = j.now
	return nil
}
