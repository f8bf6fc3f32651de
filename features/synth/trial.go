package synth

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"perennial/features"
)

// History is a small shop of 500 days from 2024-01-01 with many late rows and everything the default catalog looks at, in no order.
func History(shop features.Shop, seed uint64, users int) []features.Event {
	c := Config{Seed: seed, Users: users, Start: features.Day(19723), Days: 500, Shop: shop, OrderShape: 2, OrderRate: 3, Late: 0.1, Refunds: 0.2}
	rng := rand.New(rand.NewPCG(seed, 77))
	var all []features.Event
	for e := range Shop(c) {
		all = append(all, e)
		if e.Name == features.OrderCompleted && rng.IntN(4) == 0 {
			m := e
			m.EventID, m.Name, m.Value, m.Discount, m.Margin, m.Cost = e.EventID+"-m", features.MessageSent, features.Amount{}, features.Amount{}, features.Amount{}, features.AmountOf(30_000)
			m.OrderID, m.CouponID, m.Category = "", "", ""
			all = append(all, m)
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// Trial makes units with exposures (some to two arms, some before the start, some without a window that is over), orders with and without
// margin, refunds, contacts and noise. Every random choice comes from the seed.
func Trial(shop features.Shop, seed uint64, units int, asOf time.Time) []features.Event {
	rng := rand.New(rand.NewPCG(seed, 1))
	var all []features.Event
	put := func(e features.Event) {
		e.EventID = fmt.Sprintf("e%06d", len(all))
		if e.AvailableAt.IsZero() {
			e.AvailableAt = e.TS
		}
		e.ReceivedAt = e.AvailableAt
		e.BizDay, e.KnownDay, e.IDDay = shop.DayOf(e.TS), shop.DayOf(e.AvailableAt), shop.DayOf(e.TS)
		all = append(all, e)
	}
	hours := func(n int) time.Duration { return time.Duration(rng.IntN(n*3600)) * time.Second }
	for i := range units {
		user := fmt.Sprintf("u%04d", i)
		seen := asOf.Add(-40 * 24 * time.Hour).Add(hours(45 * 24))
		variant := []string{"a", "b", "c"}[rng.IntN(3)]
		view := func(at time.Time, variant string, revision int) {
			raw, _ := json.Marshal(map[string]any{"experiment": "promo", "variant": variant, "allocation_revision": revision, "p_assign": 0.5})
			put(features.Event{UserID: user, Name: features.ExperimentViewed, TS: at, Properties: raw})
		}
		if rng.IntN(10) > 0 {
			view(seen, variant, 1+rng.IntN(3))
			view(seen.Add(hours(50)), variant, 4)
		}
		if rng.IntN(12) == 0 {
			view(seen.Add(hours(20)), "b", 2)
		}
		if rng.IntN(9) == 0 {
			raw, _ := json.Marshal(map[string]any{"experiment": "promo"})
			put(features.Event{UserID: user, Name: features.MessageSent, TS: seen.Add(-hours(20)), Cost: features.AmountOf(70_000), Properties: raw})
			put(features.Event{UserID: user, Name: features.MessageSent, TS: seen.Add(-hours(20)), Cost: features.AmountOf(90_000)})
		}
		for range rng.IntN(5) {
			put(features.Event{UserID: user, Name: features.MessageSent, TS: seen.Add(hours(24 * 20)), Cost: features.AmountOf(50_000)})
			put(features.Event{UserID: user, Name: features.SessionStarted, TS: seen.Add(hours(24 * 20)), Channel: []string{"app", "web"}[rng.IntN(2)]})
			put(features.Event{UserID: user, Name: features.ProductViewed, TS: seen.Add(hours(24 * 20))})
		}
		for k := range rng.IntN(6) {
			at := seen.Add(-10 * 24 * time.Hour).Add(hours(24 * 30))
			e := features.Event{UserID: user, Name: features.OrderCompleted, TS: at, OrderID: fmt.Sprintf("o%d-%d", i, k), Value: features.AmountOf(features.Micros(rng.IntN(90_000_000))),
				Category: []string{"food", "toys", ""}[rng.IntN(3)], Channel: []string{"app", "web", ""}[rng.IntN(3)], CouponID: []string{"ca", "cb", ""}[rng.IntN(3)]}
			if rng.IntN(3) > 0 {
				e.Margin = features.AmountOf(e.Value.Micros/3 - 7)
			}
			if rng.IntN(2) > 0 {
				e.Discount, e.Commission = features.AmountOf(5_000_001), features.AmountOf(e.Value.Micros/33)
			}
			if rng.IntN(8) == 0 {
				e.AvailableAt = at.Add(hours(24 * 15))
			}
			put(e)
			for range rng.IntN(3) - 1 {
				back := features.Event{UserID: user, Name: features.OrderRefunded, TS: at.Add(hours(24 * 20)), OrderID: e.OrderID, Value: features.AmountOf(e.Value.Micros / 2)}
				if rng.IntN(2) > 0 {
					back.Margin = features.AmountOf(1_234_567)
				}
				put(back)
			}
		}
	}
	return all
}
