package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/config"
	"github.com/varve-io/varve/pkg/tenant"
)

// options are those of all commands.
type options struct {
	Tenant  string        `yaml:"tenant" help:"tenant whose blocks are meant"`
	Scratch string        `yaml:"scratch" help:"directory for what is under way in an import; empty for the system's"`
	DataDir string        `yaml:"data_dir" help:"the server's data directory, in which a local bucket is unless bucket.dir says otherwise"`
	Bucket  bucket.Config `yaml:"bucket" help:"Where the blocks are."`
}

// asked is what a command was asked for: options, a pointer to a struct with defaults, of which it has these.
type asked struct {
	options any
	tenant  *string
	dataDir *string
	bucket  *bucket.Config
	begins  bool      // a local bucket
	instead []*string // what is read instead of a bucket, if any is something
}

// session is an open bucket and what a command was asked for.
type session struct {
	*program
	bkt    bucket.Bucket
	store  *catalog.Store
	logger *slog.Logger
	tenant tenant.ID // zero if none was named
	args   []string
}

// with opens the bucket that the arguments name for a command. A local bucket must be there: a name that is mistyped
// is no empty bucket.
func (p *program) with(ctx context.Context, args []string, command func(context.Context, *session) error) error {
	return p.session(ctx, defaults().asked(), args, command)
}

func defaults() *options { return &options{DataDir: "data", Bucket: bucket.Default()} }

func (o *options) asked() asked {
	return asked{options: o, tenant: &o.Tenant, dataDir: &o.DataDir, bucket: &o.Bucket}
}

// session fills the options and calls the command with an open bucket.
func (p *program) session(ctx context.Context, a asked, args []string, command func(context.Context, *session) error) error {
	loaded, err := p.load(a.options, args)
	if err != nil {
		return err
	}
	if loaded.Help {
		text, err := config.Usage(a.options)
		fmt.Fprintf(p.out, "%s\n%s", usage, text)
		return err
	}
	if loaded.Print {
		return loaded.WriteYAML(p.out)
	}
	s := &session{program: p, args: loaded.Args, logger: slog.New(slog.NewTextHandler(p.notice, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	if *a.tenant != "" {
		if s.tenant, err = tenant.Parse(*a.tenant); err != nil {
			return fmt.Errorf("-tenant: %w", err)
		}
	}
	if slices.ContainsFunc(a.instead, func(s *string) bool { return *s != "" }) {
		return command(ctx, s)
	}
	if err := s.open(a); err != nil {
		return err
	}
	return errors.Join(command(ctx, s), s.bkt.Close())
}

func (s *session) open(a asked) (err error) {
	if a.bucket.Type == bucket.TypeLocal {
		dir := a.bucket.Dir
		if dir == "" {
			dir = filepath.Join(*a.dataDir, "bucket")
		}
		if _, err := os.Stat(dir); err != nil && !a.begins { // opening would make it
			return fmt.Errorf("open local bucket: %w", err)
		}
	}
	reg := prometheus.NewRegistry()
	if s.bkt, err = bucket.Open(*a.bucket, *a.dataDir, s.logger, reg); err != nil {
		return err
	}
	s.store, err = catalog.New(s.bkt, time.Now, s.logger, reg)
	return err
}

// load fills the options: from the server's file, then environment, then flags.
func (p *program) load(opts any, args []string) (*config.Loaded, error) {
	file, args, err := p.configFile(args)
	if err != nil {
		return nil, err
	}
	if file != "" {
		if err := readServerFile(file, opts); err != nil {
			return nil, err
		}
	}
	var environ []string // of the server's, what is for us
	for _, kv := range p.environ {
		if strings.HasPrefix(kv, "VARVE_BUCKET_") || strings.HasPrefix(kv, "VARVE_DATA_DIR=") {
			environ = append(environ, kv)
		}
	}
	loaded, err := config.Load(opts, config.Options{Args: args, Environ: environ, AllowArgs: true})
	if err != nil {
		return nil, err
	}
	for _, a := range loaded.Args {
		if strings.HasPrefix(a, "-") {
			return nil, fmt.Errorf("%s: options come before arguments", a)
		}
	}
	return loaded, nil
}

// configFile takes -config.file out of the arguments.
func (p *program) configFile(args []string) (file string, rest []string, err error) {
	for _, kv := range p.environ {
		if value, ok := strings.CutPrefix(kv, "VARVE_CONFIG_FILE="); ok {
			file = value
		}
	}
	for i := 0; i < len(args); i++ {
		name, value, hasValue := strings.Cut(strings.TrimPrefix(args[i], "-"), "=")
		switch {
		case name != "-config.file" && name != "config.file" || !strings.HasPrefix(args[i], "-"):
			rest = append(rest, args[i])
		case hasValue:
			file = value
		case i+1 < len(args):
			i++
			file = args[i]
		default:
			return "", nil, errors.New("flag -config.file: needs a value")
		}
	}
	return file, rest, nil
}

// readServerFile takes data_dir and bucket from a file that has all options of the server.
func readServerFile(file string, opts any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	top, err := config.ParseYAML(file, data)
	if err != nil || top == nil {
		return err
	}
	ours := *top
	ours.Content = nil
	for i := 0; top.Kind == yaml.MappingNode && i+1 < len(top.Content); i += 2 {
		if key := top.Content[i].Value; key == "data_dir" || key == "bucket" || strings.HasPrefix(key, "bucket.") {
			ours.Content = append(ours.Content, top.Content[i], top.Content[i+1])
		}
	}
	return config.DecodeYAML(file, &ours, opts)
}

// needTenant is an error if none was named.
func (s *session) needTenant() error {
	if s.tenant.IsZero() {
		return errors.New("-tenant: name the tenant")
	}
	return nil
}

// chosen are the tenant's blocks that the arguments name, or all.
func (s *session) chosen(ctx context.Context) (*catalog.Catalog, []catalog.Block, error) {
	if err := s.needTenant(); err != nil {
		return nil, nil, err
	}
	cat, err := s.store.Load(ctx, s.tenant)
	if err != nil || len(s.args) == 0 {
		return cat, catBlocks(cat), err
	}
	var blocks []catalog.Block
	for _, a := range s.args {
		id, err := ulid.ParseStrict(a)
		if err != nil {
			return nil, nil, fmt.Errorf("block %q: %w", a, err)
		}
		b, ok := cat.Block(id)
		if !ok {
			return nil, nil, fmt.Errorf("block %s is not in the catalog of tenant %s", id, s.tenant)
		}
		blocks = append(blocks, b)
	}
	return cat, blocks, nil
}

func catBlocks(cat *catalog.Catalog) []catalog.Block {
	if cat == nil {
		return nil
	}
	return cat.Blocks
}
