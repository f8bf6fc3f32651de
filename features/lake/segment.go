package lake

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/jmoiron/sqlx"
	"github.com/twmb/murmur3"

	"perennial/features"
)

// Buckets is how many user buckets a segment's user_bucket column has.
const Buckets = 64

// UserBucket returns murmur3_x86_32(user) mod 64: the unit of memory, resume and sharding of everything computed per user. No engine
// has that hash, so it is stored with every row.
func UserBucket(user string) int32 { return int32(murmur3.StringSum32(user) % Buckets) }

// columns of a segment, in file order.
var columns = []struct{ name, kind string }{
	{"event_id", "VARCHAR"}, {"user_id", "VARCHAR"}, {"anonymous_id", "VARCHAR"}, {"event", "VARCHAR"},
	{"ts", "TIMESTAMP"}, {"sent_at", "TIMESTAMP"}, {"received_at", "TIMESTAMP"}, {"available_at", "TIMESTAMP"},
	{"biz_day", "DATE"}, {"known_day", "DATE"}, {"id_day", "DATE"},
	{"value_micros", "BIGINT"}, {"margin_micros", "BIGINT"}, {"discount_micros", "BIGINT"}, {"platform_discount_micros", "BIGINT"},
	{"commission_micros", "BIGINT"}, {"cost_micros", "BIGINT"}, {"currency", "VARCHAR"},
	{"order_id", "VARCHAR"}, {"product_id", "VARCHAR"}, {"category", "VARCHAR"}, {"channel", "VARCHAR"}, {"coupon_id", "VARCHAR"},
	{"session_id", "VARCHAR"}, {"properties", "VARCHAR"}, {"ingest_seq", "BIGINT"}, {"journal_id", "VARCHAR"}, {"user_bucket", "INTEGER"},
}

// columnNames is the select list that gives a segment's columns in file order.
var columnNames = func() string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}()

// lot is what one seal or import writes: events with their sequence numbers in one journal.
type lot struct {
	journal     string
	first, last int64 // bounds of the sequence range, which names the segments
	events      []features.Event
	seqs        []int64
	covered     func(journal string, firstSeq int64) bool // segments whose ids are known not to be in the lot; nil: none
}

// written is the result of writing a lot.
type written struct {
	segments   []Segment
	duplicates int
	hidden     int // rows of erased users
}

// write anti-joins a lot against the sealed ids, writes one segment for each day and publishes them in one transaction, in which
// also runs. The caller holds the lake lock. Order: COPY, fsync, rename, fsync of the directory, commit.
func (l *Lake) write(ctx context.Context, b lot, also func(tx *sqlx.Tx) error) (written, error) {
	var w written
	b, hidden, err := l.withoutErased(ctx, b)
	if err != nil {
		return w, fmt.Errorf("erased users: %w", err)
	}
	w.hidden = hidden
	if len(b.events) == 0 {
		return w, l.inTx(ctx, func(tx *sqlx.Tx) error {
			if also == nil {
				return nil
			}
			return also(tx)
		})
	}
	duck, err := l.engine(ctx)
	if err != nil {
		return w, err
	}
	conn, err := duck.Conn(ctx)
	if err != nil {
		return w, err
	}
	defer conn.Close()
	if err := stage(ctx, conn, b); err != nil {
		return w, fmt.Errorf("stage events: %w", err)
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS temp.stage")
	if w.duplicates, err = l.antiJoin(ctx, conn, b); err != nil {
		return w, fmt.Errorf("find duplicates: %w", err)
	}
	if w.segments, err = l.copyDays(ctx, conn, b); err != nil {
		return w, err
	}
	err = l.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := l.publish(ctx, tx, w.segments); err != nil {
			return err
		}
		if also != nil {
			return also(tx)
		}
		return nil
	})
	return w, err
}

