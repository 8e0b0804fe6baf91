package integration

import (
	"net"
	"testing"
)

// GCSServer is an emulator of Google's object storage (fake-gcs-server) that keeps objects in memory. It has no
// bucket yet.
type GCSServer struct {
	*Process
	Endpoint string // host:port, without TLS; clients find it by STORAGE_EMULATOR_HOST
}

// FakeGCS starts an emulator that is empty.
func FakeGCS(t testing.TB) *GCSServer {
	t.Helper()
	g := &GCSServer{Endpoint: freeAddress(t)}
	host, port, err := net.SplitHostPort(g.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g.Process = Start(t, Program{
		Name: "gcs",
		Path: part(t, "bin", "fake-gcs-server"),
		Args: []string{
			"-scheme", "http", "-host", host, "-port", port, "-backend", "memory",
			"-external-url", "http://" + g.Endpoint, "-public-host", g.Endpoint,
		},
		Ready: "http://" + g.Endpoint + "/_internal/healthcheck",
	})
	return g
}
