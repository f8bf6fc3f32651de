package warehouse_test

import (
	"fmt"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

// What is counted beside the metrics, the order statistics, the capped sums and the rows of single units agree with a plain loop.
func TestHealthEqualsPlainLoop(t *testing.T) {
	asOf := time.Date(2026, 5, 20, 13, 0, 0, 0, time.UTC)
	start := asOf.Add(-35 * 24 * time.Hour)
	variants := []string{"a", "b"}
	const horizon, gift = 9, 3_500_000
	ranks := func(n int64) []int64 { return []int64{1, (n + 1) / 2, n} }
	for seed := range uint64(2) {
		all := synth.Trial(shop, seed+10, 300, asOf)
		engine, snap := world(t, shop, all)
		plan := warehouse.MetricPlan{Experiment: "promo", Start: start, AsOf: asOf, HorizonDays: horizon, Variants: variants, SegmentBy: "channel", Covariates: []string{"pre_revenue"},
			Coupons: map[string]string{"a": "ca", "b": "cb"}, UnitCosts: map[string]int64{"cb": gift}, Cap: "profit", Others: []string{"promo"},
			ScoreDays: map[string]features.Day{"v": shop.DayOf(asOf)},
			Metrics: []warehouse.Metric{{Key: "profit", Kind: "profit"}, {Key: "revenue", Kind: "mean", Field: "value"}, {Key: "novelty", Kind: "novelty", Field: "value"},
				{Key: "median", Kind: "quantile", Field: "value", Quantile: 0.5, Ranks: ranks}}}
		got, err := engine.Measure(t.Context(), snap, plan)
		if err != nil {
			t.Fatal(err)
		}
		units := plainLoop(all, start, asOf, horizon, nil, variants)
		stray := map[string]bool{}
		for _, e := range all {
			if e.Name == features.ExperimentViewed && !e.TS.Before(start) && !e.TS.After(asOf) && units[e.UserID] == nil {
				stray[e.UserID] = true
			}
		}
		type counts struct{ silent, leaked, estimated, orders, redeemed, revenue, profit, novelty, early, late int64 }
		want := map[string]*counts{"a": {}, "b": {}}
		values := map[string][]int64{}
		var profits []int64
		for _, u := range units {
			if u.stratum = ""; u.t0.Add(horizon * 24 * time.Hour).After(asOf) {
				continue
			}
			u.profit -= u.gifts * gift
			c := want[u.variant]
			if u.acts == 0 {
				c.silent++
			}
			if u.otherCoupon > 0 {
				c.leaked++
			}
			if u.ownCoupon > 0 {
				c.redeemed++
				c.revenue += u.revenue
				c.profit += u.profit
			}
			c.estimated += u.estimated
			c.orders += u.orders
			c.novelty += u.novelty
			c.early += u.early
			c.late += u.late
			values[u.variant] = append(values[u.variant], u.revenue)
			profits = append(profits, u.profit)
		}
		h := got.Health
		if h.Stray != int64(len(stray)) || h.Stray == 0 {
			t.Errorf("seed %d: %d strays, want %d", seed, h.Stray, len(stray))
		}
		for v, c := range want {
			have := counts{h.Silent[v], h.Leaked[v], h.Estimated[v], h.Orders[v], h.Redeemed[v]["units"], h.Redeemed[v]["revenue"], h.Redeemed[v]["profit"], 0, h.Early[v], h.Late[v]}
			for _, s := range got.Sums {
				if s.Metric == "novelty" && s.Variant == v && s.Segment == "" && s.Day == "" {
					have.novelty = s.X.Int64()
				}
			}
			if have != *c || c.leaked == 0 || c.redeemed == 0 {
				t.Errorf("seed %d: %s has %+v, want %+v", seed, v, have, *c)
			}
		}
		for _, q := range got.Quantiles {
			if q.Segment != "" {
				continue
			}
			list := values[q.Variant]
			slices.Sort(list)
			for _, r := range ranks(int64(len(list))) {
				if q.N != int64(len(list)) || q.Values[r] != list[r-1] {
					t.Errorf("seed %d: value %d of %d in %s = %d, want %d", seed, r, q.N, q.Variant, q.Values[r], list[r-1])
				}
			}
		}
		slices.Sort(profits)
		low, high := profits[max(1, len(profits)/1000)-1], profits[len(profits)-len(profits)/1000-1]
		capped := map[string]*big.Int{"a": new(big.Int), "b": new(big.Int)}
		for _, u := range units {
			if !u.t0.Add(horizon * 24 * time.Hour).After(asOf) {
				capped[u.variant].Add(capped[u.variant], big.NewInt(min(max(u.profit, low), high)))
			}
		}
		whole := map[string]*big.Int{"a": new(big.Int), "b": new(big.Int)} // of the rows of Units
		if err := engine.Units(t.Context(), snap, plan, func(_ []string, u *warehouse.UnitRow) error {
			if u.Mature[0] {
				whole[u.Variant].Add(whole[u.Variant], big.NewInt(u.Metrics[0]))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, s := range got.Sums {
			if s.Metric == "profit|capped" && s.X.Cmp(capped[s.Variant]) != 0 {
				t.Errorf("seed %d: capped profit of %s = %s, want %s", seed, s.Variant, s.X, capped[s.Variant])
			}
			if s.Metric == "profit" && s.Segment == "" && s.Day == "" && s.X.Cmp(whole[s.Variant]) != 0 {
				t.Errorf("seed %d: the units of %s add up to %s, want %s", seed, s.Variant, whole[s.Variant], s.X)
			}
		}
		var both int64 // an experiment beside itself: every unit meets its own variant first
		for _, i := range h.Interactions {
			if i.Variant == i.OtherVariant {
				both += i.N
			}
		}
		if both == 0 {
			t.Errorf("seed %d: no interactions: %+v", seed, h.Interactions)
		}
	}
}

// Exposures on old scores are counted, and the split within every decile of the frozen scores.
func TestStaleAndDimensions(t *testing.T) {
	asOf := time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)
	var all []features.Event
	for i := range 40 {
		at := asOf.Add(-48 * time.Hour)
		version := []string{"old", "new", "unheard"}[i%3]
		all = append(all, features.Event{EventID: fmt.Sprint("e", i), UserID: fmt.Sprint("u", i), Name: features.ExperimentViewed, TS: at, AvailableAt: at, ReceivedAt: at,
			BizDay: shop.DayOf(at), KnownDay: shop.DayOf(at), IDDay: shop.DayOf(at),
			Properties: fmt.Appendf(nil, `{"experiment":"promo","variant":%q,"score_version":%q}`, []string{"a", "b"}[i%2], version)})
	}
	engine, snap := world(t, shop, all)
	frozen := filepath.Join(t.TempDir(), "scores.parquet")
	if err := engine.WriteTable(t.Context(), &features.Table{Users: []string{"u0", "u1", "u2", "u3"}, Columns: []features.Column{{Name: "stage", Texts: []string{"new", "new", "loyal", "loyal"}},
		{Name: "churn_decile", Numbers: []float64{1, 1, 2, 2}, Integer: true}, {Name: "ltv_decile", Numbers: []float64{3, 3, 3, 3}, Integer: true}}}, frozen); err != nil {
		t.Fatal(err)
	}
	plan := warehouse.MetricPlan{Experiment: "promo", Start: asOf.Add(-96 * time.Hour), AsOf: asOf, HorizonDays: 1, Variants: []string{"a", "b"}, Metrics: []warehouse.Metric{{Key: "profit", Kind: "profit"}},
		Frozen:    frozen,
		ScoreDays: map[string]features.Day{"old": shop.DayOf(asOf) - 5, "new": shop.DayOf(asOf) - 2}}
	m, err := engine.Measure(t.Context(), snap, plan)
	if err != nil {
		t.Fatal(err)
	}
	if stale := m.Health.Stale["a"] + m.Health.Stale["b"]; stale != 14 {
		t.Errorf("%d stale units, want the 14 on the scores of five days before", stale)
	}
	got := map[string]int64{}
	for _, d := range m.Health.Dimensions {
		got[d.Dimension+"/"+d.Value+"/"+d.Variant] += d.Units
	}
	want := map[string]int64{"stage/new/a": 1, "stage/new/b": 1, "stage/loyal/a": 1, "stage/loyal/b": 1, "stage/unknown/a": 18, "stage/unknown/b": 18, "churn_decile/1/a": 1, "churn_decile/1/b": 1,
		"churn_decile/2/a": 1, "churn_decile/2/b": 1, "churn_decile/unknown/a": 18, "churn_decile/unknown/b": 18, "ltv_decile/3/a": 2, "ltv_decile/3/b": 2, "ltv_decile/unknown/a": 18, "ltv_decile/unknown/b": 18}
	if !maps.Equal(got, want) {
		t.Errorf("dimensions %v, want %v", got, want)
	}
}
