package experiments

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"perennial/experiments/stats"
)

// shopTable is n units of two arms, in clusters of six, with a past value that says something, a stratum that says more, and a rate.
func shopTable(n int, lift float64) *Table {
	rng := rand.New(rand.NewPCG(9, 4))
	t := &Table{Numbers: map[string][]float64{}, Labels: map[string][]string{}}
	add := func(name string, v float64) { t.Numbers[name] = append(t.Numbers[name], v) }
	var shop float64
	for i := range n {
		if i%6 == 0 {
			shop = rng.NormFloat64()
		}
		arm := []string{"A", "B"}[i/6%2]
		stage := rng.IntN(3)
		own := rng.NormFloat64()
		spend := 20 + 4*float64(stage) + 2*own + 2*shop + 2*rng.NormFloat64()
		if arm == "B" {
			spend += lift
		}
		paid := 0.0
		if rng.Float64() < 0.2 {
			paid = 1
		}
		t.Variant = append(t.Variant, arm)
		add("spend", spend)
		add("own", own)
		add("paid", paid)
		t.Labels["stage"] = append(t.Labels["stage"], fmt.Sprint("s", stage))
		t.Labels["shop"] = append(t.Labels["shop"], fmt.Sprint("shop", i/6))
	}
	return t
}

func analyzed(t *testing.T, table *Table, plan TablePlan, m TableMetric) Result {
	t.Helper()
	plan.Control, plan.Metrics = "A", []TableMetric{m}
	if plan.Alpha == 0 {
		plan.Alpha = 0.05
	}
	if plan.Inference == "" {
		plan.Inference = Fixed
	}
	doc, err := AnalyzeTable(table, plan)
	if err != nil {
		t.Fatal(err)
	}
	return doc.Results[0]
}

// Post-stratification is regression on indicators: the effect is Σ (n_k/n)·(ȳ_Tk − ȳ_Ck), worked out here by hand.
func TestPostStratification(t *testing.T) {
	table := shopTable(3000, 1)
	table.Labels["stage"][0] = "alone" // a stratum without a unit in the other arm stays with the largest
	got := analyzed(t, table, TablePlan{}, TableMetric{Column: "spend", Kind: KindMean, Strata: "stage"})
	table.Labels["stage"][0] = "s0"
	count, largest := map[string]int{}, ""
	for _, l := range table.Labels["stage"] {
		if count[l]++; count[l] > count[largest] {
			largest = l
		}
	}
	table.Labels["stage"][0] = largest
	type cell struct{ n, sum float64 }
	cells := map[string]*[2]cell{}
	for i, l := range table.Labels["stage"] {
		if cells[l] == nil {
			cells[l] = &[2]cell{}
		}
		c := &cells[l][i/6%2]
		c.n, c.sum = c.n+1, c.sum+table.Numbers["spend"][i]
	}
	want := 0.0
	for _, c := range cells {
		want += (c[0].n + c[1].n) / 3000 * (c[1].sum/c[1].n - c[0].sum/c[0].n)
	}
	if math.Abs(float64(got.Effect)-want) > 1e-9 {
		t.Errorf("effect %v, by hand %v", got.Effect, want)
	}
	if got.VarianceReduction < 0.4 || got.Method != "lin" {
		t.Errorf("strata remove %.3f of the variance, method %s", got.VarianceReduction, got.Method)
	}
}

// Clusters: the cluster-robust interval is wider than the naive one, covariates narrow it, and a quantile's variance grows by the cluster factor.
func TestClusters(t *testing.T) {
	table := shopTable(6000, 1)
	m := TableMetric{Column: "spend", Kind: KindMean}
	plain := analyzed(t, table, TablePlan{}, m)
	m.Cluster = "shop"
	robust := analyzed(t, table, TablePlan{}, m)
	m.Covariates, m.Strata = []string{"own"}, "stage"
	adjusted := analyzed(t, table, TablePlan{}, m)
	if robust.SE < 1.2*plain.SE || math.Abs(float64(robust.Effect-plain.Effect)) > 1e-9 {
		t.Errorf("cluster-robust %v ± %v beside %v ± %v", robust.Effect, robust.SE, plain.Effect, plain.SE)
	}
	if adjusted.SE > 0.9*robust.SE || adjusted.Method != "lin" || math.Abs(float64(adjusted.VarianceReduction)-(1-math.Pow(float64(adjusted.SE/robust.SE), 2))) > 1e-9 {
		t.Errorf("adjusted %v ± %v beside %v ± %v, removed %v", adjusted.Effect, adjusted.SE, robust.Effect, robust.SE, adjusted.VarianceReduction)
	}
	q := TableMetric{Column: "spend", Kind: KindQuantile, Quantile: 0.5}
	alone := analyzed(t, table, TablePlan{}, q)
	q.Cluster = "shop"
	grouped := analyzed(t, table, TablePlan{}, q)
	if grouped.Effect != alone.Effect || grouped.SE < 1.1*alone.SE || grouped.DF > 1000 || grouped.N != 3000 {
		t.Errorf("median by cluster %+v beside %+v", grouped, alone)
	}
}

