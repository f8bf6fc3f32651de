package synth_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/synth"
)

var coupon = synth.Response{Seed: 11, Experiment: "coupon", Days: 14, MarginRate: 0.4, Commission: 0.03, RefundRate: 0.1, Currency: "GBP", Arms: map[string]synth.Arm{
	"none": {}, "save": {Lift: 0.25, Threshold: 100, Off: 20, Stretch: 0.5, Contact: 0.05, Coupon: "100-20"}}}

func TestResponseIsAFunctionOfSeedAndUser(t *testing.T) {
	seen := time.Date(2011, 12, 1, 9, 0, 0, 0, time.UTC)
	c := synth.Customer{ID: "17850", Orders: 6, AOV: 90}
	a, b := coupon.Events(c, "save", seen), coupon.Events(c, "save", seen)
	if !reflect.DeepEqual(a, b) || len(a) < 2 {
		t.Fatalf("two answers of one customer differ, or are empty: %d and %d events", len(a), len(b))
	}
	other := coupon
	other.Seed = 12
	if reflect.DeepEqual(a, other.Events(c, "save", seen)) {
		t.Error("another seed gives the same events")
	}
	ids := map[string]bool{}
	for _, variant := range []string{"save"} {
		for _, e := range coupon.Events(c, variant, seen) {
			if ids[e.EventID] {
				t.Errorf("id %s stands twice", e.EventID)
			}
			ids[e.EventID] = true
		}
	}
}

func TestResponsePlantsItsEffect(t *testing.T) {
	seen := time.Date(2011, 12, 1, 9, 0, 0, 0, time.UTC)
	const n = 20000
	for _, variant := range []string{"none", "save"} {
		var orders, profit, squares float64
		for i := range n {
			c := synth.Customer{ID: fmt.Sprint(i), Orders: 0.8, AOV: 80}
			var own, gain float64
			for _, e := range coupon.Events(c, variant, seen) {
				switch e.Name {
				case features.OrderCompleted:
					if e.TS.Before(seen) || !e.TS.Before(seen.Add(14*24*time.Hour)) {
						t.Fatalf("an order at %s is outside the window from %s", e.TS, seen)
					}
					own++
					gain += e.Margin.Micros.Float64() - e.Commission.Micros.Float64()
				case features.OrderRefunded:
					gain -= e.Margin.Micros.Float64()
				case features.MessageSent:
					gain -= e.Cost.Micros.Float64()
				}
			}
			orders += own
			profit += gain
			squares += gain * gain
		}
		wantOrders, wantProfit := coupon.Expect(synth.Customer{ID: "x", Orders: 0.8, AOV: 80}, variant)
		if se := math.Sqrt(wantOrders / n); math.Abs(orders/n-wantOrders) > 4*se {
			t.Errorf("%s: %v orders per customer, want %v ± %v", variant, orders/n, wantOrders, se)
		}
		// 4,000 baskets of the expectation weigh as much as 5,000 customers do, so the tolerance has room for both.
		if se := math.Sqrt((squares/n - profit/n*profit/n) / n); math.Abs(profit/n-wantProfit) > 6*se {
			t.Errorf("%s: profit %v per customer, want %v ± %v", variant, profit/n, wantProfit, se)
		}
	}
}

func TestResponseStopsAtTheClock(t *testing.T) {
	seen := time.Date(2011, 12, 1, 9, 0, 0, 0, time.UTC)
	r := coupon
	r.Until = seen.Add(24 * time.Hour)
	for _, e := range r.Events(synth.Customer{ID: "1", Orders: 50, AOV: 20}, "save", seen) {
		if !e.TS.Before(r.Until) {
			t.Errorf("%s at %s, want before %s", e.Name, e.TS, r.Until)
		}
	}
	if got := r.Events(synth.Customer{ID: "1"}, "none", seen); len(got) != 0 {
		t.Errorf("a customer without orders does %d things, want none", len(got))
	}
}
