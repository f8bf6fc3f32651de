package lake

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"perennial/features"
)

// ReadParquet reads a foreign Parquet file row by row with every value as text, NULL as empty: begin gets the column names, row each
// row's cells, which are valid until it returns. An error of either ends the reading.
func ReadParquet(ctx context.Context, path, temp string, memory int64, begin func(columns []string) error, row func(cells [][]byte) error) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	db, err := openDuck(ctx, temp, memory, 1, filepath.Dir(path))
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `SELECT CAST(COLUMNS(*) AS VARCHAR) FROM read_parquet(`+list([]string{path})+`)`)
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	if err := begin(columns); err != nil {
		return err
	}
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	cells := make([][]byte, len(columns))
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("read %s: %w", filepath.Base(path), err)
		}
		for i := range values {
			cells[i] = append(cells[i][:0], values[i].String...)
		}
		if err := row(cells); err != nil {
			return err
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// Window narrows events; zero fields do not.
type Window struct {
	From, To features.Day // biz days, To exclusive
	User     string
}

// WriteParquet writes the events of a snapshot as one Parquet file in the names of CONTRACT §3, amounts as exact decimals in major
// units, in the order of time and then of event id. The file appears under its name when it is complete and on disk.
func WriteParquet(ctx context.Context, s *Snapshot, w Window, path, temp string, memory int64) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	dirs := []string{filepath.Dir(path)}
	source := "(SELECT NULL::VARCHAR AS event_id WHERE false)"
	if len(s.Segments) > 0 {
		source = "read_parquet(" + list(s.Paths()) + ")"
		dirs = append(dirs, filepath.Dir(filepath.Dir(filepath.Dir(s.Segments[0].Path))))
	}
	db, err := openDuck(ctx, temp, memory, 2, dirs...)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "CREATE TEMP TABLE erased (user_id VARCHAR, before TIMESTAMP)"); err != nil {
		return err
	}
	for user, before := range s.Tombstones {
		if _, err := db.ExecContext(ctx, "INSERT INTO erased VALUES (?, ?)", user, before); err != nil {
			return err
		}
	}
	where := []string{"NOT EXISTS (SELECT 1 FROM erased WHERE erased.user_id = e.user_id AND e.received_at <= erased.before)"}
	if w.From != 0 {
		where = append(where, "biz_day >= DATE "+quote(w.From.String()))
	}
	if w.To != 0 {
		where = append(where, "biz_day < DATE "+quote(w.To.String()))
	}
	if w.User != "" {
		where = append(where, "e.user_id = "+quote(w.User))
	}
	var names []string
	for _, c := range columns {
		amount, money := strings.CutSuffix(c.name, "_micros")
		switch {
		case len(s.Segments) == 0 && c.name == "event_id":
			names = append(names, "event_id")
		case len(s.Segments) == 0:
			where = []string{"true"}
			names = append(names, "NULL::VARCHAR AS "+strings.TrimSuffix(c.name, "_micros"))
		case money:
			names = append(names, fmt.Sprintf("%s::DECIMAL(18, 0) * 0.000001::DECIMAL(7, 6) AS %s", c.name, amount))
		default:
			names = append(names, c.name)
		}
	}
	order := "ts, event_id"
	if len(s.Segments) == 0 {
		order = "event_id"
	}
	work := path + ".tmp"
	if _, err := db.ExecContext(ctx, fmt.Sprintf("COPY (SELECT %s FROM %s e WHERE %s ORDER BY %s) TO %s (FORMAT parquet, COMPRESSION zstd)",
		strings.Join(names, ", "), source, strings.Join(where, " AND "), order, quote(work))); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", filepath.Base(path), err), os.RemoveAll(work))
	}
	if err := errors.Join(syncFile(work), os.Rename(work, path)); err != nil {
		return err
	}
	return syncFile(filepath.Dir(path))
}
