package warehouse_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/warehouse"
)

var rewrite = flag.Bool("rewrite", false, "rewrite golden texts")

// goldenCatalog is small and has every aggregate and operator; `summary` stands on all of it.
const goldenCatalog = `version: 1
measures:
  food: {agg: sum, event: Order Completed, field: value, where: {category: [food, "it's"]}}
  deep: {agg: max, event: Order Completed, field: discount, positive: discount}
  cheap: {agg: min, event: Order Completed, field: value, lacks: coupon_id}
  seen: {agg: distinct, event: Order Completed, field: channel}
  most: {agg: top, event: Order Completed, field: category}
  alive: {agg: days}
  entry: {agg: first_day_sum, event: Order Completed, field: value}
  squares: {agg: gap_squares, event: Order Completed}
  longest: {agg: longest_gap, event: Order Completed}
features:
  - {name: food, measure: food, windows: [30, all]}
  - {name: deep, measure: deep, window: 90}
  - {name: cheap, measure: cheap, window: 90, offset: 90}
  - {name: seen, measure: seen, window: 30}
  - {name: most, measure: most, window: all}
  - {name: alive, measure: alive, window: 30, offset: 7}
  - {name: entry, measure: entry, window: all}
  - {name: squares, measure: squares, window: all}
  - {name: longest, measure: longest, window: all}
  - {name: trend, expr: "div(food_30d - cheap, food_30d + cheap)"}
  - {name: spread, expr: "sqrt(abs(squares - longest * longest)) + log1p(seen)"}
  - {name: since, expr: "if(orders_all > 1 && !(deep == money(0)), days_since(last_order), -1.25)"}
  - {name: cold, expr: "max(min(recency_days, 0.1), coalesce(trend, 2e-07))"}
  - {name: summary, expr: "trend + spread + since + cold + alive + most + div(entry, food_all)"}
population: orders_all > 0 || alive >= 3
`

// goldenSQL is every kind of statement that the compiler writes, in one dialect.
func goldenSQL(t *testing.T, d warehouse.Dialect) string {
	t.Helper()
	c, err := features.ParseCatalog([]byte(goldenCatalog))
	if err != nil {
		t.Fatal(err)
	}
	own := c.Only("summary")
	plan := warehouse.MetricPlan{Experiment: "it's", Start: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), AsOf: time.Date(2026, 5, 20, 13, 0, 0, 1000, time.UTC), HorizonDays: 7, RefundMaturityDays: 15,
		Variants: []string{"a", "b"}, Forced: []string{"qa"}, Strata: map[int64]string{1: "1:1", 2: "9:1"}, ScoreDays: map[string]features.Day{"s1": day("2026-05-01")}, Coupons: map[string]string{"b": "C1"}, UnitCosts: map[string]int64{"C1": 500_000}, SegmentBy: "stage", ByDay: true, Covariates: []string{"pre_revenue", "churn_risk"}, Frozen: "features.parquet",
		Metrics: []warehouse.Metric{{Key: "profit", Kind: "profit"}, {Key: "revenue", Kind: "mean", Field: "value", CapMicros: 5_000_000}, {Key: "orders", Kind: "mean"},
			{Key: "aov", Kind: "ratio", Field: "value", Denominator: "orders"}, {Key: "back", Kind: "retention", Day: 7}, {Key: "toys", Kind: "proportion", Filter: map[string][]string{"category": {"toys"}}},
			{Key: "new", Kind: "novelty", Field: "value"},
			{Key: "path", Kind: "funnel", Steps: []string{"Product Viewed", "Product Added", "Order Completed"}}}}
	var b strings.Builder
	for _, s := range warehouse.Statements(own, d, shanghai, plan, day("2026-05-20"), day("2026-04-20")) {
		b.WriteString("-- " + s.Name + "\n----\n" + s.SQL + "\n\n")
	}
	return b.String()
}

// TestGoldenSQL compares the SQL of each dialect with its golden text; `make test-cluster` runs the same compiler's statements on a real Trino.
func TestGoldenSQL(t *testing.T) {
	for _, d := range []warehouse.Dialect{warehouse.DuckDB, warehouse.Trino} {
		t.Run(d.Name, func(t *testing.T) {
			path := filepath.Join("testdata", "sql-"+d.Name+".txt")
			got := goldenSQL(t, d)
			if *rewrite {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the SQL for %s is another than in %s; read the difference and run with -rewrite", d.Name, path)
			}
		})
	}
}
