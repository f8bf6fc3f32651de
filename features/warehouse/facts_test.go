package warehouse_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

// at makes an event of a user at a local time of UTC, known at once.
func at(id, user, name, when string, more func(*features.Event)) features.Event {
	ts, err := time.Parse("2006-01-02 15:04", when)
	if err != nil {
		panic(err)
	}
	e := features.Event{EventID: id, UserID: user, Name: name, TS: ts, ReceivedAt: ts, AvailableAt: ts}
	if more != nil {
		more(&e)
	}
	e.BizDay, e.KnownDay, e.IDDay = shop.DayOf(e.TS), shop.DayOf(e.AvailableAt), shop.DayOf(e.TS)
	return e
}

func TestLabelsEqualPlainLoop(t *testing.T) {
	asOfTime := time.Date(2026, 5, 20, 13, 0, 0, 0, time.UTC)
	all := synth.Trial(shop, 31, 200, asOfTime)
	engine, snap := world(t, shop, all)
	asOf, horizon := day("2026-04-20"), 20
	users := []string{"u0150", "u0000", "nobody", "u0042", "u0007"}
	for i := range 40 {
		users = append(users, fmt.Sprintf("u%04d", 50+i))
	}
	for _, notAfter := range []features.Day{0, day("2026-05-12")} {
		got, err := engine.Labels(t.Context(), snap, users, asOf, horizon, notAfter)
		if err != nil {
			t.Fatal(err)
		}
		end := asOf + features.Day(horizon)
		open := end + features.Day(shop.RefundMaturityDays)
		var orders, own int64
		for i, user := range users {
			var n int64
			var revenue, refunds, margin features.Micros
			for _, e := range all {
				if e.UserID != user || e.Name != features.OrderCompleted || e.BizDay < asOf || e.BizDay >= end || notAfter != 0 && e.KnownDay >= notAfter {
					continue
				}
				n++
				orders++
				revenue += e.Value.Micros
				m := e.Margin.Micros
				if e.Margin.Valid {
					own++
				} else {
					m = (e.Value.Micros+e.Discount.Micros)*300_000/1_000_000 - e.Discount.Micros
				}
				margin += m
				var bare features.Micros
				for _, r := range all {
					if r.UserID != user || r.Name != features.OrderRefunded || r.OrderID != e.OrderID || r.BizDay < asOf || r.BizDay >= open || r.KnownDay >= open || notAfter != 0 && r.KnownDay >= notAfter {
						continue
					}
					refunds += r.Value.Micros
					if r.Margin.Valid {
						margin -= r.Margin.Micros
					} else {
						bare += r.Value.Micros
					}
				}
				if e.Value.Micros > 0 {
					part := new(big.Int).Mul(big.NewInt(int64(m)), big.NewInt(int64(bare)))
					margin -= features.Micros(part.Quo(part, big.NewInt(int64(e.Value.Micros))).Int64())
				}
			}
			if got.Orders[i] != n || got.Revenue[i] != revenue || got.Refunds[i] != refunds || got.Margin[i] != margin {
				t.Errorf("%s known before %s: %d orders, revenue %s, refunds %s, margin %s; want %d, %s, %s, %s", user, notAfter,
					got.Orders[i], got.Revenue[i], got.Refunds[i], got.Margin[i], n, revenue, refunds, margin)
			}
		}
		if want := float64(own) / float64(orders); orders == 0 || got.MarginShare != want {
			t.Errorf("margin share %v of %d orders, want %v", got.MarginShare, orders, want)
		}
	}
	_, err := engine.Labels(t.Context(), snap, users, asOf, 400, 0)
	var immature *warehouse.ImmatureError
	if !errors.As(err, &immature) || immature.MatureOn != asOf+400 || !strings.Contains(err.Error(), (asOf+400).String()) {
		t.Errorf("labels of an open window: %v, want an ImmatureError that names %s", err, asOf+400)
	}
	if _, err := engine.Labels(t.Context(), snap, users, asOf, horizon, asOf+3); !errors.As(err, &immature) {
		t.Errorf("labels that may not know their window's end: %v, want an ImmatureError", err)
	}
}