// Quantiles of clustered units cover the truth: no effect, 60 clusters an arm, ICC 0.5. 400 runs, four standard errors: a false alarm once in 16,000 seeds.
func TestClusteredQuantileCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	missed := [2]int{}
	const runs = 400
	for range runs {
		table := &Table{Numbers: map[string][]float64{}, Labels: map[string][]string{}}
		for g := range 120 {
			shop := rng.NormFloat64()
			for range 5 + rng.IntN(11) {
				table.Variant = append(table.Variant, []string{"A", "B"}[g%2])
				table.Numbers["spend"] = append(table.Numbers["spend"], shop+rng.NormFloat64())
				table.Labels["shop"] = append(table.Labels["shop"], fmt.Sprint(g))
			}
		}
		for i, cluster := range []string{"shop", ""} {
			if r := analyzed(t, table, TablePlan{}, TableMetric{Column: "spend", Kind: KindQuantile, Quantile: 0.75, Cluster: cluster}); r.EffectLow > 0 || r.EffectHigh < 0 {
				missed[i]++
			}
		}
	}
	if rate := float64(missed[0]) / runs; rate < 0.05-4*0.011 || rate > 0.06+4*0.012 {
		t.Errorf("clustered quantile misses %.3f, want 0.05", rate)
	}
	if rate := float64(missed[1]) / runs; rate < 0.2 {
		t.Errorf("ignoring clusters misses only %.3f: the trap is gone", rate)
	}
}

// Equivalence, non-inferiority, the chance to end significant and the Bayesian line.
func TestExtendedAnswers(t *testing.T) {
	same, better := shopTable(6000, 0), shopTable(6000, 3)
	m := TableMetric{Column: "spend", Kind: KindMean, Equivalence: 0.05, Margin: 0.05}
	if r := analyzed(t, same, TablePlan{}, m); r.Equivalent.Verdict != "equivalent" || r.NonInferior.Verdict != "pass" || r.Equivalent.Low < r.EffectLow || r.Bayes.ChanceToBeat <= 0 {
		t.Errorf("no effect: %+v, %+v, %+v", r.Equivalent, r.NonInferior, r.Bayes)
	}
	if r := analyzed(t, better, TablePlan{}, m); r.Equivalent.Verdict != "different" || r.Bayes.ChanceToBeat < 0.999 || r.Bayes.LossIfShip > 1e-6 || r.Bayes.LossIfKeep < 2.5 {
		t.Errorf("twelve per cent more: %+v, %+v", r.Equivalent, r.Bayes)
	}
	m.Lower = true
	if r := analyzed(t, better, TablePlan{}, m); r.NonInferior.Verdict != "harm" || r.Bayes.ChanceToBeat > 0.001 || r.Bayes.LossIfShip < 2.5 {
		t.Errorf("lower is better: %+v, %+v", r.NonInferior, r.Bayes)
	}
	half := analyzed(t, same, TablePlan{Inference: GST, Looks: 10, Look: 5, MDE: 0.05}, TableMetric{Column: "spend", Kind: KindMean})
	if c := half.ConditionalPower; c == nil || c.Trend > 0.5 || c.Planned < 0.9 {
		t.Errorf("half way without an effect: %+v", half.ConditionalPower)
	}
	if r := analyzed(t, same, TablePlan{Inference: GST, Looks: 10, Look: 10}, TableMetric{Column: "spend", Kind: KindMean}); r.ConditionalPower != nil {
		t.Errorf("at the last look nothing is to come: %+v", r.ConditionalPower)
	}
}

