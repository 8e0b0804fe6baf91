package rpc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/varve-io/varve/pkg/ring"
)

// How long the certificates that WriteCerts makes are valid.
const (
	authorityYears = 20
	memberYears    = 5
)

// WriteCerts makes the certificates of a cluster's members in a directory: NAME.crt and NAME.key for each name, which
// may be a host name or an address, signed by the cluster's own authority in ca.crt and ca.key. An authority that is
// there is used, so that members can be added; certificates that are there are left as they are. Members need ca.crt
// and their own two files; ca.key is best kept elsewhere.
func WriteCerts(dir string, names ...string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	ca, err := authority(dir)
	if err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	for _, name := range names {
		if name == "" || name == "ca" || strings.HasPrefix(name, ".") || filepath.Base(name) != name {
			return fmt.Errorf("make certificates: %q is no name for a member", name)
		}
		if exists(filepath.Join(dir, name+".crt")) {
			continue
		}
		if err := writeMember(dir, name, ca); err != nil {
			return fmt.Errorf("make certificate of %s: %w", name, err)
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// authority is the cluster's, made where there is none.
func authority(dir string) (tls.Certificate, error) {
	crt, key := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	if !exists(crt) {
		template := &x509.Certificate{
			Subject: pkix.Name{CommonName: "varve cluster authority"},
			IsCA:    true, BasicConstraintsValid: true, MaxPathLenZero: true,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}
		if err := write(crt, key, template, authorityYears, tls.Certificate{}); err != nil {
			return tls.Certificate{}, err
		}
	}
	return tls.LoadX509KeyPair(crt, key)
}

func writeMember(dir, name string, ca tls.Certificate) error {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    []string{ring.MemberName},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = append(template.DNSNames, name)
	}
	return write(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"), template, memberYears, ca)
}

// write makes a key and a certificate for it, signed by ca, or by itself without one.
func write(crt, key string, template *x509.Certificate, years int, ca tls.Certificate) error {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return err
	}
	template.NotBefore = time.Now().Add(-time.Hour) // for clocks that are behind
	template.NotAfter = time.Now().AddDate(years, 0, 0)
	parent, signer := template, crypto.PrivateKey(own)
	if ca.Leaf != nil {
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, own.Public(), signer)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return err
	}
	// The certificate comes last: while it is not there, both are made again.
	return errors.Join(
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600),
		os.WriteFile(crt, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
	)
}
