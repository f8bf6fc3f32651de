package warehouse

import (
	"context"
	"database/sql/driver"

	"perennial/features"
	"perennial/features/lake"
)

// runner is what a computation asks of an engine: the relation `events`, which is a snapshot without what was erased, further relations
// beside it, and the rows of queries. DuckDB and Trino are runners; statements are compiled for their dialect.
type runner interface {
	dialect() Dialect
	// keep makes the rows of a query a relation that later queries may name.
	keep(ctx context.Context, name, query string) error
	// view names a query without running it.
	view(ctx context.Context, name, query string) error
	// attach makes Parquet files of the data directory, all with the same columns, a relation.
	attach(ctx context.Context, name string, files ...string) error
	// load makes a relation of rows; defs are its columns as DuckDB defines them.
	load(ctx context.Context, name, defs string, fill func(row func(...driver.Value) error) error) error
	// each calls row with every row of a query of few rows; the slice is reused. Integers are int64, wide ones *big.Int.
	each(ctx context.Context, query string, row func([]driver.Value) error) error
	// rows is each for a query with a row a user and no order of its own.
	rows(ctx context.Context, query, order string, row func([]driver.Value) error) error
	// save writes the rows of a query without an order to a Parquet file in an order; columns are the names of the query's columns.
	save(ctx context.Context, query string, columns []string, order, path string) error
	// tables runs a compiled catalog and returns one table a cut.
	tables(ctx context.Context, query string, cuts []features.Day) ([]*features.Table, error)
	// statements returns what was run, for the reader.
	statements() []string
	// done gives back what the runner holds.
	done()
}

// reader returns a runner over a snapshot, on the cluster where one is configured. The caller ends it with done and keeps the snapshot, whose lease
// protects the files, until then.
func (e *Engine) reader(ctx context.Context, snap *lake.Snapshot) (runner, error) {
	if e.c != nil {
		r, err := e.c.read(ctx, snap)
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	s, err := e.read(ctx, snap)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// blank returns a runner without relations.
func (e *Engine) blank(ctx context.Context) (runner, error) {
	if e.c != nil {
		r, err := e.c.remote(ctx)
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	s, err := e.open(ctx)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *session) dialect() Dialect { return DuckDB }

func (s *session) statements() []string { return s.sql }

func (s *session) keep(ctx context.Context, name, query string) error {
	statement := "CREATE TEMP TABLE " + name + " AS\n" + query
	s.sql = append(s.sql, statement)
	_, err := s.ExecContext(ctx, statement)
	return err
}

func (s *session) view(ctx context.Context, name, query string) error {
	statement := "CREATE TEMP VIEW " + name + " AS\n" + query
	s.sql = append(s.sql, statement)
	_, err := s.ExecContext(ctx, statement)
	return err
}

func (s *session) attach(ctx context.Context, name string, files ...string) error {
	paths := make([]string, len(files))
	for i, f := range files {
		path, done, err := s.e.inside(f)
		if err != nil {
			return err
		}
		s.ends = append(s.ends, done)
		paths[i] = path
	}
	return s.see(ctx, "CREATE TEMP VIEW "+name+" AS SELECT * FROM "+readParquet(paths))
}

func (s *session) load(ctx context.Context, name, defs string, fill func(row func(...driver.Value) error) error) error {
	table, drop, err := s.e.table(ctx, s, name, defs)
	if err != nil {
		return err
	}
	s.ends = append(s.ends, drop)
	if err := s.append(ctx, "", table, fill); err != nil {
		return err
	}
	return s.see(ctx, "CREATE TEMP VIEW "+name+" AS FROM "+table)
}

func (s *session) rows(ctx context.Context, query, order string, row func([]driver.Value) error) error {
	return s.each(ctx, query+" ORDER BY "+order, row)
}

func (s *session) save(ctx context.Context, query string, _ []string, order, path string) error {
	_, err := s.copyTo(ctx, query+" ORDER BY "+order, path)
	return err
}

// readParquet is the relation of a list of files.
func readParquet(files []string) string {
	return "read_parquet([" + texts(files) + "], hive_partitioning=false)"
}
