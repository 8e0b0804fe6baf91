package bucket

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/providers/azure"
	"github.com/thanos-io/objstore/providers/gcs"
	"github.com/thanos-io/objstore/providers/s3"
)

// Bucket is an object store: objstore's interface, with the promises of this package when it comes from Open.
// All methods are safe for concurrent use. Give Upload a reader that can seek (a file, a bytes.Reader): only that
// is retried; any other is first read into memory, up to MaxBuffered bytes.
type Bucket = objstore.Bucket

// component is how the providers' clients name us to the server.
const component = "varve"

// Open opens the bucket that cfg describes; a local bucket without a directory is dataDir/bucket. Metrics go to
// reg. Nothing is listed or written but what a local bucket's temporary files need.
func Open(cfg Config, dataDir string, logger *slog.Logger, reg prometheus.Registerer) (Bucket, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open bucket: %w", err)
	}
	inner, err := open(cfg, dataDir)
	if err != nil {
		return nil, fmt.Errorf("open %s bucket: %w", cfg.Type, err)
	}
	return Wrap(inner, logger, reg), nil
}

func open(cfg Config, dataDir string) (objstore.Bucket, error) {
	prefix := strings.Trim(cfg.Prefix, "/")
	var inner objstore.Bucket
	var err error
	switch cfg.Type {
	case TypeLocal:
		dir := cfg.Dir
		if dir == "" {
			dir = filepath.Join(dataDir, "bucket")
		}
		return openLocal(filepath.Join(dir, filepath.FromSlash(prefix)))
	case TypeS3:
		inner, err = openS3(cfg.S3)
	case TypeGCS:
		inner, err = openGCS(cfg.GCS)
	case TypeAzure:
		inner, err = openAzure(cfg.Azure)
	}
	if err != nil {
		return nil, err
	}
	return objstore.NewPrefixedBucket(inner, prefix), nil
}

// The providers' own retries are turned off as far as they can be: Wrap retries every kind alike.

func openS3(cfg S3Config) (objstore.Bucket, error) {
	c := s3.DefaultConfig
	c.Endpoint, c.Bucket, c.Region, c.Insecure = cfg.Endpoint, cfg.Bucket, cfg.Region, cfg.Insecure
	c.AccessKey, c.SecretKey = cfg.AccessKey, cfg.SecretKey.Reveal()
	c.PutUserMetadata = map[string]string{}
	c.MaxRetries = 1
	return s3.NewBucketWithConfig(log.NewNopLogger(), c, component, timeouts)
}

func openGCS(cfg GCSConfig) (objstore.Bucket, error) {
	c := gcs.DefaultConfig
	c.Bucket, c.ServiceAccount = cfg.Bucket, cfg.ServiceAccount.Reveal()
	c.MaxRetries = 1
	return gcs.NewBucketWithConfig(context.Background(), log.NewNopLogger(), c, component, timeouts)
}

func openAzure(cfg AzureConfig) (objstore.Bucket, error) {
	c := azure.DefaultConfig
	c.StorageAccountName, c.ContainerName = cfg.Account, cfg.Container
	c.StorageCreateContainer = false
	c.PipelineConfig.MaxTries = 1
	if isURL(cfg.Endpoint) {
		scheme, _, _ := strings.Cut(cfg.Endpoint, "://")
		c.StorageConnectionString = fmt.Sprintf("DefaultEndpointsProtocol=%s;AccountName=%s;AccountKey=%s;BlobEndpoint=%s;",
			scheme, cfg.Account, cfg.AccountKey.Reveal(), cfg.Endpoint)
	} else {
		c.Endpoint, c.StorageAccountKey = cfg.Endpoint, cfg.AccountKey.Reveal()
	}
	return azure.NewBucketWithConfig(log.NewNopLogger(), c, component, timeouts)
}

// timeouts bounds how long a server may take to begin its answer once it has the whole request.
func timeouts(rt http.RoundTripper) http.RoundTripper {
	if t, ok := rt.(*http.Transport); ok {
		t.ResponseHeaderTimeout = headerTimeout
	}
	return rt
}
