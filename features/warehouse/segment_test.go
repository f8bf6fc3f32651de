package warehouse_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/twmb/murmur3"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
)

const segmentColumns = `event_id VARCHAR, user_id VARCHAR, anonymous_id VARCHAR, event VARCHAR, ts TIMESTAMP, sent_at TIMESTAMP, received_at TIMESTAMP,
 available_at TIMESTAMP, biz_day DATE, known_day DATE, id_day DATE, value_micros BIGINT, margin_micros BIGINT, discount_micros BIGINT,
 platform_discount_micros BIGINT, commission_micros BIGINT, cost_micros BIGINT, currency VARCHAR, order_id VARCHAR, product_id VARCHAR, category VARCHAR,
 channel VARCHAR, coupon_id VARCHAR, session_id VARCHAR, properties VARCHAR, ingest_seq BIGINT, journal_id VARCHAR, user_bucket INTEGER`

var files int

// segment writes events as one segment file under dir, in the lake's schema.
func segment(t testing.TB, dir string, events []features.Event) lake.Segment {
	t.Helper()
	return segments(t, dir, events, "TRUE")[0]
}

// segments writes one segment file for every condition on the events.
func segments(t testing.TB, dir string, events []features.Event, conditions ...string) []lake.Segment {
	t.Helper()
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "CREATE TABLE e ("+segmentColumns+")"); err != nil {
		t.Fatal(err)
	}
	err = conn.Raw(func(c any) error {
		a, err := duckdb.NewAppenderFromConn(c.(driver.Conn), "", "e")
		if err != nil {
			return err
		}
		for i, e := range events {
			if err := a.AppendRow(e.EventID, text(e.UserID), text(e.AnonymousID), e.Name, e.TS.UTC(), instant(e.SentAt), instant(e.ReceivedAt), instant(e.AvailableAt),
				date(e.BizDay), date(e.KnownDay), date(e.IDDay), money(e.Value), money(e.Margin), money(e.Discount), money(e.PlatformDiscount), money(e.Commission),
				money(e.Cost), text(e.Currency), text(e.OrderID), text(e.ProductID), text(e.Category), text(e.Channel), text(e.CouponID), text(e.SessionID),
				text(string(e.Properties)), int64(i), "test", int32(murmur3.Sum32([]byte(e.UserID))%64)); err != nil {
				return err
			}
		}
		return a.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]lake.Segment, len(conditions))
	for i, cond := range conditions {
		files++
		out[i].Path = filepath.Join(dir, fmt.Sprintf("seg-%d.parquet", files))
		if _, err := conn.ExecContext(context.Background(), "COPY (FROM e WHERE "+cond+" ORDER BY user_id, ts, event_id) TO '"+out[i].Path+"' (FORMAT parquet)"); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// world is an engine over one data directory with these events as its snapshot, each slice a segment.
func world(t testing.TB, shop features.Shop, parts ...[]features.Event) (*warehouse.Engine, *lake.Snapshot) {
	t.Helper()
	dir := t.TempDir()
	e, err := warehouse.Open(t.Context(), warehouse.Options{Dir: dir, Shop: shop, Memory: 512 << 20, Now: func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	snap := &lake.Snapshot{}
	for _, p := range parts {
		snap.Segments = append(snap.Segments, segment(t, dir, p))
	}
	return e, snap
}

func text(s string) driver.Value {
	if s == "" {
		return nil
	}
	return s
}

func instant(t time.Time) driver.Value {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}

func date(d features.Day) driver.Value { return time.Unix(int64(d)*86400, 0).UTC() }

func money(a features.Amount) driver.Value {
	if !a.Valid {
		return nil
	}
	return int64(a.Micros)
}

// day parses a date literal of a test.
func day(s string) features.Day {
	d, err := features.ParseDay(s)
	if err != nil {
		panic(err)
	}
	return d
}
