package warehouse_test

import (
	"testing"
	"time"

	"perennial/features"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

// A holdout's arms are the users known before the period, split by the function alone; their money in the period is what a plain loop adds up.
func TestMeasureHoldout(t *testing.T) {
	asOf := time.Date(2026, 5, 20, 13, 0, 0, 0, time.UTC)
	all := synth.Trial(shop, 3, 300, asOf)
	engine, snap := world(t, shop, all)
	from, until := shop.DayOf(asOf)-20, shop.DayOf(asOf)-2
	held := func(user string) bool { return user[len(user)-1] == '7' }
	m, err := engine.MeasureHoldout(t.Context(), snap, warehouse.HoldoutPlan{Name: "global", From: from, Until: until, Held: held})
	if err != nil {
		t.Fatal(err)
	}
	start, end := shop.Midnight(from), shop.Midnight(until)
	known := map[string]bool{}
	for _, e := range all {
		if e.TS.Before(start) && !e.AvailableAt.After(start) {
			known[e.UserID] = true
		}
	}
	arm := func(user string) string {
		if held(user) {
			return warehouse.HeldOut
		}
		return warehouse.Treated
	}
	units, orders, revenue := map[string]int64{}, map[string]int64{}, map[string]int64{}
	for user := range known {
		units[arm(user)]++
	}
	for _, e := range all {
		if known[e.UserID] && e.Name == features.OrderCompleted && !e.TS.Before(start) && e.TS.Before(end) && !e.AvailableAt.After(end) {
			orders[arm(e.UserID)]++
			revenue[arm(e.UserID)] += int64(e.Value.Micros)
		}
	}
	if units[warehouse.HeldOut] == 0 || orders[warehouse.HeldOut] == 0 {
		t.Fatal("the data have nobody to hold out")
	}
	for _, s := range m.Sums {
		want := map[string]int64{"orders": orders[s.Variant], "revenue": revenue[s.Variant], "profit": s.X.Int64()}[s.Metric]
		if s.N != units[s.Variant] || s.X.Int64() != want {
			t.Errorf("%s of %s: %d units, %s, want %d, %d", s.Metric, s.Variant, s.N, s.X, units[s.Variant], want)
		}
	}
	if m.Waterfall[warehouse.HeldOut]["revenue"] != revenue[warehouse.HeldOut] {
		t.Errorf("waterfall revenue %d, want %d", m.Waterfall[warehouse.HeldOut]["revenue"], revenue[warehouse.HeldOut])
	}
	if _, err := engine.MeasureHoldout(t.Context(), snap, warehouse.HoldoutPlan{Name: "global", From: until, Until: from, Held: held}); err == nil {
		t.Error("a period that ends before it begins was measured")
	}
}
