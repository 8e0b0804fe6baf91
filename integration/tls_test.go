package integration

import (
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-io/varve/pkg/rpc"
)

// Processes of a cluster know each other by certificates. One whose certificate is of another authority gets into
// neither the ring nor a stream.
func TestAClusterWithCertificatesRefusesStrangers(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, ClusterConfig{Flags: certificates(t)})
	load := Write(t, "tls", c.Distributor.PushURL(), liveLoad(15*time.Second)...)

	foreign := certificates(t) // of another authority
	for _, address := range []string{c.Ingesters[0].RPC, c.Ingesters[0].Gossip, c.Distributor.Gossip} {
		if err := knock(t, address, c.base.extra); err != nil {
			t.Errorf("a member at %s: %v", address, err)
		}
		if err := knock(t, address, foreign); err == nil {
			t.Errorf("a certificate of another authority is let in at %s", address)
		}
	}
	c.base.extra = foreign
	stranger := c.node(t, "distributor", place{})
	stranger.Name, stranger.log = "stranger", filepath.Join(t.ArtifactDir(), "stranger.log")
	stranger.Start()
	owner := c.node(t, "ingester", place{partition: 7})
	owner.Start()
	waitUp(t, owner)
	time.Sleep(5 * time.Second) // as long as a member takes to join, and a partition to become active
	waitUp(t, stranger)
	if err := ping(stranger.Ready); err == nil {
		t.Error("a distributor with a certificate of another authority found the owners")
	}
	var status *StatusError
	if _, err := stranger.AsTenant("tls").do("/api/v1/push", http.Header{
		"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {"snappy"},
	}, writeRequest(t, "stranger", time.Now())); !errors.As(err, &status) || status.Code != http.StatusServiceUnavailable {
		t.Errorf("a write by way of the stranger: %v, want status 503", err)
	}

	load.Finish()
	load.Verify(c.Querier.URL, "with certificates")
	if page := get(t, "http://"+c.Distributor.Admin+"/ring"); strings.Contains(page, owner.Name+"<") || !strings.Contains(page, c.Ingesters[0].Name+"<") {
		t.Errorf("the ring has %s, or not its own:\n%s", owner.Name, page)
	}
}

// certificates makes an authority and a certificate for all nodes.
func certificates(t *testing.T) Flags {
	t.Helper()
	dir := t.TempDir()
	if err := rpc.WriteCerts(dir, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	return Flags{"tls.ca": file("ca.crt"), "tls.cert": file("127.0.0.1.crt"), "tls.key": file("127.0.0.1.key")}
}

// knock connects to a listener and returns why it lets nobody in with this certificate.
func knock(t *testing.T, address string, certificate Flags) error {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certificate["tls.cert"], certificate["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	// The listener's certificate is not looked at: it is the listener who must refuse.
	dialer := tls.Dialer{Config: &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err = conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return nil // let in, and waiting for what comes
	}
	return err
}

// waitUp waits until a node listens, ready or not.
func waitUp(t *testing.T, n *Node) {
	t.Helper()
	waitUntil(t, n.Name+" is up", readyWithin, func() error {
		err := ping("http://" + n.Admin + "/-/healthy")
		if err != nil && !n.Running() {
			t.Fatalf("%s ended before it was up: %v", n.Name, err)
		}
		return err
	})
}
