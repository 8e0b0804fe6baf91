package integration

import "testing"

// EtcdServer is an etcd of one member.
type EtcdServer struct {
	*Process
	Endpoint string // host:port of its clients
}

// Etcd starts an etcd that is empty.
func Etcd(t testing.TB) *EtcdServer {
	t.Helper()
	e := &EtcdServer{Endpoint: freeAddress(t)}
	client, peer := "http://"+e.Endpoint, "http://"+freeAddress(t)
	e.Process = Start(t, Program{
		Name: "etcd",
		Path: part(t, "bin", "etcd"),
		Args: []string{
			"--name=etcd", "--data-dir=" + t.TempDir(), "--log-level=warn",
			"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=etcd=" + peer,
		},
		Ready: client + "/health",
	})
	return e
}
