// Package sqlstore is the control store on sqlx: experiments with revisions, layers, holdouts, offers, metrics, keys, users, audit and
// recorded looks. SQLite by default, PostgreSQL for several servers.
package sqlstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jmoiron/sqlx"

	"perennial/experiments"
)

// Store is the control store. It is safe for concurrent use.
type Store struct {
	db  *sqlx.DB
	now func() time.Time
}

// New migrates the database to the newest schema and returns its store. The driver's name ("sqlite3" or "pgx") decides the dialect.
func New(ctx context.Context, db *sqlx.DB, now func() time.Time) (*Store, error) {
	panic("sqlstore: New")
}

// OpenSQLite opens (and creates) a control.db with the binding settings of one writer per process.
func OpenSQLite(path string) (*sqlx.DB, error) { panic("sqlstore: OpenSQLite") }

// Version returns a number that rises with every committed change of definitions or keys; polling it is cheap.
func (s *Store) Version(ctx context.Context) (int64, error) { panic("sqlstore: Version") }

// Source reads all definitions in one consistent read.
func (s *Store) Source(ctx context.Context) (experiments.Source, error) { panic("sqlstore: Source") }

// Create stores a draft. It fills salt and allocation, and errs with *experiments.InvalidError or experiments.ErrExists.
func (s *Store) Create(ctx context.Context, d experiments.Definition, by string) (*experiments.Experiment, error) {
	panic("sqlstore: Create")
}

// Get returns an experiment or experiments.ErrNotFound.
func (s *Store) Get(ctx context.Context, key string) (*experiments.Experiment, error) {
	panic("sqlstore: Get")
}

// List returns every experiment, newest first.
func (s *Store) List(ctx context.Context) ([]experiments.Experiment, error) { panic("sqlstore: List") }

// Change applies an action to an experiment: patch (doc = merge patch), start, stop, archive, ramp {"coverage"}, decide {"variant","reason"}.
// ifRevision 0 does not check; another number that is not the current revision gives experiments.ErrStale.
func (s *Store) Change(ctx context.Context, key, action string, doc json.RawMessage, ifRevision int64, by string) (*experiments.Experiment, error) {
	panic("sqlstore: Change")
}

// Revisions returns every stored revision of an experiment, oldest first.
func (s *Store) Revisions(ctx context.Context, key string) ([]experiments.Experiment, error) {
	panic("sqlstore: Revisions")
}

// PutLayer, PutHoldout, PutOffer and PutMetric create or replace; Layers, Holdouts, Offers and Metrics list.
func (s *Store) PutLayer(ctx context.Context, l experiments.Layer, by string) (*experiments.Layer, error) {
	panic("sqlstore: PutLayer")
}
func (s *Store) Layers(ctx context.Context) ([]experiments.Layer, error) { panic("sqlstore: Layers") }
func (s *Store) PutHoldout(ctx context.Context, h experiments.Holdout, by string) (*experiments.Holdout, error) {
	panic("sqlstore: PutHoldout")
}
func (s *Store) Holdouts(ctx context.Context) ([]experiments.Holdout, error) {
	panic("sqlstore: Holdouts")
}
func (s *Store) PutOffer(ctx context.Context, o experiments.Offer, by string) (*experiments.Offer, error) {
	panic("sqlstore: PutOffer")
}
func (s *Store) Offers(ctx context.Context) ([]experiments.Offer, error) { panic("sqlstore: Offers") }
func (s *Store) PutMetric(ctx context.Context, m experiments.MetricDef, by string) (*experiments.MetricDef, error) {
	panic("sqlstore: PutMetric")
}
func (s *Store) MetricDefs(ctx context.Context) ([]experiments.MetricDef, error) {
	panic("sqlstore: MetricDefs")
}

// Key is an API key without its secret.
type Key struct {
	ID        string     `json:"id" db:"id"`
	Role      string     `json:"role" db:"role"`
	Name      string     `json:"name" db:"name"`
	CreatedAt time.Time  `json:"created_at" db:"created_at"`
	RevokedAt *time.Time `json:"revoked_at,omitempty" db:"revoked_at"`
	Hash      []byte     `json:"-" db:"hash"` // SHA-256 of the secret, which has 256 random bits
}

// CreateKey makes a key and returns its secret, which is stored nowhere.
func (s *Store) CreateKey(ctx context.Context, role, name string) (k Key, secret string, err error) {
	panic("sqlstore: CreateKey")
}

// Keys lists keys, revoked ones too.
func (s *Store) Keys(ctx context.Context) ([]Key, error) { panic("sqlstore: Keys") }

// RevokeKey ends a key.
func (s *Store) RevokeKey(ctx context.Context, id string) error { panic("sqlstore: RevokeKey") }

// CreateSignIn makes a single-use sign-in token for a role that expires after ttl; SignIn redeems it once.
func (s *Store) CreateSignIn(ctx context.Context, role, name string, ttl time.Duration) (token string, err error) {
	panic("sqlstore: CreateSignIn")
}
func (s *Store) SignIn(ctx context.Context, token string) (role, name string, err error) {
	panic("sqlstore: SignIn")
}

// CreateSession stores a browser session by its hashed token; Session returns its role or experiments.ErrNotFound.
func (s *Store) CreateSession(ctx context.Context, role, name string, ttl time.Duration) (token string, err error) {
	panic("sqlstore: CreateSession")
}
func (s *Store) Session(ctx context.Context, token string) (role, name string, err error) {
	panic("sqlstore: Session")
}
func (s *Store) EndSession(ctx context.Context, token string) error { panic("sqlstore: EndSession") }

// OptOut records a unit's refusal of personalisation, or its withdrawal; OptedOut lists them.
func (s *Store) OptOut(ctx context.Context, unit string, out bool) error { panic("sqlstore: OptOut") }
func (s *Store) OptedOut(ctx context.Context) (map[string]bool, error)   { panic("sqlstore: OptedOut") }

// Look is a recorded look of a sequential experiment: it never changes afterwards.
type Look struct {
	Experiment string          `json:"experiment" db:"experiment"`
	Number     int             `json:"look" db:"number"`
	At         time.Time       `json:"at" db:"at"`
	Matured    int64           `json:"matured" db:"matured"`
	Doc        json.RawMessage `json:"doc" db:"doc"`
}

// PutLook records the next look; a look with the same number errs with experiments.ErrExists.
func (s *Store) PutLook(ctx context.Context, l Look) error { panic("sqlstore: PutLook") }

// Looks returns the recorded looks of an experiment, oldest first.
func (s *Store) Looks(ctx context.Context, experiment string) ([]Look, error) {
	panic("sqlstore: Looks")
}

// AuditEntry is who changed what.
type AuditEntry struct {
	At     time.Time       `json:"at" db:"at"`
	By     string          `json:"by" db:"by"`
	Action string          `json:"action" db:"action"`
	Object string          `json:"object" db:"object"`
	Doc    json.RawMessage `json:"doc,omitempty" db:"doc"`
}

// Audit returns the newest entries, at most limit; object "" means all.
func (s *Store) Audit(ctx context.Context, object string, limit int) ([]AuditEntry, error) {
	panic("sqlstore: Audit")
}
