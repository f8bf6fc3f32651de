package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"perennial/experiments"
	"perennial/experiments/stats"
)

const datasetShop = `timezone: Asia/Shanghai
currency: CNY
margin_rate: 0.3
clock: 2026-06-01T00:00:00Z
`

const datasetForm = `key: coupon
name: {zh: 优惠, en: Coupon}
control: none
start_at: 2026-04-01T00:00:00Z
variants:
  - {key: none, weight: 1}
  - {key: s100, weight: 1}
metrics: {primary: profit, secondary: [revenue, order_rate, aov, typical_order]}
plan: {inference: fixed, horizon_days: 14}
`

// trialEvents are exposures, orders and refunds of n customers, some of them not matured yet on 2026-06-01.
func trialEvents(n int, effect float64) string {
	rng := rand.New(rand.NewPCG(11, 7))
	var b strings.Builder
	put := func(kind, user string, at time.Time, more string) {
		fmt.Fprintf(&b, `{"event_id":"e%d","user_id":%q,"event":%q,"ts":%q%s}`+"\n", b.Len(), user, kind, at.Format(time.RFC3339), more)
	}
	for i := range n {
		user := fmt.Sprintf("c%04d", i)
		seen := time.Date(2026, 4, 10, 0, 0, 0, 0, time.UTC).Add(time.Duration(rng.IntN(45*24*3600)) * time.Second)
		variant := []string{"none", "s100"}[i%2]
		put("Order Completed", user, seen.AddDate(0, 0, -10), fmt.Sprintf(`,"value":%d.5,"order_id":"p%d"`, 20+rng.IntN(80), i))
		put("Experiment Viewed", user, seen, fmt.Sprintf(`,"properties":{"experiment":"coupon","variant":%q,"allocation_revision":1,"p_assign":0.5}`, variant))
		p := 0.4
		if variant == "s100" {
			p += effect
		}
		for k := range 2 {
			if rng.Float64() > p {
				continue
			}
			at := seen.Add(time.Duration(rng.IntN(20*24*3600)) * time.Second)
			order := fmt.Sprintf("o%d-%d", i, k)
			put("Order Completed", user, at, fmt.Sprintf(`,"value":%.2f,"order_id":%q,"commission":0.41`, 10+150*rng.Float64(), order))
			if rng.IntN(6) == 0 {
				put("Order Refunded", user, at.AddDate(0, 0, 2), fmt.Sprintf(`,"value":5.25,"order_id":%q`, order))
			}
		}
	}
	return b.String()
}

// Lift, interval and p recomputed from the exported rows equal the page to 1e-9, for means, shares, ratios and quantiles.
func TestDatasetRecomputesTheResults(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "perennial.yaml", datasetShop)
	write(t, "coupon.yaml", datasetForm)
	write(t, "events.ndjson", trialEvents(900, 0.2))
	must(t, "import", "events", "events.ndjson")
	q := 0.75
	a := &App{Data: "data", Out: io.Discard, Err: io.Discard}
	store, err := a.openStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.PutMetric(t.Context(), experiments.MetricDef{Key: "typical_order", Kind: "quantile", Event: "Order Completed", Field: "value", Quantile: &q}, "test"); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	must(t, "experiment", "create", "coupon.yaml")
	must(t, "experiment", "start", "coupon")
	var doc experiments.Results
	if err := json.Unmarshal([]byte(must(t, "experiment", "results", "coupon", "--json")), &doc); err != nil {
		t.Fatal(err)
	}
	must(t, "experiment", "dataset", "coupon", "--out", "rows.csv")
	f, err := os.Open("rows.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || int64(len(rows)-1) != doc.Source.Exposed || doc.Source.Matured == doc.Source.Exposed {
		t.Fatalf("%d rows (%v), want the %d exposed of which some are not matured", len(rows)-1, err, doc.Source.Exposed)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	values := func(metric, variant string) (out []float64) {
		for _, r := range rows[1:] {
			if text := r[column[metric]]; r[column["variant"]] == variant && text != "" {
				x, err := strconv.ParseFloat(text, 64)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, x)
			}
		}
		return out
	}
	estimate := func(metric, kind, variant string) (stats.Estimate, error) {
		switch kind {
		case "ratio":
			return stats.Ratio(stats.MomentsOf(values("revenue", variant), values("orders", variant)))
		case "quantile":
			x := values(metric, variant)
			slices.Sort(x)
			return stats.Quantile(x, q)
		}
		return stats.Mean(stats.MomentsOf(values(metric, variant)))
	}
	checked := 0
	for _, r := range doc.Results {
		te, err1 := estimate(r.Metric, r.Kind, "s100")
		ce, err2 := estimate(r.Metric, r.Kind, "none")
		p, err3 := stats.Welch(te, ce)
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatalf("%s: %v %v %v", r.Metric, err1, err2, err3)
		}
		c := stats.StudentUpper(0.025, p.DF)
		low, high, _ := p.Relative(c)
		for name, pair := range map[string][2]float64{"effect": {float64(r.Effect), p.Effect()}, "se": {float64(r.SE), p.SE()}, "p": {float64(r.PValue), stats.StudentTwoSided(p.T0(), p.DF)},
			"low": {float64(r.EffectLow), p.Effect() - c*p.SE()}, "rel_low": {float64(r.RelLow), low}, "rel_high": {float64(r.RelHigh), high}, "mean": {float64(r.Mean), te.Mean}} {
			if math.Abs(pair[0]-pair[1]) > 1e-9*math.Max(1e-3, math.Abs(pair[1])) {
				t.Errorf("%s %s = %v, recomputed %v", r.Metric, name, pair[0], pair[1])
			}
			checked++
		}
	}
	if checked != 5*7 {
		t.Errorf("%d numbers checked, want those of five metrics", checked)
	}
	if got := must(t, "experiment", "dataset", "coupon"); strings.Count(got, "\n") != len(rows)-1 || !json.Valid([]byte(strings.SplitN(got, "\n", 2)[0])) {
		t.Errorf("NDJSON has %d lines, want %d", strings.Count(got, "\n"), len(rows)-1)
	}
}
