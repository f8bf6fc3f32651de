package sqlstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"perennial/experiments"
)

// Roles are what a key may be for (CONTRACT §6).
var Roles = []string{"client", "frontend", "analyst", "marketer", "admin"}

// Key is an API key without its secret.
type Key struct {
	ID        string     `json:"id"`
	Role      string     `json:"role"`
	Name      string     `json:"name"`
	CreatedAt time.Time  `json:"created_at"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	Hash      []byte     `json:"-"` // HashSecret of the secret, which has 256 random bits
}

// HashSecret is what the store keeps of a secret: SHA-256 of its printed form. The secrets have 256 random bits, so no slow hash is needed.
func HashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

func hexHash(secret string) string { return hex.EncodeToString(HashSecret(secret)) }

// newSecret is prefix + 256 random bits in lower-case base32.
func newSecret(prefix string) string {
	var b [32]byte
	rand.Read(b[:])
	return prefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func checkRole(role string) error {
	if !slices.Contains(Roles, role) {
		return experiments.Invalid("role", "%q is not one of %s", role, strings.Join(Roles, " "))
	}
	return nil
}

// CreateKey makes a key "pk_<role>_<random>" and returns this secret, which is stored nowhere.
func (s *Store) CreateKey(ctx context.Context, role, name string) (k Key, secret string, err error) {
	if err := checkRole(role); err != nil {
		return Key{}, "", err
	}
	if len(name) > 200 {
		return Key{}, "", experiments.Invalid("name", "has %d bytes, at most 200 are allowed", len(name))
	}
	secret = newSecret("pk_" + role + "_")
	err = s.write(ctx, true, func(t *tx) error {
		k = Key{ID: strings.ToLower(rand.Text()[:12]), Role: role, Name: name, CreatedAt: t.at, Hash: HashSecret(secret)}
		if err := t.exec(`INSERT INTO api_keys (id, role, name, hash, created_at) VALUES (?, ?, ?, ?, ?)`, k.ID, role, name, hexHash(secret), t.at.UnixMicro()); err != nil {
			return err
		}
		return t.audit("", "create", "key/"+k.ID, map[string]string{"role": role, "name": name})
	})
	if err != nil {
		return Key{}, "", err
	}
	return k, secret, nil
}

// Keys lists keys, revoked ones too, oldest first.
func (s *Store) Keys(ctx context.Context) ([]Key, error) {
	var rows []struct {
		ID        string        `db:"id"`
		Role      string        `db:"role"`
		Name      string        `db:"name"`
		Hash      string        `db:"hash"`
		CreatedAt int64         `db:"created_at"`
		RevokedAt sql.NullInt64 `db:"revoked_at"`
	}
	if err := s.db.SelectContext(ctx, &rows, `SELECT id, role, name, hash, created_at, revoked_at FROM api_keys ORDER BY created_at, id`); err != nil {
		return nil, fmt.Errorf("control store: keys: %w", err)
	}
	keys := make([]Key, len(rows))
	for i, r := range rows {
		hash, err := hex.DecodeString(r.Hash)
		if err != nil {
			return nil, fmt.Errorf("control store: key %s: %w", r.ID, err)
		}
		keys[i] = Key{ID: r.ID, Role: r.Role, Name: r.Name, CreatedAt: micro(r.CreatedAt), Hash: hash}
		if r.RevokedAt.Valid {
			at := micro(r.RevokedAt.Int64)
			keys[i].RevokedAt = &at
		}
	}
	return keys, nil
}

// RevokeKey ends a key; revoking it again changes nothing. An unknown id gives experiments.ErrNotFound.
func (s *Store) RevokeKey(ctx context.Context, id string) error {
	return s.write(ctx, true, func(t *tx) error {
		var n int
		if err := t.GetContext(ctx, &n, t.Rebind(`SELECT count(*) FROM api_keys WHERE id = ?`), id); err != nil {
			return fmt.Errorf("control store: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("key %s: %w", id, experiments.ErrNotFound)
		}
		if err := t.exec(`UPDATE api_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL`, t.at.UnixMicro(), id); err != nil {
			return err
		}
		return t.audit("", "revoke", "key/"+id, struct{}{})
	})
}

const (
	kindSignIn  = "sign-in"
	kindSession = "session"
)

// CreateSignIn makes a single-use sign-in token for a role that expires after ttl; SignIn redeems it once.
func (s *Store) CreateSignIn(ctx context.Context, role, name string, ttl time.Duration) (token string, err error) {
	return s.createToken(ctx, kindSignIn, role, name, ttl)
}

// SignIn redeems a token; a used, expired or unknown one gives experiments.ErrNotFound.
func (s *Store) SignIn(ctx context.Context, token string) (role, name string, err error) {
	err = s.write(ctx, false, func(t *tx) error {
		var r tokenRow
		err := t.GetContext(ctx, &r, t.Rebind(`DELETE FROM tokens WHERE kind = ? AND hash = ? RETURNING role, name, expires_at`), kindSignIn, hexHash(token))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("sign-in token: %w", experiments.ErrNotFound)
		case err != nil:
			return fmt.Errorf("control store: %w", err)
		case t.at.UnixMicro() >= r.ExpiresAt:
			return fmt.Errorf("sign-in token: %w", experiments.ErrNotFound)
		}
		role, name = r.Role, r.Name
		return nil
	})
	return role, name, err
}

// CreateSession stores a browser session by its hashed token; Session returns its role or experiments.ErrNotFound.
func (s *Store) CreateSession(ctx context.Context, role, name string, ttl time.Duration) (token string, err error) {
	return s.createToken(ctx, kindSession, role, name, ttl)
}

// Session returns the role of a session that has not expired or ended.
func (s *Store) Session(ctx context.Context, token string) (role, name string, err error) {
	var r tokenRow
	err = s.db.GetContext(ctx, &r, s.db.Rebind(`SELECT role, name, expires_at FROM tokens WHERE kind = ? AND hash = ? AND expires_at > ?`), kindSession, hexHash(token), s.now().UnixMicro())
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", "", fmt.Errorf("session: %w", experiments.ErrNotFound)
	case err != nil:
		return "", "", fmt.Errorf("control store: %w", err)
	}
	return r.Role, r.Name, nil
}

// EndSession signs out; an unknown session is no error.
func (s *Store) EndSession(ctx context.Context, token string) error {
	return s.write(ctx, false, func(t *tx) error {
		return t.exec(`DELETE FROM tokens WHERE kind = ? AND hash = ?`, kindSession, hexHash(token))
	})
}

type tokenRow struct {
	Role      string `db:"role"`
	Name      string `db:"name"`
	ExpiresAt int64  `db:"expires_at"`
}

// createToken also clears what has expired, so that the table stays small.
func (s *Store) createToken(ctx context.Context, kind, role, name string, ttl time.Duration) (string, error) {
	if err := checkRole(role); err != nil {
		return "", err
	}
	token := newSecret("")
	err := s.write(ctx, false, func(t *tx) error {
		if err := t.exec(`DELETE FROM tokens WHERE expires_at <= ?`, t.at.UnixMicro()); err != nil {
			return err
		}
		return t.exec(`INSERT INTO tokens (kind, hash, role, name, expires_at) VALUES (?, ?, ?, ?, ?)`, kind, hexHash(token), role, name, t.at.Add(ttl).UnixMicro())
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// OptOut records a unit's refusal of personalisation, or its withdrawal; OptedOut lists them.
func (s *Store) OptOut(ctx context.Context, unit string, out bool) error {
	if unit == "" {
		return experiments.Invalid("unit_id", "is empty")
	}
	return s.write(ctx, true, func(t *tx) error {
		if !out {
			return t.exec(`DELETE FROM opt_outs WHERE unit = ?`, unit)
		}
		return t.exec(`INSERT INTO opt_outs (unit, at) VALUES (?, ?) ON CONFLICT (unit) DO NOTHING`, unit, t.at.UnixMicro())
	})
}

// OptedOut lists the units that refused.
func (s *Store) OptedOut(ctx context.Context) (map[string]bool, error) {
	var units []string
	if err := s.db.SelectContext(ctx, &units, `SELECT unit FROM opt_outs`); err != nil {
		return nil, fmt.Errorf("control store: opt-outs: %w", err)
	}
	out := make(map[string]bool, len(units))
	for _, u := range units {
		out[u] = true
	}
	return out, nil
}
