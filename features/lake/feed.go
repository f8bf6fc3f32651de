package lake

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"perennial/features"
)

// A feed hands rows in memory to DuckDB as a table function, a vector at a time. Against its appender it saves a table in between, a boxed value a
// cell and every cell of a column whose value is the same in all rows: such a column is a literal of the query.
type feed struct {
	columns []feedColumn
	rows    int
	row     func(i int) (e *features.Event, seq int64)
	given   []int // places in columns of those that the function gives; the others are literals
	from    int   // first row that was not given yet
}

// feedColumn is one column: its name, its type, and the one of the functions that reads it.
type feedColumn struct {
	name, kind string
	text       func(e *features.Event) string // "" is NULL
	amount     func(e *features.Event) features.Amount
	instant    func(e *features.Event) time.Time // zero is NULL
	date       func(e *features.Event) features.Day
	number     func(e *features.Event, seq int64) int64
	literal    string // of a column that is the same in all rows
}

// columns of a segment, in file order.
var columns = []feedColumn{
	{name: "event_id", kind: "VARCHAR", text: func(e *features.Event) string { return e.EventID }},
	{name: "user_id", kind: "VARCHAR", text: func(e *features.Event) string { return e.UserID }},
	{name: "anonymous_id", kind: "VARCHAR", text: func(e *features.Event) string { return e.AnonymousID }},
	{name: "event", kind: "VARCHAR", text: func(e *features.Event) string { return e.Name }},
	{name: "ts", kind: "TIMESTAMP", instant: func(e *features.Event) time.Time { return e.TS }},
	{name: "sent_at", kind: "TIMESTAMP", instant: func(e *features.Event) time.Time { return e.SentAt }},
	{name: "received_at", kind: "TIMESTAMP", instant: func(e *features.Event) time.Time { return e.ReceivedAt }},
	{name: "available_at", kind: "TIMESTAMP", instant: func(e *features.Event) time.Time { return e.AvailableAt }},
	{name: "biz_day", kind: "DATE", date: func(e *features.Event) features.Day { return e.BizDay }},
	{name: "known_day", kind: "DATE", date: func(e *features.Event) features.Day { return e.KnownDay }},
	{name: "id_day", kind: "DATE", date: func(e *features.Event) features.Day { return e.IDDay }},
	{name: "value_micros", kind: "BIGINT", amount: func(e *features.Event) features.Amount { return e.Value }},
	{name: "margin_micros", kind: "BIGINT", amount: func(e *features.Event) features.Amount { return e.Margin }},
	{name: "discount_micros", kind: "BIGINT", amount: func(e *features.Event) features.Amount { return e.Discount }},
	{name: "platform_discount_micros", kind: "BIGINT", amount: func(e *features.Event) features.Amount { return e.PlatformDiscount }},
	{name: "commission_micros", kind: "BIGINT", amount: func(e *features.Event) features.Amount { return e.Commission }},
	{name: "cost_micros", kind: "BIGINT", amount: func(e *features.Event) features.Amount { return e.Cost }},
	{name: "currency", kind: "VARCHAR", text: func(e *features.Event) string { return e.Currency }},
	{name: "order_id", kind: "VARCHAR", text: func(e *features.Event) string { return e.OrderID }},
	{name: "product_id", kind: "VARCHAR", text: func(e *features.Event) string { return e.ProductID }},
	{name: "category", kind: "VARCHAR", text: func(e *features.Event) string { return e.Category }},
	{name: "channel", kind: "VARCHAR", text: func(e *features.Event) string { return e.Channel }},
	{name: "coupon_id", kind: "VARCHAR", text: func(e *features.Event) string { return e.CouponID }},
	{name: "session_id", kind: "VARCHAR", text: func(e *features.Event) string { return e.SessionID }},
	{name: "properties", kind: "VARCHAR", text: func(e *features.Event) string { return string(e.Properties) }},
	{name: "ingest_seq", kind: "BIGINT", number: func(_ *features.Event, seq int64) int64 { return seq }},
	{name: "journal_id", kind: "VARCHAR"},
	{name: "user_bucket", kind: "INTEGER", number: func(e *features.Event, _ int64) int64 { return int64(UserBucket(e.UserID)) }},
}

