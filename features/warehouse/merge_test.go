package warehouse_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

var mergeSeeds = flag.Uint64("merge-seeds", 14, "random shops and plans of TestMergeEqualsStatements")

// oddShop is a trial with what is rare in it: several exposures, orders and channels of one time in different segments, refunds that name no order, several
// or other users' orders, amounts that are NULL, zero, negative and enormous, other experiments, ids of every length.
func oddShop(r *rand.Rand, seed uint64, asOf time.Time) []features.Event {
	users := 30 + r.IntN(150)
	if seed == 0 {
		users = 2600 // several chunks a segment, and caps that are not the ends
	}
	all := synth.Trial(shop, seed, users, asOf)
	name := []func(string) string{
		func(s string) string { return s },
		func(s string) string { return "a-prefix-of-all-users-" + s },
		func(s string) string { return strings.Repeat(s[1:], 1+int(s[len(s)-1]-'0')%4) },
		func(s string) string { return "用户" + s[2:] + "\x00"[:int(s[1]-'0')%2] },
	}[r.IntN(4)]
	long := []string{"", "an-order-of-a-long-name-"}[r.IntN(2)]
	for i := range all {
		all[i].UserID = name(all[i].UserID)
		if all[i].OrderID != "" {
			all[i].OrderID = long + all[i].OrderID + long
		}
	}
	pick := func() *features.Event { return &all[r.IntN(len(all))] }
	of := func(name string) *features.Event {
		for {
			if e := pick(); e.Name == name {
				return e
			}
		}
	}
	put := func(e features.Event) {
		e.EventID = fmt.Sprintf("%c%06d", "cfz"[r.IntN(3)], len(all))
		e.BizDay, e.KnownDay, e.IDDay = shop.DayOf(e.TS), shop.DayOf(e.AvailableAt), shop.DayOf(e.TS)
		all = append(all, e)
	}
	amount := func() features.Amount {
		switch r.IntN(12) {
		case 0, 1:
			return features.Amount{}
		case 2:
			return features.AmountOf(0)
		case 3:
			return features.AmountOf(-features.Micros(r.IntN(9_000_000)))
		case 4:
			return features.AmountOf(features.Micros(r.Int64N(4_000_000_000)))
		}
		return features.AmountOf(features.Micros(r.IntN(90_000_000)))
	}
	jitter := func(t time.Time) time.Time {
		return t.Add([]time.Duration{0, 0, time.Microsecond, -time.Microsecond, time.Hour, 24 * time.Hour, -24 * time.Hour}[r.IntN(7)])
	}
	for range len(all) / 4 {
		e := *pick()
		e.TS = jitter(e.TS)
		switch r.IntN(11) {
		case 0, 8: // another exposure, often at the time of one or a whole number of days before the end
			if e = *of(features.ExperimentViewed); r.IntN(3) == 0 {
				e.TS = asOf.Add(-time.Duration(r.IntN(16)) * 24 * time.Hour)
			}
			raw := map[string]any{"experiment": []string{"promo", "promo", "second", "third"}[r.IntN(4)], "variant": []any{"a", "b", "x", nil}[r.IntN(4)], "allocation_revision": []any{1, 2, 3, 9, "7", nil}[r.IntN(6)]}
			if r.IntN(2) == 0 {
				raw["score_version"] = []any{"v1", "v2", "none", nil}[r.IntN(4)]
			}
			e.OrderID, e.Value = "", features.Amount{}
			e.Properties, _ = json.Marshal(raw)
			if r.IntN(4) == 0 {
				e.Cost = amount()
			}
		case 1:
			if r.IntN(2) == 0 {
				e = *of(features.OrderCompleted)
				e.TS = jitter(e.TS)
			}
			e.Name, e.Value, e.Margin = features.OrderRefunded, amount(), amount()
			if r.IntN(4) == 0 {
				e.OrderID = pick().OrderID
			}
		case 2, 9:
			if r.IntN(2) == 0 { // of the same order id
				e = *of(features.OrderCompleted)
			}
			e.Name, e.Value, e.Margin, e.Discount, e.Cost, e.PlatformDiscount, e.Commission = features.OrderCompleted, amount(), amount(), amount(), amount(), amount(), amount()
			if r.IntN(2) == 0 {
				e.CouponID = []string{"ca", "cb", "cx", ""}[r.IntN(4)]
			}
		case 3:
			e.Channel = []string{"app", "web", "shop", ""}[r.IntN(4)]
			e.TS = e.TS.AddDate(0, 0, -[]int{0, 0, 366, 340}[r.IntN(4)])
		case 4:
			e.Name, e.Cost = features.MessageSent, amount()
			e.Properties = []byte(`{"experiment":"promo"}`)
		case 5:
			e.Name = []string{features.PromotionViewed, features.ProductAdded, features.IdentityLinked, "Something Else"}[r.IntN(4)]
		case 6:
			e.UserID = ""
		case 7:
			e.AvailableAt = jitter(asOf)
		}
		put(e)
	}
	if r.IntN(8) == 0 {
		of(features.OrderCompleted).Value = features.AmountOf(features.Micros([]int64{1 << 48, -1 << 50, 1 << 60, math.MaxInt64}[r.IntN(4)]))
	}
	if r.IntN(8) == 0 { // more rows than the merge takes of one user
		e := *pick()
		for range 4200 {
			e.TS = e.TS.Add(time.Second)
			put(e)
		}
	}
	return all
}

