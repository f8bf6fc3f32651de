package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // PostgreSQL as control store of several servers
	"github.com/jmoiron/sqlx"

	"perennial/experiments/sqlstore"
	"perennial/features"
	"perennial/features/lake"
	"perennial/features/vectors"
	"perennial/features/warehouse"
)

// private is the directory of what belongs to this server alone: the data directory, unless several servers share it.
func (a *App) private() string {
	if a.Config.Server == "" {
		return a.Data
	}
	return filepath.Join(a.Data, "servers", a.Config.Server)
}

// openLake opens the data directory's lake, making it when missing; the journal stays closed.
func (a *App) openLake(ctx context.Context) (*lake.Lake, error) { return a.openSharedLake(ctx, nil) }

// openSharedLake is openLake for a server that shares first answers and identity links with others; shared is nil for one alone.
func (a *App) openSharedLake(ctx context.Context, shared lake.Shared) (*lake.Lake, error) {
	if err := os.MkdirAll(a.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return lake.Open(ctx, lake.Options{Dir: a.Data, Server: a.Config.Server, Database: a.Config.Database, Shop: a.Config.Shop(), Now: a.Now, Logger: a.Log, Memory: a.memory(), Shared: shared})
}

// openEngine starts an embedded engine with this many threads over the default catalog and DATA/catalog.yaml; with engine: trino the cluster computes
// and the embedded one only reads and writes files.
func (a *App) openEngine(ctx context.Context, threads int) (*warehouse.Engine, error) {
	catalog, err := a.catalog()
	if err != nil {
		return nil, err
	}
	o := warehouse.Options{Catalog: catalog, Dir: a.Data, Shop: a.Config.Shop(), Memory: a.memory(), Threads: threads, Now: a.Now}
	if c := a.Config; c.Engine == "trino" {
		o.Trino = &warehouse.TrinoOptions{URL: c.TrinoURL, Catalog: c.TrinoCatalog, Schema: c.TrinoSchema, Location: c.TrinoLocation}
	}
	return warehouse.Open(ctx, o)
}

// openBatch is openEngine for a command that has the process to itself.
func (a *App) openBatch(ctx context.Context) (*warehouse.Engine, error) {
	const threads = 2
	vectors.MakeRoom(threads)
	return a.openEngine(ctx, threads)
}

// catalog compiles the default catalog together with the shop's own catalog.yaml in the data directory, if there is one.
func (a *App) catalog() (*features.Catalog, error) {
	own, err := os.ReadFile(filepath.Join(a.Data, "catalog.yaml"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	c, err := features.ParseCatalog(own)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(a.Data, "catalog.yaml"), err)
	}
	return c, nil
}

// openStore opens the control store: SQLite in the data directory, or the configured PostgreSQL.
func (a *App) openStore(ctx context.Context) (*sqlstore.Store, error) {
	if a.Config.Database != "" {
		db, err := sqlx.Open("pgx", a.Config.Database)
		if err != nil {
			return nil, fmt.Errorf("config: database: %w", err)
		}
		return sqlstore.New(ctx, db, a.Now)
	}
	if err := os.MkdirAll(a.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	db, err := sqlstore.OpenSQLite(filepath.Join(a.Data, "control.db"))
	if err != nil {
		return nil, err
	}
	return sqlstore.New(ctx, db, a.Now)
}

// memory is the configured budget in bytes; loadConfig has checked its form.
func (a *App) memory() int64 {
	n, err := parseBytes(a.Config.Memory)
	if err != nil {
		return 1 << 30
	}
	return n
}

// parseBytes reads "512MB", "2GB" or a number of bytes.
func parseBytes(text string) (int64, error) {
	unit, digits := int64(1), strings.ToUpper(strings.TrimSpace(text))
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"KB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"B", 1}} {
		if strings.HasSuffix(digits, u.suffix) {
			unit, digits = u.bytes, strings.TrimSpace(strings.TrimSuffix(digits, u.suffix))
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > 1<<50/unit {
		return 0, fmt.Errorf("%q is not a size such as 512MB or 2GB", text)
	}
	return n * unit, nil
}
