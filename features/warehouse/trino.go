package warehouse

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/trinodb/trino-go-client/trino"

	"perennial/features/lake"
)

// TrinoOptions say where the cluster is that computes in the place of the embedded engine, and how it sees the data directory. Its workers read the
// sealed files in place; what they write lies in new directories of the data directory, which this process reads and publishes.
type TrinoOptions struct {
	URL      string // http://user@host:port; session properties as ?session_properties=name:value
	Catalog  string // a Hive catalog with register_partition and writes to external tables; "" means hive
	Schema   string // of this data directory alone; made when missing; "" means perennial
	Location string // the data directory as the cluster names it; "" means local:///
	Listed   int    // most segments that a statement lists; above it they become a table; 0 means 5,000
}

// cluster is a Trino that holds a table of the lake's segments.
type cluster struct {
	o  TrinoOptions
	e  *Engine
	db *sql.DB

	mu    sync.Mutex
	known map[string]bool // segments that are registered
}

const eventsTable = "events"

// openCluster connects. The tables are made with the first query.
func openCluster(e *Engine, o TrinoOptions) (*cluster, error) {
	if o.Catalog == "" {
		o.Catalog = "hive"
	}
	if o.Schema == "" {
		o.Schema = "perennial"
	}
	if o.Location == "" {
		o.Location = "local:///"
	}
	if o.Listed <= 0 {
		o.Listed = 5000
	}
	for field, name := range map[string]string{"trino_catalog": o.Catalog, "trino_schema": o.Schema} {
		if !nameForm.MatchString(name) {
			return nil, fmt.Errorf("%s: %q does not match %s", field, name, nameForm)
		}
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("trino_url: is not http://user@host:port")
	}
	if u.User == nil {
		u.User = url.User("perennial")
	}
	q := u.Query()
	q.Set("catalog", o.Catalog)
	q.Set("schema", o.Schema)
	q.Set("source", "perennial")
	u.RawQuery = q.Encode()
	db, err := sql.Open("trino", u.String())
	if err != nil {
		return nil, fmt.Errorf("trino: %w", err)
	}
	return &cluster{o: o, e: e, db: db}, nil
}

func (c *cluster) close() error { return c.db.Close() }

// at is a path of the data directory as the cluster names it.
func (c *cluster) at(path string) (string, error) {
	rel, err := filepath.Rel(c.e.dir, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return "", fmt.Errorf("%s lies outside the data directory, which is all that the cluster sees", filepath.Base(path))
	}
	location := c.o.Location
	if !strings.HasSuffix(location, "/") {
		location += "/"
	}
	return location + filepath.ToSlash(rel), nil
}

// exec runs a statement and returns how many rows it wrote.
func (c *cluster) exec(ctx context.Context, statement string) (int64, error) {
	r, err := c.db.ExecContext(ctx, statement)
	if err != nil {
		return 0, clusterError(err)
	}
	return r.RowsAffected()
}

// clusterError says in whose name a query failed.
func clusterError(err error) error {
	var t *trino.ErrTrino
	if errors.As(err, &t) {
		return fmt.Errorf("trino: %s: %w", t.ErrorName, err)
	}
	return err
}

// failed reports whether a query failed with one of Trino's error names.
func failed(err error, names ...string) bool {
	var t *trino.ErrTrino
	if !errors.As(err, &t) {
		return false
	}
	for _, n := range names {
		if t.ErrorName == n {
			return true
		}
	}
	return false
}

// segmentName is the partition of a segment: its day and the name of its directory.
func segmentName(g lake.Segment) string {
	return g.Day.String() + "." + filepath.Base(filepath.Dir(g.Path))
}

// register makes every segment of a snapshot a partition of the events table. A segment's directory is registered after its commit and never holds
// more than its one file, so a query over named partitions sees exactly the snapshot, whatever is sealed or compacted meanwhile.
func (c *cluster) register(ctx context.Context, segments []lake.Segment) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		if err := c.setUp(ctx); err != nil {
			return err
		}
	}
	var missing []lake.Segment
	for _, g := range segments {
		if !c.known[segmentName(g)] {
			missing = append(missing, g)
		}
	}
	work := make(chan lake.Segment)
	faults := make(chan error)
	const callers = 8
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range callers {
		go func() {
			var all error
			for g := range work {
				if all == nil {
					all = c.registerOne(ctx, g)
				}
			}
			faults <- all
		}()
	}
	for _, g := range missing {
		work <- g
	}
	close(work)
	var all error
	for range callers {
		all = errors.Join(all, <-faults)
	}
	if all != nil {
		c.known = nil // ask again what is there
		return fmt.Errorf("register segments: %w", all)
	}
	for _, g := range missing {
		c.known[segmentName(g)] = true
	}
	return c.forget(ctx, segments)
}