// oddPlan is a random plan.
func oddPlan(r *rand.Rand, asOf time.Time, frozen string) warehouse.MetricPlan {
	some := func(p float64) bool { return r.Float64() < p }
	plan := warehouse.MetricPlan{Experiment: "promo", Start: asOf.Add(-time.Duration(10+r.IntN(30)) * 24 * time.Hour), AsOf: asOf, HorizonDays: 1 + r.IntN(12), RefundMaturityDays: r.IntN(12),
		Variants: [][]string{{"a", "b"}, {"a", "b", "c"}, {"b"}}[r.IntN(3)], ByDay: some(0.5),
		Strata:     []map[int64]string{nil, {}, {1: "1:1", 2: "1:1", 3: "9:1"}}[r.IntN(3)],
		Covariates: [][]string{nil, {"pre_revenue"}, {"pre_orders"}, {"pre_revenue", "pre_orders"}}[r.IntN(4)]}
	if some(0.4) {
		plan.SegmentBy = "channel"
	}
	if some(0.4) {
		plan.Frozen = frozen
		plan.Covariates = append(slices.Clone(plan.Covariates), [][]string{nil, {"churn_risk"}, {"ltv", "churn_risk"}}[r.IntN(3)]...)
		if some(0.5) {
			plan.SegmentBy = []string{"stage", "churn_decile", "ltv_decile"}[r.IntN(3)]
		}
	}
	if some(0.5) {
		plan.Coupons = []map[string]string{{"a": "ca", "b": "cb"}, {"b": "cb"}, {"a": "ca", "b": "ca"}}[r.IntN(3)]
	}
	if some(0.4) {
		plan.UnitCosts = map[string]int64{"cb": 3_500_000, "cx": 1}
	}
	if some(0.4) {
		plan.ScoreDays = map[string]features.Day{"v1": shop.DayOf(asOf) - 20, "v2": shop.DayOf(asOf) - 60}
	}
	if some(0.5) {
		plan.Others = [][]string{{"promo"}, {"second", "third"}, {"third", "promo", "second"}}[r.IntN(3)]
	}
	if some(0.3) {
		plan.Forced = []string{"u0003", "u0004", "a-prefix-of-all-users-u0007"}
	}
	fields := []string{"", "value", "margin", "discount", "platform_discount", "commission", "cost"}
	for i := range 1 + r.IntN(6) {
		m := warehouse.Metric{Key: fmt.Sprint("k", i), Kind: []string{"profit", "mean", "proportion", "ratio", "quantile", "retention", "novelty", "mean"}[r.IntN(8)], Field: fields[r.IntN(len(fields))],
			Event:      []string{"", "", features.OrderRefunded, features.ProductViewed, features.MessageSent, features.ExperimentViewed}[r.IntN(6)],
			WindowDays: []int{0, 0, 3, 15}[r.IntN(4)], Day: r.IntN(16), MinEvents: r.IntN(3), Quantile: 0.5, Ranks: func(n int64) []int64 { return []int64{1, (n + 1) / 2, n, 2, n + 1} }}
		if some(0.2) {
			m.CapMicros = 20_000_000
		}
		if some(0.2) {
			m.Filter = map[string][]string{"category": {"toys", "it's"}}
			if some(0.5) {
				m.Filter["channel"] = []string{"app", ""}
			}
		}
		if m.Kind == "ratio" {
			if m.Denominator = "k0"; i == 0 {
				m.Kind = "mean"
			}
		}
		plan.Metrics = append(plan.Metrics, m)
	}
	if some(0.6) {
		plan.Cap = plan.Metrics[r.IntN(len(plan.Metrics))].Key
	}
	return plan
}

