package tenant

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

const testTokens = `
tokens:
- name: sender
  sha256: [%s, %s]
  scopes: [write]
  tenants: [team-a]
  expires: 2027-06-30
- name: grafana
  sha256: %s
  scopes: [read, cost]
  tenants: [team-a, team-b]
- name: operator
  sha256: [%s]
  scopes: [admin, read]
  tenants: ["*"]
- name: janitor
  sha256: [%s]
  scopes: [admin]
  tenants: [team-a, team-b]
`

func newTestTokens(t *testing.T) (*Tokens, testFile, *time.Time) {
	t.Helper()
	now := time.Date(2027, 6, 29, 23, 59, 59, 0, time.UTC)
	f := newTestFile(t, fmt.Sprintf(testTokens,
		HashToken("old"), strings.ToUpper(HashToken("new")), HashToken("look"), HashToken("root"), HashToken("broom")))
	tokens, err := NewTokens(func() time.Time { return now }, f.Dependencies)
	if err != nil {
		t.Fatal(err)
	}
	return tokens, f, &now
}

func request(auth string, tenants ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/push", nil)
	switch kind, value, _ := strings.Cut(auth, ":"); kind {
	case "":
	case "basic":
		r.SetBasicAuth("anybody", value)
	default:
		r.Header.Set("Authorization", kind+" "+value)
	}
	for _, name := range tenants {
		r.Header.Add(Header, name)
	}
	return r
}

func TestAuthenticate(t *testing.T) {
	tokens, f, now := newTestTokens(t)
	start := *now
	for _, tc := range []struct {
		name    string
		auth    string
		tenants []string
		scope   Scope
		late    time.Duration
		want    string // the identity
		err     error
	}{
		{name: "the only tenant", auth: "Bearer:old", scope: ScopeWrite, want: "sender [team-a]"},
		{name: "the second live secret", auth: "bearer:new", tenants: []string{"team-a"}, scope: ScopeWrite, want: "sender [team-a]"},
		{name: "basic", auth: "basic:old", scope: ScopeWrite, want: "sender [team-a]"},
		{name: "one of two tenants", auth: "Bearer:look", tenants: []string{"team-b"}, scope: ScopeRead, want: "grafana [team-b]"},
		{name: "federated read", auth: "Bearer:look", tenants: []string{"team-b|team-a"}, scope: ScopeRead, want: "grafana [team-a team-b]"},
		{name: "second scope", auth: "Bearer:look", tenants: []string{"team-a"}, scope: ScopeCost, want: "grafana [team-a]"},
		{name: "all tenants, none named", auth: "Bearer:root", scope: ScopeRead, want: "operator [anonymous]"},
		{name: "all tenants, an empty one named", auth: "Bearer:root", tenants: []string{""}, scope: ScopeRead, want: "operator [anonymous]"},
		{name: "all tenants, one named", auth: "Bearer:root", tenants: []string{"x"}, scope: ScopeAdmin, want: "operator [x]"},
		{name: "admin without tenant", auth: "Bearer:broom", scope: ScopeAdmin, want: "janitor []"},

		{name: "no token", tenants: []string{"team-a"}, scope: ScopeWrite, err: ErrUnauthenticated},
		{name: "wrong token", auth: "Bearer:guess", tenants: []string{"team-a"}, scope: ScopeWrite, err: ErrUnauthenticated},
		{name: "wrong token, no such tenant", auth: "Bearer:guess", tenants: []string{"nobody"}, scope: ScopeWrite, err: ErrUnauthenticated},
		{name: "the hash as token", auth: "Bearer:" + HashToken("old"), scope: ScopeWrite, err: ErrUnauthenticated},
		{name: "as clients of InfluxDB say it", auth: "Token:old", scope: ScopeWrite, want: "sender [team-a]"},
		{name: "another scheme", auth: "Digest:old", scope: ScopeWrite, err: ErrUnauthenticated},
		{name: "empty bearer", auth: "Bearer:", scope: ScopeWrite, err: ErrUnauthenticated},
		{name: "empty password", auth: "basic:", scope: ScopeWrite, err: ErrUnauthenticated},
		{name: "other scheme", auth: "Digest:old", scope: ScopeWrite, err: ErrUnauthenticated},
		{name: "expired", auth: "Bearer:old", scope: ScopeWrite, late: time.Second, err: ErrUnauthenticated},
		{name: "read on write", auth: "Bearer:old", scope: ScopeRead, err: ErrForbidden},
		{name: "write on read", auth: "Bearer:look", tenants: []string{"team-a"}, scope: ScopeWrite, err: ErrForbidden},
		{name: "admin does not write", auth: "Bearer:root", tenants: []string{"x"}, scope: ScopeWrite, err: ErrForbidden},
		{name: "no admin", auth: "Bearer:look", tenants: []string{"team-a"}, scope: ScopeAdmin, err: ErrForbidden},
		{name: "wrong tenant", auth: "Bearer:old", tenants: []string{"team-b"}, scope: ScopeWrite, err: ErrForbidden},
		{name: "another case of the tenant", auth: "Bearer:old", tenants: []string{"Team-A"}, scope: ScopeWrite, err: ErrForbidden},
		{name: "one tenant too many", auth: "Bearer:look", tenants: []string{"team-a|team-c"}, scope: ScopeRead, err: ErrForbidden},
		{name: "several tenants, none named", auth: "Bearer:look", scope: ScopeRead, err: ErrForbidden},
		{name: "write to two", auth: "Bearer:old", tenants: []string{"team-a|team-b"}, scope: ScopeWrite, err: ErrInvalidID},
		{name: "two headers", auth: "Bearer:old", tenants: []string{"team-a", "team-b"}, scope: ScopeWrite, err: ErrInvalidID},
		{name: "no tenant's name", auth: "Bearer:old", tenants: []string{"../team-a"}, scope: ScopeWrite, err: ErrInvalidID},
		{name: "no tenant's name, wrong token", auth: "Bearer:guess", tenants: []string{"../team-a"}, scope: ScopeWrite, err: ErrUnauthenticated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			*now = start.Add(tc.late)
			got, err := tokens.Authenticate(request(tc.auth, tc.tenants...), tc.scope)
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if err == nil && fmt.Sprint(got.Token, " ", got.Tenants) != tc.want {
				t.Errorf("%v, want %s", got, tc.want)
			}
		})
	}
	f.metric(t, "varve_tenant_auth_refusals_total", `varve_tenant_auth_refusals_total{reason="expired"} 1
varve_tenant_auth_refusals_total{reason="missing"} 5
varve_tenant_auth_refusals_total{reason="scope"} 4
varve_tenant_auth_refusals_total{reason="tenant"} 7
varve_tenant_auth_refusals_total{reason="unknown"} 4`)
}

