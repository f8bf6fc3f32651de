package lake_test

import (
	"context"
	"database/sql"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"

	"perennial/features"
	"perennial/features/lake"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func shanghai(t testing.TB) features.Shop {
	t.Helper()
	loc, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	return features.Shop{Location: loc, Currency: "CNY"}
}

func open(t testing.TB, dir string, change ...func(*lake.Options)) *lake.Lake {
	t.Helper()
	o := lake.Options{Dir: dir, Shop: shanghai(t), Now: func() time.Time { return start }}
	for _, c := range change {
		c(&o)
	}
	l, err := lake.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func serve(t testing.TB, dir string, change ...func(*lake.Options)) *lake.Lake {
	t.Helper()
	l := open(t, dir, change...)
	if err := l.Serve(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	return l
}

func order(id, user string, at time.Time, value int64) features.Event {
	return features.Event{EventID: id, UserID: user, Name: features.OrderCompleted, TS: at, OrderID: "o-" + id, Value: features.AmountOf(features.Micros(value))}
}

// stored returns event_id → count over the newest snapshot.
func stored(t testing.TB, l *lake.Lake) map[string]int {
	t.Helper()
	s, err := l.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	counts := map[string]int{}
	for _, row := range query(t, s, "event_id") {
		counts[row]++
	}
	return counts
}

// query returns a select expression, as text, of every row of a snapshot in (user_id, ts) order.
func query(t testing.TB, s *lake.Snapshot, expression string) []string {
	t.Helper()
	if len(s.Segments) == 0 {
		return nil
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT (` + expression + `)::VARCHAR FROM read_parquet(['` + strings.Join(s.Paths(), "','") + `']) ORDER BY user_id, ts, event_id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var v sql.NullString
		if err := rows.Scan(&v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v.String)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAppendSealRead(t *testing.T) {
	dir := t.TempDir()
	l := serve(t, dir)
	e := order("a", "ü", start.Add(-time.Hour), 128_500_000)
	e.Margin, e.Currency, e.Properties = features.AmountOf(-42), "CNY", []byte(`{"a":"b"}`)
	late := order("b", "u2", time.Date(2026, 11, 20, 16, 30, 0, 0, time.UTC), 1) // the 21st in Shanghai
	got, err := l.Append(t.Context(), []features.Event{e, late, e, {EventID: "x", Name: "y", TS: start}, order("f", "u", start.Add(2*time.Hour), 1)})
	if err != nil {
		t.Fatal(err)
	}
	want := []lake.Status{{}, {}, {Outcome: lake.Duplicate}, {Outcome: lake.Rejected, Field: "user_id", Reason: "missing"}, {Outcome: lake.Rejected, Field: "ts", Reason: "in the future"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Append = %v, want %v", got, want)
	}
	if n := len(stored(t, l)); n != 0 {
		t.Errorf("%d events visible before the seal", n)
	}
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := l.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows := query(t, s, `concat_ws('|', event_id, user_id, event, ts, received_at, available_at, biz_day, known_day, id_day, value_micros, margin_micros, currency, order_id, properties, ingest_seq, user_bucket)`)
	wantRows := []string{
		`b|u2|Order Completed|2026-11-20 16:30:00|2026-11-22 12:00:00|2026-11-22 12:00:00|2026-11-21|2026-11-22|2026-11-20|1|CNY|o-b|2|` + fmt.Sprint(lake.UserBucket("u2")),
		`a|ü|Order Completed|2026-11-22 11:00:00|2026-11-22 12:00:00|2026-11-22 12:00:00|2026-11-22|2026-11-22|2026-11-22|128500000|-42|CNY|o-a|{"a":"b"}|1|` + fmt.Sprint(lake.UserBucket("ü")),
	}
	if strings.Join(rows, "\n") != strings.Join(wantRows, "\n") {
		t.Errorf("rows:\n%s\nwant:\n%s", strings.Join(rows, "\n"), strings.Join(wantRows, "\n"))
	}
	if len(s.Segments) != 2 || s.Segments[0].Day.String() != "2026-11-21" || s.Segments[1].Rows != 1 {
		t.Errorf("segments %+v, want one for each of two days", s.Segments)
	}
}

func TestLoadIsIdempotent(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	var events []features.Event
	for i := range 1000 {
		events = append(events, order(fmt.Sprint("e", i), fmt.Sprint("u", i%37), start.AddDate(0, 0, -i%20), int64(i)))
	}
	for i, c := range []struct{ from, to, accepted, duplicate int }{{0, 600, 600, 0}, {0, 600, 0, 600}, {400, 1000, 400, 200}, {0, 1000, 0, 1000}} {
		a, d, err := l.Load(t.Context(), events[c.from:c.to])
		if err != nil || a != c.accepted || d != c.duplicate {
			t.Errorf("load %d = %d, %d, %v; want %d, %d", i, a, d, err, c.accepted, c.duplicate)
		}
	}
	if a, d, err := l.Load(t.Context(), append(events[:10:10], events[5], order("new", "u", start, 1), order("new", "u", start, 1))); a != 1 || d != 12 || err != nil {
		t.Errorf("repeats within a load = %d, %d, %v; want 1, 12", a, d, err)
	}
	if got := stored(t, l); len(got) != 1001 {
		t.Errorf("%d ids stored, want 1001", len(got))
	}
}

func TestSegmentsAreSorted(t *testing.T) {
	l := open(t, t.TempDir())
	var events []features.Event
	for i := range 500 {
		events = append(events, order(fmt.Sprint("e", i), fmt.Sprint("u", i*7919%101), start.Add(-time.Duration(i*104729%3600)*time.Second), 1))
	}
	if _, _, err := l.Load(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	s, err := l.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT user_id || ' ' || ts::VARCHAR FROM read_parquet('` + s.Paths()[0] + `', file_row_number = true) ORDER BY file_row_number`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var keys []string
	for rows.Next() {
		var k string
		if err := rows.Scan(&k); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	if !sort.StringsAreSorted(keys) || len(keys) != 500 {
		t.Errorf("the file's %d rows are not sorted by user and time", len(keys))
	}
}
