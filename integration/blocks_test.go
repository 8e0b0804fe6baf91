package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/block"
)

// blocks reads the meta.json of a tenant's blocks from the directory behind the object store.
func (s *S3Server) blocks(t *testing.T, tenant string) []block.Meta {
	t.Helper()
	var metas []block.Meta
	for _, dir := range s.blockDirs(t, tenant) {
		meta, err := block.ReadMeta(dir)
		if err == nil { // else it is being uploaded or deleted
			metas = append(metas, meta)
		}
	}
	return metas
}

func (s *S3Server) blockDirs(t *testing.T, tenant string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Root, s.Bucket, tenant, "*", "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Dir(files[i])
	}
	return files
}

// waitBlocks waits until a tenant's blocks in the bucket are as wanted.
func (s *S3Server) waitBlocks(t *testing.T, tenant string, wanted func([]block.Meta) bool) {
	t.Helper()
	waitUntil(t, tenant+" has the blocks that it should", 2*time.Minute, func() error {
		blocks := s.blocks(t, tenant)
		if wanted(blocks) {
			return nil
		}
		return fmt.Errorf("%d blocks of %d replicas, %d merged", len(blocks), replicas(blocks), merged(blocks))
	})
}

// holds tells whether the blocks of every owner hold so many samples, for a cluster of one partition.
func holds(samples uint64) func([]block.Meta) bool {
	return func(blocks []block.Meta) bool {
		byReplica := map[string]uint64{}
		for _, b := range blocks {
			byReplica[b.Varve.Replica] += b.Stats.NumSamples
		}
		for _, count := range byReplica {
			if count < samples {
				return false
			}
		}
		return len(byReplica) == zones
	}
}

// replicas counts the ingesters that wrote any of the blocks.
func replicas(blocks []block.Meta) int {
	seen := map[string]bool{}
	for _, b := range blocks {
		if b.Varve != nil && b.Varve.Replica != "" {
			seen[b.Varve.Replica] = true
		}
	}
	return len(seen)
}

// merged counts the blocks that were made of those of several ingesters.
func merged(blocks []block.Meta) int {
	count := 0
	for _, b := range blocks {
		if b.Varve != nil && b.Varve.Replica == "" {
			count++
		}
	}
	return count
}

// checkBlocks has Prometheus' own tool read a tenant's blocks.
func (s *S3Server) checkBlocks(t *testing.T, tenant string) {
	t.Helper()
	promtool := part(t, "bin", "promtool")
	dir := filepath.Join(s.Root, s.Bucket, tenant)
	list, err := exec.Command(promtool, "tsdb", "list", dir).CombinedOutput()
	if lines := strings.Count(strings.TrimSpace(string(list)), "\n"); err != nil || lines == 0 { // the first is a heading
		t.Errorf("promtool lists %d blocks of %s: %v\n%s", lines, tenant, err, list)
	}
	if output, err := exec.Command(promtool, "tsdb", "analyze", dir).CombinedOutput(); err != nil {
		t.Errorf("promtool can not analyze the blocks of %s: %v\n%s", tenant, err, output)
	}
}
