package features_test

import (
	"slices"
	"strings"
	"testing"

	"perennial/features"
)

func TestDefaultCatalog(t *testing.T) {
	c := features.DefaultCatalog()
	names := map[string]bool{}
	for _, f := range c.Columns() {
		names[f.Name] = true
		if f.Label.ZH == "" || f.Label.EN == "" || f.Unit == "" && !f.Stage {
			t.Errorf("%s has no name in both languages, or no unit", f.Name)
		}
	}
	if len(names) < 45 {
		t.Errorf("%d features, want at least 45", len(names))
	}
	// The columns that CONTRACT §4 promises.
	for _, want := range strings.Fields(`orders_30d orders_90d orders_180d orders_365d orders_all revenue_30d revenue_90d revenue_180d revenue_365d revenue_all aov_all
		max_order_all recency_days tenure_days frequency recency T monetary ipt_mean recency_ratio trend_90 refunds_all refund_share_all discount_share_all
		sessions_7d sessions_30d sessions_90d active_days_30 inactive_days stage`) {
		if !names[want] {
			t.Errorf("the catalog lacks %s", want)
		}
	}
	f, _ := c.Get("recency_ratio")
	if got, want := c.Uses(f), []string{"ipt_mean", "recency_days"}; !slices.Equal(got, want) {
		t.Errorf("recency_ratio uses %v, want %v", got, want)
	}
}

func TestCatalogOfAShop(t *testing.T) {
	c, err := features.ParseCatalog([]byte(`version: 1
measures:
  toys: {agg: sum, event: Order Completed, field: value, where: {category: [toys]}}
features:
  - {name: toys, measure: toys, windows: [90, all], unit: money, zh: 玩具消费, en: Toys}
  - {name: toy_share, expr: "div(toys_all, revenue_all)", unit: share, zh: 玩具占比, en: Share of toys}
  - {name: aov_all, expr: "div(revenue_all - refunded_all, orders_all)", unit: money, zh: 净客单价, en: Net order value}
population: orders_all > 1
`))
	if err != nil {
		t.Fatal(err)
	}
	base := features.DefaultCatalog()
	if got, want := len(c.Columns()), len(base.Columns())+3; got != want {
		t.Errorf("%d columns, want %d: the own aov_all replaces ours", got, want)
	}
	if c.Hash() == base.Hash() {
		t.Error("another catalog has the same hash")
	}
	order := func(id string, category string, value features.Micros) features.Event {
		return features.Event{EventID: id, UserID: "u", Name: features.OrderCompleted, Category: category, Value: features.AmountOf(value), BizDay: 100, KnownDay: 100}
	}
	values, stage, ok := c.Plain(features.Shop{}, 110, []features.Event{order("1", "toys", 30_000_000), order("2", "food", 10_000_000)})
	if !ok || values["toys_90d"] != 30 || values["toy_share"] != 0.75 || values["aov_all"] != 20 || stage != features.Active {
		t.Errorf("Plain = %v %v %v, want toys 30, share 0.75, aov 20, active", values["toys_90d"], values["toy_share"], stage)
	}
	if _, _, ok := c.Plain(features.Shop{}, 110, []features.Event{order("1", "toys", 1)}); ok {
		t.Error("a user with one order is of a population of two and more")
	}
}

func TestCatalogFaults(t *testing.T) {
	head := "version: 1\nfeatures:\n"
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown key", "version: 1\nfoo: 3\n", `line 2, column 1: unknown field "foo"`},
		{"broken yaml", "a: [", "line 1, column 4"},
		{"version", "version: 2\n", "catalog.version: line 1, column 10: 2 is not 1"},
		{"sum of money and counts", head + "  - {name: x, expr: revenue_all + orders_all}\n", "catalog.features[0].expr: line 3, column 33: money + a count do not go together"},
		{"unknown feature", head + "  - name: y\n    expr: \"div(revenu_all, orders_all)\"\n", `line 4, column 16: there is no feature "revenu_all"; did you mean revenue_all?`},
		{"unknown measure", head + "  - {name: z, measure: orderz, windows: [3]}\n", `there is no measure "orderz"; did you mean orders?`},
		{"window", head + "  - {name: w, measure: orders, windows: [3, 0]}\n", "catalog.features[0].windows[1]: line 3, column 45: 0 is neither a number of days"},
		{"loop", head + "  - {name: a1, expr: a2 + 1}\n  - {name: a2, expr: a1}\n", "stand on each other"},
		{"not an expression", head + "  - {name: q, expr: orders_all orders_all}\n", "not an expression"},
		{"function", head + "  - {name: q, expr: system(orders_all)}\n", "there is no function system"},
		{"arity", head + "  - {name: q, expr: div(orders_all)}\n", "div takes 2 values, not 1"},
		{"text in an expression", head + "  - {name: q, expr: \"orders_all == \\\"x\\\"\"}\n", "is not a number"},
		{"time as a column", head + "  - {name: l, expr: last_order}\n", "which no column can hold"},
		{"twice", head + "  - {name: q, expr: orders_all}\n  - {name: q, expr: orders_all}\n", "q stands twice"},
		{"case", head + "  - {name: Orders_All, expr: orders_all + 1}\n", "differs from orders_all by case alone"},
		{"aggregate", "version: 1\nmeasures:\n  m: {agg: avg}\n", `catalog.measures.m.agg: line 3, column 12: "avg" is no aggregate`},
		{"field", "version: 1\nmeasures:\n  m: {agg: sum, field: price}\n", "sum needs a money field"},
		{"population", "version: 1\npopulation: orders_all\n", "catalog.population: line 2, column 13: is a count, not a condition"},
		{"ordered window", head + "  - {name: q, measure: longest_gap, window: 30}\n", "its window is `all`"},
		{"stage rules", "version: 1\nstage: {new_days: 90, declining_days: 30}\n", "needs 0 < new_days"},
	} {
		_, err := features.ParseCatalog([]byte(c.yaml))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: ParseCatalog = %v, want %q in it", c.name, err, c.want)
		}
	}
}

func FuzzParseCatalog(f *testing.F) {
	f.Add("div(orders_all, 2) + 1")
	f.Add("if(orders_all > 2 && !(revenue_all == 0), days_since(last_order), sqrt(3))")
	f.Add("a[")
	f.Fuzz(func(t *testing.T, expr string) {
		quoted := "\"" + strings.NewReplacer("\\", "\\\\", "\"", "\\\"", "\n", "\\n").Replace(expr) + "\""
		features.ParseCatalog([]byte("version: 1\nfeatures:\n  - {name: x, expr: " + quoted + "}\n")) // no panic, whatever it says
	})
}
