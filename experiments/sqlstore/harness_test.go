package sqlstore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"perennial/experiments/sqlstore"
	"perennial/experiments/sqlstore/postgrestest"
)

// postgres is one private server for all tests of the package.
var postgres struct {
	once   sync.Once
	server *postgrestest.Server
	err    error
	next   int
}

func TestMain(m *testing.M) {
	code := m.Run()
	if postgres.server != nil {
		if err := postgres.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

func startOnce(t *testing.T) {
	t.Helper()
	postgres.once.Do(func() { postgres.server, postgres.err = postgrestest.Start() })
	if postgres.err != nil {
		t.Fatal(postgres.err)
	}
}

func newDatabase(t *testing.T) (name string) {
	t.Helper()
	postgres.next++
	name = fmt.Sprintf("store%d", postgres.next)
	if err := postgres.server.Create(name); err != nil {
		t.Fatal(err)
	}
	return name
}

func openPostgres(t *testing.T, name string, now func() time.Time) *sqlstore.Store {
	t.Helper()
	db, err := sqlx.Open("pgx", postgres.server.Address(name))
	if err != nil {
		t.Fatal(err)
	}
	return newStore(t, db, now)
}

func newStore(t *testing.T, db *sqlx.DB, now func() time.Time) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(t.Context(), db, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// eachStore runs a test on a fresh SQLite and on a fresh PostgreSQL database. open may be called again for another server on the same database.
func eachStore(t *testing.T, now func() time.Time, test func(t *testing.T, open func() *sqlstore.Store)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a b", "control ?#%.db")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Run("sqlite", func(t *testing.T) {
		test(t, func() *sqlstore.Store {
			db, err := sqlstore.OpenSQLite(path)
			if err != nil {
				t.Fatal(err)
			}
			return newStore(t, db, now)
		})
	})
	t.Run("postgresql", func(t *testing.T) {
		startOnce(t)
		name := newDatabase(t)
		test(t, func() *sqlstore.Store { return openPostgres(t, name, now) })
	})
}
