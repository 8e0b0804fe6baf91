package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type testS3 struct {
	Endpoint  string `yaml:"endpoint" help:"host and port"`
	SecretKey Secret `yaml:"secret_key" help:"key"`
}

type testBucket struct {
	Type string     `yaml:"type" help:"kind | of bucket"`
	Dir  string     `yaml:"dir"`
	S3   testS3     `yaml:"s3" help:"S3."`
	Zone StringList `yaml:"zone" help:"zones"`
}

func (b *testBucket) Validate() error {
	return errors.Join(OneOf("type", b.Type, "dir", "s3"), secretNeeded(b))
}

func secretNeeded(b *testBucket) error {
	if b.Type == "s3" && b.S3.SecretKey.Reveal() == "" {
		return Invalid("s3.secret_key", b.S3.SecretKey, "set")
	}
	return nil
}

type testIngester struct {
	HeadPeriod Duration `yaml:"head_period" help:"epoch"`
	Segment    Bytes    `yaml:"segment" help:"size of a segment"`
	Ratio      float64  `yaml:"ratio" help:"share"`
	Replicas   int      `yaml:"replicas" help:"owners"`
	Sync       bool     `yaml:"sync" help:"fsync"`
}

func (i testIngester) Validate() error {
	return errors.Join(
		Between("head_period", i.HeadPeriod, Duration(time.Second), Duration(24*time.Hour)),
		Between("ratio", i.Ratio, 0, 1),
		AtLeast("replicas", i.Replicas, 1),
	)
}

type testRoot struct {
	Target   StringList   `yaml:"target" help:"components"`
	DataDir  string       `yaml:"data_dir" help:"where data lies"`
	Ingester testIngester `yaml:"ingester" help:"The ingester."`
	Bucket   testBucket   `yaml:"bucket"`
	Skipped  chan int     `yaml:"-"`
}

