package integration

import (
	"os"
	"path/filepath"
	"testing"
)

// S3Server is a real server of the S3 protocol (versitygw) over a directory, with one bucket.
type S3Server struct {
	*Process
	Endpoint  string // host:port, without TLS
	Bucket    string
	AccessKey string
	SecretKey string
	Root      string // directory that holds the bucket's objects as files
}

// S3 starts an object store that is empty.
func S3(t testing.TB) *S3Server {
	t.Helper()
	dir := t.TempDir()
	s := &S3Server{
		Endpoint: freeAddress(t), Bucket: "varve", AccessKey: "varve-access", SecretKey: "varve-secret",
		Root: filepath.Join(dir, "root"),
	}
	for _, d := range []string{filepath.Join(s.Root, s.Bucket), filepath.Join(dir, "sidecar")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.Process = Start(t, Program{
		Name: "s3",
		Path: part(t, "bin", "versitygw"),
		Args: []string{
			"--port", s.Endpoint, "--health", "/health", "--quiet",
			"posix", "--sidecar", filepath.Join(dir, "sidecar"), s.Root,
		},
		Env:   []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey},
		Ready: "http://" + s.Endpoint + "/health",
	})
	return s
}
