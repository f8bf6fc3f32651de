package warehouse_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/vectors"
	"perennial/features/warehouse"
)

var (
	scaleUnits  = flag.Int64("units", 200_000, "exposed units of BenchmarkMeasure; five outcome events each")
	scaleMemory = flag.Int64("memory", 2<<30, "memory budget of BenchmarkMeasure in bytes")
)

// bigShop writes one compacted segment for each of 28 days in the lake's form: an exposure and five more events for every unit, spread over the days.
// Everything comes from hashes of the unit's number, so that the same units give the same shop.
func bigShop(t testing.TB, dir string, units int64) *lake.Snapshot {
	t.Helper()
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	ctx := context.Background()
	if _, err := db.ExecContext(ctx, "SET memory_limit='3GB'"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, "SET temp_directory='"+filepath.Join(dir, "gen")+"'"); err != nil {
		t.Fatal(err)
	}
	const days = 28
	for day := range days {
		path := filepath.Join(dir, fmt.Sprintf("day-%02d.parquet", day))
		// k = 0 is the exposure on day u%7; k = 1..5 are a view, three orders (one of which is rare) and a refund within the 20 days after it.
		query := fmt.Sprintf(`COPY (WITH e AS (SELECT u, k, hash(u * 8 + k) AS h FROM range(%[1]d) a(u), range(6) b(k) WHERE (u %% 7) + CASE WHEN k = 0 THEN 0 ELSE 1 + hash(u * 16 + k) %% 20 END = %[2]d)
SELECT printf('%%016x%%02d', u, k) AS event_id, printf('user-%%09d', u) AS user_id, NULL::VARCHAR AS anonymous_id,
 CASE k WHEN 0 THEN 'Experiment Viewed' WHEN 1 THEN 'Product Viewed' WHEN 5 THEN 'Order Refunded' ELSE 'Order Completed' END AS event,
 TIMESTAMP '2026-05-01 00:00:00' + INTERVAL (%[2]d) DAY + to_microseconds((h %% 86400000000)::BIGINT) AS ts, NULL::TIMESTAMP AS sent_at,
 TIMESTAMP '2026-05-01 00:00:00' + INTERVAL (%[2]d) DAY + to_microseconds((h %% 86400000000)::BIGINT) AS received_at,
 TIMESTAMP '2026-05-01 00:00:00' + INTERVAL (%[2]d) DAY + to_microseconds((h %% 86400000000)::BIGINT) AS available_at,
 DATE '2026-05-01' + %[2]d AS biz_day, DATE '2026-05-01' + %[2]d AS known_day, DATE '2026-05-01' + %[2]d AS id_day,
 CASE WHEN k >= 2 THEN (1000000 + h %% 200000000)::BIGINT END AS value_micros, CASE WHEN k IN (2, 3, 4) AND u %% 3 > 0 THEN (300000 + h %% 60000000)::BIGINT END AS margin_micros,
 CASE WHEN k = 2 AND u %% 2 = 1 THEN 20000000::BIGINT END AS discount_micros, NULL::BIGINT AS platform_discount_micros, CASE WHEN k IN (2, 3, 4) THEN (h %% 4000000)::BIGINT END AS commission_micros,
 NULL::BIGINT AS cost_micros, 'CNY' AS currency, CASE WHEN k = 5 THEN printf('o%%x-2', u) WHEN k >= 2 THEN printf('o%%x-%%d', u, k) END AS order_id, NULL::VARCHAR AS product_id,
 CASE k WHEN 1 THEN 'food' END AS category, 'app' AS channel, CASE WHEN k = 2 AND u %% 2 = 1 THEN 's100' END AS coupon_id, NULL::VARCHAR AS session_id,
 CASE k WHEN 0 THEN printf('{"experiment":"big","variant":"%%s","allocation_revision":1,"p_assign":0.5}', CASE u %% 2 WHEN 0 THEN 'none' ELSE 's100' END) END AS properties,
 u AS ingest_seq, 'j' AS journal_id, (hash(u) %% 64)::INTEGER AS user_bucket FROM e ORDER BY user_id, ts, event_id) TO '%[3]s' (FORMAT parquet, COMPRESSION zstd)`, units, day, path)
		if _, err := db.ExecContext(ctx, query); err != nil {
			t.Fatal(err)
		}
	}
	return bigSnapshot(t, dir)
}

// bigSnapshot is the snapshot of a directory that bigShop wrote, nil where there is none.
func bigSnapshot(t testing.TB, dir string) *lake.Snapshot {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "day-*.parquet"))
	if len(files) == 0 {
		return nil
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	snap := &lake.Snapshot{}
	for i, f := range files {
		g := lake.Segment{Path: f, Day: day("2026-05-01") + features.Day(i)}
		if err := db.QueryRow("SELECT count(*) FROM read_parquet('" + f + "')").Scan(&g.Rows); err != nil {
			t.Fatal(err)
		}
		snap.Segments = append(snap.Segments, g)
	}
	return snap
}

// peak is the largest resident size of this process since the last reset, in MiB.
func peak(t testing.TB) float64 {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(raw), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
			kib, _ := strconv.ParseFloat(f[1], 64)
			return kib / 1024
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// BenchmarkMeasure answers an experiment of -units exposures and five outcome events each (`make bench-results`: 10 million and 50 million).
func BenchmarkMeasure(b *testing.B) {
	vectors.MakeRoom(2) // as the program does
	dir := b.TempDir()
	if kept := os.Getenv("BENCH_RESULTS_DIR"); kept != "" {
		dir = kept
	}
	snap := bigSnapshot(b, dir)
	if snap == nil {
		snap = bigShop(b, dir, *scaleUnits)
	}
	engine, err := warehouse.Open(b.Context(), warehouse.Options{Dir: dir, Shop: shop, Memory: *scaleMemory})
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close()
	plan := warehouse.MetricPlan{Experiment: "big", Start: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), AsOf: time.Date(2026, 5, 29, 0, 0, 0, 0, time.UTC), HorizonDays: 14, ByDay: true,
		Variants: []string{"none", "s100"}, Coupons: map[string]string{"s100": "s100"}, Covariates: []string{"pre_revenue", "pre_orders"}, Cap: "profit",
		Metrics: []warehouse.Metric{{Key: "profit", Kind: "profit"}, {Key: "revenue", Kind: "mean", Field: "value"}, {Key: "orders", Kind: "mean"}, {Key: "order_rate", Kind: "proportion"},
			{Key: "aov", Kind: "ratio", Field: "value", Denominator: "orders"}, {Key: "refund_share", Kind: "ratio", Event: features.OrderRefunded, Field: "value", Denominator: "revenue"},
			{Key: "novelty", Kind: "novelty", Field: "value"}}}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		m, err := engine.Measure(b.Context(), snap, plan)
		if err != nil {
			b.Fatal(err)
		}
		if m.Exposed == 0 || m.Matured == 0 || m.Health.Redeemed["s100"]["units"] == 0 {
			b.Fatalf("measured %d exposed, %d matured", m.Exposed, m.Matured)
		}
		b.ReportMetric(float64(m.Exposed), "units")
	}
	b.ReportMetric(peak(b), "MiB-peak")
}