func testDefaults() testRoot {
	return testRoot{
		Target:   StringList{"all"},
		DataDir:  "data",
		Ingester: testIngester{HeadPeriod: Duration(2 * time.Hour), Segment: 64 * MiB, Ratio: 0.5, Replicas: 3, Sync: true},
		Bucket:   testBucket{Type: "dir"},
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "varve.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

var compareRoots = cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Skipped" }, cmp.Ignore())

func TestLoadPrecedence(t *testing.T) {
	file := writeFile(t, `
data_dir: from-file
ingester:
  head_period: 30m
  segment: 1GiB
  replicas: 2
bucket.type: s3
bucket:
  zone: [a, 'b,c']
  s3: &s3
    secret_key: from-file
    endpoint: 127.0.0.1:9000
`)
	got := testDefaults()
	l, err := Load(&got, Options{
		Args: []string{"-ingester.replicas=1", "--target", "distributor, ingester", "-ingester.sync=false", "-config.file", file, "-ingester.replicas=5"},
		Environ: []string{
			"PATH=/bin", "VARVE_INGESTER_HEAD_PERIOD=1d", "VARVE_INGESTER_REPLICAS=7", "VARVE_BUCKET_S3_SECRET_KEY=from=env",
			"VARVE_SERVICE_HOST=10.0.0.1", "VARVE_PORT=tcp://10.0.0.1:80", "VARVE_PORT_80_TCP_ADDR=10.0.0.1", "VARVE_GW_SERVICE_PORT_HTTP=80",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := testDefaults()
	want.Target = StringList{"distributor", "ingester"}
	want.DataDir = "from-file"
	want.Ingester = testIngester{HeadPeriod: Duration(day), Segment: GiB, Ratio: 0.5, Replicas: 5}
	want.Bucket = testBucket{
		Type: "s3", Zone: StringList{"a", "b,c"},
		S3: testS3{Endpoint: "127.0.0.1:9000", SecretKey: NewSecret("from=env")},
	}
	if diff := cmp.Diff(want, got, compareRoots); diff != "" {
		t.Error(diff)
	}
	for name, origin := range map[string]string{
		"data_dir":             "file " + file + ":2",
		"ingester.head_period": "environment VARVE_INGESTER_HEAD_PERIOD",
		"ingester.replicas":    "flag -ingester.replicas",
		"ingester.ratio":       "default",
	} {
		if got := l.originOf(name); got != origin {
			t.Errorf("origin of %s: %s, want %s", name, got, origin)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		file string
		env  []string
		args []string
		want []string // one for each line of the error; %s is the file
	}{
		{
			name: "unknown keys in a file",
			file: "data_dirr: x\ningester:\n  head_perod: 2h\n  replicas: 2\n<<: x\nsecret_key: x\n",
			want: []string{
				`%s:1: unknown option "data_dirr"`, `%s:3: unknown option "ingester.head_perod"`, `%s:5: unknown option "<<"`,
				`%s:6: unknown option "secret_key", did you mean bucket.s3.secret_key?`,
			},
		},
		{
			name: "malformed values in a file",
			file: "ingester:\n  head_period: soon\n  segment: 5 apples\n  sync: maybe\n  replicas: 99999999999999999999\n  ratio: [1]\n",
			want: []string{
				`%s:2: ingester.head_period: "soon" is not a duration such as 30s, 2h or 1d`,
				`%s:3: ingester.segment: "5 apples" is not a size such as 64MiB, 1GiB or 4096`,
				`%s:4: ingester.sync: "maybe" is not true or false`,
				`%s:5: ingester.replicas: "99999999999999999999" is too large`,
				`%s:6: ingester.ratio must be one float`,
			},
		},
		{
			name: "shapes in a file",
			file: "data_dir: a\ndata_dir: b\nbucket: x\ntarget:\n- [a]\ningester:\n  replicas:\n",
			want: []string{
				`%s:2: data_dir is already set in line 1`, `%s:3: bucket must hold options, as name: value`,
				`%s:5: target must be a list of plain values`, `%s:7: ingester.replicas has no value`,
			},
		},
		{name: "a list as file", file: "- a\n", want: []string{`%s:1: the file must hold options, as name: value`}},
		{name: "two documents", file: "data_dir: a\n---\ndata_dir: b\n", want: []string{`%s:2: more than one YAML document`}},
		{name: "no YAML", file: "a: b: c\n", want: []string{`%s: mapping values are not allowed in this context`}},
		{name: "an endless file", file: "ingester: &a\n  ingester: *a\n", want: []string{`%s:2: unknown option "ingester.ingester"`}},
		{
			name: "flags",
			args: []string{"-nope", "-replicas=3", "-ingester.replicas=x", "-version=maybe", "-bucket.s3.secret_key=hunter2", "-data_dir"},
			want: []string{
				`flag -nope: unknown option`, `flag -replicas: unknown option, did you mean ingester.replicas?`,
				`flag -version: "maybe" is not true or false`,
				`flag -bucket.s3.secret_key: a secret must not be on the command line, where every user of the machine can read it: ` +
					`set it in the file of -config.file or in the environment variable VARVE_BUCKET_S3_SECRET_KEY`,
				`flag -data_dir: needs a value`,
				`flag -ingester.replicas: ingester.replicas: "x" is not a whole number`,
			},
		},
		{name: "an argument", args: []string{"-data_dir=x", "serve"}, want: []string{`unexpected argument "serve": options are written -name=value`}},
		{name: "a dash", args: []string{"-"}, want: []string{`unexpected argument "-": options are written -name=value`}},
		{name: "after two dashes", args: []string{"--", "-version"}, want: []string{`unexpected argument "-version": options are written -name=value`}},
		{
			name: "environment",
			env:  []string{"VARVE_NOPE=1", "VARVE_INGESTER_REPLICAS=", "VARVE_BUCKET_S3_SECRET_KEY=***"},
			want: []string{
				`environment VARVE_INGESTER_REPLICAS: ingester.replicas: "" is not a whole number`,
				`environment VARVE_BUCKET_S3_SECRET_KEY: bucket.s3.secret_key: is the mask that stands for a secret, not a secret`,
				`environment VARVE_NOPE: unknown option`,
			},
		},
		{name: "no such file", args: []string{"-config.file=/nonexistent/x"}, want: []string{`read configuration: open /nonexistent/x: no such file or directory`}},
		{
			name: "validation, all at once",
			file: "ingester:\n  ratio: NaN\n",
			env:  []string{"VARVE_INGESTER_HEAD_PERIOD=2d"},
			args: []string{"-ingester.replicas=0", "-bucket.type=ftp"},
			want: []string{
				`ingester.head_period is 2d (environment VARVE_INGESTER_HEAD_PERIOD), must be from 1s to 1d`,
				`ingester.ratio is NaN (file %s:2), must be from 0 to 1`,
				`ingester.replicas is 0 (flag -ingester.replicas), must be at least 1`,
				`bucket.type is "ftp" (flag -bucket.type), must be one of dir, s3`,
			},
		},
		{name: "validation of a default", args: []string{"-bucket.type=s3"}, want: []string{`bucket.s3.secret_key is  (default), must be set`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args, file := tc.args, ""
			if tc.file != "" {
				file = writeFile(t, tc.file)
				args = append(args, "-config.file="+file)
				if tc.args != nil {
					args = append([]string{"-config.file=" + file}, tc.args...)
				}
			}
			root := testDefaults()
			_, err := Load(&root, Options{Args: args, Environ: tc.env})
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.Split(strings.ReplaceAll(err.Error(), file+":", "%s:"), "\n")
			if file == "" {
				got = strings.Split(err.Error(), "\n")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error shows the secret")
			}
		})
	}
}

func TestLoadCommands(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want Loaded
	}{
		{nil, Loaded{}},
		{[]string{"-config.check", "-config.print"}, Loaded{Check: true, Print: true}},
		{[]string{"-config.check=false"}, Loaded{}},
		{[]string{"--help", "-nope"}, Loaded{Help: true}},
		{[]string{"-h"}, Loaded{Help: true}},
		{[]string{"-version", "-config.file=/nonexistent"}, Loaded{Version: true, File: "/nonexistent"}},
	} {
		root := testDefaults()
		l, err := Load(&root, Options{Args: tc.args})
		if err != nil {
			t.Errorf("%v: %v", tc.args, err)
			continue
		}
		got := Loaded{File: l.File, Check: l.Check, Print: l.Print, Version: l.Version, Help: l.Help}
		if fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%v: %+v, want %+v", tc.args, got, tc.want)
		}
	}
}

func TestLoadArgs(t *testing.T) {
	root := testDefaults()
	l, err := Load(&root, Options{Args: []string{"-ingester.sync", "-data_dir=x", "FILE", "-y"}, AllowArgs: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"FILE", "-y"}, l.Args); diff != "" || !root.Ingester.Sync || root.DataDir != "x" {
		t.Errorf("%s %+v", diff, root)
	}
}

func TestLoadFileFromEnvironment(t *testing.T) {
	first, second := writeFile(t, "data_dir: one\n"), writeFile(t, "")
	root := testDefaults()
	if _, err := Load(&root, Options{Environ: []string{"V_CONFIG_FILE=" + first}, EnvPrefix: "V_"}); err != nil || root.DataDir != "one" {
		t.Errorf("data_dir %q, error %v", root.DataDir, err)
	}
	root = testDefaults()
	l, err := Load(&root, Options{Args: []string{"-config.file=" + second}, Environ: []string{"VARVE_CONFIG_FILE=" + first}})
	if err != nil || l.File != second || root.DataDir != "data" {
		t.Errorf("file %q, data_dir %q, error %v; the flag should win", l.File, root.DataDir, err)
	}
}

func TestBadRoots(t *testing.T) {
	type clash struct {
		A struct {
			BC int `yaml:"b_c"`
		} `yaml:"a"`
		AB struct {
			C int `yaml:"c"`
		} `yaml:"a_b"`
	}
	for _, root := range []any{
		nil,
		testRoot{},
		(*testRoot)(nil), new(int), new(clash),
		&struct{ NoTag int }{},
		&struct {
			hidden int `yaml:"x"` //nolint:unused // the case
		}{},
		&struct {
			M map[string]int `yaml:"m"`
		}{},
		&struct {
			D time.Duration `yaml:"d"`
		}{},
	} {
		if _, err := Load(root, Options{}); err == nil {
			t.Errorf("%T is accepted", root)
		}
	}
}

func TestWriteYAML(t *testing.T) {
	root := testDefaults()
	opts := Options{
		Args:    []string{"-data_dir=x: y", "-target=a,b"},
		Environ: []string{"VARVE_BUCKET_S3_SECRET_KEY=hunter2"},
	}
	l, err := Load(&root, opts)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := l.WriteYAML(&b); err != nil {
		t.Fatal(err)
	}
	want := `target: [a, b] # flag -target
data_dir: 'x: y' # flag -data_dir
ingester:
  head_period: 2h # default
  segment: 64MiB # default
  ratio: 0.5 # default
  replicas: 3 # default
  sync: true # default
bucket:
  type: dir # default
  dir: "" # default
  zone: [] # default
  s3:
    endpoint: "" # default
    secret_key: '***' # environment VARVE_BUCKET_S3_SECRET_KEY
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	// What is printed can be loaded, once the secret is put back.
	again := testDefaults()
	file := writeFile(t, strings.ReplaceAll(b.String(), "***", "hunter2"))
	if _, err := Load(&again, Options{Args: []string{"-config.file=" + file}}); err != nil {
		t.Fatal(err)
	}
	root.Bucket.Zone, again.Bucket.Zone = nil, nil
	if diff := cmp.Diff(root, again, compareRoots); diff != "" {
		t.Error(diff)
	}
}

func TestReference(t *testing.T) {
	root := testDefaults()
	page, err := Reference(&root)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n## General\n\n| Option | Type | Default | Environment | Meaning |\n",
		"\n## ingester\n\nThe ingester.\n\n| Option",
		"\n| `ingester.head_period` | duration | `2h` | `VARVE_INGESTER_HEAD_PERIOD` | epoch |\n",
		"\n| `bucket.type` | string | `dir` | `VARVE_BUCKET_TYPE` | kind \\| of bucket |\n",
		"\n| `bucket.s3.secret_key` | secret |  | `VARVE_BUCKET_S3_SECRET_KEY` | key |\n",
		"\n| `target` | list | `all` | `VARVE_TARGET` | components |\n",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("%q is missing in\n%s", want, page)
		}
	}
	usage, err := Usage(&root)
	if err != nil || !strings.Contains(string(usage), "  -ingester.segment=64MiB\n        bytes: size of a segment\n") {
		t.Errorf("usage: %v\n%s", err, usage)
	}
	if n, err := Count(&root); n != 12 || err != nil {
		t.Errorf("count %d, error %v", n, err)
	}
}

func TestDecodeYAML(t *testing.T) {
	node, err := ParseYAML("f", []byte("x:\n  ratio: 2\n  nope: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	section := testIngester{Replicas: 3, HeadPeriod: Duration(time.Hour)}
	err = DecodeYAML("f", node.Content[1], &section)
	if want := "f:3: unknown option \"nope\"\nratio is 2 (file f:2), must be from 0 to 1"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if diff := cmp.Diff(testIngester{Replicas: 3, Ratio: 2, HeadPeriod: Duration(time.Hour)}, section); diff != "" {
		t.Error(diff)
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte("ingester:\n  head_period: 2h\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("target: [a, {b: c}]\nbucket: &b\n  bucket: *b\n"))
	f.Add([]byte("? [a]\n: b\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		root := testDefaults()
		if node, err := ParseYAML("f", data); err == nil {
			_ = DecodeYAML("f", node, &root)
		}
	})
}
