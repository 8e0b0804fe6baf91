package tenant

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Scope is a kind of thing that a token allows; none includes another.
type Scope string

// The scopes.
const (
	ScopeWrite Scope = "write" // send samples
	ScopeRead  Scope = "read"  // query them
	ScopeRules Scope = "rules" // see and edit rules
	ScopeCost  Scope = "cost"  // see what things cost
	ScopeAdmin Scope = "admin" // operate the installation
)

// Header names the tenants of a request. Header and value go from client to server as they are.
const Header = "X-Scope-OrgID"

// What Authenticate refuses. Both read alike, so that nobody learns which
// tokens or tenants exist; a metric counts the reasons.
var (
	ErrUnauthenticated = errors.New("no valid token for this tenant and action") // 401
	ErrForbidden       = errors.New("no valid token for this tenant and action") // 403
)

// HTTPStatus returns the status code for an error of Authenticate.
func HTTPStatus(err error) int {
	switch {
	case errors.Is(err, ErrUnauthenticated):
		return http.StatusUnauthorized
	case errors.Is(err, ErrForbidden):
		return http.StatusForbidden
	case errors.Is(err, ErrInvalidID):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// Identity is who sent a request, and for which tenants.
type Identity struct {
	Token   string // the token's name; empty where no tokens are asked for
	Tenants []ID   // sorted; exactly one unless the scope is read, cost or admin; none at all only for admin
}

// Tenant returns the one tenant of the request, the zero ID unless there is exactly one.
func (i Identity) Tenant() ID {
	if len(i.Tenants) != 1 {
		return ID{}
	}
	return i.Tenants[0]
}

// Tokens decides who may do what. Without a file every request may do
// everything for every tenant. The file is read again when it changes:
//
//	tokens:
//	- name: prometheus-a
//	  sha256: [<hex>, <hex>]        # of each live secret: two while rotating
//	  scopes: [write, read]
//	  tenants: [team-a]             # or ["*"] for all
//	  expires: 2027-06-30           # optional: a date or RFC 3339; the first moment when it is invalid
//
// A secret should be random (openssl rand -hex 32): its SHA-256 is not salted.
// A file that turns bad changes nothing. All methods may be called at once.
type Tokens struct {
	file     *watched[tokenSet]
	now      func() time.Time
	refusals *prometheus.CounterVec
}

// tokenSet is one content of the file. It is never changed.
type tokenSet struct {
	byPrefix map[uint64][]secret // by the first bytes of the hash
}

type secret struct {
	hash  [sha256.Size]byte
	token *token
}

type token struct {
	name       string
	scopes     []Scope
	allTenants bool
	tenants    []ID // sorted
	expires    time.Time
}

// NewTokens reads the file, if one is named. now is nil for the wall clock. Run
// must be called for changes to be seen.
func NewTokens(now func() time.Time, d Dependencies) (*Tokens, error) {
	if now == nil {
		now = time.Now
	}
	w, err := newWatched("tokens", d, func(data []byte) (*tokenSet, error) { return parseTokens(d.File, data) })
	if err != nil {
		return nil, fmt.Errorf("load tokens: %w", err)
	}
	return &Tokens{file: w, now: now, refusals: promauto.With(d.Registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "varve_tenant_auth_refusals_total",
		Help: "Requests refused for want of a token, by reason.",
	}, []string{"reason"})}, nil
}

// Open tells whether no tokens are asked for.
func (t *Tokens) Open() bool { return t.file.path == "" }

// Reload looks at the file now. If it can't be read or is not valid, the error
// says why, and the tokens stay as they were.
func (t *Tokens) Reload() error { return t.file.reload() }

// Run looks at the file every few seconds until ctx ends; then it returns nil.
func (t *Tokens) Run(ctx context.Context) error { return t.file.run(ctx) }

// Authenticate returns who sent the request, if that allows scope. The token
// is a bearer token or the password of basic authentication. X-Scope-OrgID
// selects among the token's tenants; a read may name several (a|b). Without it
// the tenant is the token's only one, or [Anonymous] for a token of all. Errors
// wrap ErrUnauthenticated, ErrForbidden, or ErrInvalidID.
func (t *Tokens) Authenticate(r *http.Request, scope Scope) (Identity, error) {
	who := &token{allTenants: true, scopes: []Scope{scope}}
	if !t.Open() {
		var reason string
		if who, reason = t.find(r); reason != "" {
			return Identity{}, t.refuse(reason, ErrUnauthenticated)
		}
	}
	if !slices.Contains(who.scopes, scope) {
		return Identity{}, t.refuse("scope", ErrForbidden)
	}
	tenants, err := who.choose(r.Header.Values(Header), scope)
	if err != nil {
		return Identity{}, t.refuse("tenant", err)
	}
	return Identity{Token: who.name, Tenants: tenants}, nil
}

func (t *Tokens) refuse(reason string, err error) error {
	t.refusals.WithLabelValues(reason).Inc()
	return err
}

// find returns the token of the request, or why there is none.
func (t *Tokens) find(r *http.Request) (*token, string) {
	presented, ok := credential(r)
	if !ok {
		return nil, "missing"
	}
	hash := sha256.Sum256([]byte(presented))
	var found *token
	for _, s := range t.file.current.Load().byPrefix[prefix(hash)] {
		if subtle.ConstantTimeCompare(s.hash[:], hash[:]) == 1 {
			found = s.token
		}
	}
	if found == nil {
		return nil, "unknown"
	}
	if !found.expires.IsZero() && !t.now().Before(found.expires) {
		return nil, "expired"
	}
	return found, ""
}

func prefix(hash [sha256.Size]byte) uint64 { return binary.BigEndian.Uint64(hash[:]) }

// credential returns the bearer token or the password of the request. Clients of InfluxDB say Token for Bearer.
func credential(r *http.Request) (string, bool) {
	if _, password, ok := r.BasicAuth(); ok {
		return password, password != ""
	}
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	value = strings.TrimSpace(value)
	return value, (strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "Token")) && value != ""
}

// choose returns the tenants that the request's header selects.
func (t *token) choose(header []string, scope Scope) ([]ID, error) {
	switch {
	case len(header) > 1:
		return nil, fmt.Errorf("%w: more than one %s header", ErrInvalidID, Header)
	case len(header) == 0 || header[0] == "":
		return t.unnamed(scope)
	}
	ids, err := ParseMany(header[0])
	if err != nil {
		return nil, err
	}
	if len(ids) > 1 && (scope == ScopeWrite || scope == ScopeRules) {
		return nil, fmt.Errorf("%w: only a read may name several tenants", ErrInvalidID)
	}
	for _, id := range ids {
		if !t.allTenants && !slices.Contains(t.tenants, id) {
			return nil, ErrForbidden
		}
	}
	return ids, nil
}

// unnamed returns the tenant of a request that names none.
func (t *token) unnamed(scope Scope) ([]ID, error) {
	switch {
	case t.allTenants:
		return []ID{Anonymous}, nil
	case len(t.tenants) == 1:
		return t.tenants, nil
	case scope == ScopeAdmin:
		return nil, nil
	}
	return nil, fmt.Errorf("%w: the token has several tenants, so %s must name one", ErrForbidden, Header)
}

// HashToken returns what the tokens file keeps of a secret.
func HashToken(secret string) string {
	hash := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(hash[:])
}
