package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/querier"
)

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c *cluster
				defer func() { c.close() }() // also where the story goes otherwise than it should
				datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
					if d.Cmd == "cluster" {
						c = newCluster(t, number(t, d, "partitions", 1), number(t, d, "rf", 3), number(t, d, "distributors", 1), time.Duration(number(t, d, "catalog-age", 15))*time.Second)
						return strings.Join(c.names(), " ")
					}
					return play(t, c, d)
				})
			})
		})
	}
}

func number(t *testing.T, d *datadriven.TestData, key string, otherwise int) int {
	if d.HasArg(key) {
		d.ScanArgs(t, key, &otherwise)
	}
	return otherwise
}

// play does one command and tells what came of it.
func play(t *testing.T, c *cluster, d *datadriven.TestData) string {
	args := words(d)
	switch d.Cmd {
	case "write":
		return c.write(d, args[0])
	case "query":
		return c.query(d, args[len(args)-1])
	case "ask":
		return c.ask(d, args[0], args[len(args)-1])
	case "holds":
		return c.holds()
	case "stop":
		return said(c.stopIngester(args[0]))
	case "start":
		c.startIngester(args[0])
		return "ok"
	case "wipe":
		return said(c.wipe(args[0]))
	case "restart":
		err := c.distributors[args[0]].stop()
		c.startDistributor(args[0])
		return said(err)
	case "cut", "heal":
		c.network.set(args[0], args[1], d.Cmd == "cut")
	case "freeze", "thaw":
		c.network.freeze(args[0], d.Cmd == "freeze")
	case "lose-acks":
		c.network.losesAcks(args[0], args[1])
	case "bucket":
		c.bucket.set(args[0] == "down")
	case "rotate":
		return c.each(args, func(n *ingesterNode) error { return n.Rotate() })
	case "flush":
		return c.each(args, func(n *ingesterNode) error { return n.Flush(context.Background()) })
	case "ring":
		return c.ring(d)
	case "standing":
		return standing(c.ingesters[args[0]].Standing())
	case "advance":
		by, err := time.ParseDuration(args[0])
		if err != nil {
			return err.Error()
		}
		time.Sleep(by)
		synctest.Wait()
		return "it is " + time.Now().UTC().Format(time.TimeOnly)
	default:
		t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	}
	synctest.Wait()
	return "ok"
}

// words is the arguments that have no value.
func words(d *datadriven.TestData) []string {
	var out []string
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			out = append(out, a.Key)
		}
	}
	return out
}

func said(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func tenantOf(d *datadriven.TestData) tenant.ID {
	name := "anonymous"
	for _, a := range d.CmdArgs {
		if a.Key == "tenant" {
			name = a.Vals[0]
		}
	}
	id, err := tenant.Parse(name)
	if err != nil {
		panic(err)
	}
	return id
}

// write sends the lines, or as many series of the one line as are wanted.
func (c *cluster) write(d *datadriven.TestData, via string) string {
	var w prompb.WriteRequest
	many := number(c.t, d, "many", 0)
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		ls, err := parser.NewParser(parser.Options{}).ParseMetric(f[0])
		v, verr := number64(f[2])
		if err := errors.Join(err, verr); err != nil {
			return err.Error()
		}
		s := []prompb.Sample{{Timestamp: clock(f[1]), Value: v}}
		if many == 0 {
			w.Timeseries = append(w.Timeseries, prompb.TimeSeries{Labels: prompb.FromLabels(ls, nil), Samples: s})
		}
		for n := range many {
			one := labels.NewBuilder(ls).Set("n", fmt.Sprint(n)).Labels()
			w.Timeseries = append(w.Timeseries, prompb.TimeSeries{Labels: prompb.FromLabels(one, nil), Samples: s})
		}
	}
	raw, err := w.Marshal()
	if err != nil {
		return err.Error()
	}
	r := httptest.NewRequest(http.MethodPost, "/api/v1/push", bytes.NewReader(s2.EncodeSnappy(nil, raw)))
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set(tenant.Header, tenantOf(d).String())
	answer := httptest.NewRecorder()
	c.distributors[via].ServeHTTP(answer, r)
	synctest.Wait() // until the slow owners have it, too
	switch {
	case d.HasArg("quiet"):
		return "sent"
	case answer.Code >= 500:
		return fmt.Sprint(answer.Code)
	}
	return strings.TrimSpace(fmt.Sprintln(answer.Code, answer.Body))
}

// number64 reads a value, or stale for the marker of staleness.
func number64(text string) (float64, error) {
	if text == "stale" {
		return math.Float64frombits(value.StaleNaN), nil
	}
	return strconv.ParseFloat(text, 64)
}

// clock reads now, now-5m or 00:05:00, in Unix milliseconds.
func clock(text string) int64 {
	if back, ok := strings.CutPrefix(text, "now"); ok {
		by, _ := time.ParseDuration(back)
		return time.Now().Add(by).Truncate(time.Second).UnixMilli()
	}
	at, err := time.Parse(time.DateOnly+" "+time.TimeOnly, "2000-01-01 "+text)
	if err != nil {
		panic(err)
	}
	return at.UnixMilli()
}

