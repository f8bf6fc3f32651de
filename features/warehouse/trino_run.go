package warehouse

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// remote is a runner on the cluster. Its relations are named in a WITH clause before every query: `events` is the registered segments of the
// snapshot without what was erased, the others are external tables over directories of its own, which done removes.
type remote struct {
	c    *cluster
	s    *session // the embedded engine, which writes what the cluster reads and reads what it writes
	name string
	dir  string   // scratch directory
	with []string // relations, `name AS (…)`
	made []string // tables to be dropped
	sql  []string
}

// remote returns a runner without relations.
func (c *cluster) remote(ctx context.Context) (*remote, error) {
	s, err := c.e.open(ctx)
	if err != nil {
		return nil, err
	}
	r := &remote{c: c, s: s, name: scratchName()}
	r.dir = filepath.Join(c.e.dir, "tmp", r.name)
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		s.done()
		return nil, err
	}
	return r, nil
}

// read returns a runner over a snapshot.
func (c *cluster) read(ctx context.Context, snap *lake.Snapshot) (*remote, error) {
	return c.readAs(ctx, snap, nil)
}

// readAs is read with the ids folded where people is not nil.
func (c *cluster) readAs(ctx context.Context, snap *lake.Snapshot, people *features.People) (*remote, error) {
	if err := c.register(ctx, snap.Segments); err != nil {
		return nil, err
	}
	r, err := c.remote(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.bind(ctx, snap, people); err != nil {
		r.done()
		return nil, err
	}
	return r, nil
}

// bind makes the relation `events`, its ids folded where people is not nil.
func (r *remote) bind(ctx context.Context, snap *lake.Snapshot, people *features.People) error {
	names := make([]string, len(snap.Segments))
	for i, g := range snap.Segments {
		names[i] = segmentName(g)
	}
	where := "FALSE"
	switch {
	case len(names) > r.c.o.Listed:
		table, err := r.upload(ctx, "snapshot", "segment VARCHAR", func(row func(...driver.Value) error) error {
			for _, n := range names {
				if err := row(n); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		where = "e.segment IN (SELECT segment FROM " + table + ")"
	case len(names) > 0:
		where = "e.segment IN (" + texts(names) + ")"
	}
	if len(snap.Tombstones) > 0 {
		table, err := r.upload(ctx, "erased", "user_id VARCHAR, erased_at TIMESTAMP", eachTombstone(snap))
		if err != nil {
			return err
		}
		where += " AND NOT EXISTS (SELECT 1 FROM " + table + " x WHERE x.user_id = e.user_id AND e.received_at < x.erased_at)"
	}
	columns, join := "*", ""
	if people != nil {
		table, err := r.upload(ctx, "fold", foldDefs, eachAlias(people))
		if err != nil {
			return err
		}
		columns, join = foldedColumns("e", eventNames), " LEFT JOIN "+table+" f ON f.alias = e.user_id"
	}
	r.with = append(r.with, "events AS (SELECT "+columns+" FROM "+eventsTable+" e"+join+" WHERE "+where+")")
	return nil
}

func (r *remote) dialect() Dialect { return Trino }

func (r *remote) statements() []string { return r.sql }

// done drops the runner's tables and removes its files. It goes on where the caller's context ended.
func (r *remote) done() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, t := range r.made {
		r.c.exec(ctx, "DROP TABLE IF EXISTS "+t) // what stays is dropped by setUp a day later
	}
	r.s.done()
	os.RemoveAll(r.dir)
}

// full is a query with the runner's relations before it.
func (r *remote) full(query string) string {
	if len(r.with) == 0 {
		return query
	}
	if rest, ok := strings.CutPrefix(query, "WITH "); ok {
		return "WITH " + strings.Join(r.with, ",\n") + ",\n" + rest
	}
	return "WITH " + strings.Join(r.with, ",\n") + "\n" + query
}

// written is what a query wrote: the files of a new directory and their rows.
type written struct {
	table, dir string
	files      []string
	rows       int64
}

// remove frees the disk before the runner ends.
func (w written) remove() { os.RemoveAll(w.dir) }

// counted errs when the files hold other rows than the cluster said: a file that a dead worker left, or one that this machine does not see.
func (w written) counted(rows int64) error {
	if rows != w.rows {
		return fmt.Errorf("the cluster wrote %d rows, its files hold %d: is the data directory on storage that every worker shares?", w.rows, rows)
	}
	return nil
}

// write has the cluster write the rows of a query into a new directory, as Parquet. properties are further ones of its table. The directory is listed
// after the cluster's commit; its files have no suffix. The caller compares their rows with those that the cluster says it wrote.
func (r *remote) write(ctx context.Context, query string, columns []string, properties string) (w written, err error) {
	r.sql = append(r.sql, query)
	w.table = fmt.Sprintf("%s_w%d", r.name, len(r.made))
	w.dir = filepath.Join(r.dir, w.table)
	location, err := r.c.at(w.dir)
	if err != nil {
		return w, err
	}
	head := "CREATE TABLE " + w.table
	if len(columns) > 0 {
		head += " (" + strings.Join(columns, ", ") + ")"
	}
	r.made = append(r.made, w.table)
	w.rows, err = r.c.exec(ctx, head+" WITH (external_location = "+quoteText(location)+", format = 'PARQUET'"+properties+") AS\n"+r.full(query))
	if failed(err, "HIVE_METASTORE_ERROR") && strings.Contains(err.Error(), "location does not exist") { // the query ended, but had no row to make a file of
		w.rows = 0
		return w, r.empty(ctx, query, w, columns)
	}
	if err != nil {
		return w, err
	}
	err = filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			w.files = append(w.files, path)
		}
		return err
	})
	return w, err
}

