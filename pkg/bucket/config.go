package bucket

import (
	"errors"
	"strings"

	"github.com/varve-io/varve/pkg/config"
)

// The kinds of bucket.
const (
	TypeLocal = "local"
	TypeS3    = "s3"
	TypeGCS   = "gcs"
	TypeAzure = "azure"
)

// Config says where the bucket is and how to get in.
type Config struct {
	Type   string `yaml:"type" help:"Where blocks are kept for good: local (a directory), s3, gcs or azure."`
	Dir    string `yaml:"dir" help:"Directory of a local bucket; empty means bucket/ in the data directory."`
	Prefix string `yaml:"prefix" help:"Path inside the bucket under which everything is kept; empty for the whole bucket."`

	S3    S3Config    `yaml:"s3" help:"Amazon S3, or a server that speaks its protocol."`
	GCS   GCSConfig   `yaml:"gcs" help:"Google Cloud Storage."`
	Azure AzureConfig `yaml:"azure" help:"Azure Blob Storage."`
}

// S3Config is for S3 and the servers that speak its protocol.
type S3Config struct {
	Endpoint  string        `yaml:"endpoint" help:"Host and port of the server, such as s3.eu-central-1.amazonaws.com."`
	Bucket    string        `yaml:"bucket" help:"Name of the bucket; it must exist."`
	Region    string        `yaml:"region" help:"Region of the bucket; empty to ask the server."`
	AccessKey string        `yaml:"access_key" help:"Access key; empty to take credentials from the AWS environment variables, files or instance role."`
	SecretKey config.Secret `yaml:"secret_key" help:"Secret key that belongs to the access key."`
	Insecure  bool          `yaml:"insecure" help:"Speak plain HTTP instead of HTTPS."`
}

// GCSConfig is for Google Cloud Storage.
type GCSConfig struct {
	Bucket         string        `yaml:"bucket" help:"Name of the bucket; it must exist."`
	ServiceAccount config.Secret `yaml:"service_account" help:"Service account key as JSON; empty for Google's default credentials."`
}

// AzureConfig is for Azure Blob Storage.
type AzureConfig struct {
	Account    string        `yaml:"account" help:"Name of the storage account."`
	AccountKey config.Secret `yaml:"account_key" help:"Key of the account; empty for Azure's default credentials."`
	Container  string        `yaml:"container" help:"Name of the container; it must exist."`
	Endpoint   string        `yaml:"endpoint" help:"Domain of the blob service, or a whole http:// or https:// URL of the account."`
}

// Default is a local bucket in the data directory.
func Default() Config {
	return Config{Type: TypeLocal, Azure: AzureConfig{Endpoint: "blob.core.windows.net"}}
}

// Validate reports every field that is wrong, as config.FieldErrors joined.
func (c *Config) Validate() error {
	errs := []error{config.OneOf("type", c.Type, TypeLocal, TypeS3, TypeGCS, TypeAzure)}
	if c.Prefix != "" && checkName(strings.Trim(c.Prefix, "/")) != nil {
		errs = append(errs, config.Invalid("prefix", c.Prefix, "path elements separated by single slashes, none of them . or .."))
	}
	need := func(field, value string) {
		if value == "" {
			errs = append(errs, config.Invalid(field, value, "set for a bucket of type "+c.Type))
		}
	}
	switch c.Type {
	case TypeS3:
		need("s3.endpoint", c.S3.Endpoint)
		need("s3.bucket", c.S3.Bucket)
		if (c.S3.AccessKey == "") != (c.S3.SecretKey.Reveal() == "") {
			errs = append(errs, config.Invalid("s3.access_key", c.S3.AccessKey, "set together with s3.secret_key, or neither of them"))
		}
		if strings.Contains(c.S3.Endpoint, "://") {
			errs = append(errs, config.Invalid("s3.endpoint", c.S3.Endpoint, "a host and an optional port without http:// (see s3.insecure)"))
		}
	case TypeGCS:
		need("gcs.bucket", c.GCS.Bucket)
	case TypeAzure:
		need("azure.account", c.Azure.Account)
		need("azure.container", c.Azure.Container)
		need("azure.endpoint", c.Azure.Endpoint)
		if isURL(c.Azure.Endpoint) && c.Azure.AccountKey.Reveal() == "" {
			errs = append(errs, config.Invalid("azure.account_key", "", "set if azure.endpoint is a URL"))
		}
	}
	return errors.Join(errs...)
}

func isURL(endpoint string) bool {
	return strings.HasPrefix(endpoint, "http://") || strings.HasPrefix(endpoint, "https://")
}
