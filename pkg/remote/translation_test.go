package remote

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
)

// now is the time of samples that bring none.
const now = 1_700_000_000_123

func wide() Bounds {
	return Bounds{Samples: 1000, Bytes: 1 << 20, Memory: 8 << 20, Hold: func(int64) error { return nil }}
}

// translate is what a translation makes, in lines: each series, what is known of its family, its samples, exemplars, and
// then what is refused.
func translate(t testing.TB, b Bounds, f func(*Translation) error) ([]string, error) {
	t.Helper()
	tr := NewTranslation()
	tr.Reset(b, now, 0)
	if err := f(tr); err != nil {
		return nil, err
	}
	got := readLines(t, tr.Body())
	for _, r := range tr.Refused {
		got = append(got, fmt.Sprintf("refused %s %d: %s", r.Reason, r.Count, r.First))
	}
	if tr.Skipped > 0 {
		got = append(got, fmt.Sprintf("skipped %d", tr.Skipped))
	}
	if tr.ExemplarsDropped > 0 {
		got = append(got, fmt.Sprintf("exemplars dropped %d", tr.ExemplarsDropped))
	}
	return got, nil
}

// readLines is a request of remote write 2.0, in lines.
func readLines(t testing.TB, body []byte) (got []string) {
	t.Helper()
	r := NewRequest(NewHasher())
	if err := r.Reset(WriteV2, body); err != nil {
		t.Fatal(err)
	}
	for r.Next(Guess{}) {
		ls, err := r.Labels(nil, 100)
		if err != nil {
			t.Fatal(err)
		}
		line := labels.New(ls...).String()
		m, ok, err := r.SeriesMetadata()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			line += fmt.Sprintf(" (%s %q %q)", m.Type, m.Help, m.Unit)
		}
		for _, f := range r.Series.Floats {
			line += " " + strconv.FormatFloat(f.Value, 'g', -1, 64) + at(f.Time)
		}
		for _, h := range r.Series.Histograms {
			if h.H != nil {
				line += fmt.Sprintf(" %v%s hint %d", h.H, at(h.Time), h.H.CounterResetHint)
			} else {
				line += fmt.Sprintf(" %v%s", h.FH, at(h.Time))
			}
		}
		err = r.Exemplars(100, func(e exemplar.Exemplar) { line += fmt.Sprintf(" # %s %g%s", e.Labels, e.Value, at(e.Ts)) })
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, line)
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return got
}

// at writes a time as its distance from now.
func at(t int64) string {
	if t == now {
		return ""
	}
	return " @" + (time.Duration(t-now) * time.Millisecond).String()
}

