package warehouse_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

var shop = features.Shop{Currency: "CNY", MarginRate: 0.3, RefundMaturityDays: 10}

// plainUnit is one unit's outcome by a plain loop over its events: what Measure must agree with.
type plainUnit struct {
	variant, stratum, channel                                            string
	t0                                                                   time.Time
	two, open                                                            bool
	revenue, orders, profit, toys, refund, refunds, retained, steps      int64
	preRevenue, preOrders                                                int64
	acts, early, late, estimated, novelty, ownCoupon, otherCoupon, gifts int64
}

func plainLoop(all []features.Event, start, asOf time.Time, horizon int, strata map[int64]string, variants []string) map[string]*plainUnit {
	day := 24 * time.Hour
	byUser := map[string][]features.Event{}
	for _, e := range all {
		if !e.TS.After(asOf) && !e.AvailableAt.After(asOf) {
			byUser[e.UserID] = append(byUser[e.UserID], e)
		}
	}
	out := map[string]*plainUnit{}
	for user, list := range byUser {
		slices.SortFunc(list, func(a, b features.Event) int {
			if c := a.TS.Compare(b.TS); c != 0 {
				return c
			}
			return slices.Compare([]string{a.EventID}, []string{b.EventID})
		})
		var u *plainUnit
		for _, e := range list {
			var p struct {
				Experiment, Variant string
				Revision            int64 `json:"allocation_revision"`
			}
			if e.Name != features.ExperimentViewed || e.TS.Before(start) || json.Unmarshal(e.Properties, &p) != nil || !slices.Contains(variants, p.Variant) {
				continue
			}
			if u == nil {
				s, ok := strata[p.Revision]
				if !ok {
					s = fmt.Sprintf("revision %d", p.Revision)
				}
				u = &plainUnit{variant: p.Variant, stratum: s, t0: e.TS}
			}
			u.two = u.two || p.Variant != u.variant
		}
		if u == nil {
			continue
		}
		out[user] = u
		end := u.t0.Add(time.Duration(horizon) * day)
		within := func(t time.Time) bool { return !t.Before(u.t0) && t.Before(end) }
		var viewed bool
		for _, e := range list {
			if !e.TS.Before(u.t0.Add(-365*day)) && e.TS.Before(end) && e.Name != features.ExperimentViewed && e.Name != features.MessageSent {
				u.acts++
			}
			if e.TS.Before(u.t0) && e.Channel != "" {
				u.channel = e.Channel
			}
			if e.Name != features.ExperimentViewed && e.Name != features.MessageSent && !e.TS.Before(u.t0.Add(7*day)) && e.TS.Before(u.t0.Add(8*day)) {
				u.retained = 1
			}
			ours := len(e.Properties) > 0 && !e.TS.Before(start) && e.TS.Before(end)
			if e.Name == features.MessageSent && (within(e.TS) || ours) {
				u.profit -= int64(e.Cost.Micros)
			}
			viewed = viewed || e.Name == features.ProductViewed && within(e.TS)
			if e.Name != features.OrderCompleted {
				continue
			}
			if e.TS.Before(u.t0) && !e.TS.Before(u.t0.Add(-time.Hour)) {
				u.early = 1
			}
			if !e.TS.Before(u.t0) && e.TS.Before(u.t0.Add(time.Hour)) {
				u.late = 1
			}
			if e.TS.Before(u.t0) && !e.TS.Before(u.t0.Add(-time.Duration(horizon)*day)) {
				u.preRevenue += int64(e.Value.Micros)
				u.preOrders++
			}
			if !within(e.TS) {
				continue
			}
			u.revenue += int64(e.Value.Micros)
			u.orders++
			switch e.CouponID {
			case "c" + u.variant:
				u.ownCoupon++
			case "":
			default:
				u.otherCoupon++
			}
			if e.CouponID == "cb" && !e.Cost.Valid && !e.Discount.Valid {
				u.gifts++
			}
			if !e.Margin.Valid {
				u.estimated++
			}
			u.novelty += int64(e.Value.Micros) * int64(2*int(e.TS.Sub(u.t0)/day)-(horizon-1))
			if e.Category == "toys" {
				u.toys += int64(e.Value.Micros)
			}
			if viewed {
				u.steps = 1
			}
			margin := int64(e.Margin.Micros)
			if !e.Margin.Valid {
				margin = (int64(e.Value.Micros)+int64(e.Discount.Micros))*300_000/1_000_000 - int64(e.Discount.Micros)
			}
			u.profit += margin - int64(e.Commission.Micros)
			var bare int64
			for _, r := range list {
				if r.Name != features.OrderRefunded || r.OrderID != e.OrderID || r.TS.Before(u.t0) || !r.TS.Before(end.Add(time.Duration(shop.RefundMaturityDays)*day)) {
					continue
				}
				u.refund += int64(r.Value.Micros)
				u.refunds++
				if r.Margin.Valid {
					u.profit -= int64(r.Margin.Micros)
				} else {
					bare += int64(r.Value.Micros)
				}
			}
			if e.Value.Micros > 0 {
				part := new(big.Int).Mul(big.NewInt(margin), big.NewInt(bare))
				u.profit -= part.Quo(part, big.NewInt(int64(e.Value.Micros))).Int64()
			}
		}
		u.open = u.orders > 0 && end.Add(time.Duration(shop.RefundMaturityDays)*day).After(asOf)
	}
	return out
}

