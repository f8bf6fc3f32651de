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

	"github.com/jmoiron/sqlx"
	_ "github.com/mattn/go-sqlite3" // lake.db
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// openDB opens lake.db with settings that make a commit durable: mattn's default of synchronous=NORMAL in WAL mode does not fsync
// at all, and a deferred transaction that reads and then writes is refused as "locked" when two processes do it at once.
func openDB(path string) (*sqlx.DB, error) {
	q := url.Values{}
	q.Set("_journal_mode", "WAL")
	q.Set("_synchronous", "FULL")
	q.Set("_txlock", "immediate")
	q.Set("_busy_timeout", "10000")
	q.Set("_secure_delete", "on") // an erased id leaves no bytes
	db, err := sqlx.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // one writer per process; statements are short
	return db, nil
}

// migrate brings lake.db to the newest schema. The lake lock keeps two new processes from doing it at once.
func (l *Lake) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	return l.locked(ctx, func() error {
		p, err := goose.NewProvider(goose.DialectSQLite3, l.db.DB, files, goose.WithLogger(goose.NopLogger()))
		if err != nil {
			return fmt.Errorf("lake.db: %w", err)
		}
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("lake.db: migrate: %w", err)
		}
		return nil
	})
}

// inTx runs f in one immediate transaction with a synced commit.
func (l *Lake) inTx(ctx context.Context, f func(tx *sqlx.Tx) error) error {
	tx, err := l.db.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("lake.db: %w", err)
	}
	if err := f(tx); err != nil {
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
func nextSnapshot(ctx context.Context, tx *sqlx.Tx) (int64, error) {
	var id int64
	err := tx.GetContext(ctx, &id, `UPDATE state SET snapshot = snapshot + 1 RETURNING snapshot`)
	return id, err
}

// rel returns a path relative to the data directory, as lake.db keeps it, so that the directory can be moved.
func (l *Lake) rel(path string) (string, error) { return filepath.Rel(l.o.Dir, path) }

func (l *Lake) abs(path string) string { return filepath.Join(l.o.Dir, path) }