// The merge of sorted segments measures what the statements do: everything but their text is equal, bit for bit, whatever stands in the segments and however
// they are cut into streams and ranges.
func TestMergeEqualsStatements(t *testing.T) {
	var merged, measured, matured, failed int
	for seed := range *mergeSeeds {
		r := rand.New(rand.NewPCG(seed, 5))
		asOf := time.Date(2026, 5, 20, 13, 0, 0, 0, time.UTC).Add(time.Duration(r.IntN(3)) * time.Microsecond)
		events := oddShop(r, seed, asOf)
		dir := t.TempDir()
		snap := &lake.Snapshot{}
		if r.IntN(3) == 0 {
			events, snap.Links = disguise(events, shop, func(string, int) features.Day { return shop.DayOf(asOf) - 20 })
		}
		var cuts []string
		byDay := r.IntN(2) == 0
		if byDay {
			days := map[features.Day]bool{}
			for _, e := range events {
				if !days[e.BizDay] {
					days[e.BizDay] = true
					cuts = append(cuts, fmt.Sprintf("biz_day = DATE '%s'", e.BizDay))
				}
			}
		} else {
			n := 1 + r.IntN(6)
			for i := range n {
				cuts = append(cuts, fmt.Sprintf("hash(event_id) %% %d = %d", n, i))
			}
			cuts = append(cuts, "FALSE")
		}
		for i, g := range segments(t, dir, events, cuts...) {
			g.Day, g.Rows = shop.DayOf(asOf), 1000
			if byDay {
				g.Day = day(strings.Trim(cuts[i][len("biz_day = DATE "):], "'"))
			}
			snap.Segments = append(snap.Segments, g)
		}
		if r.IntN(3) == 0 {
			snap.Tombstones = map[string]time.Time{"nobody": asOf}
			for range 5 {
				snap.Tombstones[events[r.IntN(len(events))].UserID] = asOf.Add(-time.Duration(r.IntN(40*24)) * time.Hour)
			}
		}
		engine := func() *warehouse.Engine {
			e, err := warehouse.Open(t.Context(), warehouse.Options{Dir: dir, Shop: shop, Memory: 512 << 20, Now: func() time.Time { return asOf.AddDate(1, 0, 0) }})
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		statements, merge := engine(), engine()
		frozen := filepath.Join(dir, "scores.parquet")
		if err := statements.WriteTable(t.Context(), oddScores(r, events), frozen); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			plan := oddPlan(r, asOf, frozen)
			measured++
			want, wrong := statements.Measure(t.Context(), snap, plan)
			merge.MergeAlways([]int{0, 0, 1, 3}[r.IntN(4)], []int{0, 1, 5}[r.IntN(3)])
			got, err := merge.Measure(t.Context(), snap, plan)
			if (err == nil) != (wrong == nil) {
				t.Fatalf("seed %d: merged with %v, by statements with %v", seed, err, wrong)
			}
			if err != nil {
				failed++
				continue
			}
			matured += int(want.Matured)
			if strings.Contains(strings.Join(got.SQL, "\n"), "a merge of the sorted segments") {
				merged++
			}
			got.SQL, want.SQL = nil, nil
			if a, b := document(t, got), document(t, want); a != b {
				t.Fatalf("seed %d: %+v\nmerged\n%s\nby statements\n%s", seed, plan, a, b)
			}
		}
		statements.Close()
		merge.Close()
	}
	t.Logf("%d measured, %d of them merged, %d refused, %d matured units", measured, merged, failed, matured)
	if merged+failed < measured || matured == 0 {
		t.Errorf("%d of %d merged, %d refused, %d matured units: the test tests nothing", merged, measured, failed, matured)
	}
}

