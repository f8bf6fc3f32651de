package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/gin-gonic/gin"

	"perennial/experiments/sqlstore"
)

// role is a set of roles as bits; a route names the set that may use it.
type role uint8

const (
	client role = 1 << iota
	frontend
	analyst
	marketer
	admin
	session // the browser's cookie may stand in for a key
)

// Sets of CONTRACT §6.
const (
	anyone  role = 0
	apps         = client | admin                       // assignments, OFREP single, Unleash client API
	browser      = client | frontend | admin            // OFREP bulk, /api/frontend, events
	readers      = analyst | marketer | admin | session // reads
	writers      = marketer | admin | session           // experiments, offers, segments, lists
	owners       = admin | session                      // keys, users, erasure, models, jobs
)

var roleNames = map[string]role{"client": client, "frontend": frontend, "analyst": analyst, "marketer": marketer, "admin": admin}

// names returns the roles of a set, for the documentation.
func (r role) names() string {
	var out []string
	for _, name := range []string{"client", "frontend", "analyst", "marketer", "admin"} {
		if r&roleNames[name] != 0 {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

// Caller is who asks: a key or a browser session.
type Caller struct {
	Role    string
	Name    string
	KeyID   string // "" for a session
	bits    role
	limiter *limiter // frontend keys only
}

// By is how the audit names the caller.
func (c *Caller) By() string {
	if c.KeyID != "" {
		return "key:" + c.KeyID
	}
	return "session:" + c.Name
}

// keyring is every key that is not revoked, by the SHA-256 of its secret. A secret has 256 random bits, so a plain hash is enough. Secrets that were
// used are remembered as they came, so that only the first request of a key pays for the hash; a ring lives until keys change.
type keyring struct {
	callers map[[sha256.Size]byte]*Caller
	used    atomic.Pointer[map[string]*Caller] // by secret; replaced as a whole
}

// caller returns who a secret belongs to; nil when it is no key.
func (r *keyring) caller(secret string) *Caller {
	used := r.used.Load()
	if used != nil {
		if who := (*used)[secret]; who != nil {
			return who
		}
	}
	who := r.callers[sha256.Sum256([]byte(secret))]
	if who == nil { // strangers are not remembered: the map holds no more than there are keys
		return nil
	}
	more := map[string]*Caller{strings.Clone(secret): who}
	if used != nil {
		maps.Copy(more, *used)
	}
	r.used.CompareAndSwap(used, &more) // a lost race costs the hash once more
	return who
}

func newKeyring(keys []sqlstore.Key, before *keyring) *keyring {
	ring := &keyring{callers: make(map[[sha256.Size]byte]*Caller, len(keys))}
	for _, k := range keys {
		if k.RevokedAt != nil || len(k.Hash) != sha256.Size {
			continue
		}
		hash := [sha256.Size]byte(k.Hash)
		caller := &Caller{Role: k.Role, Name: k.Name, KeyID: k.ID, bits: roleNames[k.Role]}
		if caller.bits == frontend {
			caller.limiter = newLimiter(frontendRate, frontendBurst)
			if old := before.callers[hash]; old != nil && old.limiter != nil {
				caller.limiter = old.limiter
			}
		}
		ring.callers[hash] = caller
	}
	return ring
}

// secretOf returns the key of a request: Bearer, a bare Unleash token, X-API-Key, or Segment's Basic user name; "" when there is none.
func secretOf(h http.Header) string {
	got := ""
	if sent := h["Authorization"]; len(sent) > 0 { // net/http has the names in their canonical form
		got = sent[0]
	}
	return secretFrom(got, h.Get("X-API-Key"))
}

// secretFrom is secretOf by the values of Authorization and X-API-Key.
func secretFrom(got, key string) string {
	switch {
	case len(got) > 7 && strings.EqualFold(got[:7], "Bearer "):
		return strings.TrimSpace(got[7:])
	case len(got) > 6 && strings.EqualFold(got[:6], "Basic "):
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(got[6:]))
		if err != nil {
			return ""
		}
		user, password, _ := strings.Cut(string(raw), ":")
		if user == "" {
			return password
		}
		return user
	case got != "":
		return got
	}
	return key
}

const sessionCookie = "perennial_session"

// authenticate returns who asks, or a 401 or 403 problem. A session counts only on routes that allow it, and its writes need the header that no
// foreign page can send without a preflight.
func (s *Server) authenticate(c *gin.Context, allowed role) (*Caller, *Problem) {
	if secret := secretOf(c.Request.Header); secret != "" {
		who := s.keys.Load().caller(secret)
		switch {
		case who == nil:
			return nil, problem(http.StatusUnauthorized, "unknown or revoked key")
		case who.bits&allowed == 0:
			return nil, problem(http.StatusForbidden, "role %s may not do this; it needs one of: %s", who.Role, allowed.names())
		}
		return who, nil
	}
	if allowed&session == 0 {
		return nil, problem(http.StatusUnauthorized, "a key is needed: Authorization: Bearer KEY (make one with `perennial keys create`)")
	}
	who, err := s.sessionOf(c)
	if err != nil {
		return nil, problem(http.StatusUnauthorized, "a key or a session is needed: sign in at /signin, or send Authorization: Bearer KEY")
	}
	if who.bits&allowed == 0 {
		return nil, problem(http.StatusForbidden, "role %s may not do this; it needs one of: %s", who.Role, allowed.names())
	}
	if m := c.Request.Method; m != http.MethodGet && m != http.MethodHead && c.GetHeader("X-Requested-With") != "perennial" {
		return nil, problem(http.StatusForbidden, "a write with a session needs the header X-Requested-With: perennial")
	}
	return who, nil
}

// sessionOf returns who the browser's cookie stands for.
func (s *Server) sessionOf(c *gin.Context) (*Caller, error) {
	token, err := c.Cookie(sessionCookie)
	if err != nil {
		return nil, err
	}
	roleName, name, err := s.o.Store.Session(c.Request.Context(), token)
	if err != nil {
		return nil, err
	}
	return &Caller{Role: roleName, Name: name, bits: roleNames[roleName]}, nil
}

type callerKey struct{}

// callerOf returns who asks, inside a handler of a management route.
func callerOf(ctx context.Context) *Caller {
	who, _ := ctx.Value(callerKey{}).(*Caller)
	if who == nil {
		return &Caller{Role: "none"}
	}
	return who
}