func TestMeasureEqualsPlainLoop(t *testing.T) {
	asOf := time.Date(2026, 5, 20, 13, 0, 0, 0, time.UTC)
	start := asOf.Add(-35 * 24 * time.Hour)
	variants := []string{"a", "b"}
	strata := map[int64]string{1: "1:1", 2: "1:1", 3: "9:1"}
	for seed := range uint64(3) {
		all := synth.Trial(shop, seed, 400, asOf)
		rand.New(rand.NewPCG(seed, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		engine, snap := world(t, shop, all[:len(all)/2], all[len(all)/2:])
		const horizon = 9
		plan := warehouse.MetricPlan{Experiment: "promo", Start: start, AsOf: asOf, HorizonDays: horizon, Variants: variants, Forced: []string{"u0003"}, Strata: strata, SegmentBy: "channel", ByDay: true,
			Covariates: []string{"pre_revenue", "pre_orders"}, Metrics: []warehouse.Metric{
				{Key: "profit", Kind: "profit"}, {Key: "revenue", Kind: "mean", Field: "value"}, {Key: "orders", Kind: "mean"}, {Key: "order_rate", Kind: "proportion"},
				{Key: "repurchase_rate", Kind: "proportion", MinEvents: 2}, {Key: "aov", Kind: "ratio", Field: "value", Denominator: "orders"},
				{Key: "refund_share", Kind: "ratio", Event: features.OrderRefunded, Field: "value", Denominator: "revenue"}, {Key: "retention_7d", Kind: "retention", Day: 7},
				{Key: "toys", Kind: "mean", Field: "value", Filter: map[string][]string{"category": {"toys"}}}, {Key: "capped", Kind: "mean", Field: "value", CapMicros: 30_000_000},
				{Key: "funnel", Kind: "funnel", Steps: []string{features.ProductViewed, features.OrderCompleted}},
			}}
		got, err := engine.Measure(t.Context(), snap, plan)
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]func(*plainUnit) (x, d int64){
			"profit": func(u *plainUnit) (int64, int64) { return u.profit, 0 }, "revenue": func(u *plainUnit) (int64, int64) { return u.revenue, 0 },
			"orders": func(u *plainUnit) (int64, int64) { return u.orders, 0 }, "order_rate": func(u *plainUnit) (int64, int64) { return min(u.orders, 1), 0 },
			"repurchase_rate": func(u *plainUnit) (int64, int64) { return min(u.orders/2, 1), 0 }, "aov": func(u *plainUnit) (int64, int64) { return u.revenue, u.orders },
			"refund_share": func(u *plainUnit) (int64, int64) { return u.refund, u.revenue }, "retention_7d": func(u *plainUnit) (int64, int64) { return u.retained, 0 },
			"toys": func(u *plainUnit) (int64, int64) { return u.toys, 0 }, "capped": func(u *plainUnit) (int64, int64) { return min(u.revenue, 30_000_000), 0 },
			"funnel": func(u *plainUnit) (int64, int64) { return u.steps, 0 },
		}
		want := map[string]string{}
		sums := map[string]*[12]*big.Int{}
		var exposed, matured, two int64
		open := false
		units := plainLoop(all, start, asOf, horizon, strata, variants)
		for user, u := range units {
			if user == "u0003" {
				continue
			}
			exposed++
			if u.two {
				two++
			}
			if u.t0.Add(horizon * 24 * time.Hour).After(asOf) {
				continue
			}
			matured++
			open = open || u.open
			segment := u.channel
			if segment == "" {
				segment = "unknown"
			}
			for key, value := range values {
				x, d := value(u)
				for _, cell := range []string{"", segment} {
					k := fmt.Sprintf("%s|%s|%s|%s|", key, u.variant, u.stratum, cell)
					s := sums[k]
					if s == nil {
						s = new([12]*big.Int)
						for i := range s {
							s[i] = new(big.Int)
						}
						sums[k] = s
					}
					for i, pair := range [][2]int64{{1, 1}, {x, 1}, {x, x}, {d, 1}, {d, d}, {x, d}, {u.preRevenue, 1}, {u.preRevenue, x}, {u.preOrders, u.preRevenue}, {u.preRevenue, u.preRevenue}, {u.preOrders, u.preOrders}, {d, u.preOrders}} {
						s[i].Add(s[i], new(big.Int).Mul(big.NewInt(pair[0]), big.NewInt(pair[1])))
					}
				}
			}
		}
		for k, s := range sums {
			want[k] = fmt.Sprint(s[:])
		}
		if got.Exposed != exposed || got.Matured != matured || got.RefundsOpen != open {
			t.Errorf("seed %d: exposed %d matured %d refunds open %v, want %d %d %v", seed, got.Exposed, got.Matured, got.RefundsOpen, exposed, matured, open)
		}
		if n := got.TwoArm["a"] + got.TwoArm["b"]; n != two || two == 0 {
			t.Errorf("seed %d: %d units of two arms, want %d", seed, n, two)
		}
		seen := 0
		zero := new(big.Int)
		for _, s := range got.Sums {
			if s.Day != "" {
				continue
			}
			seen++
			k := fmt.Sprintf("%s|%s|%s|%s|", s.Metric, s.Variant, s.Stratum, s.Segment)
			d, dd, xd, dc := zero, zero, zero, zero
			if s.D != nil {
				d, dd, xd, dc = s.D, s.DD, s.XD, s.DC[1]
			}
			if have := fmt.Sprint([]*big.Int{big.NewInt(s.N), s.X, s.XX, d, dd, xd, s.C[0], s.XC[0], s.CC[1], s.CC[0], s.CC[2], dc}); have != want[k] {
				t.Errorf("seed %d: sums of %s = %s, want %s", seed, k, have, want[k])
			}
		}
		if seen != len(want) {
			t.Errorf("seed %d: %d cells, want %d", seed, seen, len(want))
		}
		last := map[string]warehouse.Sum{} // the last day's cumulative sums are those of all days
		for _, s := range got.Sums {
			if s.Day != "" {
				last[s.Metric+s.Variant+s.Stratum] = s
			}
		}
		for _, s := range got.Sums {
			if l := last[s.Metric+s.Variant+s.Stratum]; s.Day == "" && s.Segment == "" && (l.N != s.N || l.X.Cmp(s.X) != 0 || l.XX.Cmp(s.XX) != 0) {
				t.Errorf("seed %d: cumulative %s of %s ends at n %d, want %d", seed, s.Metric, s.Variant, l.N, s.N)
			}
		}
		var profit int64
		for _, w := range got.Waterfall {
			profit += w["profit"]
			if sum := w["revenue"] - w["cost_of_goods"] - w["refunds"] - w["commission"] - w["contact"]; sum != w["profit"] {
				t.Errorf("seed %d: the waterfall ends at %d, want the profit %d", seed, sum, w["profit"])
			}
		}
		for _, q := range got.SQL {
			if slices.Contains([]string{"", " "}, q) || len(q) < 20 {
				t.Errorf("seed %d: sql %q", seed, q)
			}
		}
	}
}
