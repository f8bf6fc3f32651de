package warehouse_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

// A snapshot that is measured range by range of user ids gives the numbers of one pass, ids of a person folded across ranges, order statistics and caps
// over all ranges included.
func TestMeasureByRanges(t *testing.T) {
	asOf := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for seed := range uint64(3) {
		plain := synth.Trial(shop, seed+20, 300, asOf)
		events, links := disguise(plain, shop, func(string, int) features.Day { return shop.DayOf(asOf) - 20 })
		dir := t.TempDir()
		_, snap := world(t, shop)
		snap.Links = links
		for _, g := range segments(t, dir, events, "user_id < 'c' OR user_id IS NULL", "user_id >= 'c' AND user_id < 'u0080'", "user_id >= 'u0080' AND user_id < 'u0200' AND hash(event_id) % 2 = 0",
			"user_id >= 'u0080' AND user_id < 'u0200' AND hash(event_id) % 2 = 1", "user_id >= 'u0200'") {
			g.Day, g.Rows = shop.DayOf(asOf), 1000
			snap.Segments = append(snap.Segments, g)
		}
		plan := warehouse.MetricPlan{Experiment: "promo", Start: asOf.Add(-30 * 24 * time.Hour), AsOf: asOf, HorizonDays: 9, Variants: []string{"a", "b"}, Strata: map[int64]string{1: "1:1", 2: "1:1", 3: "9:1"},
			SegmentBy: "channel", ByDay: true, Covariates: []string{"pre_revenue", "pre_orders"}, Cap: "profit", Coupons: map[string]string{"a": "ca", "b": "cb"}, Others: []string{"promo"},
			Metrics: []warehouse.Metric{{Key: "profit", Kind: "profit"}, {Key: "revenue", Kind: "mean", Field: "value"}, {Key: "orders", Kind: "mean"}, {Key: "aov", Kind: "ratio", Field: "value", Denominator: "orders"},
				{Key: "median", Kind: "quantile", Field: "value", Quantile: 0.5, Ranks: func(n int64) []int64 { return []int64{1, (n + 1) / 2, n} }},
				{Key: "back", Kind: "retention", Day: 10}, {Key: "path", Kind: "funnel", Steps: []string{"Product Viewed", "Order Completed"}}}}
		measure := func(memory int64) *warehouse.Measured {
			t.Helper()
			e, err := warehouse.Open(t.Context(), warehouse.Options{Dir: dir, Shop: shop, Memory: memory, Now: func() time.Time { return asOf.AddDate(1, 0, 0) }})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			m, err := e.Measure(t.Context(), snap, plan)
			if err != nil {
				t.Fatal(err)
			}
			if exposed, err := e.Exposed(t.Context(), snap, plan); err != nil || !reflect.DeepEqual(exposed, m.ExposedBy) {
				t.Errorf("seed %d: exposed alone %v, %v; measured %v", seed, exposed, err, m.ExposedBy)
			}
			return m
		}
		whole, parts := measure(1<<30), measure(64<<10)
		if !strings.Contains(strings.Join(parts.SQL, "\n"), "each of 4 ranges") {
			t.Fatalf("seed %d: measured by other than 4 ranges: %s", seed, parts.SQL[0])
		}
		if n := len(parts.SQL) - len(whole.SQL); n != 3 { // the remark and two relations of values
			t.Errorf("seed %d: %d more statements are shown than of one pass, want 3", seed, n)
		}
		whole.SQL, parts.SQL = nil, nil
		if !reflect.DeepEqual(whole, parts) {
			t.Errorf("seed %d: by ranges\n%+v\nin one pass\n%+v", seed, parts, whole)
		}
		if whole.Matured == 0 || len(whole.Quantiles) == 0 || len(whole.Health.Interactions) == 0 || whole.Health.Caps[1] == 0 {
			t.Errorf("seed %d: the test measures nothing: %+v", seed, whole)
		}
	}
}
