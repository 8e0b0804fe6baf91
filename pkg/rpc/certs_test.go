package rpc

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/varve-io/varve/pkg/ring"
	"github.com/varve-io/varve/pkg/series"
)

func member(dir, name string) ring.TLS {
	return ring.TLS{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key"), CA: filepath.Join(dir, "ca.crt")}
}

func TestWriteCerts(t *testing.T) {
	dir := t.TempDir()
	if err := WriteCerts(dir, "ingester-0", "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteCerts(dir, "ingester-0", "ingester-1"); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil || string(before) != string(after) {
		t.Errorf("the authority has changed: %v", err)
	}
	for _, name := range []string{"ingester-0", "127.0.0.1", "ingester-1"} {
		m := member(dir, name)
		if _, err := m.Server(); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(m.Key); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", m.Key, info.Mode(), err)
		}
	}
	for _, bad := range []string{"", "ca", "../x", "a/b", ".hidden"} {
		if err := WriteCerts(dir, bad); err == nil {
			t.Errorf("made a certificate for %q", bad)
		}
	}
}

// Only holders of a certificate of the same authority talk to each other.
func TestTLS(t *testing.T) {
	ours, theirs := t.TempDir(), t.TempDir()
	if err := errors.Join(WriteCerts(ours, "server", "client"), WriteCerts(theirs, "client")); err != nil {
		t.Fatal(err)
	}
	server, client, foreign := member(ours, "server"), member(ours, "client"), member(theirs, "client")
	stolen := foreign
	stolen.CA = client.CA // it trusts us, we don't trust it
	serverTLS, err := server.Server()
	if err != nil {
		t.Fatal(err)
	}
	address, _ := serve(t, &recorder{}, "127.0.0.1:0", serverTLS)
	owner := ring.Owner{Instance: "ingester-0", Address: address}
	for _, c := range []struct {
		name string
		tls  ring.TLS
		ok   bool
	}{
		{"member", client, true},
		{"another authority", foreign, false},
		{"certificate of another authority", stolen, false},
		{"no TLS", ring.TLS{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			clientTLS, err := c.tls.Client()
			if err != nil {
				t.Fatal(err)
			}
			p := newPool(t, owner, PoolConfig{TLS: clientTLS})
			l, err := p.Dial(t.Context(), owner)
			if !c.ok {
				if !errors.Is(err, series.ErrUnavailable) {
					t.Errorf("dial: %v", err)
				}
				reads, rerr := p.Reads(owner)
				if rerr != nil {
					t.Fatal(rerr)
				}
				if _, _, err := reads.LabelNames(t.Context(), series.Query{Tenant: someTenant(t)}); !errors.Is(err, series.ErrUnavailable) {
					t.Errorf("read: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := push(t, l, "secret"); err != nil {
				t.Error(err)
			}
		})
	}
}