func TestDataDayAndStale(t *testing.T) {
	var events []features.Event
	for i, d := range []string{"2026-03-01", "2026-03-02", "2026-03-03", "2026-03-05", "2026-03-06"} { // no 4th: a gap of two days
		events = append(events, at(fmt.Sprint("a", i), "a", features.SessionStarted, d+" 10:00", nil))
		if d != "2026-03-06" {
			events = append(events, at(fmt.Sprint("b", i), "b", features.SessionStarted, d+" 11:00", nil))
		}
	}
	late := at("c", "c", features.SessionStarted, "2026-03-08 10:00", func(e *features.Event) { e.AvailableAt = e.TS.Add(72 * time.Hour) })
	events = append(events, late)
	engine, snap := world(t, shop, events)
	for _, c := range []struct{ now, want string }{{"2026-04-01", "2026-03-05"}, {"2026-03-05", "2026-03-03"}, {"2026-03-06", "2026-03-05"}} {
		got, err := engine.DataDay(t.Context(), snap, shop.Midnight(day(c.now)).Add(time.Hour))
		if err != nil || got != day(c.want) {
			t.Errorf("DataDay at %s = %s (%v), want %s", c.now, got, err, c.want)
		}
	}
	for _, c := range []struct {
		asOf, last string
		stale      bool
	}{
		{"2026-03-07", "2026-03-06", false}, {"2026-03-09", "2026-03-06", false}, // three days of silence are 1.5 × the longest gap
		{"2026-03-10", "2026-03-06", true},                                     // the event of the 8th is not known yet
		{"2026-03-12", "2026-03-08", true}, {"2026-03-11", "2026-03-06", true}, // known on the 11th: a cut at its midnight does not see it
	} {
		stale, last, err := engine.Stale(t.Context(), snap, day(c.asOf))
		if err != nil || stale != c.stale || last != day(c.last) {
			t.Errorf("Stale before %s = %v, %s (%v), want %v, %s", c.asOf, stale, last, err, c.stale, c.last)
		}
	}
	if stale, last, err := engine.Stale(t.Context(), &lake.Snapshot{}, day("2026-03-07")); !stale || last != 0 || err != nil {
		t.Errorf("Stale without events = %v, %s (%v), want true", stale, last, err)
	}
	if d, err := engine.DataDay(t.Context(), &lake.Snapshot{}, time.Now()); d != 0 || err != nil {
		t.Errorf("DataDay without events = %s (%v), want 0", d, err)
	}
}

