package warehouse_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

// Four customers of one bucket: one whose refund is learned late, one whose second order is, one who is learned of late altogether, and one of whom
// everything was known. The numbers are computed by hand.
func TestDriftByHand(t *testing.T) {
	const bucket = 7
	id := func(name string) string {
		for i := 0; ; i++ {
			if u := fmt.Sprint(name, i); int(lake.UserBucket(u)) == bucket {
				return u
			}
		}
	}
	sale := func(user, order, when string, value float64, lateDays int) features.Event {
		return at(order, user, features.OrderCompleted, when, func(e *features.Event) {
			e.OrderID, e.Value = order, features.AmountOf(features.Micros(value*features.MicrosPerUnit))
			e.AvailableAt = e.TS.AddDate(0, 0, lateDays)
		})
	}
	back, second, unheard, plain := id("back"), id("second"), id("unheard"), id("plain")
	refund := sale(back, "r", "2026-05-12 10:00", 5, 20)
	refund.Name, refund.OrderID = features.OrderRefunded, "o1"
	engine, snap := world(t, shop, []features.Event{
		sale(back, "o1", "2026-05-01 10:00", 10, 0), sale(back, "o2", "2026-05-10 10:00", 20, 0), refund,
		sale(second, "o3", "2026-05-02 10:00", 30, 0), sale(second, "o4", "2026-05-15 10:00", 70, 10),
		sale(unheard, "o5", "2026-05-16 10:00", 9, 14),
		sale(plain, "o6", "2026-05-16 10:00", 9, 3), sale(plain, "o7", "2026-05-20 10:00", 1000, 0), // after the cut: of neither build
	})
	d, err := engine.Drift(t.Context(), snap, day("2026-05-20"), bucket)
	if err != nil {
		t.Fatal(err)
	}
	if d.Users != 4 || d.Changed != 3 || d.OneSided != 1 || d.ChangedShare != 0.75 {
		t.Errorf("drift %+v, want 3 of 4 users changed, one of them not known at all then", d)
	}
	some := func(v float64) *float64 { return &v }
	for _, c := range []struct {
		feature string
		users   int
		mean    *float64
	}{
		{"orders_all", 1, some(1)},                     // second: 1 → 2
		{"revenue_all", 1, some(70)},                   // second: 30 → 100
		{"aov_all", 1, some(20)},                       // second: 30 → 50
		{"recency_days", 1, some(13)},                  // second: from the 2nd to the 15th
		{"refunds_all", 1, some(1)},                    // back: 0 → 1
		{"refund_share_all", 1, some(5. / 30)},         // back: 0 → 5 of 30
		{"net_revenue_all", 2, some((5. + 70) / 2)},    // back: 30 → 25, second: 30 → 100
		{"monetary", 1, nil},                           // second: null → 70
		{"tenure_days", 0, nil}, {"carts_30d", 0, nil}, // nobody
	} {
		i := slices.IndexFunc(d.Features, func(f warehouse.ColumnDrift) bool { return f.Feature == c.feature })
		if i < 0 {
			if c.users > 0 {
				t.Errorf("%s does not differ, want %d users", c.feature, c.users)
			}
			continue
		}
		f := d.Features[i]
		if f.Users != c.users || f.Share != float64(c.users)/4 || (f.MeanAbs == nil) != (c.mean == nil) || c.mean != nil && math.Abs(*f.MeanAbs-*c.mean) > 1e-12 {
			t.Errorf("%s: %+v, want %d users and %v", c.feature, f, c.users, c.mean)
		}
	}
	if d.Features[0].Users != 2 {
		t.Errorf("the first feature is %+v, want one that differs for two users", d.Features[0])
	}
}

// Drift counts what the features themselves say, built once from a world with late rows and once from the same world where everything was known at once; and
// in that one nothing drifts.
func TestDriftEqualsTwoWorlds(t *testing.T) {
	late := synth.History(shop, 71, 150)
	prompt := slices.Clone(late)
	for i := range prompt {
		prompt[i].AvailableAt, prompt[i].KnownDay = prompt[i].TS, prompt[i].BizDay
	}
	engine, snap := world(t, shop, late)
	other, whole := world(t, shop, prompt)
	cut := day("2025-02-10")
	then, err := engine.Features(t.Context(), snap, cut)
	if err != nil {
		t.Fatal(err)
	}
	now, err := other.Features(t.Context(), whole, cut)
	if err != nil {
		t.Fatal(err)
	}
	row := func(table *features.Table, user string) string {
		i, ok := slices.BinarySearch(table.Users, user)
		if !ok {
			return ""
		}
		text := ""
		for _, c := range table.Columns {
			if c.Texts != nil {
				text += c.Texts[i] + "|"
			} else {
				text += fmt.Sprintf("%x|", c.Numbers[i])
			}
		}
		return text
	}
	users, changed, total := map[int]int{}, map[int]int{}, 0
	for _, u := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(then.Users, now.Users)))) {
		bucket := int(lake.UserBucket(u))
		users[bucket]++
		if row(then, u) != row(now, u) {
			changed[bucket]++
			total++
		}
	}
	if total < 10 {
		t.Fatalf("%d users changed: the world shows nothing", total)
	}
	for bucket := 1; bucket < lake.Buckets; bucket += 5 {
		d, err := engine.Drift(t.Context(), snap, cut, bucket)
		if err != nil {
			t.Fatal(err)
		}
		if d.Users != users[bucket] || d.Changed != changed[bucket] {
			t.Errorf("bucket %d: %d of %d users changed, want %d of %d", bucket, d.Changed, d.Users, changed[bucket], users[bucket])
		}
		if d, err = other.Drift(t.Context(), whole, cut, bucket); err != nil || d.Changed != 0 || d.ChangedShare != 0 || len(d.Features) != 0 {
			t.Errorf("bucket %d without late rows: %+v, %v; want no drift", bucket, d, err)
		}
	}
}