func (c *cluster) registerOne(ctx context.Context, g lake.Segment) error {
	location, err := c.at(filepath.Dir(g.Path))
	if err != nil {
		return err
	}
	_, err = c.exec(ctx, fmt.Sprintf("CALL system.register_partition(%s, %s, ARRAY['segment'], ARRAY[%s], %s)",
		quoteText(c.o.Schema), quoteText(eventsTable), quoteText(segmentName(g)), quoteText(location)))
	if failed(err, "ALREADY_EXISTS") { // by another process
		return nil
	}
	return err
}

// forget takes partitions out whose files are gone: they were replaced by compaction and nobody holds a lease on them.
func (c *cluster) forget(ctx context.Context, live []lake.Segment) error {
	keep := map[string]bool{}
	for _, g := range live {
		keep[segmentName(g)] = true
	}
	for name := range maps.Clone(c.known) {
		day, dir, _ := strings.Cut(name, ".")
		if keep[name] {
			continue
		}
		if _, err := os.Stat(filepath.Join(c.e.dir, "lake", "events", "day="+day, dir)); err == nil || !errors.Is(err, os.ErrNotExist) {
			continue
		}
		_, err := c.exec(ctx, fmt.Sprintf("CALL system.unregister_partition(%s, %s, ARRAY['segment'], ARRAY[%s])", quoteText(c.o.Schema), quoteText(eventsTable), quoteText(name)))
		if err != nil && !failed(err, "NOT_FOUND") {
			return fmt.Errorf("unregister segment: %w", err)
		}
		delete(c.known, name)
	}
	return nil
}

// setUp makes the schema and the events table where they are missing, drops what dead processes left, and reads what is registered.
func (c *cluster) setUp(ctx context.Context) error {
	if _, err := c.exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+c.o.Catalog+"."+c.o.Schema); err != nil && !failed(err, "SCHEMA_ALREADY_EXISTS", "ALREADY_EXISTS") {
		return err
	}
	root := filepath.Join(c.e.dir, "lake", "events")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	location, err := c.at(root)
	if err != nil {
		return err
	}
	_, err = c.exec(ctx, "CREATE TABLE IF NOT EXISTS "+eventsTable+" ("+trinoTypes(eventColumns)+", segment varchar) WITH (external_location = "+quoteText(location)+", format = 'PARQUET', partitioned_by = ARRAY['segment'])")
	if err != nil && !failed(err, "TABLE_ALREADY_EXISTS", "ALREADY_EXISTS") {
		return err
	}
	known := map[string]bool{}
	if err := c.names(ctx, `SELECT segment FROM "`+eventsTable+`$partitions"`, func(name string) { known[name] = true }); err != nil {
		return err
	}
	var old []string
	if err := c.names(ctx, "SHOW TABLES LIKE 'x\\_%' ESCAPE '\\'", func(name string) {
		var made int64
		if _, err := fmt.Sscanf(name, "x_%x_", &made); err == nil && time.Since(time.Unix(made, 0)) > 24*time.Hour {
			old = append(old, name)
		}
	}); err != nil {
		return err
	}
	for _, name := range old {
		if _, err := c.exec(ctx, "DROP TABLE IF EXISTS "+name); err != nil {
			return err
		}
	}
	c.known = known
	return nil
}

// names calls f with every text of a query of one column.
func (c *cluster) names(ctx context.Context, query string, f func(string)) error {
	rows, err := c.db.QueryContext(ctx, query)
	if err != nil {
		return clusterError(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		f(name)
	}
	return clusterError(rows.Err())
}

// trinoTypes are DuckDB's column definitions in Trino's words.
func trinoTypes(defs string) string {
	return strings.NewReplacer(" VARCHAR", " varchar", " TIMESTAMP", " timestamp(6)", " DATE", " date", " BIGINT", " bigint", " INTEGER", " integer", " DOUBLE", " double", " BOOLEAN", " boolean").Replace(defs)
}

// scratchName is a name for the objects of one runner. It begins with the time, by which what a dead process left is found.
func scratchName() string {
	var b [6]byte
	rand.Read(b[:])
	return fmt.Sprintf("x_%x_%s", time.Now().Unix(), hex.EncodeToString(b[:]))
}
