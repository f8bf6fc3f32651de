package warehouse_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/twmb/murmur3"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/synth"
)

// What the benchmarks of this package run on: `make bench-features` gives millions, a plain run a small shop in a directory of its own.
var (
	benchEvents = flag.Int64("events", 100_000, "events of the benchmarks' shop")
	benchMemory = flag.Int64("budget", 1100, "budget of the benchmarks' engine in MiB; the process needs about a third more than seven tenths of it")
	benchDir    = flag.String("history", "", "directory that keeps the benchmarks' shop between runs; default a new one")
)

// chronicle is a made-up shop on disk as the lake keeps it: one sorted segment a day, and beside it what the last day brought, late rows included.
type chronicle struct {
	Dir    string
	Cut    features.Day   // the night after the last day
	Rows   int64          // events in all
	Users  int            // customers in all
	Before []lake.Segment // what was known before the last day
	Night  []lake.Segment // what was learned on it
}

// all is the snapshot of the night; before is the one of the night before.
func (c *chronicle) all() *lake.Snapshot {
	return &lake.Snapshot{Segments: append(append([]lake.Segment{}, c.Before...), c.Night...)}
}
func (c *chronicle) before() *lake.Snapshot { return &lake.Snapshot{Segments: c.Before} }

// benchShop is two years of customers with sessions, coupons, refunds and one per cent of late rows; about 100 events a customer.
func benchShop(users int) synth.Config {
	return synth.Config{Seed: 1, Users: users, Start: day("2024-01-01"), Days: 731, Shop: shanghai, OrderShape: 0.7, OrderRate: 5, DropoutRate: 30}
}

// history returns the benchmarks' shop, made once per directory.
func historyOf(b *testing.B) *chronicle {
	b.Helper()
	dir := *benchDir
	if dir == "" {
		dir = b.TempDir()
	}
	c := &chronicle{}
	if raw, err := os.ReadFile(filepath.Join(dir, "history.json")); err == nil {
		if err := json.Unmarshal(raw, c); err != nil {
			b.Fatal(err)
		}
		return c
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		b.Fatal(err)
	}
	sample, n := benchShop(4000), 0
	for i := range sample.Users {
		n += len(sample.Customer(i))
	}
	c.Dir, c.Users = dir, max(10, int(*benchEvents*int64(sample.Users)/int64(n)))
	c.Cut = sample.Start + features.Day(sample.Days)
	start := time.Now()
	if err := c.write(b.Context(), benchShop(c.Users)); err != nil {
		b.Fatal(err)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "history.json"), raw, 0o600); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d events of %d customers made in %.0f s", c.Rows, c.Users, time.Since(start).Seconds())
	return c
}

// write streams the shop to disk: lots of customers sorted by day first, then day after day out of the lots.
func (c *chronicle) write(ctx context.Context, shop synth.Config) error {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	lots := filepath.Join(c.Dir, "lots")
	if err := os.MkdirAll(lots, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(lots)
	run := func(format string, args ...any) error {
		_, err := conn.ExecContext(ctx, fmt.Sprintf(format, args...))
		return err
	}
	if err := errors.Join(run("SET temp_directory = '%s'", c.Dir), run("SET memory_limit = '3GiB'"), run("SET threads = 1"), run("CREATE TABLE e (%s)", segmentColumns)); err != nil {
		return err
	}
	const perLot = 3_000_000
	for i, lot := 0, 0; i < shop.Users; lot++ {
		rows := int64(0)
		err := conn.Raw(func(raw any) error {
			a, err := duckdb.NewAppenderFromConn(raw.(driver.Conn), "", "e")
			if err != nil {
				return err
			}
			for ; i < shop.Users && rows < perLot; i++ {
				for _, e := range shop.Customer(i) {
					c.Rows, rows = c.Rows+1, rows+1
					if err := a.AppendRow(e.EventID, text(e.UserID), text(e.AnonymousID), e.Name, e.TS.UTC(), instant(e.SentAt), instant(e.ReceivedAt), instant(e.AvailableAt),
						date(e.BizDay), date(e.KnownDay), date(e.IDDay), money(e.Value), money(e.Margin), money(e.Discount), money(e.PlatformDiscount), money(e.Commission),
						money(e.Cost), text(e.Currency), text(e.OrderID), text(e.ProductID), text(e.Category), text(e.Channel), text(e.CouponID), text(e.SessionID),
						text(string(e.Properties)), c.Rows, "synth", int32(murmur3.Sum32([]byte(e.UserID))%64)); err != nil {
						return err
					}
				}
			}
			return a.Close()
		})
		if err != nil {
			return err
		}
		if err := errors.Join(run("COPY (FROM e ORDER BY biz_day) TO '%s/lot-%d.parquet' (FORMAT parquet)", lots, lot), run("DELETE FROM e")); err != nil {
			return err
		}
	}
	last := c.Cut - 1
	for month := shop.Start; month < c.Cut; {
		end := min(c.Cut, month+31)
		if err := run("CREATE OR REPLACE TABLE m AS SELECT * FROM read_parquet('%s/lot-*.parquet') WHERE biz_day >= DATE '%s' AND biz_day < DATE '%s' ORDER BY biz_day", lots, month, end); err != nil {
			return err
		}
		for d := month; d < end; d++ {
			for _, part := range []struct {
				name, cond string
				into       *[]lake.Segment
			}{{"history", fmt.Sprintf("known_day < DATE '%s'", last), &c.Before}, {"night", fmt.Sprintf("known_day = DATE '%s'", last), &c.Night}} {
				dir := filepath.Join(c.Dir, "events", "day="+d.String(), "seg="+part.name)
				if err := os.MkdirAll(dir, 0o700); err != nil {
					return err
				}
				path := filepath.Join(dir, "part.parquet")
				r, err := conn.ExecContext(ctx, fmt.Sprintf("COPY (FROM m WHERE biz_day = DATE '%s' AND %s ORDER BY user_id, ts, event_id) TO '%s' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)", d, part.cond, path))
				if err != nil {
					return err
				}
				if n, err := r.RowsAffected(); err != nil || n == 0 {
					if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
						return err
					}
					continue
				}
				*part.into = append(*part.into, lake.Segment{Path: path, Day: d, Checksum: part.name})
			}
		}
		month = end
	}
	return nil
}

func BenchmarkHistory(b *testing.B) {
	for b.Loop() {
		c := historyOf(b)
		b.ReportMetric(float64(c.Rows), "events")
	}
}