// query reads as a user does.
func (c *cluster) query(d *datadriven.TestData, selector string) string {
	ms, err := parser.NewParser(parser.Options{}).ParseMetricSelector(selector)
	if err != nil {
		return err.Error()
	}
	q, err := c.querier.Queryable().Querier(clock("00:00:00")-int64(24*time.Hour/time.Millisecond), clock("now+24h"))
	if err != nil {
		return err.Error()
	}
	defer q.Close()
	set := q.Select(querier.WithTenants(context.Background(), []tenant.ID{tenantOf(d)}), true, nil, ms...)
	out := table{count: d.HasArg("count")}
	for set.Next() {
		out.add(set.At().Labels(), set.At().Iterator(nil))
	}
	var unavailable *querier.UnavailableError
	if err := set.Err(); errors.As(err, &unavailable) {
		return "unavailable: " + strings.ReplaceAll(unavailable.Reason, "; ", "\n  ")
	} else if err != nil {
		return err.Error()
	}
	return out.String()
}

// ask reads from one ingester.
func (c *cluster) ask(d *datadriven.TestData, name, selector string) string {
	ms, err := parser.NewParser(parser.Options{}).ParseMetricSelector(selector)
	if err != nil {
		return err.Error()
	}
	out := table{count: d.HasArg("count")}
	if err := c.read(&out, name, tenantOf(d), ms); err != nil {
		return err.Error()
	}
	return out.String()
}

func (c *cluster) read(out *table, name string, id tenant.ID, ms []*labels.Matcher) error {
	set, _, err := c.ingesters[name].Select(context.Background(), series.Query{Tenant: id, MinTime: 0, MaxTime: math.MaxInt64 / 2, Matchers: ms})
	if err != nil {
		return err
	}
	defer set.Close()
	for set.Next() {
		out.add(set.At().Labels, series.NewIterator(set.At().Chunks, nil))
	}
	return set.Err()
}

// holds counts the samples of every ingester, and the blocks in the catalog.
func (c *cluster) holds() string {
	var b strings.Builder
	for _, name := range c.names() {
		out := table{count: true}
		switch n := c.ingesters[name]; {
		case n.Ingester == nil:
			fmt.Fprintf(&b, "%s: down\n", name)
			continue
		default:
			for _, id := range n.Tenants() {
				if err := c.read(&out, name, id, nil); err != nil {
					return err.Error()
				}
			}
			if len(n.Tenants()) == 0 { // what is only in local blocks
				if err := c.read(&out, name, tenant.Anonymous, nil); err != nil {
					return err.Error()
				}
			}
		}
		fmt.Fprintf(&b, "%s: %d\n", name, out.samples)
	}
	cat, err := c.store.Load(context.Background(), tenant.Anonymous)
	if err != nil {
		return b.String() + "catalog: " + err.Error()
	}
	return b.String() + fmt.Sprintf("catalog: %d blocks", len(cat.Blocks))
}

func (c *cluster) each(names []string, do func(*ingesterNode) error) string {
	if names[0] == "all" {
		names = c.names()
	}
	var errs []string
	for _, name := range names {
		n := c.ingesters[name]
		if n.Ingester == nil {
			continue
		}
		if err := do(n); err != nil {
			if errors.Is(err, errDown) {
				err = errDown
			}
			errs = append(errs, fmt.Sprintf("%s: %v", name, err))
		}
	}
	synctest.Wait()
	if len(errs) > 0 {
		return strings.Join(errs, "\n")
	}
	return "ok"
}

// ring gives everybody, or one process, another view.
func (c *cluster) ring(d *datadriven.TestData) string {
	states, of := map[int32]ring.State{}, ""
	for _, a := range d.CmdArgs {
		if a.Key == "of" {
			of = a.Vals[0]
			continue
		}
		id, err := strconv.Atoi(a.Key)
		if err != nil {
			return err.Error()
		}
		for _, s := range []ring.State{ring.Pending, ring.Active, ring.Inactive} {
			if s.String() == a.Vals[0] {
				states[int32(id)] = s
			}
		}
	}
	view := c.view(states)
	for _, p := range view.Partitions {
		for _, o := range p.Owners {
			c.addIngester(o.Instance, p.ID, view)
		}
	}
	for name, v := range c.views {
		if of == "" || of == name {
			v.set(view)
		}
	}
	time.Sleep(time.Second)
	synctest.Wait()
	return "ok"
}

func standing(s series.Standing) string {
	if s.CompleteSince == 0 {
		return "complete"
	}
	return "complete since " + time.UnixMilli(s.CompleteSince).UTC().Format(time.TimeOnly)
}

// table is series and their samples, or how many there are.
type table struct {
	count           bool
	series, samples int
	lines           strings.Builder
}

func (o *table) add(ls labels.Labels, it chunkenc.Iterator) {
	o.series++
	o.lines.WriteString(ls.String())
	for it.Next() == chunkenc.ValFloat {
		ts, v := it.At()
		o.samples++
		fmt.Fprintf(&o.lines, " %s=%v", time.UnixMilli(ts).UTC().Format(time.TimeOnly), v)
	}
	if it.Err() != nil {
		fmt.Fprintf(&o.lines, " %v", it.Err())
	}
	o.lines.WriteByte('\n')
}

func (o *table) String() string {
	switch {
	case o.count:
		return fmt.Sprintf("%d series, %d samples", o.series, o.samples)
	case o.series == 0:
		return "nothing"
	}
	return o.lines.String()
}
