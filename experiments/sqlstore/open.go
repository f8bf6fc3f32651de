package sqlstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/mattn/go-sqlite3" // the default control store
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// OpenSQLite opens (and creates, for its owner alone) a control.db. Writers of all processes queue for up to 10 s; a commit is on disk when
// it returns. Store lets one writer of a process through at a time, readers do not wait for it.
func OpenSQLite(path string) (*sqlx.DB, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("control store: %w", err)
	}
	f.Close()
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(),
		RawQuery: "_journal_mode=WAL&_synchronous=FULL&_txlock=immediate&_busy_timeout=10000&_foreign_keys=1"}).String()
	db, err := sqlx.Open("sqlite3", dsn)
	if err != nil {
		return nil, fmt.Errorf("control store: %w", err)
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	return db, nil
}

// New migrates the database to the newest schema and returns its store. The driver's name ("sqlite3" or "pgx") decides the dialect.
func New(ctx context.Context, db *sqlx.DB, now func() time.Time) (*Store, error) {
	if err := migrate(ctx, db); err != nil {
		return nil, fmt.Errorf("control store: %w", err)
	}
	return &Store{db: db, now: now}, nil
}

// migrate runs under PostgreSQL's advisory lock; SQLite has none, so a process that loses the race against another one looks again.
func migrate(ctx context.Context, db *sqlx.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	dialect, tries := goose.DialectSQLite3, 20
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	switch db.DriverName() {
	case "sqlite3":
	case "pgx":
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return err
		}
		dialect, tries = goose.DialectPostgres, 1
		options = append(options, goose.WithSessionLocker(locker))
	default:
		return fmt.Errorf("driver %q is neither sqlite3 nor pgx", db.DriverName())
	}
	for try := 1; ; try++ {
		p, err := goose.NewProvider(dialect, db.DB, files, options...)
		if err == nil {
			_, err = p.Up(ctx)
		}
		if err == nil || try == tries {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