// columnNames is the select list that gives a segment's columns in file order.
var columnNames = func() string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}()

// eventFeeds gives events of a lot as the columns of a segment, a call for each day. The columns that have one value are found once for the
// whole lot, in the order in which it lies in memory.
func eventFeeds(b lot) func(day features.Day, places []int) *feed {
	shared := literals(b)
	return func(day features.Day, places []int) *feed {
		f := &feed{columns: append([]feedColumn{}, shared...), rows: len(places), row: func(i int) (*features.Event, int64) {
			return &b.events[places[i]], b.seqs[places[i]]
		}}
		for i := range f.columns {
			c := &f.columns[i]
			if c.name == "biz_day" {
				c.literal = "DATE " + quote(day.String())
			}
			if c.literal == "" {
				f.given = append(f.given, i)
			}
		}
		if len(f.given) == 0 { // a function gives at least one column
			f.columns[0].literal, f.given = "", []int{0}
		}
		return f
	}
}

// idFeed gives place and id of every event of a lot.
func idFeed(b lot) *feed {
	f := &feed{rows: len(b.events), given: []int{0, 1}, row: func(i int) (*features.Event, int64) { return &b.events[i], int64(i) }}
	f.columns = []feedColumn{{name: "place", kind: "BIGINT", number: func(_ *features.Event, place int64) int64 { return place }}, columns[0]}
	return f
}

// literals returns the columns of a segment with the literals of those that have one value in all events of a lot.
func literals(b lot) []feedColumn {
	found := append([]feedColumn{}, columns...)
	open := make([]int, 0, len(found))
	for i := range found {
		c := &found[i]
		if c.name == "journal_id" {
			c.literal = quote(b.journal)
			continue
		}
		c.literal = c.sql(&b.events[0], b.seqs[0])
		open = append(open, i)
	}
	for n := 1; n < len(b.events) && len(open) > 0; n++ {
		kept := open[:0]
		for _, i := range open {
			if found[i].same(&b.events[n], b.seqs[n], &b.events[0], b.seqs[0]) {
				kept = append(kept, i)
			} else {
				found[i].literal = ""
			}
		}
		open = kept
	}
	return found
}

// same tells whether two rows have one value.
func (c *feedColumn) same(a *features.Event, aSeq int64, b *features.Event, bSeq int64) bool {
	switch {
	case c.text != nil:
		return c.text(a) == c.text(b)
	case c.amount != nil:
		return c.amount(a) == c.amount(b)
	case c.instant != nil:
		return c.instant(a).Equal(c.instant(b))
	case c.date != nil:
		return c.date(a) == c.date(b)
	}
	return c.number(a, aSeq) == c.number(b, bSeq)
}

// sql returns the value of a row as a SQL literal.
func (c *feedColumn) sql(e *features.Event, seq int64) string {
	null := func(text string, is bool) string {
		if is {
			return "NULL"
		}
		return text
	}
	switch {
	case c.text != nil:
		v := c.text(e)
		return null(quote(v), v == "")
	case c.amount != nil:
		v := c.amount(e)
		return null(strconv.FormatInt(int64(v.Micros), 10), !v.Valid)
	case c.instant != nil:
		v := c.instant(e)
		return null("TIMESTAMP "+quote(v.UTC().Format("2006-01-02 15:04:05.999999")), v.IsZero())
	case c.date != nil:
		return "DATE " + quote(c.date(e).String())
	}
	return strconv.FormatInt(c.number(e, seq), 10)
}

// list is the select list over the function's columns that gives all columns.
func (f *feed) list() string {
	names := make([]string, len(f.columns))
	for i, c := range f.columns {
		if names[i] = c.name; c.literal != "" {
			names[i] = fmt.Sprintf("CAST(%s AS %s) AS %s", c.literal, c.kind, c.name)
		}
	}
	return strings.Join(names, ", ")
}

