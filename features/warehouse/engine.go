package warehouse

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/duckdb/duckdb-go/v2"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/vectors"
)

// Engine runs compiled SQL on an in-memory DuckDB of its own. It is safe for concurrent use: every call has its own connection
// and its own temporary views.
type Engine struct {
	o   Options
	p   *program
	dir string // absolute data directory
	db  *sql.DB
	c   *cluster // nil without a cluster

	joined  bool         // tests: what is built from tiles is joined in SQL as on a cluster, not swept
	tables  atomic.Int64 // names of tables
	spill   string       // temporary directory of db
	opening sync.Mutex
	vectors *vectors.DB // of streams; nil before the first use
	pace    pace        // tests: which snapshots are merged, and how
}

// Open starts an engine with the safe settings: no extensions from outside, bounded memory, temporary files in Dir/tmp, file
// access to Dir alone, locked configuration.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Memory <= 0 {
		o.Memory = 1 << 30
	}
	if o.Threads <= 0 {
		o.Threads = 2
	}
	if o.Catalog == nil {
		o.Catalog = features.DefaultCatalog()
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	e := &Engine{o: o, p: compile(o.Catalog), dir: dir}
	var once sync.Once
	var failed error
	connector, err := duckdb.NewConnector("", func(c driver.ExecerContext) error {
		once.Do(func() {
			// The peak resident size is the limit plus a quarter to two thirds, so the limit is seven tenths of the budget.
			for _, s := range e.settings(e.spill, max(64<<20, o.Memory*7/10), o.Threads) {
				if _, failed = c.ExecContext(context.Background(), s, nil); failed != nil {
					return
				}
			}
		})
		return failed
	})
	if err != nil {
		return nil, fmt.Errorf("start duckdb: %w", err)
	}
	if e.db, e.spill, err = lake.OpenScratch(connector, filepath.Join(dir, "tmp")); err != nil {
		return nil, fmt.Errorf("temporary directory: %w", err)
	}
	if err := e.db.PingContext(ctx); err != nil {
		e.db.Close()
		return nil, fmt.Errorf("start duckdb: %w", err)
	}
	if o.Trino != nil {
		if e.c, err = openCluster(e, *o.Trino); err != nil {
			e.db.Close()
			return nil, err
		}
	}
	return e, nil
}

// settings are those of a DuckDB of the engine.
func (e *Engine) settings(spill string, memory int64, threads int) []string {
	return []string{
		"SET autoinstall_known_extensions=false",
		"SET autoload_known_extensions=false",
		"SET allow_community_extensions=false",
		"SET temp_directory=" + quoteText(spill),
		fmt.Sprintf("SET memory_limit='%dMiB'", memory>>20),
		fmt.Sprintf("SET threads=%d", threads),
		"SET allowed_directories=[" + quoteText(e.dir+"/") + "]",
		"SET enable_external_access=false",
		"SET lock_configuration=true",
	}
}

// streamMemory is the limit of streams.
func (e *Engine) streamMemory() int64 { return max(64<<20, e.o.Memory/5) }

// streams is a second DuckDB of the engine, started at its first use: its queries run on the goroutines that fetch their rows, each on a connection of its
// own, and have a fifth of the budget.
func (e *Engine) streams() (*vectors.DB, error) {
	e.opening.Lock()
	defer e.opening.Unlock()
	if e.vectors != nil {
		return e.vectors, nil
	}
	var err error
	settings := e.settings(filepath.Join(e.spill, "streams"), e.streamMemory(), 1)
	e.vectors, err = vectors.Open(append([]string{"SET enable_external_file_cache=false"}, settings...)...) // a stream reads a file once
	return e.vectors, err
}

// Close ends the engine.
func (e *Engine) Close() error {
	e.opening.Lock()
	defer e.opening.Unlock()
	if e.vectors != nil {
		e.vectors.Close()
	}
	if e.c != nil {
		return errors.Join(e.c.close(), e.db.Close())
	}
	return e.db.Close()
}

// session is one connection with the snapshot's events as the temporary view `events`.
type session struct {
	*sql.Conn
	e             *Engine
	sql           []string // the statements that were run, for the reader
	shown         int      // how many of them a pass over a range shows
	folded, plain string   // the rows of a snapshot whose ids are folded, and all others; "" where none are
	erased        bool     // the relation erased is there
	views         []string // statements of the views over what other connections see too
	ends          []func() // what is to be cleaned up after it
}

// eventColumns is the schema of a segment (see the lake): what an empty snapshot answers.
const eventColumns = `event_id VARCHAR, user_id VARCHAR, anonymous_id VARCHAR, event VARCHAR, ts TIMESTAMP, sent_at TIMESTAMP, received_at TIMESTAMP,
 available_at TIMESTAMP, biz_day DATE, known_day DATE, id_day DATE, value_micros BIGINT, margin_micros BIGINT, discount_micros BIGINT,
 platform_discount_micros BIGINT, commission_micros BIGINT, cost_micros BIGINT, currency VARCHAR, order_id VARCHAR, product_id VARCHAR, category VARCHAR,
 channel VARCHAR, coupon_id VARCHAR, session_id VARCHAR, properties VARCHAR, ingest_seq BIGINT, journal_id VARCHAR, user_bucket INTEGER`

// open returns a connection of its own. The caller ends it with done.
func (e *Engine) open(ctx context.Context) (*session, error) {
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &session{Conn: conn, e: e}, nil
}

