package synth

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"perennial/features"
)

// RandomCatalog writes a catalog of random measures, windows and well-typed expressions.
func RandomCatalog(rng *rand.Rand) string {
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
