package warehouse_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
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

var shanghai = features.Shop{Location: time.FixedZone("CST", 8*3600), Currency: "CNY", MarginRate: 0.3}

// history is a small shop in Shanghai's zone with many late rows and everything the default catalog looks at.
func history(seed uint64, users int) []features.Event {
	c := synth.Config{Seed: seed, Users: users, Start: day("2024-01-01"), Days: 500, Shop: shanghai, OrderShape: 2, OrderRate: 3, Late: 0.1, Refunds: 0.2}
	rng := rand.New(rand.NewPCG(seed, 77))
	var all []features.Event
	for e := range synth.Shop(c) {
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

// catalogWorld is an engine over one catalog.
func catalogWorld(t testing.TB, c *features.Catalog, events []features.Event) (*warehouse.Engine, *lake.Snapshot) {
	t.Helper()
	dir := t.TempDir()
	e, err := warehouse.Open(t.Context(), warehouse.Options{Dir: dir, Shop: shanghai, Catalog: c, Memory: 512 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	half := len(events) / 2
	return e, &lake.Snapshot{Segments: []lake.Segment{segment(t, dir, events[:half]), segment(t, dir, events[half:])}}
}

// mustEqualPlain compares every cell of a table with the plain loop over the same events, bit for bit.
func mustEqualPlain(t *testing.T, c *features.Catalog, table *features.Table, events []features.Event) {
	t.Helper()
	byUser := map[string][]features.Event{}
	for _, e := range events {
		byUser[e.UserID] = append(byUser[e.UserID], e)
	}
	rows := 0
	for user, own := range byUser {
		want, stage, ok := c.Plain(shanghai, table.AsOf, own)
		row, found := slices.BinarySearch(table.Users, user)
		if ok != found {
			t.Errorf("%s at %s: in the table %v, want %v", user, table.AsOf, found, ok)
		}
		if !ok || !found {
			continue
		}
		rows++
		for i := range table.Columns {
			col := &table.Columns[i]
			if col.Texts != nil {
				if col.Texts[row] != string(stage) {
					t.Errorf("%s at %s: %s = %s, want %s", user, table.AsOf, col.Name, col.Texts[row], stage)
				}
				continue
			}
			if got, w := col.Numbers[row], want[col.Name]; got != w && !(math.IsNaN(got) && math.IsNaN(w)) {
				t.Errorf("%s at %s: %s = %v, want %v", user, table.AsOf, col.Name, got, w)
			}
		}
	}
	if rows != len(table.Users) || !slices.IsSorted(table.Users) {
		t.Errorf("%d rows at %s, want %d, sorted", len(table.Users), table.AsOf, rows)
	}
}

func TestFeaturesEqualPlainLoop(t *testing.T) {
	events := history(3, 120)
	c := features.DefaultCatalog()
	engine, snap := catalogWorld(t, c, events)
	for _, cut := range []string{"2024-01-01", "2024-03-02", "2024-12-31", "2025-05-15"} {
		table, err := engine.Features(t.Context(), snap, day(cut))
		if err != nil {
			t.Fatal(err)
		}
		if len(table.Columns) != len(c.Columns()) {
			t.Errorf("%d columns, want %d", len(table.Columns), len(c.Columns()))
		}
		mustEqualPlain(t, c, table, events)
	}
}

// TestFeaturesSeeNoFuture deletes what happened or was learned at and after the cut, and appends late rows: the bytes stay.
func TestFeaturesSeeNoFuture(t *testing.T) {
	events := history(4, 80)
	cut := day("2024-11-11")
	var past []features.Event
	for _, e := range events {
		if e.BizDay < cut && e.KnownDay < cut {
			past = append(past, e)
		}
	}
	if len(past) == len(events) || len(past) == 0 {
		t.Fatal("the cut does not divide the history")
	}
	c := features.DefaultCatalog()
	var files [][]byte
	for _, list := range [][]features.Event{events, past} {
		engine, snap := catalogWorld(t, c, list)
		table, err := engine.Features(t.Context(), snap, cut)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "features.csv")
		if err := engine.WriteTable(t.Context(), table, path); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, raw)
		digest, n, err := engine.Digest(t.Context(), snap, cut)
		if err != nil || int(n) != len(past) {
			t.Errorf("digest %s over %d events (%v), want %d", digest, n, err, len(past))
		}
		files = append(files, []byte(digest))
	}
	if !bytes.Equal(files[0], files[2]) || !bytes.Equal(files[1], files[3]) {
		t.Error("features or digest at the cut differ when the future is not there")
	}
}

// randomCatalog writes a catalog of random measures, windows and well-typed expressions.
func randomCatalog(rng *rand.Rand) string {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	var b strings.Builder
	b.WriteString("version: 1\nmeasures:\n")
	aggs := []string{"count", "sum", "min", "max", "first_time", "last_time", "days", "distinct", "top", "first_day", "last_day", "previous_day", "first_day_sum", "gap_squares", "longest_gap"}
	kinds := map[string]string{"sum": "money", "min": "money", "max": "money", "first_day_sum": "money", "first_time": "time", "last_time": "time", "first_day": "day", "last_day": "day", "previous_day": "day"}
	ofKind := map[string][]string{"count": {"orders_all"}, "money": {"revenue_all"}, "time": {"last_order"}, "day": {"order_last_day"}}
	var declared strings.Builder
	for i, agg := range aggs {
		name := fmt.Sprintf("m%d", i)
		fmt.Fprintf(&b, "  %s: {agg: %s", name, agg)
		if rng.IntN(4) > 0 {
			fmt.Fprintf(&b, ", event: %s", pick("Order Completed", "[Order Completed, Order Refunded]", "Session Started", "Product Viewed", "[Message Sent]"))
		}
		switch agg {
		case "sum", "min", "max", "first_day_sum":
			fmt.Fprintf(&b, ", field: %s", pick("value", "margin", "discount", "cost"))
		case "distinct", "top":
			fmt.Fprintf(&b, ", field: %s", pick("category", "channel", "product_id", "coupon_id"))
		}
		if rng.IntN(3) == 0 {
			fmt.Fprintf(&b, ", where: {category: [%s, toys]}", pick("food", "home", "it's"))
		}
		if rng.IntN(4) == 0 {
			fmt.Fprintf(&b, ", %s", pick("positive: discount", "has: coupon_id", "lacks: coupon_id", "has: session_id"))
		}
		b.WriteString("}\n")
		windows := 1 + rng.IntN(3)
		if features.Agg(agg).Ordered() {
			windows = 1
		}
		for w := range windows {
			window, offset := fmt.Sprint(1+rng.IntN(300)), 0
			if features.Agg(agg).Ordered() || rng.IntN(3) == 0 {
				window = "all"
			}
			if !features.Agg(agg).Ordered() && rng.IntN(3) == 0 {
				offset = rng.IntN(100)
			}
			kind := kinds[agg]
			if kind == "" {
				kind = "count"
			}
			f := fmt.Sprintf("f%d_%d", i, w)
			hidden := kind == "time" || kind == "day" || rng.IntN(4) == 0
			fmt.Fprintf(&declared, "  - {name: %s, measure: %s, window: %s, offset: %d, hidden: %v}\n", f, name, window, offset, hidden)
			ofKind[kind] = append(ofKind[kind], f)
		}
	}
	var number func(depth int) string
	money := func() string { return pick(ofKind["money"]...) }
	count := func() string { return pick(ofKind["count"]...) }
	condition := func() string {
		return pick(count()+" > "+fmt.Sprint(rng.IntN(5)), money()+" <= "+money(), "!("+count()+" == 1) && "+money()+" > 0", count()+" != 2 || "+money()+" >= money(50)")
	}
	number = func(depth int) string {
		if depth == 0 {
			return pick(count(), fmt.Sprintf("%d.5", rng.IntN(9)), "div("+money()+", "+money()+")", "days_since("+pick(ofKind["time"]...)+")", "days_since("+pick(ofKind["day"]...)+")",
				"days_between("+pick(ofKind["time"]...)+", "+pick(ofKind["time"]...)+")")
		}
		a, c := number(depth-1), number(depth-1)
		return pick("("+a+" + "+c+")", "("+a+" - "+c+")", a+" * "+c, "div("+a+", "+c+")", "("+a+") / ("+c+")", "-("+a+")", "abs("+a+")", "sqrt("+a+")", "min("+a+", "+c+")", "max("+a+", "+c+")",
			"coalesce("+a+", "+c+")", "if("+condition()+", "+a+", "+c+")")
	}
	b.WriteString("features:\n" + declared.String())
	for i := range 12 {
		fmt.Fprintf(&b, "  - {name: x%d, expr: %q}\n", i, number(1+rng.IntN(3)))
	}
	fmt.Fprintf(&b, "  - {name: y0, expr: %q}\n  - {name: y1, expr: %q}\n", "("+money()+" - "+money()+") * 0.5", "if("+condition()+", "+money()+", div("+money()+", "+count()+"))")
	if rng.IntN(2) == 0 {
		fmt.Fprintf(&b, "population: %q\n", condition())
	}
	return b.String()
}

func TestRandomCatalogsEqualPlainLoop(t *testing.T) {
	events := history(8, 60)
	for seed := range uint64(5) {
		text := randomCatalog(rand.New(rand.NewPCG(seed, 3)))
		c, err := features.ParseCatalog([]byte(text))
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		engine, snap := catalogWorld(t, c, events)
		table, err := engine.Features(t.Context(), snap, day("2024-12-01"))
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		mustEqualPlain(t, c, table, events)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, text)
		}
	}
}
