package lake

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	_ "github.com/mattn/go-sqlite3" // lake.db
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql migrations/postgres/*.sql
var migrations embed.FS

// manifest is the database that publishes: lake.db, or a PostgreSQL that several servers share. Statements are written with ? and read alike by both.
type manifest struct {
	*sqlx.DB
	shared bool // PostgreSQL
}

func (m manifest) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return m.DB.QueryContext(ctx, m.Rebind(query), args...)
}

func (m manifest) QueryxContext(ctx context.Context, query string, args ...any) (*sqlx.Rows, error) {
	return m.DB.QueryxContext(ctx, m.Rebind(query), args...)
}

func (m manifest) QueryRowxContext(ctx context.Context, query string, args ...any) *sqlx.Row {
	return m.DB.QueryRowxContext(ctx, m.Rebind(query), args...)
}

func (m manifest) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return m.DB.ExecContext(ctx, m.Rebind(query), args...)
}

func (m manifest) GetContext(ctx context.Context, into any, query string, args ...any) error {
	return sqlx.GetContext(ctx, m, into, query, args...)
}

func (m manifest) SelectContext(ctx context.Context, into any, query string, args ...any) error {
	return sqlx.SelectContext(ctx, m, into, query, args...)
}

// transaction is one of a manifest.
type transaction struct{ *sqlx.Tx }

func (t transaction) QueryxContext(ctx context.Context, query string, args ...any) (*sqlx.Rows, error) {
	return t.Tx.QueryxContext(ctx, t.Rebind(query), args...)
}

func (t transaction) QueryRowxContext(ctx context.Context, query string, args ...any) *sqlx.Row {
	return t.Tx.QueryRowxContext(ctx, t.Rebind(query), args...)
}

func (t transaction) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.Tx.ExecContext(ctx, t.Rebind(query), args...)
}

func (t transaction) GetContext(ctx context.Context, into any, query string, args ...any) error {
	return sqlx.GetContext(ctx, t, into, query, args...)
}

// openDB opens lake.db with settings that make a commit durable: mattn's default of synchronous=NORMAL in WAL mode does not fsync
// at all, and a deferred transaction that reads and then writes is refused as "locked" when two processes do it at once.
func openDB(path string) (manifest, error) {
	q := url.Values{}
	q.Set("_journal_mode", "WAL")
	q.Set("_synchronous", "FULL")
	q.Set("_txlock", "immediate")
	q.Set("_busy_timeout", "10000")
	q.Set("_secure_delete", "on") // an erased id leaves no bytes
	db, err := sqlx.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return manifest{}, err
	}
	db.SetMaxOpenConns(1) // one writer per process; statements are short
	return manifest{DB: db}, nil
}

// lakeSchema is where the tables lie in a PostgreSQL that holds the control store as well.
const lakeSchema = "lake"

// openShared opens the manifest in a PostgreSQL.
func openShared(ctx context.Context, address string) (manifest, error) {
	c, err := pgx.ParseConfig(address)
	if err != nil {
		return manifest{}, err
	}
	c.RuntimeParams["search_path"] = lakeSchema
	c.RuntimeParams["synchronous_commit"] = "on" // whatever the server's default: journals forget what is committed
	db := sqlx.NewDb(stdlib.OpenDB(*c), "pgx")
	db.SetMaxOpenConns(8)
	m := manifest{db, true}
	if err := m.makeSchema(ctx); err != nil {
		return manifest{}, errors.Join(err, db.Close())
	}
	return m, nil
}

// makeSchema makes the schema unless it is there; two new servers at once would both try.
func (m manifest) makeSchema(ctx context.Context) error {
	tx, err := m.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err = tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, txLock); err == nil {
		_, err = tx.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS `+lakeSchema)
	}
	if err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return tx.Commit()
}

// migrate brings the manifest to the newest schema. The lake lock keeps two new processes from doing it at once.
func (l *Lake) migrate(ctx context.Context) error {
	dir, dialect := "migrations", goose.DialectSQLite3
	if l.db.shared {
		dir, dialect = "migrations/postgres", goose.DialectPostgres
	}
	files, err := fs.Sub(migrations, dir)
	if err != nil {
		return err
	}
	return l.locked(ctx, func(ctx context.Context) error {
		p, err := goose.NewProvider(dialect, l.db.DB.DB, files, goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
		if err != nil {
			return fmt.Errorf("lake.db: %w", err)
		}
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("lake.db: migrate: %w", err)
		}
		return nil
	})
}

// inTx runs f in one transaction with a synced commit. Transactions follow one another, on PostgreSQL as on SQLite. Under the lake lock of a PostgreSQL it
// runs on the connection that holds the lock: whoever has lost the lock can publish nothing.
func (l *Lake) inTx(ctx context.Context, f func(tx transaction) error) error {
	begin := l.db.BeginTxx
	if holder, ok := ctx.Value(lockHolder{}).(*sqlx.Conn); ok {
		begin = holder.BeginTxx
	}
	raw, err := begin(ctx, nil)
	if err != nil {
		return fmt.Errorf("lake.db: %w", err)
	}
	tx := transaction{raw}
	if l.db.shared {
		_, err = tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(?)`, txLock)
	}
	if err == nil {
		err = f(tx)
	}
	if err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("lake.db: commit: %w", err)
	}
	return nil
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// nextSnapshot raises the number of the published state and returns it.
func nextSnapshot(ctx context.Context, tx transaction) (int64, error) {
	var id int64
	err := tx.GetContext(ctx, &id, `UPDATE state SET snapshot = snapshot + 1 RETURNING snapshot`)
	return id, err
}

// rel returns a path relative to the data directory, as lake.db keeps it, so that the directory can be moved.
func (l *Lake) rel(path string) (string, error) { return filepath.Rel(l.o.Dir, path) }

func (l *Lake) abs(path string) string { return filepath.Join(l.o.Dir, path) }