// oddScores are frozen scores of half of the users, sorted, with values that some lack.
func oddScores(r *rand.Rand, events []features.Event) *features.Table {
	users := map[string]bool{}
	for _, e := range events {
		if e.UserID != "" && r.IntN(2) == 0 {
			users[e.UserID] = true
		}
	}
	table := &features.Table{}
	columns := []features.Column{{Name: "stage"}, {Name: "churn_decile", Integer: true}, {Name: "ltv_decile", Integer: true}, {Name: "churn_risk"}, {Name: "ltv"}}
	for user := range users {
		table.Users = append(table.Users, user)
	}
	slices.Sort(table.Users)
	for range table.Users {
		columns[0].Texts = append(columns[0].Texts, []string{"new", "loyal", "lost"}[r.IntN(3)])
		for i, x := range []float64{float64(r.IntN(10)), float64(r.IntN(10)), r.Float64(), r.Float64() * 1e4} {
			if r.IntN(6) == 0 {
				x = math.NaN()
			}
			columns[i+1].Numbers = append(columns[i+1].Numbers, x)
		}
	}
	table.Columns = columns
	return table
}

func document(t *testing.T, m *warehouse.Measured) string {
	t.Helper()
	raw, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// A merge says how far it is, and ends when its caller gives up in the middle.
func TestMergeGivesUp(t *testing.T) {
	asOf := time.Date(2026, 5, 20, 13, 0, 0, 0, time.UTC)
	e, snap := world(t, shop, synth.Trial(shop, 3, 400, asOf))
	snap.Segments[0].Day, snap.Segments[0].Rows = shop.DayOf(asOf), 1000
	e.MergeAlways(0, 1)
	plan := warehouse.MetricPlan{Experiment: "promo", Start: asOf.AddDate(0, 0, -40), AsOf: asOf, HorizonDays: 7, Variants: []string{"a", "b"}, Metrics: []warehouse.Metric{{Key: "orders", Kind: "mean"}}}
	last, all, told := 0, 0, 0
	plan.Progress = func(done, of int) {
		if done < last || done > of || all != 0 && of != all {
			t.Errorf("%d of %d rows after %d of %d", done, of, last, all)
		}
		last, all, told = done, of, told+1
	}
	m, err := e.Measure(t.Context(), snap, plan)
	if err != nil || m.Exposed == 0 || told < 2 || last != all {
		t.Fatalf("%v; told %d times, last %d of %d", err, told, last, all)
	}
	ctx, cancel := context.WithCancel(t.Context())
	plan.Progress = func(int, int) { cancel() }
	if _, err := e.Measure(ctx, snap, plan); !errors.Is(err, context.Canceled) {
		t.Errorf("a merge that was given up: %v", err)
	}
	plan.Progress = nil
	if again, err := e.Measure(t.Context(), snap, plan); err != nil || again.Exposed != m.Exposed {
		t.Errorf("after one that was given up: %v", err)
	}
}