// Few successes: an exact answer, one that is valid at every look where looks go on, and the belief from uniform priors.
func TestSmallCounts(t *testing.T) {
	table := &Table{Numbers: map[string][]float64{}}
	for i := range 800 {
		table.Variant = append(table.Variant, []string{"A", "B"}[i%2])
		paid := 0.0
		if i < 24 && i%2 == 1 || i == 0 {
			paid = 1
		}
		table.Numbers["paid"] = append(table.Numbers["paid"], paid)
	}
	m := TableMetric{Column: "paid", Kind: KindProportion}
	fixed := analyzed(t, table, TablePlan{}, m)
	open := analyzed(t, table, TablePlan{Inference: ConfSeq, Tuning: 1000}, m)
	if fixed.Exact.Method != "miettinen-nurminen" || open.Exact.Method != "beta-binomial" || open.Exact.PValue < fixed.Exact.PValue || open.Exact.Low > fixed.Exact.Low || open.Exact.High < fixed.Exact.High {
		t.Errorf("exact %+v, valid at every look %+v", fixed.Exact, open.Exact)
	}
	want := stats.RateBelief{Successes: 12, Units: 400, ControlSuccesses: 1, ControlUnits: 400}.ChanceToBeat()
	if float64(fixed.Bayes.ChanceToBeat) != want || want < 0.99 {
		t.Errorf("chance to beat %v, want %v", fixed.Bayes.ChanceToBeat, want)
	}
}

// Money in another unit changes no verdict: p, lift, shares and chances stay, effects scale.
func TestMoneyScale(t *testing.T) {
	for _, inference := range []string{Fixed, GST, ConfSeq} {
		for _, m := range []TableMetric{{Column: "spend", Kind: KindMean}, {Column: "spend", Kind: KindMean, Covariates: []string{"own"}, Strata: "stage", Margin: 0.02, Equivalence: 0.03},
			{Column: "spend", Kind: KindQuantile, Quantile: 0.9}, {Column: "spend", Kind: KindMean, CapQuantile: 0.99, Cluster: "shop"}, {Column: "spend", Kind: KindRatio, Denominator: "own2"}} {
			table := shopTable(1200, 0.7)
			for _, v := range table.Numbers["own"] {
				table.Numbers["own2"] = append(table.Numbers["own2"], v+10)
			}
			plan := TablePlan{Inference: inference, Looks: 7, Look: 4, Tuning: 1200}
			one := analyzed(t, table, plan, m)
			for i := range table.Numbers["spend"] {
				table.Numbers["spend"][i] *= 100
			}
			hundred := analyzed(t, table, plan, m)
			for name, pair := range map[string][2]Num{"p": {one.PValue, hundred.PValue}, "lift": {one.RelEffect, hundred.RelEffect}, "lift low": {one.RelLow, hundred.RelLow},
				"effect": {100 * one.Effect, hundred.Effect}, "high": {100 * one.EffectHigh, hundred.EffectHigh}, "chance": {one.Bayes.ChanceToBeat, hundred.Bayes.ChanceToBeat},
				"loss": {100 * one.Bayes.LossIfShip, hundred.Bayes.LossIfShip}, "reduction": {one.VarianceReduction, hundred.VarianceReduction}} {
				if math.Abs(float64(pair[0]-pair[1])) > 1e-9*math.Max(1e-3, math.Abs(float64(pair[0]))) {
					t.Errorf("%s %+v: %s is %v, × 100 %v", inference, m, name, pair[0], pair[1])
				}
			}
			if m.Margin > 0 && (one.NonInferior.Verdict != hundred.NonInferior.Verdict || one.Equivalent.Verdict != hundred.Equivalent.Verdict) {
				t.Errorf("%s: verdicts move with the unit of money", inference)
			}
		}
	}
}

// The report says each verdict and note in both languages, escapes what it shows, and runs no script.
func TestReport(t *testing.T) {
	table := shopTable(1200, 3)
	for i, v := range table.Variant {
		if v == "B" {
			table.Variant[i] = "<b>满减</b>"
		}
	}
	plan := TablePlan{Control: "A", Alpha: 0.05, Inference: GST, Looks: 10, Look: 4, MDE: 0.1, Segments: []string{"stage"}, Metrics: []TableMetric{
		{Column: "spend", Kind: KindMean, CapQuantile: 0.99, Equivalence: 0.02}, {Column: "spend", Kind: KindQuantile, Quantile: 0.5, Lower: true}, {Column: "paid", Kind: KindProportion, Margin: 0.1}}}
	doc, err := AnalyzeTable(table, plan)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := Report(doc, "orders.csv")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	for _, want := range []string{"&lt;b&gt;满减&lt;/b&gt;", "更好", "better", "更差", "worse", "不截尾", "without the cut", "Chance to end significant", "照目前的走势", "stage = s0", "<svg"} {
		if !strings.Contains(page, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	for _, bad := range []string{"<b>满减", "<script", "http:", "https:", "NaN", "%!"} {
		if strings.Contains(page, bad) {
			t.Errorf("the report holds %q", bad)
		}
	}
	for _, r := range doc.Results {
		for _, n := range r.Notes() {
			if n.ZH == "" || n.EN == "" || strings.Contains(n.ZH+n.EN, "%!") || strings.Contains(n.EN, "NaN") {
				t.Errorf("note %+v", n)
			}
		}
	}
}