// publish enters new segments in the manifest under the next snapshot number.
func (l *Lake) publish(ctx context.Context, tx *sqlx.Tx, segments []Segment) error {
	if len(segments) == 0 {
		return nil
	}
	id, err := nextSnapshot(ctx, tx)
	if err != nil {
		return err
	}
	for i := range segments {
		g := &segments[i]
		g.Added = id
		path, err := l.rel(g.Path)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO segments (path, day, rows, bytes, journal_id, first_seq, last_seq, min_id_day, max_id_day, checksum, added)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, path, g.Day, g.Rows, g.Bytes, g.Journal, g.FirstSeq, g.LastSeq, g.minIDDay, g.maxIDDay, g.Checksum, id); err != nil {
			return fmt.Errorf("publish %s: %w", path, err)
		}
	}
	return nil
}

// stage fills the connection's temporary table with the lot.
func stage(ctx context.Context, conn *sql.Conn, b lot) error {
	defs := make([]string, len(columns))
	for i, c := range columns {
		defs[i] = c.name + " " + c.kind
	}
	if _, err := conn.ExecContext(ctx, "CREATE OR REPLACE TEMP TABLE stage ("+strings.Join(defs, ", ")+")"); err != nil {
		return err
	}
	return conn.Raw(func(raw any) error {
		dc, ok := raw.(driver.Conn)
		if !ok {
			return fmt.Errorf("unexpected driver connection %T", raw)
		}
		a, err := duckdb.NewAppender(dc, "temp", "main", "stage")
		if err != nil {
			return err
		}
		row := make([]driver.Value, len(columns))
		for i := range b.events {
			fillRow(row, &b.events[i], b.seqs[i], b.journal)
			if err := a.AppendRow(row...); err != nil {
				return errors.Join(err, a.Close())
			}
		}
		return a.Close()
	})
}

// fillRow puts an event into the columns' order.
func fillRow(row []driver.Value, e *features.Event, seq int64, journal string) {
	text := func(s string) driver.Value {
		if s == "" {
			return nil
		}
		return s
	}
	instant := func(t time.Time) driver.Value {
		if t.IsZero() {
			return nil
		}
		return t
	}
	date := func(d features.Day) driver.Value { return time.Unix(int64(d)*86400, 0).UTC() }
	amount := func(a features.Amount) driver.Value {
		if !a.Valid {
			return nil
		}
		return int64(a.Micros)
	}
	properties := driver.Value(nil)
	if len(e.Properties) > 0 {
		properties = string(e.Properties)
	}
	copy(row, []driver.Value{e.EventID, e.UserID, text(e.AnonymousID), e.Name,
		e.TS, instant(e.SentAt), e.ReceivedAt, e.AvailableAt, date(e.BizDay), date(e.KnownDay), date(e.IDDay),
		amount(e.Value), amount(e.Margin), amount(e.Discount), amount(e.PlatformDiscount), amount(e.Commission), amount(e.Cost), text(e.Currency),
		text(e.OrderID), text(e.ProductID), text(e.Category), text(e.Channel), text(e.CouponID), text(e.SessionID), properties,
		seq, journal, UserBucket(e.UserID)})
}

