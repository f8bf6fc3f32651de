package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"perennial/features"
)

// ReadRow reads the row of one user from a Parquet file of the data directory; the table is empty when she has none.
func (e *Engine) ReadRow(ctx context.Context, path, user string) (*features.Table, error) {
	s, err := e.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("read row: %w", err)
	}
	defer s.done()
	t, err := s.table(ctx, "SELECT * EXCLUDE (as_of) FROM read_parquet("+quoteText(path)+") WHERE user_id = "+quoteText(user))
	if err != nil {
		return nil, fmt.Errorf("read row: %w", err)
	}
	return t, nil
}

// JoinTables writes the rows of Parquet files of the data directory, in their order, into one, atomically. It streams: memory does not grow
// with the rows.
func (e *Engine) JoinTables(ctx context.Context, parts []string, path string) error {
	s, err := e.open(ctx)
	if err != nil {
		return fmt.Errorf("join tables: %w", err)
	}
	defer s.done()
	dir, err := os.MkdirTemp(filepath.Join(e.dir, "tmp"), "table-")
	if err != nil {
		return fmt.Errorf("join tables: %w", err)
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "table.parquet")
	if _, err := s.copyTo(ctx, "SELECT * FROM "+parquetList(parts), made); err != nil {
		return fmt.Errorf("join tables: %w", err)
	}
	return replaceFile(path, func(w io.Writer) error {
		f, err := os.Open(made)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
}

func parquetList(paths []string) string {
	quoted := make([]string, len(paths))
	for i, p := range paths {
		quoted[i] = quoteText(p)
	}
	return "read_parquet([" + strings.Join(quoted, ", ") + "], union_by_name=false, hive_partitioning=false)"
}

// changeFields are the columns of a scores run whose change is told.
var changeFields = []string{"band", "stage"}

// ScoreChanges compares two scores runs of the data directory and returns one row for each field (band, stage) that another value took since,
// by user: the columns field, before and after. A user who stands in one run alone has not changed. A field that the older run lacks is left out.
func (e *Engine) ScoreChanges(ctx context.Context, before, after string) (*features.Table, error) {
	s, err := e.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("score changes: %w", err)
	}
	defer s.done()
	var there []string
	err = s.each(ctx, "SELECT name FROM parquet_schema("+quoteText(before)+")", func(v []driver.Value) error {
		if name, ok := v[0].(string); ok {
			there = append(there, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("score changes: %w", err)
	}
	var parts []string
	for _, field := range changeFields {
		if slices.Contains(there, field) {
			parts = append(parts, fmt.Sprintf(`SELECT n.user_id, '%[1]s' AS field, o.%[1]s AS before, n.%[1]s AS after FROM n JOIN o ON o.user_id = n.user_id WHERE n.%[1]s <> o.%[1]s`, field))
		}
	}
	if len(parts) == 0 {
		return &features.Table{}, nil
	}
	t, err := s.table(ctx, fmt.Sprintf("WITH o AS (SELECT * FROM read_parquet(%s)), n AS (SELECT * FROM read_parquet(%s)) SELECT * FROM (%s) ORDER BY user_id, field",
		quoteText(before), quoteText(after), strings.Join(parts, " UNION ALL ")))
	if err != nil {
		return nil, fmt.Errorf("score changes: %w", err)
	}
	return t, nil
}
