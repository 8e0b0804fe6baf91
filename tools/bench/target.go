package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/varve-io/varve/integration/loopback"
)

// target is a server that takes writes: one process or a whole cluster, with a directory of its own.
type target struct {
	name      string
	dir       string
	processes []*process
	again     starter // starts another one like it
	write     string  // remote-write URL
	query     string  // what the paths of the Prometheus API are appended to; empty if nothing is read back
	admin     string  // URL of varve's operators' listener; in a cluster that of an ingester
	front     string  // the same of the process that takes writes
	log       string  // directory of its write-ahead log; empty if it has none
	tenant    string  // empty if it knows no tenants

	// blocks makes the server write all samples as blocks and returns the size of these. Nil if it can't be had.
	blocks func(context.Context) (int64, error)
}

// starter starts a fresh server.
type starter func(context.Context, *bench) (*target, error)

// close ends all processes and removes everything.
func (t *target) close() {
	for _, p := range t.processes {
		p.kill()
	}
	_ = os.RemoveAll(t.dir)
}

// usages are those of each process. It fails if one of them has ended.
func (t *target) usages() ([]usage, error) {
	var all []usage
	for _, p := range t.processes {
		if err := p.alive(); err != nil {
			return nil, err
		}
		u, err := usageOf(p.pid())
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// usage is the sum over the processes.
func (t *target) usage() (usage, error) {
	all, err := t.usages()
	var sum usage
	for _, u := range all {
		sum = sum.add(u)
	}
	return sum, err
}

// metric reads one of a server's own metrics, summed over its series.
func metric(ctx context.Context, admin, name string) (float64, error) {
	text, err := get(ctx, admin+"/metrics")
	if err != nil {
		return 0, err
	}
	return parseMetric(text, name)
}

// build builds varve, unless its path is given.
func (b *bench) build(ctx context.Context) (err error) {
	if b.varve != "" {
		b.varve, err = existing(b.varve)
		return err
	}
	b.varve = filepath.Join(b.dir, "varve")
	b.say("building varve")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", b.varve, "github.com/varve-io/varve").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build varve: %w: %s", err, out)
	}
	return nil
}

// fresh makes an empty directory for a target.
func (b *bench) fresh(name string) (string, error) {
	return os.MkdirTemp(b.dir, name+"-")
}

// startVarve starts one process that does everything, on local disk, with all options but addresses as they come.
func startVarve(ctx context.Context, b *bench) (*target, error) {
	dir, err := b.fresh("varve")
	if err != nil {
		return nil, err
	}
	p, admin, address, err := b.varveAll(dir)
	if err != nil {
		return nil, err
	}
	t := &target{
		name: "Varve", dir: dir, tenant: "load", log: filepath.Join(dir, "data", "ingester", "wal"),
		write: "http://" + address + "/api/v1/push", query: "http://" + address + "/prometheus", admin: "http://" + admin, front: "http://" + admin,
	}
	t.blocks = func(ctx context.Context) (int64, error) {
		if _, err := post(ctx, t.admin+"/ingester/flush"); err != nil {
			return 0, err
		}
		return size(filepath.Join(dir, "data", "bucket", t.tenant))
	}
	s, err := start(ctx, p)
	if err != nil {
		t.close()
		return nil, err
	}
	t.processes = []*process{s}
	return t, nil
}

func (b *bench) varveAll(dir string) (p program, admin, address string, err error) {
	free, err := loopback.Free(2)
	if err != nil {
		return p, "", "", err
	}
	address, admin = free[0], free[1]
	p = program{
		name: "varve", path: b.varve, dir: dir, ready: "http://" + admin + "/-/ready",
		args: []string{"-data_dir=" + filepath.Join(dir, "data"), "-http.address=" + address, "-admin.address=" + admin},
	}
	return p, admin, address, nil
}

// size adds up the sizes of all files below a directory.
func size(dir string) (int64, error) {
	if _, err := os.Stat(dir); err != nil {
		return 0, err
	}
	var sum int64
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return ignoreGone(err)
		}
		info, err := entry.Info()
		if err != nil {
			return ignoreGone(err)
		}
		sum += info.Size()
		return nil
	})
	return sum, err
}

// ignoreGone forgives that a file was removed in the meantime.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (t *target) String() string { return strings.ToLower(t.name) }
