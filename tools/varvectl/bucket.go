package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
)

// list prints all tenants, or one tenant's blocks.
func list(ctx context.Context, s *session) error {
	if len(s.args) > 0 {
		return fmt.Errorf("unexpected argument %q", s.args[0])
	}
	if !s.tenant.IsZero() {
		cat, err := s.store.Load(ctx, s.tenant)
		if err != nil {
			return err
		}
		printBlocks(s, cat.Blocks)
		return nil
	}
	ids, err := s.store.Tenants(ctx)
	if err != nil {
		return err
	}
	t := newTable("TENANT", ">BLOCKS", "FROM", "TO", ">SAMPLES", ">SIZE", ">TO DELETE", ">QUARANTINED")
	for _, id := range ids {
		cat, err := s.store.Load(ctx, id)
		if err != nil {
			return err
		}
		tenantRow(t, id, cat)
	}
	t.print(s.out)
	return nil
}

func tenantRow(t *table, id tenant.ID, cat *catalog.Catalog) {
	all, from, to := sum(cat.Blocks)
	if len(cat.Blocks) == 0 {
		from, to = "-", "-"
	}
	bad, removed := 0, 0
	for _, b := range cat.Blocks {
		if b.Quarantined != "" {
			bad++
		}
	}
	for _, r := range cat.Removed {
		if r.Deleted == 0 {
			removed++
		}
	}
	t.row(id.String(), number(len(cat.Blocks)), from, to, number(all.Samples), size(all.Bytes), number(removed), number(bad))
}

// sum adds up blocks, and says from when to when they are.
func sum(blocks []catalog.Block) (all catalog.Block, from, to string) {
	all.MinTime, all.MaxTime = math.MaxInt64, math.MinInt64
	for _, b := range blocks {
		all.Series += b.Series
		all.Samples += b.Samples
		all.Chunks += b.Chunks
		all.Bytes += b.Bytes
		all.MinTime, all.MaxTime = min(all.MinTime, b.MinTime), max(all.MaxTime, b.MaxTime)
	}
	return all, moment(all.MinTime), moment(all.MaxTime)
}

func printBlocks(s *session, blocks []catalog.Block) {
	t := newTable("BLOCK", "FROM", "TO", ">LENGTH", ">LEVEL", ">PARTITION", "REPLICA", ">SERIES", ">SAMPLES", ">SIZE", "STATE")
	for _, b := range blocks {
		state := "ok"
		if b.Quarantined != "" {
			state = "quarantined: " + b.Quarantined
		}
		t.row(b.ID.String(), moment(b.MinTime), moment(b.MaxTime), span(b.MaxTime-b.MinTime), strconv.Itoa(b.Level), partition(b),
			cmp.Or(b.Replica, "-"), number(b.Series), number(b.Samples), size(b.Bytes), state)
	}
	t.print(s.out)
	all, _, _ := sum(blocks)
	fmt.Fprintf(s.out, "%s blocks, %s samples, %s\n", number(len(blocks)), number(all.Samples), size(all.Bytes))
}

func partition(b catalog.Block) string {
	if b.Partition < 0 {
		return "-"
	}
	return strconv.Itoa(b.Partition)
}

// inspect prints the state of a catalog, or all about some blocks.
func inspect(ctx context.Context, s *session) error {
	cat, blocks, err := s.chosen(ctx)
	if err != nil {
		return err
	}
	if len(s.args) == 0 {
		inspectCatalog(s, cat)
		return nil
	}
	reader, err := s.reader()
	if err != nil {
		return err
	}
	for _, b := range blocks {
		if err := inspectBlock(ctx, s, reader, b); err != nil {
			return err
		}
	}
	return nil
}

func inspectCatalog(s *session, cat *catalog.Catalog) {
	fmt.Fprintf(s.out, "tenant      %s\ngeneration  %d\nupdated     %s\nhash        %s\n\n", s.tenant, cat.Generation, moment(cat.Updated.UnixMilli()), cat.Hash)
	byLength := map[int64][]catalog.Block{}
	for _, b := range cat.Blocks {
		byLength[b.MaxTime-b.MinTime] = append(byLength[b.MaxTime-b.MinTime], b)
	}
	lengths := make([]int64, 0, len(byLength))
	for l := range byLength {
		lengths = append(lengths, l)
	}
	slices.Sort(lengths)
	t := newTable(">LENGTH", ">BLOCKS", "FROM", "TO", ">SAMPLES", ">SIZE")
	for _, l := range lengths {
		all, from, to := sum(byLength[l])
		t.row(span(l), number(len(byLength[l])), from, to, number(all.Samples), size(all.Bytes))
	}
	t.print(s.out)
	for _, b := range cat.Blocks {
		if b.Quarantined != "" {
			fmt.Fprintf(s.out, "quarantined %s: %s\n", b.ID, b.Quarantined)
		}
	}
	waiting := 0
	for _, r := range cat.Removed {
		if r.Deleted == 0 {
			waiting++
		}
	}
	fmt.Fprintf(s.out, "%s removed blocks are remembered, %s of them not yet deleted\n", number(len(cat.Removed)), number(waiting))
}

