package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"perennial/features"
	"perennial/features/lake"
)

// factsOf counts the sealed events and their distinct ids, and finds the newest day and the newest moment of knowledge. A lake without
// segments gives zero facts; a missing or damaged file gives an error that names it.
func (a *App) factsOf(ctx context.Context, l *lake.Lake) (facts, error) {
	snap, err := l.Snapshot(ctx)
	if err != nil {
		return facts{}, err
	}
	defer snap.Close()
	if len(snap.Segments) == 0 {
		return facts{}, nil
	}
	paths := make([]string, len(snap.Segments))
	for i, g := range snap.Segments {
		if _, err := os.Stat(g.Path); err != nil {
			return facts{}, fmt.Errorf("segment %s of %s: %w", filepath.Base(filepath.Dir(g.Path)), g.Day, err)
		}
		paths[i] = "'" + strings.ReplaceAll(g.Path, "'", "''") + "'"
	}
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return facts{}, err
	}
	db, spill, err := lake.OpenScratch(connector, filepath.Join(a.private(), "tmp"))
	if err != nil {
		return facts{}, err
	}
	defer db.Close()
	for _, set := range []string{"SET autoinstall_known_extensions = false", "SET autoload_known_extensions = false", "SET threads = 1",
		fmt.Sprintf("SET memory_limit = '%dMiB'", max(a.memory()*7/10, 128<<20)>>20), "SET temp_directory = '" + strings.ReplaceAll(spill, "'", "''") + "'"} {
		if _, err := db.ExecContext(ctx, set); err != nil {
			return facts{}, err
		}
	}
	var f facts
	var known time.Time
	var last string
	row := db.QueryRowContext(ctx, "SELECT count(*), count(DISTINCT event_id), count(DISTINCT biz_day), max(available_at), CAST(max(biz_day) AS VARCHAR) FROM read_parquet(["+strings.Join(paths, ", ")+"])")
	if err := row.Scan(&f.rows, &f.ids, &f.days, &known, &last); err != nil {
		return facts{}, err
	}
	f.known = known.UTC()
	if f.last, err = features.ParseDay(last); err != nil {
		return facts{}, err
	}
	return f, nil
}
