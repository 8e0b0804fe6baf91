package bucket_test

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/bucket/buckettest"
)

func openLocal(t *testing.T, dir string) bucket.Bucket {
	t.Helper()
	cfg := bucket.Default()
	cfg.Dir = dir
	bkt, err := bucket.Open(cfg, "", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bkt.Close(); err != nil {
			t.Error(err)
		}
	})
	return bkt
}

func wrapped(inner objstore.Bucket) bucket.Bucket {
	return bucket.Wrap(inner, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

func TestAcceptanceLocal(t *testing.T) { buckettest.Acceptance(t, openLocal(t, t.TempDir())) }

func TestAcceptanceMemory(t *testing.T) {
	buckettest.Acceptance(t, wrapped(objstore.NewInMemBucket()))
}

func TestAcceptancePrefixed(t *testing.T) {
	buckettest.Acceptance(t, wrapped(objstore.NewPrefixedBucket(objstore.NewInMemBucket(), "some/where")))
}