func TestTableRoundTrip(t *testing.T) {
	engine, _ := world(t, shop)
	table := &features.Table{AsOf: day("2026-03-01"), Users: []string{"a,b", "c\"d", "é"}, Columns: []features.Column{
		{Name: "orders_all", Numbers: []float64{3, math.NaN(), 12345678901}, Integer: true},
		{Name: "revenue_all", Numbers: []float64{0.1, 1e-7, 2.5e20}}, {Name: "none", Numbers: []float64{math.NaN(), math.NaN(), math.NaN()}},
		{Name: "reasons", Texts: []string{`[{"zh":"沉默"}]`, "", "line\nbreak"}}}}
	dir := t.TempDir() // outside the data directory
	for _, name := range []string{"t.csv", "t.csv.gz", "t.csv.zst", "t.ndjson", "t.ndjson.zst", "t.parquet"} {
		path := filepath.Join(dir, name)
		var last []byte
		for range 2 {
			if err := engine.WriteTable(t.Context(), table, path); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(path)
			if err != nil || last != nil && !bytes.Equal(raw, last) {
				t.Errorf("%s: writing the same table again gives other bytes (%v)", name, err)
			}
			last = raw
		}
		switch name {
		case "t.csv":
			want := "user_id,as_of,orders_all,revenue_all,none,reasons\n\"a,b\",2026-03-01,3,0.1,,\"[{\"\"zh\"\":\"\"沉默\"\"}]\"\n\"c\"\"d\",2026-03-01,,1e-07,,\né,2026-03-01,12345678901,2.5e+20,,\"line\nbreak\"\n"
			if string(last) != want {
				t.Errorf("csv = %q, want %q", last, want)
			}
		case "t.ndjson":
			for i, line := range bytes.Split(bytes.TrimSpace(last), []byte("\n")) {
				var row map[string]any
				if err := json.Unmarshal(line, &row); err != nil || row["user_id"] != table.Users[i] || row["none"] != nil {
					t.Errorf("line %d: %s (%v)", i, line, err)
				}
			}
		case "t.parquet":
			back, err := engine.ReadTable(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(fmt.Sprint(back), fmt.Sprint(table)) {
				t.Errorf("read back %v, want %v", back, table)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
	var invalid *features.InvalidError
	if err := engine.WriteTable(t.Context(), table, filepath.Join(dir, "t.xlsx")); !errors.As(err, &invalid) || invalid.Field != "out" {
		t.Errorf("an unknown extension: %v, want an InvalidError of out", err)
	}
}

func TestExportEvents(t *testing.T) {
	events := []features.Event{
		at("2", "u1", features.OrderCompleted, "2026-03-02 10:00", func(e *features.Event) {
			e.Value, e.Discount, e.OrderID, e.Currency = features.AmountOf(128_500_000), features.AmountOf(1), "o\"9", "CNY"
			e.Properties = json.RawMessage(`{"a":{"b":[1,"x"]}}`)
		}),
		at("1", "u2", features.SessionStarted, "2026-03-01 09:00", nil),
		at("3", "u2", features.SessionStarted, "2026-03-03 09:00", nil),
	}
	engine, snap := world(t, shop, events)
	var out strings.Builder
	if err := engine.ExportEvents(t.Context(), snap, warehouse.ExportFilter{}, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], `{"event_id":"1",`) {
		t.Fatalf("export = %s, want three lines in the order of time", out.String())
	}
	want := `{"event_id":"2","user_id":"u1","anonymous_id":null,"event":"Order Completed","ts":"2026-03-02T10:00:00Z","sent_at":null,"received_at":"2026-03-02T10:00:00Z","available_at":"2026-03-02T10:00:00Z","value":128.5,"currency":"CNY","margin":null,"discount":0.000001,"platform_discount":null,"commission":null,"cost":null,"order_id":"o\"9","product_id":null,"category":null,"channel":null,"coupon_id":null,"session_id":null,"properties":{"a":{"b":[1,"x"]}}}`
	if lines[1] != want {
		t.Errorf("line = %s\nwant   %s", lines[1], want)
	}
	for _, c := range []struct {
		name string
		f    warehouse.ExportFilter
		want int
	}{{"from", warehouse.ExportFilter{From: day("2026-03-02")}, 2}, {"to", warehouse.ExportFilter{To: day("2026-03-02")}, 1}, {"user", warehouse.ExportFilter{User: "u2"}, 2}, {"quote", warehouse.ExportFilter{User: "u2' OR TRUE --"}, 0}} {
		out.Reset()
		if err := engine.ExportEvents(t.Context(), snap, c.f, &out); err != nil || strings.Count(out.String(), "\n") != c.want {
			t.Errorf("%s: %d lines (%v), want %d", c.name, strings.Count(out.String(), "\n"), err, c.want)
		}
	}
	if err := engine.ExportEvents(t.Context(), snap, warehouse.ExportFilter{From: day("2026-03-02"), To: day("2026-03-02")}, &out); err == nil {
		t.Error("an empty range is no error")
	}
}
