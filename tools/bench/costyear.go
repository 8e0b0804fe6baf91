package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/pkg/cost/money"
	"github.com/varve-io/varve/pkg/tenant"
)

// yearSuite reports on a year of many workloads, out of the roll-ups of its days.
func yearSuite(ctx context.Context, b *bench) ([]*table, error) {
	workloads, days := or(b.pods, 10_000), or(b.days, 365)
	c, done, err := b.newCosts(ctx, fmt.Sprintf("%s workloads × %d days, from cubes", thousands(workloads), days))
	if err != nil {
		return nil, err
	}
	defer done()
	c.stages.Note += " Cold: the first request of a process; the cube is in the page cache."
	begin := time.UnixMilli(costBegin).UTC()
	end := begin.AddDate(0, 0, days)
	if err := c.writeYear(ctx, workloads, begin, end); err != nil {
		return nil, err
	}
	for _, question := range []struct{ name, parameters string }{
		{"by namespace and day", "&by=namespace&step=day"},
		{"by label and day", "&by=label:team&step=day"},
		{"by namespace and month", "&by=namespace&step=month"},
		{"by controller", "&by=cluster,namespace,controller"},
	} {
		if _, err := c.twice(ctx, question.name, begin.UnixMilli(), end.UnixMilli(), question.parameters); err != nil {
			return nil, err
		}
	}
	return []*table{c.stages}, nil
}

// year writes roll-ups into a bucket.
type year struct {
	manifest *cube.Manifest
	bucket   bucket.Bucket
	names    *cost.Names
}

// writeYear writes the roll-ups of days, as a compactor would have.
func (c *costs) writeYear(ctx context.Context, workloads int, begin, end time.Time) error {
	id, err := tenant.Parse(costTenant)
	if err != nil {
		return err
	}
	bkt, err := bucket.Open(bucket.Config{Type: bucket.TypeLocal, Dir: c.bucket}, "", slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	y := &year{&cube.Manifest{Tenant: id}, bkt, cost.NewNames()}
	for month := begin; month.Before(end) && err == nil; {
		next := month.AddDate(0, 1, 1-month.Day())
		if next.After(end) {
			next = end
		}
		err = y.month(ctx, workloads, month, next)
		month = next
	}
	if err == nil {
		err = cube.Save(ctx, bkt, y.manifest, time.Now())
	}
	return errors.Join(err, bkt.Close())
}

func (y *year) month(ctx context.Context, workloads int, begin, end time.Time) error {
	var days []*cost.Ledger
	for d := begin; d.Before(end); d = d.AddDate(0, 0, 1) {
		days = append(days, y.day(workloads, d))
		y.manifest.Days = append(y.manifest.Days, cube.Day{Start: d.UnixMilli(), Closed: 1<<24 - 1, RolledUp: true,
			Settings: []cube.Applied{{Settings: cube.Settings{ClusterLabel: "cluster", Labels: []string{"app", "team"}}, Hours: 1<<24 - 1}}})
	}
	start, to := cube.MonthOf(begin.UnixMilli())
	for _, table := range cube.RollUpTables() {
		var out bytes.Buffer
		if err := cube.WriteRollUp(ctx, &out, table, nil, days); err != nil {
			return err
		}
		name, err := cube.NameOf(cube.DayLevel, start, table, cube.Sum(out.Bytes()))
		if err != nil {
			return err
		}
		o := cube.Object{Level: cube.DayLevel, Start: start, End: to, Table: table, Name: name, Size: int64(out.Len())}
		if err := y.bucket.Upload(ctx, y.manifest.Path(name), &out); err != nil {
			return err
		}
		y.manifest.Put(o, time.Now())
	}
	return nil
}

// classes of nodes.
const classes = 4

// day is that of workloads with one container each, a hundred of them in each namespace, on nodes of four classes, which have twice what is held.
func (y *year) day(workloads int, at time.Time) *cost.Ledger {
	l := &cost.Ledger{From: at.UnixMilli(), To: at.UnixMilli() + day, Names: y.names, Method: cost.MaxRequestUsage}
	var held [classes]money.Quantity // of each class; bytes are a thousand times that
	for n := range workloads {
		use := money.Units(int64((n*7919+at.YearDay()*104_729)%1_000_000+1) * 10_000)
		item := cost.Item{Subject: y.subject(n), Place: y.place(n % classes), Alive: day, CPUKnown: day, RAMKnown: day}
		item.CPU = cost.Parts{Used: use, Unused: use, Request: use.Times(2)}
		item.RAM = cost.Parts{Used: use.Times(1000), Unused: use.Times(1000), Request: use.Times(2000)}
		l.Items = append(l.Items, item)
		held[n%classes] = held[n%classes].Plus(use.Times(2))
	}
	nodes := y.names.Subject(cost.Subject{Owner: cost.Owner{Cluster: "east"}})
	for class, h := range held {
		idle := cost.Item{Kind: cost.Idle, Subject: nodes, Place: y.place(class)}
		asset := cost.AssetItem{Subject: nodes, Place: idle.Place, Up: day}
		idle.CPU.Unused, idle.RAM.Unused = h, h.Times(1000)
		asset.CPU.Capacity, asset.RAM.Capacity = h.Times(2), h.Times(2000)
		asset.CPU.Allocatable, asset.RAM.Allocatable = asset.CPU.Capacity, asset.RAM.Capacity
		l.Items, l.Assets = append(l.Items, idle), append(l.Assets, asset)
	}
	return l
}

func (y *year) subject(n int) uint32 {
	return y.names.Subject(cost.Subject{Container: "app", Owner: cost.Owner{
		Cluster: "east", Namespace: fmt.Sprintf("team-%03d", n/100), Controller: cost.Controller{Kind: "Deployment", Name: fmt.Sprintf("service-%05d", n)},
		Labels: cost.Labels{{Name: "app", Value: fmt.Sprintf("service-%05d", n)}, {Name: "team", Value: fmt.Sprintf("team-%02d", n%90)}},
	}})
}

func (y *year) place(class int) uint32 {
	sizes := [classes]cost.Size{{CPU: 2000, RAM: 8 << 30}, {CPU: 4000, RAM: 16 << 30}, {CPU: 8000, RAM: 32 << 30}, {CPU: 16000, RAM: 64 << 30}}
	kinds := [classes]string{"m7i.large", "m7i.xlarge", "m7i.2xlarge", "m7i.4xlarge"}
	return y.names.Place(cost.Place{Class: cost.Class{Kind: cost.NodeClass, Cluster: "east", Type: kinds[class], Size: sizes[class]}})
}