func TestText(t *testing.T) {
	second := fmt.Sprint(now + 1000)
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"a line", "m 1", []string{`{__name__="m"} 1`}},
		{"nothing", "\n\n", nil},
		{"labels, a time, no end of the line", `m{b="x\"\n",a="ü"} -0.5 ` + second, []string{`{__name__="m", a="ü", b="x\"\n"} -0.5 @1s`}},
		{"a name in UTF-8", `{"my.metric","my.label"="1"} 1`, []string{`{__name__="my.metric", "my.label"="1"} 1`}},
		{"values that aren't ordinary", "a NaN\nb +Inf\nc -Inf\nd 1e300\n", []string{`{__name__="a"} NaN`, `{__name__="b"} +Inf`, `{__name__="c"} -Inf`, `{__name__="d"} 1e+300`}},
		{"the same series in a row", "m 1 " + fmt.Sprint(now-1000) + "\nm 2 " + second + "\n", []string{`{__name__="m"} 1 @-1s 2 @1s`}},
		{"a family", "# HELP m What it\\nis.\n# TYPE m histogram\nm_bucket{le=\"1\"} 1\nm_bucket{le=\"+Inf\"} 2\nm_sum 3\nm_count 2\nother 1\n", []string{
			`{__name__="m_bucket", le="1.0"} (histogram "What it\nis." "") 1`, `{__name__="m_bucket", le="+Inf"} (histogram "What it\nis." "") 2`,
			`{__name__="m_sum"} (histogram "What it\nis." "") 3`, `{__name__="m_count"} (histogram "What it\nis." "") 2`, `{__name__="other"} 1`,
		}},
		{"OpenMetrics that only describes", "# TYPE m counter\n# HELP m h\n# EOF\n", nil},
		{"a unit that isn't the name's", "# UNIT m seconds\nm 1\n# EOF\n", []string{`{__name__="m"} 1`, `refused invalid_line 1: line 1: unit "seconds" not a suffix of metric "m"`}},
		{"OpenMetrics with exemplars", "# TYPE m_seconds counter\n# UNIT m_seconds seconds\nm_seconds_total 1 1700000000.5 # {trace_id=\"a\"} 0.5 1700000000\nm_seconds_total{a=\"b\"} 1 # {trace_id=\"b\"} 0.5\n# EOF\n", []string{
			`{__name__="m_seconds_total"} (counter "" "seconds") 1 @377ms # {trace_id="a"} 0.5 @-123ms`,
			`{__name__="m_seconds_total", a="b"} (counter "" "seconds") 1 # {trace_id="b"} 0.5`,
		}},
		{"bad lines among good ones", "# TYPE m histogram\nm_bucket{le=\"1\"} 1\nm{ 2\n\n# a comment\n\nm_sum x\r\nm_count 5\r\n", []string{
			`{__name__="m_bucket", le="1.0"} (histogram "" "") 1`, `{__name__="m_count"} (histogram "" "") 5`,
			`refused invalid_line 2: line 3: expected label name, got "2" ("INVALID") while parsing: "m{ 2"`,
		}},
		{"bad lines of OpenMetrics", "a 1\nb\nc 3 # {x=\"y\"} 1\n# EOF\n", []string{
			`{__name__="a"} 1`, `{__name__="c"} 3 # {x="y"} 1`,
			`refused invalid_line 1: line 2: expected value after metric, got "\n" ("INVALID") while parsing: "b\n"`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := translate(t, wide(), func(tr *Translation) error { return tr.Text([]byte(tt.text)) })
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestInflux(t *testing.T) {
	for _, tt := range []struct {
		name      string
		precision time.Duration
		text      string
		want      []string
	}{
		{"fields of all kinds", 0, `cpu,host=a,cpu=0 idle=1.5,n=-2i,u=3u,on=t,off=false,value=7,name="x" ` + fmt.Sprint(now*1_000_000), []string{
			`{__name__="cpu_idle", cpu="0", host="a"} 1.5`, `{__name__="cpu_n", cpu="0", host="a"} -2`, `{__name__="cpu_u", cpu="0", host="a"} 3`,
			`{__name__="cpu_on", cpu="0", host="a"} 1`, `{__name__="cpu_off", cpu="0", host="a"} 0`, `{__name__="cpu", cpu="0", host="a"} 7`, `skipped 1`,
		}},
		{"no time, comments and empty lines", 0, "# c\n\nm value=1\r\n", []string{`{__name__="m"} 1`}},
		{"names that PromQL would have to quote", 0, `disk\ io.read,my-tag=a\ b,0x:y=ü a:b.c=1`, []string{`{_0x_y="ü", __name__="disk_io_read_a:b_c", my_tag="a b"} 1`}},
		{"milliseconds", time.Millisecond, "m value=1 " + fmt.Sprint(now+5000), []string{`{__name__="m"} 1 @5s`}},
		{"seconds", time.Second, "m value=1 1700000001", []string{`{__name__="m"} 1 @877ms`}},
		{"microseconds before 1970", time.Microsecond, "m value=1 -1", []string{`{__name__="m"} 1` + at(-1)}},
		{"bad lines among good ones", time.Second, "a value=1\nb value=\nc f=1,g=x,h=2\nd value=1 99999999999999999999\ne value=1 9223372036854775807\nf value=2", []string{
			`{__name__="a"} 1`, `{__name__="f"} 2`, `refused invalid_line 4: line 2:9: field value has unrecognized type`,
		}},
		{"only strings", 0, `log msg="a\"b",n="c"`, []string{"skipped 2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := translate(t, wide(), func(tr *Translation) error { return tr.Influx([]byte(tt.text), max(tt.precision, 1)) })
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestPrecision(t *testing.T) {
	for s, want := range map[string]time.Duration{"": 1, "n": 1, "ns": 1, "u": 1000, "us": 1000, "µ": 1000, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9, "d": 0} {
		got, err := Precision(s)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

// A translation ends where it would cost more than it may.
func TestTranslationsAreBounded(t *testing.T) {
	errNoMemory := errors.New("no memory")
	series := func(n int, labels string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "m{i=\"%d\",%s} 1\n", i, labels)
		}
		return b.String()
	}
	for _, tt := range []struct {
		name   string
		change func(*Bounds)
		text   string
		want   error
	}{
		{"samples", func(b *Bounds) { b.Samples = 99 }, series(100, `a="b"`), ErrTooMany},
		{"bad lines", func(b *Bounds) { b.Samples = 99 }, strings.Repeat("x\n", 100), ErrTooMany},
		{"bytes of the result", func(b *Bounds) { b.Bytes = 3000 }, series(100, `a="b"`), ErrTooLarge},
		{"labels, written out", func(b *Bounds) { b.Bytes = 20_000 }, series(100, `a="`+strings.Repeat("x", 1000)+`"`), ErrTooLarge},
		{"memory", func(b *Bounds) { b.Hold = func(n int64) error { return errNoMemory } }, series(100, `a="b"`), errNoMemory},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := wide()
			tt.change(&b)
			if _, err := translate(t, b, func(tr *Translation) error { return tr.Text([]byte(tt.text)) }); !errors.Is(err, tt.want) {
				t.Errorf("text: %v", err)
			}
			lines := strings.NewReplacer("m{", "m,", "} ", " value=", `"`, "").Replace(tt.text)
			if _, err := translate(t, b, func(tr *Translation) error { return tr.Influx([]byte(lines), 1) }); !errors.Is(err, tt.want) {
				t.Errorf("lines: %v", err)
			}
		})
	}
}

// Nothing of one request is seen in the next.
func TestTranslationsAreUsedAgain(t *testing.T) {
	tr := NewTranslation()
	for _, text := range []string{"# TYPE a counter\na{x=\"1\"} 1", "bad{\na 1", "b 2", strings.Repeat("long{x=\""+strings.Repeat("x", 1<<16)+"\"} 1\n", 100), "a 1"} {
		b := wide()
		b.Bytes = 64 << 20
		tr.Reset(b, now, 0)
		if err := tr.Text([]byte(text)); err != nil {
			t.Fatal(err)
		}
		want, err := translate(t, b, func(tr *Translation) error { return tr.Text([]byte(text)) })
		if err != nil {
			t.Fatal(err)
		}
		got := readLines(t, tr.Body())
		if d := cmp.Diff(want[:len(got)], got); d != "" {
			t.Errorf("%.20q (-want +got):\n%s", text, d)
		}
	}
}

// Inflating asks for the memory that it takes, in steps, before it takes it.
func TestReadEncodedAsksForMemory(t *testing.T) {
	raw := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	errNoMemory := errors.New("no memory")
	var b Body
	for _, c := range []struct {
		encoding string
		body     []byte
		least    int64 // that must have been asked for
	}{{"gzip", gz.Bytes(), int64(len(raw))}, {"zstd", e.EncodeAll(raw, nil), int64(len(raw)) + zstdWindow}, {"", raw, 0}} {
		request := func() *http.Request {
			r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(c.body))
			r.Header.Set("Content-Encoding", c.encoding)
			return r
		}
		asked := int64(0)
		b = Body{}
		got, err := b.ReadEncoded(request(), 1<<20, func(n int64) error { asked = max(asked, n); return nil })
		if err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%q: %d bytes, %v", c.encoding, len(got), err)
		}
		if asked < c.least || asked > 3*c.least {
			t.Errorf("%q: %d bytes were asked for, of %d", c.encoding, asked, c.least)
		}
		if _, err := b.ReadEncoded(request(), 1<<20-1, func(int64) error { return nil }); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%q, too large: %v", c.encoding, err)
		}
		b = Body{}
		if _, err := b.ReadEncoded(request(), 1<<20, func(n int64) error {
			if n > 1<<16 {
				return errNoMemory
			}
			return nil
		}); c.least > 0 && !errors.Is(err, errNoMemory) {
			t.Errorf("%q, without memory: %v", c.encoding, err)
		}
	}
}