// mostValues is how many label names are printed of a block.
const mostValues = 10

func inspectBlock(ctx context.Context, s *session, r *bucket.Reader, b catalog.Block) error {
	printBlocks(s, []catalog.Block{b})
	t := newTable("FILE", ">SIZE", "CRC32C")
	for _, f := range b.Files {
		t.row(f.Name, size(f.Size), fmt.Sprintf("%08x", f.CRC32C))
	}
	t.print(s.out)
	for name, value := range b.ExternalLabels {
		fmt.Fprintf(s.out, "label outside of the series: %s=%q\n", name, value)
	}
	open, err := block.Open(ctx, b.OpenFiles(r, s.tenant), b.Meta())
	if err != nil {
		return err
	}
	err = printLabels(ctx, s, open)
	return errors.Join(err, open.Close())
}

// printLabels prints the label names with the most values.
func printLabels(ctx context.Context, s *session, b *block.Block) error {
	q := series.Query{Tenant: s.tenant, MinTime: math.MinInt64, MaxTime: math.MaxInt64}
	names, err := b.LabelNames(ctx, q)
	if err != nil {
		return err
	}
	type label struct {
		name   string
		values int
	}
	var labels []label
	for _, name := range names {
		values, err := b.LabelValues(ctx, name, q)
		if err != nil {
			return err
		}
		labels = append(labels, label{name, len(values)})
	}
	slices.SortFunc(labels, func(a, b label) int {
		return cmp.Or(cmp.Compare(b.values, a.values), strings.Compare(a.name, b.name))
	})
	t := newTable("LABEL", ">VALUES")
	for _, l := range labels[:min(len(labels), mostValues)] {
		t.row(l.name, number(l.values))
	}
	if more := len(labels) - mostValues; more > 0 {
		t.row(fmt.Sprintf("and %d more", more), "")
	}
	t.print(s.out)
	fmt.Fprintln(s.out)
	return nil
}

func (s *session) reader() (*bucket.Reader, error) {
	return bucket.NewReader(s.bkt, bucket.CacheConfig{MemoryBytes: 64 << 20}, s.logger, prometheus.NewRegistry())
}

// verify reads blocks wholly and prints a line for each.
func verify(ctx context.Context, s *session) error {
	_, blocks, err := s.chosen(ctx)
	if err != nil {
		return err
	}
	reader, err := s.reader()
	if err != nil {
		return err
	}
	damaged, progress := 0, newProgress(s.notice)
	for i, b := range blocks {
		progress.say("%d of %d blocks verified", i, len(blocks))
		problems, err := verifyBlock(ctx, s, reader, b)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			problems = append(problems, err)
		}
		if len(problems) == 0 {
			fmt.Fprintf(s.out, "%s  ok       %s samples, %s\n", b.ID, number(b.Samples), size(b.Bytes))
			continue
		}
		damaged++
		fmt.Fprintf(s.out, "%s  DAMAGED  %d problems\n", b.ID, len(problems))
		for _, p := range problems {
			fmt.Fprintf(s.out, "  %v\n", p)
		}
	}
	fmt.Fprintf(s.out, "%d blocks verified, %d of them damaged\n", len(blocks), damaged)
	if damaged > 0 {
		return errFound
	}
	return nil
}

func verifyBlock(ctx context.Context, s *session, r *bucket.Reader, b catalog.Block) ([]error, error) {
	name := path.Join(s.tenant.String(), b.ID.String(), block.MetaName)
	attrs, err := s.bkt.Attributes(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", block.MetaName, err)
	}
	report, err := block.Verify(ctx, withMeta{b.OpenFiles(r, s.tenant), r.File(name, attrs.Size)})
	if err == nil && report.Meta.ULID != b.ID {
		err = fmt.Errorf("%s is that of block %s", block.MetaName, report.Meta.ULID)
	}
	return report.Problems, err
}

// withMeta gives the files of a block that the catalog lists, and meta.json.
type withMeta struct {
	block.Files
	meta block.File
}

// Open implements block.Files.
func (f withMeta) Open(ctx context.Context, name string) (block.File, error) {
	if name == block.MetaName {
		return f.meta, nil
	}
	return f.Files.Open(ctx, name)
}

// remove takes blocks out of the catalog, such as one that is damaged or has vanished and makes queries fail. A
// compactor deletes their data after its delete_delay. There is no way back.
func remove(ctx context.Context, s *session) error {
	if len(s.args) == 0 {
		return errors.New("name the blocks to remove")
	}
	_, blocks, err := s.chosen(ctx)
	if err != nil {
		return err
	}
	var fact catalog.Fact
	for _, b := range blocks {
		fact.Remove = append(fact.Remove, b.ID)
	}
	if _, err := s.store.Commit(ctx, s.tenant, fact); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%d blocks removed from the catalog of tenant %s; a compactor deletes their data later\n", len(blocks), s.tenant)
	return nil
}
