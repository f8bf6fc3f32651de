package warehouse

import (
	"fmt"
	"strings"

	"perennial/features"
)

// Statement is one compiled query with a name for its reader. Its relations are `events`, or tiles, and what earlier statements kept.
type Statement struct{ Name, SQL string }

// Statements returns all that the compiler writes in a dialect: the features of one cut and of many, from raw events and from tiles, the tiles,
// the labels, and a plan's experiment summary.
func Statements(c *features.Catalog, d Dialect, shop features.Shop, plan MetricPlan, cuts ...features.Day) []Statement {
	p := compile(c)
	e := &Engine{o: Options{Catalog: c, Shop: shop}, p: p}
	covariates := []string{}
	for _, x := range plan.Covariates {
		covariates = append(covariates, x)
		if x != "pre_revenue" && x != "pre_orders" {
			covariates = append(covariates, x+"_missing")
		}
	}
	out := []Statement{
		{"tiles", p.tileQuery(d, "")},
		{"tile values", p.valueQuery(d, "")},
		{"training outcomes", e.windowQuery(d, cuts[len(cuts)-1], cuts[0])},
		{"features as of " + cuts[0].String(), (&query{p: p, d: d, shop: shop, cuts: cuts[:1]}).text()},
		{"features as of " + cuts[0].String() + ", with full knowledge", (&query{p: p, d: d, shop: shop, cuts: cuts[:1], late: true}).text()},
		{fmt.Sprintf("features of %d cuts, from tiles", len(cuts)), (&query{p: p, d: d, shop: shop, cuts: cuts, tiles: true}).text()},
		{"training part", e.partQuery(d, Build{Cuts: cuts, Labels: &LabelWindow{GapDays: 3, HorizonDays: 60, MaturityDays: 2}}, bucketRange(1, 4), false, "")},
		{fmt.Sprintf("features of %d cuts, from tiles, ids of a person folded", len(cuts)), (&query{p: p, d: d, shop: shop, cuts: cuts, tiles: true, fold: true}).text()},
		{"training part, ids of a person folded", e.partQuery(d, Build{Cuts: cuts, Labels: &LabelWindow{HorizonDays: 60}}, bucketRange(1, 4), true, "")},
		{"labels", e.labelQuery(d, cuts[len(cuts)-1], 30, cuts[0])},
		{"last complete day", dataDayQuery(d, cuts[0])},
		{"longest gap", gapQuery(d, cuts[0])},
		{"digest", digestQuery(d, cuts[0])},
		{"experiment: met", plan.unitQuery(d)},
		{"experiment: unit", units(d)},
		{"experiment: exposed", exposedQuery},
		{"experiment: outcome", e.outcomeQuery(d, &plan, covariates)},
		{"experiment: waterfall", totalsQuery(d, &plan)},
	}
	for _, lot := range plan.lots() {
		keys := make([]string, len(lot))
		for i, k := range lot {
			keys[i] = plan.Metrics[k].Key
		}
		out = append(out, Statement{"experiment: sums of " + strings.Join(keys, ", "), sumsQuery(d, &plan, lot, len(covariates))})
	}
	for i := range out {
		out[i].SQL = strings.TrimSpace(out[i].SQL)
	}
	return out
}
