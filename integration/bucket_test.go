package integration

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/bucket/buckettest"
	"github.com/varve-io/varve/pkg/config"
)

// The acceptance suite of pkg/bucket over real servers; its own tests run it over a local directory.

func TestBucketOnS3(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "") // a path there would be loaded even without TLS
	s := S3(t)
	acceptBucket(t, bucket.Config{Type: bucket.TypeS3, S3: bucket.S3Config{
		Endpoint: s.Endpoint, Bucket: s.Bucket, Insecure: true,
		AccessKey: s.AccessKey, SecretKey: config.NewSecret(s.SecretKey),
	}})
}

func TestBucketOnAzure(t *testing.T) {
	a := Azurite(t)
	acceptBucket(t, bucket.Config{Type: bucket.TypeAzure, Azure: bucket.AzureConfig{
		Account: a.Account, AccountKey: config.NewSecret(a.Key), Container: a.Container, Endpoint: a.URL,
	}})
}

func TestBucketOnGCS(t *testing.T) {
	g := FakeGCS(t)
	t.Setenv("STORAGE_EMULATOR_HOST", g.Endpoint)
	acceptBucket(t, bucket.Config{Type: bucket.TypeGCS, GCS: bucket.GCSConfig{
		Bucket: g.Bucket, ServiceAccount: config.NewSecret(g.ServiceAccount),
	}})
}

func acceptBucket(t *testing.T, cfg bucket.Config) {
	t.Helper()
	b, err := bucket.Open(cfg, t.TempDir(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the bucket: %v", err)
		}
	})
	buckettest.Acceptance(t, b)
}
