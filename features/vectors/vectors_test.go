package vectors_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"perennial/features/vectors"
)

func open(t testing.TB) *vectors.Conn {
	t.Helper()
	db, err := vectors.Open("SET threads = 1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	c, err := db.Conn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestRoundTrip: what an appender writes a query gives, NULLs, texts of every length and the end of a chunk included.
func TestRoundTrip(t *testing.T) {
	c, ctx := open(t), t.Context()
	if err := c.Exec(ctx, "CREATE TABLE a (n BIGINT, d INTEGER, x DOUBLE, s VARCHAR)"); err != nil {
		t.Fatal(err)
	}
	a, err := c.Append("a", vectors.BigInt, vectors.Integer, vectors.Double, vectors.Varchar)
	if err != nil {
		t.Fatal(err)
	}
	rows := 2*vectors.Capacity + 7
	text := func(i int) string { return strings.Repeat("数", i/2%9) + fmt.Sprint(i/2) }
	for from := 0; from < rows; from += vectors.Capacity {
		n := min(vectors.Capacity, rows-from)
		ints, days, doubles := vectors.Into[int64](a, 0), vectors.Into[int32](a, 1), vectors.Into[float64](a, 2)
		for i := range n {
			ints[i], days[i], doubles[i] = int64(from+i)<<32, int32(from+i), float64(from+i)/7
			if i > 0 && text(from+i) == text(from+i-1) {
				a.AgainText(3, i, i-1)
			} else {
				a.SetText(3, i, text(from+i))
			}
			if (from+i)%5 == 0 {
				a.SetNull(1, i)
			}
		}
		if err := a.Flush(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := c.Query(ctx, "FROM a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	at := 0
	for {
		more, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		valid := r.Valid(1)
		for i := range r.N {
			if got := r.Texts(3)[i].String(); got != text(at) {
				t.Fatalf("row %d: text %q, want %q", at, got, text(at))
			}
			if vectors.Column[int64](r, 0)[i] != int64(at)<<32 || vectors.Column[float64](r, 2)[i] != float64(at)/7 {
				t.Fatalf("row %d: wrong number", at)
			}
			if valid.Has(i) != (at%5 != 0) || valid.Has(i) && vectors.Column[int32](r, 1)[i] != int32(at) {
				t.Fatalf("row %d: wrong date", at)
			}
			at++
		}
	}
	if at != rows {
		t.Errorf("%d rows, want %d", at, rows)
	}
}

// TestOf: a connection of database/sql can be filled and read in vectors, in its temporary tables too.
func TestOf(t *testing.T) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "CREATE TEMP TABLE b (n BIGINT)"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Raw(func(driver any) error {
		c, err := vectors.Of(driver)
		if err != nil {
			return err
		}
		a, err := c.Append("b", vectors.BigInt)
		if err != nil {
			return err
		}
		copy(vectors.Into[int64](a, 0), []int64{40, 2})
		return errors.Join(a.Flush(2), a.Close())
	}); err != nil {
		t.Fatal(err)
	}
	var sum int64
	if err := conn.QueryRowContext(t.Context(), "SELECT sum(n)::BIGINT FROM b").Scan(&sum); err != nil || sum != 42 {
		t.Errorf("sum %d, %v, want 42", sum, err)
	}
	if _, err := vectors.Of(t); err == nil {
		t.Error("a stranger was taken for a connection")
	}
}

// TestErrors: what is wrong is said, in the statement, while rows are fetched, and when the caller gives up.
func TestErrors(t *testing.T) {
	c := open(t)
	if err := c.Exec(t.Context(), "CREATE TABLE"); err == nil || !strings.Contains(err.Error(), "syntax error") {
		t.Errorf("a broken statement: %v", err)
	}
	if _, err := c.Query(t.Context(), "SELECT nothing"); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("an unknown column: %v", err)
	}
	drain := func(ctx context.Context, query string) (err error) {
		r, err := c.Query(ctx, query)
		if err != nil {
			return err
		}
		defer r.Close()
		for more := true; more && err == nil; {
			more, err = r.Next()
		}
		return err
	}
	if err := drain(t.Context(), "SELECT CASE WHEN i = 100000 THEN error('too far') ELSE 'x' END FROM range(1000000) r(i)"); err == nil || !strings.Contains(err.Error(), "too far") {
		t.Errorf("a row that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if err := drain(ctx, "SELECT count(*) FROM range(100000000000) r(i) WHERE hash(i) = 7"); !errors.Is(err, context.Canceled) {
		t.Errorf("a query that was given up: %v", err)
	}
	if err := drain(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("after a query that was given up: %v", err)
	}
}
