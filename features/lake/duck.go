package lake

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

// openDuck starts a private in-memory DuckDB that may touch nothing but dirs. Its own defaults would install extensions from the
// internet, take 80 % of the memory and spill into the working directory.
func openDuck(ctx context.Context, temp string, memory int64, threads int, dirs ...string) (*sql.DB, error) {
	c, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, fmt.Errorf("duckdb: %w", err)
	}
	db, temp, err := OpenScratch(c, temp)
	if err != nil {
		return nil, fmt.Errorf("duckdb: %w", err)
	}
	quoted := make([]string, 0, len(dirs)+1)
	for _, d := range append(dirs, temp) {
		quoted = append(quoted, quote(strings.TrimSuffix(d, "/")+"/"))
	}
	for _, set := range []string{
		"SET autoinstall_known_extensions = false", "SET autoload_known_extensions = false", "SET allow_community_extensions = false",
		"SET temp_directory = " + quote(temp), "SET memory_limit = " + quote(strconv.FormatInt(max(memory*7/10, 128<<20)>>20, 10)+"MiB"),
		"SET threads = " + strconv.Itoa(threads), "SET preserve_insertion_order = false",
		"SET allowed_directories = [" + strings.Join(quoted, ", ") + "]",
		"SET enable_external_access = false", "SET lock_configuration = true",
	} {
		if _, err := db.ExecContext(ctx, set); err != nil {
			db.Close()
			return nil, fmt.Errorf("duckdb: %s: %w", set, err)
		}
	}
	return db, nil
}

// quote writes a SQL string literal.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// list writes a SQL list of string literals.
func list(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = quote(t)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// engine returns the lake's DuckDB, started at its first use.
func (l *Lake) engine(ctx context.Context) (*sql.DB, error) {
	l.duckMu.Lock()
	defer l.duckMu.Unlock()
	if l.duck != nil {
		return l.duck, nil
	}
	db, err := openDuck(ctx, filepath.Join(l.o.Private, "tmp"), l.o.Memory, 1, filepath.Join(l.o.Dir, "lake"))
	if err != nil {
		return nil, err
	}
	if err := l.feeds.register(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("duckdb: %w", err), db.Close())
	}
	l.duck = db
	return db, nil
}