// Nobody learns from a refusal which tokens or tenants exist.
func TestRefusalsReadAlike(t *testing.T) {
	tokens, _, _ := newTestTokens(t)
	_, wrongToken := tokens.Authenticate(request("Bearer:guess", "team-a"), ScopeWrite)
	_, unknownTenant := tokens.Authenticate(request("Bearer:old", "nobody"), ScopeWrite)
	_, otherTenant := tokens.Authenticate(request("Bearer:old", "team-b"), ScopeWrite)
	if wrongToken.Error() != unknownTenant.Error() || unknownTenant.Error() != otherTenant.Error() {
		t.Errorf("%q, %q, %q", wrongToken, unknownTenant, otherTenant)
	}
	got := []int{HTTPStatus(wrongToken), HTTPStatus(unknownTenant), HTTPStatus(ErrInvalidID), HTTPStatus(errors.New("x"))}
	if diff := cmp.Diff([]int{401, 403, 400, 500}, got); diff != "" {
		t.Error(diff)
	}
}

func TestOpenMode(t *testing.T) {
	tokens, err := NewTokens(nil, Dependencies{Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	if !tokens.Open() {
		t.Error("not open")
	}
	for _, tc := range []struct {
		tenants string
		scope   Scope
		want    string
		err     error
	}{
		{"", ScopeWrite, "[anonymous]", nil},
		{"team-a", ScopeAdmin, "[team-a]", nil},
		{"b|a|b", ScopeRead, "[a b]", nil},
		{"a|b", ScopeWrite, "", ErrInvalidID},
		{"..", ScopeRead, "", ErrInvalidID},
	} {
		got, err := tokens.Authenticate(request("", tc.tenants), tc.scope)
		if !errors.Is(err, tc.err) || err == nil && (fmt.Sprint(got.Tenants) != tc.want || got.Token != "") {
			t.Errorf("%q: %v, error %v", tc.tenants, got, err)
		}
	}
}

func TestIdentityTenant(t *testing.T) {
	a, b := mustParse(t, "a"), mustParse(t, "b")
	if (Identity{Tenants: []ID{a}}).Tenant() != a || !(Identity{Tenants: []ID{a, b}}).Tenant().IsZero() || !(Identity{}).Tenant().IsZero() {
		t.Error("only exactly one tenant is the tenant")
	}
}

// An installation that asks for tokens never opens itself because of its file.
func TestTokensReload(t *testing.T) {
	tokens, f, _ := newTestTokens(t)
	f.write(t, "tokens: nonsense\n")
	if err := tokens.Reload(); err == nil {
		t.Error("no error")
	}
	if _, err := tokens.Authenticate(request("Bearer:old"), ScopeWrite); err != nil {
		t.Errorf("the old token is refused after a broken reload: %v", err)
	}
	f.write(t, "")
	if err := tokens.Reload(); err != nil {
		t.Error(err)
	}
	for _, auth := range []string{"", "Bearer:old"} {
		if _, err := tokens.Authenticate(request(auth), ScopeWrite); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%q with an empty file: %v", auth, err)
		}
	}
}

func TestTokensFileErrors(t *testing.T) {
	hash := HashToken("x")
	for _, tc := range []struct {
		name, file string
		want       []string
	}{
		{"unknown key", "token: []\n", []string{"FILE:1: must be a list under tokens"}},
		{"unknown field", "tokens:\n- nmae: x\n", []string{`FILE:2: unknown option "nmae"`, `name is ""`, "scopes", "tenants"}},
		{"a secret instead of its hash", "tokens:\n- {name: x, sha256: hunter2, scopes: [read], tenants: [a]}\n", []string{`sha256 of token "x" must be 64 hexadecimal digits each`}},
		{"three secrets", "tokens:\n- {name: x, sha256: [" + hash + ", " + HashToken("y") + ", " + HashToken("z") + "], scopes: [read], tenants: [a]}\n", []string{"1, or 2 while rotating"}},
		{"unknown scope", "tokens:\n- {name: x, sha256: " + hash + ", scopes: [raed], tenants: [a]}\n", []string{`scopes is "raed" (file FILE:2), must be one of write, read, rules, cost, admin`}},
		{"bad tenant", "tokens:\n- {name: x, sha256: " + hash + ", scopes: [read], tenants: [a/b]}\n", []string{`"a/b" holds '/'`}},
		{"star among names", "tokens:\n- {name: x, sha256: " + hash + ", scopes: [read], tenants: [a, '*']}\n", []string{`names, or "*" alone`}},
		{"bad expiry", "tokens:\n- {name: x, sha256: " + hash + ", scopes: [read], tenants: [a], expires: soon}\n", []string{`"soon" is neither a date`}},
		{"name twice", "tokens:\n- &t {name: x, sha256: " + hash + ", scopes: [read], tenants: [a]}\n- *t\n", []string{`token "x" is there twice`}},
		{"hash twice", "tokens:\n- {name: x, sha256: " + hash + ", scopes: [read], tenants: [a]}\n- {name: y, sha256: " + hash + ", scopes: [read], tenants: [a]}\n", []string{`FILE:3: token "y" has a sha256 that is already in the file`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newTestFile(t, tc.file)
			_, err := NewTokens(nil, f.Dependencies)
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.ReplaceAll(err.Error(), f.File, "FILE")
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is missing in: %s", want, got)
				}
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("the error shows the secret: %s", got)
			}
		})
	}
}

func FuzzTokens(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(testTokens, HashToken("a"), HashToken("b"), HashToken("c"), HashToken("d"), HashToken("e"))))
	f.Add([]byte("tokens:\n- &a [*a]\n"))
	f.Add([]byte("tokens: [null, {}]\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = parseTokens("f", data)
	})
}

func FuzzAuthenticate(f *testing.F) {
	f.Add("Bearer x", "team-a|b")
	f.Add("Basic !!", "..")
	f.Fuzz(func(t *testing.T, auth, tenants string) {
		set, err := parseTokens("f", []byte("tokens:\n- {name: x, sha256: "+HashToken("secret")+", scopes: [read], tenants: [team-a]}\n"))
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{Header: http.Header{"Authorization": {auth}, Header: {tenants}}}
		tokens := &Tokens{file: &watched[tokenSet]{path: "f"}, now: time.Now, refusals: prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"reason"})}
		tokens.file.current.Store(set)
		id, err := tokens.Authenticate(r, ScopeRead)
		if err == nil && (fmt.Sprint(id.Tenants) != "[team-a]" || !strings.Contains(auth, "secret") && !strings.HasPrefix(strings.ToLower(auth), "basic")) {
			t.Errorf("%q opens %v", auth, id)
		}
	})
}
