package integration

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// GCSServer is an emulator of Google's object storage (fake-gcs-server) with one bucket, and beside it the endpoint
// where Google's client fetches its token, which the emulator lacks.
type GCSServer struct {
	*Process
	Endpoint       string // host:port, without TLS; clients find it by the variable STORAGE_EMULATOR_HOST
	Bucket         string
	ServiceAccount string // key of an account whose tokens come from here
}

// FakeGCS starts an emulator that is empty.
func FakeGCS(t testing.TB) *GCSServer {
	t.Helper()
	g := &GCSServer{Endpoint: freeAddress(t), Bucket: "varve"}
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
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token": "any", "token_type": "Bearer", "expires_in": 3600}`)
	}))
	t.Cleanup(tokens.Close)
	g.ServiceAccount = serviceAccount(t, tokens.URL)
	g.createBucket(t)
	return g
}

// serviceAccount makes the JSON that Google calls a service account key.
func serviceAccount(t testing.TB, tokenURL string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "varve@test", "private_key_id": "1",
		"private_key": string(pem.EncodeToMemory(block)), "token_uri": tokenURL,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(account)
}

func (g *GCSServer) createBucket(t testing.TB) {
	t.Helper()
	body := bytes.NewBufferString(`{"name": "` + g.Bucket + `"}`)
	resp, err := client.Post("http://"+g.Endpoint+"/storage/v1/b?project=test", "application/json", body)
	if err != nil {
		t.Fatalf("create a bucket: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("create a bucket: %s", resp.Status)
	}
}