// kinds are the types of the columns that a function may give.
var kinds = map[string]duckdb.Type{"VARCHAR": duckdb.TYPE_VARCHAR, "TIMESTAMP": duckdb.TYPE_TIMESTAMP, "DATE": duckdb.TYPE_DATE,
	"BIGINT": duckdb.TYPE_BIGINT, "INTEGER": duckdb.TYPE_INTEGER}

// ColumnInfos names the columns that the function gives.
func (f *feed) ColumnInfos() []duckdb.ColumnInfo {
	infos := make([]duckdb.ColumnInfo, len(f.given))
	for i, at := range f.given {
		c := &f.columns[at]
		kind, err := duckdb.NewTypeInfo(kinds[c.kind])
		if err != nil { // every kind above is a plain type
			panic(err)
		}
		infos[i] = duckdb.ColumnInfo{Name: c.name, T: kind}
	}
	return infos
}

// Cardinality lets the planner build its hash table of the smaller side.
func (f *feed) Cardinality() *duckdb.CardinalityInfo {
	return &duckdb.CardinalityInfo{Cardinality: uint(f.rows), Exact: true}
}

// Init begins at the first row.
func (f *feed) Init() { f.from = 0 }

// FillChunk gives the next vector of every column.
func (f *feed) FillChunk(chunk duckdb.DataChunk) error {
	n := min(f.rows-f.from, duckdb.GetDataChunkCapacity())
	for i, at := range f.given {
		if err := f.fill(chunk, i, &f.columns[at], n); err != nil {
			return fmt.Errorf("%s: %w", f.columns[at].name, err)
		}
	}
	f.from += n
	return chunk.SetSize(n)
}

// fill writes n values of one column.
func (f *feed) fill(chunk duckdb.DataChunk, at int, c *feedColumn, n int) (err error) {
	for i := 0; i < n && err == nil; i++ {
		e, seq := f.row(f.from + i)
		switch {
		case c.text != nil:
			if v := c.text(e); v != "" {
				err = duckdb.SetChunkValue(chunk, at, i, v)
			} else {
				err = chunk.SetValue(at, i, nil)
			}
		case c.amount != nil:
			if v := c.amount(e); v.Valid {
				err = duckdb.SetChunkValue(chunk, at, i, int64(v.Micros))
			} else {
				err = chunk.SetValue(at, i, nil)
			}
		case c.instant != nil:
			if v := c.instant(e); !v.IsZero() {
				err = duckdb.SetChunkValue(chunk, at, i, v)
			} else {
				err = chunk.SetValue(at, i, nil)
			}
		case c.date != nil:
			err = duckdb.SetChunkValue(chunk, at, i, time.Unix(int64(c.date(e))*86400, 0).UTC())
		case c.kind == "INTEGER":
			err = duckdb.SetChunkValue(chunk, at, i, int32(c.number(e, seq)))
		default:
			err = duckdb.SetChunkValue(chunk, at, i, c.number(e, seq))
		}
	}
	return err
}

// feeds are the feeds that queries in progress may name.
type feeds struct {
	mu   sync.Mutex
	next int64
	open map[int64]*feed
}

// offer makes a feed nameable until done is called; source is how a query names it.
func (s *feeds) offer(f *feed) (source string, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[int64]*feed{}
	}
	s.next++
	id := s.next
	s.open[id] = f
	return fmt.Sprintf("feed(%d)", id), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, id)
	}
}

// register makes feed(NUMBER) a table function of an engine.
func (s *feeds) register(ctx context.Context, db *sql.DB) error {
	number, err := duckdb.NewTypeInfo(duckdb.TYPE_BIGINT)
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return duckdb.RegisterTableUDF(conn, "feed", duckdb.ChunkTableFunction{
		Config: duckdb.TableFunctionConfig{Arguments: []duckdb.TypeInfo{number}},
		BindArguments: func(_ map[string]any, args ...any) (duckdb.ChunkTableSource, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			id, _ := args[0].(int64)
			f := s.open[id]
			if f == nil {
				return nil, fmt.Errorf("no feed %d", id)
			}
			return f, nil
		},
	})
}
