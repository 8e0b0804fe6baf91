package ring

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/varve-io/varve/pkg/config"
)

// MemberName is the DNS name that the certificate of every process of a cluster carries, whatever its host is called.
// A certificate without it is no member's, even where a company has one authority for everything.
const MemberName = "varve"

// TLS names the files with which the processes of a cluster know each other, for gossip and for streams. Certificate
// and key are read again for every connection, so they can be renewed while the process runs.
type TLS struct {
	Cert string `yaml:"cert" help:"PEM file of this process' certificate, as client and server; it carries the DNS name varve"`
	Key  string `yaml:"key" help:"PEM file of the certificate's key"`
	CA   string `yaml:"ca" help:"PEM file of the cluster's own authority, which signs all members' certificates"`
}

// Enabled tells whether connections are encrypted, and both ends known.
func (t *TLS) Enabled() bool { return t.Cert != "" || t.Key != "" || t.CA != "" }

// Validate wants all files or none.
func (t *TLS) Validate() error {
	if !t.Enabled() {
		return nil
	}
	var errs []error
	for _, f := range []struct{ name, path string }{{"cert", t.Cert}, {"key", t.Key}, {"ca", t.CA}} {
		if f.path == "" {
			errs = append(errs, config.Invalid(f.name, f.path, "a file, as cert, key and ca go together"))
		}
	}
	return errors.Join(errs...)
}

// Server is how connections are taken: only from members. It is nil without TLS.
func (t *TLS) Server() (*tls.Config, error) {
	pool, err := t.load()
	if pool == nil || err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientCAs:  pool,
		ClientAuth: tls.RequireAndVerifyClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(t.Cert, t.Key)
			return &c, err
		},
		VerifyConnection: func(s tls.ConnectionState) error { return s.PeerCertificates[0].VerifyHostname(MemberName) },
	}, nil
}

// Client is how members are called. It is nil without TLS.
func (t *TLS) Client() (*tls.Config, error) {
	pool, err := t.load()
	if pool == nil || err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    pool,
		ServerName: MemberName,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(t.Cert, t.Key)
			return &c, err
		},
	}, nil
}

// load reads the authority, and the rest to see that it can be read; nil without TLS.
func (t *TLS) load() (*x509.CertPool, error) {
	if !t.Enabled() {
		return nil, nil
	}
	data, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("read tls.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("read tls.ca: %s has no certificate", t.CA)
	}
	c, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("read tls.cert and tls.key: %w", err)
	}
	if err := c.Leaf.VerifyHostname(MemberName); err != nil {
		return nil, fmt.Errorf("tls.cert is no member's certificate: %w", err)
	}
	return pool, nil
}
