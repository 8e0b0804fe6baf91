package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-io/varve/distributor"
	"github.com/varve-io/varve/pkg/telemetry"
	"github.com/varve-io/varve/pkg/tenant"
)

// The doors of the data listener: every route, who may pass, and who is sent away. A path that isn't here is a 404 of
// the querier, which asks for a token too.
var doors = []struct {
	method, path string
	scope        tenant.Scope
}{
	{"POST", "/api/v1/push", tenant.ScopeWrite},
	{"POST", "/api/v1/write", tenant.ScopeWrite},
	{"POST", "/prometheus/api/v1/push", tenant.ScopeWrite},
	{"POST", "/prometheus/api/v1/write", tenant.ScopeWrite},
	{"POST", "/otlp/v1/metrics", tenant.ScopeWrite},
	{"POST", "/api/v1/otlp/v1/metrics", tenant.ScopeWrite},
	{"POST", "/prometheus/otlp/v1/metrics", tenant.ScopeWrite},
	{"POST", "/prometheus/api/v1/otlp/v1/metrics", tenant.ScopeWrite},
	{"POST", "/write", tenant.ScopeWrite},
	{"POST", "/api/v2/write", tenant.ScopeWrite},
	{"POST", "/influx/write", tenant.ScopeWrite},
	{"POST", "/prometheus/write", tenant.ScopeWrite},
	{"POST", "/prometheus/api/v2/write", tenant.ScopeWrite},
	{"POST", "/prometheus/influx/write", tenant.ScopeWrite},
	{"POST", "/api/v1/import/prometheus", tenant.ScopeWrite},
	{"POST", "/prometheus/api/v1/import/prometheus", tenant.ScopeWrite},
	{"GET", "/api/v1/explain-write", tenant.ScopeWrite},
	{"GET", "/prometheus/api/v1/explain-write", tenant.ScopeWrite},
	{"GET", "/api/v1/query?query=1", tenant.ScopeRead},
	{"POST", "/prometheus/api/v1/query_range", tenant.ScopeRead},
	{"GET", "/prometheus/api/v1/labels", tenant.ScopeRead},
	{"GET", "/prometheus/api/v1/label/a/values", tenant.ScopeRead},
	{"GET", "/prometheus/api/v1/series", tenant.ScopeRead},
	{"GET", "/prometheus/api/v1/metadata", tenant.ScopeRead},
	{"GET", "/prometheus/api/v1/rules", tenant.ScopeRead},
	{"GET", "/prometheus/api/v1/status/buildinfo", tenant.ScopeRead},
	{"GET", "/prometheus/api/v1/status/tsdb", tenant.ScopeRead},
	{"GET", "/prometheus/api/v1/cardinality/label_names", tenant.ScopeRead},
	{"POST", "/api/v1/read", tenant.ScopeRead},
	{"GET", "/federate", tenant.ScopeRead},
	{"GET", "/config/v1/rules", tenant.ScopeRead},
	{"GET", "/api/v1/cost/report", tenant.ScopeCost},
	{"GET", "/prometheus/api/v1/cost/assets", tenant.ScopeCost},
	{"POST", "/api/v1/cost/utilization", tenant.ScopeCost},
	{"GET", "/api/v1/cost/scale-events", tenant.ScopeCost},
	{"GET", "/api/v1/cost/pricebook", tenant.ScopeCost},
	{"PUT", "/api/v1/cost/pricebook", tenant.ScopeAdmin},
	{"GET", "/anything/else", tenant.ScopeRead},
}

const secret = "0123456789abcdef"

func tokens(t *testing.T) string {
	t.Helper()
	entry := func(name, scopes, expires string) string {
		return fmt.Sprintf("- name: %s\n  sha256: [%s]\n  scopes: [%s]\n  tenants: [team-a]\n%s", name, tenant.HashToken(name+secret), scopes, expires)
	}
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	content := "tokens:\n" + entry("write", "write", "") + entry("read", "read", "") +
		entry("expired", "read, write, cost, admin", "  expires: 2020-01-01\n") + entry("admin", "admin", "") + entry("cost", "cost", "")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A way to write that has no row above opens unseen.
func TestEveryWayToWriteHasARow(t *testing.T) {
	rows := map[string]bool{}
	for _, d := range doors {
		rows[d.path] = d.scope == tenant.ScopeWrite
	}
	for _, path := range distributor.Paths {
		for _, prefix := range []string{"", "/prometheus"} {
			if !rows[prefix+path] {
				t.Errorf("no row for %s", prefix+path)
			}
		}
	}
}

func TestEveryDoorAsksForTheRightToken(t *testing.T) {
	cfg := Default()
	cfg.DataDir, cfg.Tenants.TokensFile = t.TempDir(), tokens(t)
	p, err := wire(cfg, telemetry.Build{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, c := range p.closers {
			if err := c(); err != nil {
				t.Error(err)
			}
		}
	}()
	status := func(method, path, token, tenantName string) int {
		r := httptest.NewRequest(method, path, strings.NewReader(""))
		r.Header.Set("Content-Type", "application/x-protobuf")
		r.Header.Set(tenant.Header, tenantName)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token+secret)
		}
		w := httptest.NewRecorder()
		p.data.ServeHTTP(w, r)
		return w.Code
	}
	for _, d := range doors {
		other := tenant.ScopeWrite
		if d.scope == tenant.ScopeWrite {
			other = tenant.ScopeRead
		}
		third := "admin"
		if d.scope == tenant.ScopeAdmin {
			third = "cost"
		}
		for _, c := range []struct {
			what, token, tenant string
			want                int
		}{
			{"no token", "", "team-a", http.StatusUnauthorized},
			{"wrong token", "guess", "team-a", http.StatusUnauthorized},
			{"expired token", "expired", "team-a", http.StatusUnauthorized},
			{"token of the other scope", string(other), "team-a", http.StatusForbidden},
			{"token of a third scope", third, "team-a", http.StatusForbidden},
			{"another's tenant", string(d.scope), "team-b", http.StatusForbidden},
		} {
			if got := status(d.method, d.path, c.token, c.tenant); got != c.want {
				t.Errorf("%s %s with %s: %d, want %d", d.method, d.path, c.what, got, c.want)
			}
		}
		if got := status(d.method, d.path, string(d.scope), "team-a"); got == http.StatusUnauthorized || got == http.StatusForbidden {
			t.Errorf("%s %s with the right token: %d", d.method, d.path, got)
		}
	}
	for _, open := range []string{"/-/ready", "/-/healthy"} {
		if got := status("GET", open, "", ""); got == http.StatusUnauthorized {
			t.Errorf("%s asks for a token", open)
		}
	}
}
