package lake

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
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
