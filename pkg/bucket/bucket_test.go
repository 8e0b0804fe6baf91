package bucket_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"

	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/bucket/buckettest"
	"github.com/varve-io/varve/pkg/config"
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

func TestValidate(t *testing.T) {
	key := config.NewSecret("planted")
	for _, c := range []struct {
		name   string
		change func(*bucket.Config)
		want   []string // fields in the error; none means valid
	}{
		{"default", func(*bucket.Config) {}, nil},
		{"unknown type", func(c *bucket.Config) { c.Type = "ftp" }, []string{"type is"}},
		{"prefix", func(c *bucket.Config) { c.Prefix = "a/../b" }, []string{"prefix is"}},
		{"good prefix", func(c *bucket.Config) { c.Prefix = "/a/b/" }, nil},
		{"s3", func(c *bucket.Config) { c.Type = "s3"; c.S3.SecretKey = key }, []string{"s3.endpoint", "s3.bucket", "s3.access_key"}},
		{"s3 URL", func(c *bucket.Config) {
			c.Type, c.S3 = "s3", bucket.S3Config{Endpoint: "http://h", Bucket: "b"}
		}, []string{"s3.insecure"}},
		{"gcs", func(c *bucket.Config) { c.Type = "gcs" }, []string{"gcs.bucket"}},
		{"azure", func(c *bucket.Config) { c.Type = "azure"; c.Azure.Endpoint = "http://h/a" }, []string{"azure.account ", "azure.container", "azure.account_key"}},
	} {
		cfg := bucket.Default()
		c.change(&cfg)
		err := cfg.Validate()
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, field := range c.want {
			if !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "planted") {
				t.Errorf("%s: %v, want %s named and no secret", c.name, err, field)
			}
		}
	}
}