// done drops the session's temporary objects and gives the connection back.
func (s *session) done() {
	s.Raw(func(any) error { return driver.ErrBadConn }) // a connection carries temporary views, so it is not used again
	s.Close()
	for _, end := range s.ends {
		end()
	}
}

// twin returns a further session with the relations that were attached and loaded, for another goroutine.
func (s *session) twin(ctx context.Context) (*session, error) {
	t, err := s.e.open(ctx)
	if err != nil {
		return nil, err
	}
	for _, view := range s.views {
		if err := t.see(ctx, view); err != nil {
			t.done()
			return nil, err
		}
	}
	return t, nil
}

// see makes a view over what other connections see too.
func (s *session) see(ctx context.Context, view string) error {
	_, err := s.ExecContext(ctx, view)
	s.views = append(s.views, view)
	return err
}

// table makes an empty table that all sessions see, under a name of its own, and says how it is dropped.
func (e *Engine) table(ctx context.Context, s *session, name, defs string) (table string, drop func(), err error) {
	table = fmt.Sprintf("%s_%d", name, e.tables.Add(1))
	_, err = s.ExecContext(ctx, "CREATE TABLE "+table+" ("+defs+")")
	return table, func() { e.db.Exec("DROP TABLE IF EXISTS " + table) }, err
}

// read returns a session whose view `events` is the snapshot without what was erased.
func (e *Engine) read(ctx context.Context, snap *lake.Snapshot) (*session, error) {
	return e.readAs(ctx, snap, nil)
}

// readAs is read with the ids folded where people is not nil.
func (e *Engine) readAs(ctx context.Context, snap *lake.Snapshot, people *features.People) (*session, error) {
	s, err := e.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.bind(ctx, snap, people); err != nil {
		s.done()
		return nil, err
	}
	return s, nil
}

// bind makes the view `events`, its ids folded where people is not nil. Reading a list of files and not a pattern keeps the snapshot exact while others write.
func (s *session) bind(ctx context.Context, snap *lake.Snapshot, people *features.People) error {
	if len(snap.Segments) == 0 {
		_, err := s.ExecContext(ctx, "CREATE TEMP TABLE events ("+eventColumns+")")
		return err
	}
	paths := make([]string, len(snap.Segments))
	for i, g := range snap.Segments {
		paths[i] = quoteText(g.Path)
	}
	from := "read_parquet([" + strings.Join(paths, ", ") + "], union_by_name=false, hive_partitioning=false) e"
	where := ""
	if len(snap.Tombstones) > 0 {
		if err := s.tombstones(ctx, snap); err != nil {
			return err
		}
		where = " WHERE NOT EXISTS (SELECT 1 FROM erased x WHERE x.user_id = e.user_id AND e.received_at < x.erased_at)"
	}
	columns := "e.*"
	if people != nil {
		if err := s.load(ctx, "fold", foldDefs, eachAlias(people)); err != nil {
			return err
		}
		columns = foldedColumns("e", eventNames)
		const on = " fold f ON f.alias = e.user_id"
		s.folded = "SELECT " + columns + " FROM " + from + " JOIN" + on + where
		s.plain = "SELECT e." + strings.Join(eventNames, ", e.") + " FROM " + from + " ANTI JOIN" + on + where
		from += " LEFT JOIN" + on
	}
	_, err := s.ExecContext(ctx, "CREATE TEMP VIEW events AS SELECT "+columns+" FROM "+from+where)
	return err
}

func (s *session) tombstones(ctx context.Context, snap *lake.Snapshot) error {
	if _, err := s.ExecContext(ctx, "CREATE TEMP TABLE erased (user_id VARCHAR, erased_at TIMESTAMP)"); err != nil {
		return err
	}
	s.erased = true
	return s.append(ctx, "temp", "erased", eachTombstone(snap))
}

// eachTombstone gives the rows of what was erased.
func eachTombstone(snap *lake.Snapshot) func(row func(...driver.Value) error) error {
	return func(row func(...driver.Value) error) error {
		for user, at := range snap.Tombstones {
			if err := row(user, at.UTC()); err != nil {
				return err
			}
		}
		return nil
	}
}

// append fills a table: a temporary one of the session is in the catalog temp, one of all sessions in "".
func (s *session) append(ctx context.Context, catalog, table string, fill func(row func(...driver.Value) error) error) error {
	return s.Raw(func(c any) error {
		a, err := duckdb.NewAppender(c.(driver.Conn), catalog, "main", table)
		if err != nil {
			return err
		}
		if err := fill(a.AppendRow); err != nil {
			a.Clear()
			a.Close()
			return err
		}
		return a.Close()
	})
}

// each runs a query on the raw driver and calls row with every result row; the slice is reused.
func (s *session) each(ctx context.Context, query string, row func([]driver.Value) error) error {
	s.sql = append(s.sql, query)
	return s.Raw(func(c any) error {
		rows, err := c.(driver.QueryerContext).QueryContext(ctx, query, nil)
		if err != nil {
			return err
		}
		defer rows.Close()
		values := make([]driver.Value, len(rows.Columns()))
		for {
			if err := rows.Next(values); err != nil {
				if isEOF(err) {
					return nil
				}
				return err
			}
			if err := row(values); err != nil {
				return err
			}
		}
	})
}

// quoteText is a SQL string literal. Both dialects double the quote; a NUL cannot stand in one and is dropped.
func quoteText(s string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(s, "\x00", ""), "'", "''") + "'"
}

// dayLiteral is a SQL date literal.
func dayLiteral(d features.Day) string { return "DATE '" + d.String() + "'" }

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