// empty makes the table of a query without a row.
func (r *remote) empty(ctx context.Context, query string, w written, columns []string) error {
	rows, err := r.c.db.QueryContext(ctx, r.full(query)+" LIMIT 0")
	if err != nil {
		return clusterError(err)
	}
	defer rows.Close()
	kinds, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	defs := make([]string, len(kinds))
	for i, k := range kinds {
		name, kind := k.Name(), k.DatabaseTypeName()
		if len(columns) > 0 {
			name = columns[i]
		}
		if precision, scale, ok := k.DecimalSize(); ok && kind == "DECIMAL" {
			kind = fmt.Sprintf("DECIMAL(%d, %d)", precision, scale)
		}
		defs[i] = quoteName(name) + " " + kind
	}
	if err := os.Mkdir(w.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	location, err := r.c.at(w.dir)
	if err != nil {
		return err
	}
	_, err = r.c.exec(ctx, "CREATE TABLE "+w.table+" ("+strings.Join(defs, ", ")+") WITH (external_location = "+quoteText(location)+", format = 'PARQUET')")
	return err
}

func (r *remote) keep(ctx context.Context, name, query string) error {
	w, err := r.write(ctx, query, nil, "")
	if err != nil {
		return err
	}
	return r.view(ctx, name, "SELECT * FROM "+w.table)
}

// upload makes a table of rows: the embedded engine writes them as a file in the scratch directory.
func (r *remote) upload(ctx context.Context, name, defs string, fill func(row func(...driver.Value) error) error) (table string, err error) {
	if _, err := r.s.ExecContext(ctx, "CREATE TEMP TABLE "+name+" ("+defs+")"); err != nil {
		return "", err
	}
	if err := r.s.append(ctx, "temp", name, fill); err != nil {
		return "", err
	}
	dir := filepath.Join(r.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if _, err := r.s.copyTo(ctx, "SELECT * FROM "+name, filepath.Join(dir, "part.parquet")); err != nil {
		return "", err
	}
	return r.external(ctx, name, defs, dir)
}

// external makes a table over a directory of Parquet files.
func (r *remote) external(ctx context.Context, name, defs, dir string) (table string, err error) {
	location, err := r.c.at(dir)
	if err != nil {
		return "", err
	}
	table = r.name + "_" + name
	if _, err := r.c.exec(ctx, "CREATE TABLE "+table+" ("+trinoTypes(defs)+") WITH (external_location = "+quoteText(location)+", format = 'PARQUET')"); err != nil {
		return "", err
	}
	r.made = append(r.made, table)
	return table, nil
}

func (r *remote) load(ctx context.Context, name, defs string, fill func(row func(...driver.Value) error) error) error {
	table, err := r.upload(ctx, name, defs, fill)
	if err != nil {
		return err
	}
	return r.view(ctx, name, "SELECT * FROM "+table)
}

func (r *remote) view(_ context.Context, name, query string) error {
	r.with = append(r.with, name+" AS ("+query+")")
	return nil
}

// trinoKinds are the types of DuckDB's columns that a relation may have.
var trinoKinds = []string{"VARCHAR", "BIGINT", "INTEGER", "DOUBLE", "DATE", "TIMESTAMP", "BOOLEAN"}

// attach links the files into a directory of their own, because a table is a directory and a run has other files beside them.
func (r *remote) attach(ctx context.Context, name string, files ...string) error {
	dir := filepath.Join(r.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for i, f := range files {
		if err := link(f, filepath.Join(dir, fmt.Sprintf("part-%d.parquet", i))); err != nil {
			return err
		}
	}
	var defs []string
	err := r.s.each(ctx, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM "+readParquet([]string{filepath.Join(dir, "part-0.parquet")})+")", func(v []driver.Value) error {
		if column, kind := v[0].(string), v[1].(string); nameForm.MatchString(column) && slices.Contains(trinoKinds, kind) {
			defs = append(defs, quoteName(column)+" "+kind)
		}
		return nil
	})
	if err != nil {
		return err
	}
	table, err := r.external(ctx, name, strings.Join(defs, ", "), dir)
	if err != nil {
		return err
	}
	return r.view(ctx, name, "SELECT * FROM "+table)
}

// each reads the few rows of a query through the driver. Decimals come as text and become integers again.
func (r *remote) each(ctx context.Context, query string, row func([]driver.Value) error) error {
	r.sql = append(r.sql, query)
	rows, err := r.c.db.QueryContext(ctx, r.full(query))
	if err != nil {
		return clusterError(err)
	}
	defer rows.Close()
	kinds, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	into, values := make([]any, len(kinds)), make([]driver.Value, len(kinds))
	for rows.Next() {
		for i := range into {
			into[i] = new(any)
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i := range into {
			values[i] = *into[i].(*any)
			if text, ok := values[i].(string); ok && kinds[i].DatabaseTypeName() == "DECIMAL" {
				n, ok := new(big.Int).SetString(text, 10)
				if !ok {
					return fmt.Errorf("%q is no integer", text)
				}
				values[i] = n
			}
		}
		if err := row(values); err != nil {
			return err
		}
	}
	return clusterError(rows.Err())
}

// rows has the cluster write the rows of a query and reads the files, which is faster than the driver.
func (r *remote) rows(ctx context.Context, query, order string, row func([]driver.Value) error) error {
	w, err := r.write(ctx, query, nil, "")
	if err != nil || w.rows == 0 {
		return err
	}
	defer w.remove()
	var n int64
	err = r.s.each(ctx, "SELECT * FROM "+readParquet(w.files)+" ORDER BY "+order, func(v []driver.Value) error {
		n++
		return row(v)
	})
	if err != nil {
		return err
	}
	return w.counted(n)
}

// positions are column names for Hive, which knows no capitals, and the list that gives the columns their own names back.
func positions(columns []string) (hive []string, list string) {
	names := make([]string, len(columns))
	for i, c := range columns {
		hive = append(hive, fmt.Sprintf("c%d", i))
		names[i] = hive[i] + " AS " + quoteName(c)
	}
	return hive, strings.Join(names, ", ")
}

// save has the cluster write the rows of a query and brings its files into one file in the order of the embedded engine, so that a run has the
// same files whichever engine computed it.
func (r *remote) save(ctx context.Context, query string, columns []string, order, path string) error {
	hive, list := positions(columns)
	w, err := r.write(ctx, query, hive, "")
	if err != nil {
		return err
	}
	defer w.remove()
	from := readParquet(w.files)
	if w.rows == 0 {
		if from, err = r.nothing(ctx, w.table); err != nil {
			return err
		}
	}
	n, err := r.s.copyTo(ctx, "SELECT "+list+" FROM "+from+" ORDER BY "+order, path)
	if err != nil {
		return err
	}
	return w.counted(n)
}

// nothing is a relation with the columns of a table and no row.
func (r *remote) nothing(ctx context.Context, table string) (string, error) {
	rows, err := r.c.db.QueryContext(ctx, "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = "+quoteText(r.c.o.Schema)+" AND table_name = "+quoteText(table)+" ORDER BY ordinal_position")
	if err != nil {
		return "", clusterError(err)
	}
	defer rows.Close()
	var defs []string
	for rows.Next() {
		var name, kind string
		if err := rows.Scan(&name, &kind); err != nil {
			return "", err
		}
		kind, _, _ = strings.Cut(kind, "(") // varchar(11)
		defs = append(defs, name+" "+strings.ToUpper(kind))
	}
	if err := rows.Err(); err != nil {
		return "", clusterError(err)
	}
	return "(" + emptySelect(strings.Join(defs, ", ")) + ")", nil
}

// emptySelect is a query without a row and with these columns.
func emptySelect(defs string) string {
	var list []string
	for _, d := range strings.Split(defs, ", ") {
		name, kind, _ := strings.Cut(strings.TrimSpace(d), " ")
		list = append(list, "CAST(NULL AS "+kind+") AS "+name)
	}
	return "SELECT " + strings.Join(list, ", ") + " WHERE FALSE"
}

// tables has the cluster write the table of a compiled catalog and reads its files in the order of the embedded engine.
func (r *remote) tables(ctx context.Context, query string, cuts []features.Day) ([]*features.Table, error) {
	names := []string{"user_id"}
	if len(cuts) > 1 {
		names = []string{"cut_day", "user_id"}
	}
	order := strings.Join(names, ", ")
	for _, f := range r.c.e.o.Catalog.Columns() {
		names = append(names, f.Name)
	}
	hive, list := positions(names)
	w, err := r.write(ctx, query, hive, "")
	if err != nil {
		return nil, err
	}
	defer w.remove()
	if w.rows == 0 {
		return r.c.e.emptyTables(cuts), nil
	}
	tables, err := r.s.tables(ctx, "SELECT "+list+" FROM "+readParquet(w.files)+" ORDER BY "+order, cuts)
	if err != nil {
		return nil, err
	}
	var n int64
	for _, t := range tables {
		n += int64(len(t.Users))
	}
	return tables, w.counted(n)
}
