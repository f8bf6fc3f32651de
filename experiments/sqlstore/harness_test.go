package sqlstore_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"perennial/experiments/sqlstore"
)

// postgres is one private server for all tests of the package.
var postgres struct {
	once    sync.Once
	dir     string // of its socket and data
	control func(action string) error
	err     error
	next    int
}

func TestMain(m *testing.M) {
	code := m.Run()
	if postgres.control != nil {
		if err := postgres.control("stop"); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.RemoveAll(postgres.dir)
	}
	os.Exit(code)
}

// startPostgres starts a private PostgreSQL of the machine's packages on a unix socket; initdb refuses root, so root becomes the user postgres.
func startPostgres() (dir string, control func(action string) error, err error) {
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(bins) == 0 {
		return "", nil, errors.New("PostgreSQL is not installed: `make test` installs it (Debian: apt-get install postgresql)")
	}
	bin := filepath.Dir(bins[len(bins)-1])
	if dir, err = os.MkdirTemp("", "perennial-pg"); err != nil {
		return "", nil, err
	}
	var prefix []string
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return "", nil, err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			return "", nil, err
		}
		prefix = []string{"runuser", "-u", "postgres", "--"}
	}
	run := func(args ...string) error {
		args = append(slices.Clone(prefix), args...)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	data := filepath.Join(dir, "data")
	if err := run(filepath.Join(bin, "initdb"), "-D", data, "-U", "perennial", "-A", "trust", "-E", "UTF8", "--no-sync"); err != nil {
		return "", nil, err
	}
	control = func(action string) error {
		return run(filepath.Join(bin, "pg_ctl"), "-D", data, "-w", "-m", "immediate", "-l", filepath.Join(dir, "log"), "-o", "-c listen_addresses='' -c fsync=off -k "+dir, action)
	}
	return dir, control, control("start")
}

func startOnce(t *testing.T) {
	t.Helper()
	postgres.once.Do(func() { postgres.dir, postgres.control, postgres.err = startPostgres() })
	if postgres.err != nil {
		t.Fatal(postgres.err)
	}
}

func newDatabase(t *testing.T) (name string) {
	t.Helper()
	postgres.next++
	name = fmt.Sprintf("store%d", postgres.next)
	root, err := sqlx.Connect("pgx", "host="+postgres.dir+" user=perennial dbname=postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := root.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	return name
}

func openPostgres(t *testing.T, name string, now func() time.Time) *sqlstore.Store {
	t.Helper()
	db, err := sqlx.Open("pgx", "host="+postgres.dir+" user=perennial dbname="+name)
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