// antiJoin removes staged rows whose id is already sealed in its id_day, and rows that repeat an id within the lot.
func (l *Lake) antiJoin(ctx context.Context, conn *sql.Conn, b lot) (removed int, err error) {
	var lo, hi features.Day = b.events[0].IDDay, b.events[0].IDDay
	for i := range b.events {
		lo, hi = min(lo, b.events[i].IDDay), max(hi, b.events[i].IDDay)
	}
	var sealed []struct {
		Path     string `db:"path"`
		Journal  string `db:"journal_id"`
		FirstSeq int64  `db:"first_seq"`
	}
	if err := l.db.SelectContext(ctx, &sealed, `SELECT path, journal_id, first_seq FROM segments
		WHERE removed IS NULL AND min_id_day <= ? AND max_id_day >= ? ORDER BY path`, hi, lo); err != nil {
		return 0, err
	}
	var paths []string
	for _, g := range sealed {
		if b.covered == nil || !b.covered(g.Journal, g.FirstSeq) {
			paths = append(paths, l.abs(g.Path))
		}
	}
	count := func(query string) error {
		r, err := conn.ExecContext(ctx, query)
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		removed += int(n)
		return err
	}
	if len(paths) > 0 {
		err = count(fmt.Sprintf(`DELETE FROM temp.stage WHERE event_id IN (SELECT event_id FROM read_parquet(%s) WHERE id_day BETWEEN DATE '%s' AND DATE '%s')`, list(paths), lo, hi))
	}
	if err == nil {
		err = count(`DELETE FROM temp.stage WHERE rowid NOT IN (SELECT min(rowid) FROM temp.stage GROUP BY event_id)`)
	}
	return removed, err
}

// copyDays writes the staged rows as one durable segment directory for each day, in day order.
func (l *Lake) copyDays(ctx context.Context, conn *sql.Conn, b lot) ([]Segment, error) {
	rows, err := conn.QueryContext(ctx, `SELECT biz_day, count(*), min(id_day), max(id_day) FROM temp.stage GROUP BY biz_day ORDER BY biz_day`)
	if err != nil {
		return nil, err
	}
	var segments []Segment
	for rows.Next() {
		var day, lo, hi time.Time
		g := Segment{FirstSeq: b.first, LastSeq: b.last, Journal: b.journal}
		if err := rows.Scan(&day, &g.Rows, &lo, &hi); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		g.Day, g.minIDDay, g.maxIDDay = dayOf(day), dayOf(lo), dayOf(hi)
		segments = append(segments, g)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for i := range segments {
		g := &segments[i]
		name := fmt.Sprintf("seg=%s-%d-%d", b.journal, b.first, b.last)
		source := fmt.Sprintf("temp.stage WHERE biz_day = DATE '%s'", g.Day)
		if err := l.copySegment(ctx, conn, source, name, g); err != nil {
			return nil, fmt.Errorf("write segment %s of %s: %w", name, g.Day, err)
		}
	}
	return segments, nil
}

// copySegment writes `SELECT … FROM source` as events/day=D/NAME/part.parquet, durable before it returns, and fills in the
// segment's path, bytes and checksum. A name that is taken is compared by checksum: the same bytes are what a crash before the
// commit left; others, which the manifest may not know either, are never overwritten.
func (l *Lake) copySegment(ctx context.Context, conn *sql.Conn, source, name string, g *Segment) error {
	work, err := os.MkdirTemp(filepath.Join(l.o.Dir, "lake", "tmp"), "seg-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	file := filepath.Join(work, "part.parquet")
	if _, err := conn.ExecContext(ctx, fmt.Sprintf(`COPY (SELECT %s FROM %s ORDER BY user_id, ts, event_id) TO %s (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)`,
		columnNames, source, quote(file))); err != nil {
		return err
	}
	if err := errors.Join(syncFile(file), syncFile(work)); err != nil {
		return err
	}
	if g.Checksum, g.Bytes, err = checksum(file); err != nil {
		return err
	}
	day := filepath.Join(l.o.Dir, "lake", "events", "day="+g.Day.String())
	if err := mkdirSync(l.o.Dir, day); err != nil {
		return err
	}
	for try := 0; ; try++ {
		target := filepath.Join(day, name)
		if try > 0 {
			target = fmt.Sprintf("%s-%d", target, try)
		}
		g.Path = filepath.Join(target, "part.parquet")
		err := renameNew(work, target)
		if errors.Is(err, os.ErrExist) {
			if sum, _, err := checksum(g.Path); err != nil || sum != g.Checksum {
				continue
			}
		} else if err != nil {
			return err
		}
		return syncFile(day)
	}
}

func dayOf(t time.Time) features.Day { return features.Day(t.Unix() / 86400) }
