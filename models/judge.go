package models

import (
	"fmt"
	"math"

	"perennial/models/eval"
)

// marks are metrics by name; NaN where the data do not define one.
type marks map[string]float64

// known returns the marks that are numbers.
func (m marks) known() map[string]float64 {
	out := map[string]float64{}
	for k, v := range m {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			out[k] = v
		}
	}
	return out
}

// pointers returns all marks, null where undefined.
func (m marks) pointers() map[string]*float64 {
	out := map[string]*float64{}
	for k, v := range m {
		out[k] = number(v)
	}
	return out
}

func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// recentDays is where a model must earn its keep: recency alone ranks the long gone well, and says little about the others.
const recentDays = 90

// judge computes the marks of CONTRACT §4 for predictions p.
func judge(target Target, p []float64, t truth) marks {
	r := eval.Rank(p)
	if target == LTV {
		return marks{"ngini": r.Gini(t.y, t.w) / eval.Rank(t.y).Gini(t.y, t.w), "spearman": eval.Spearman(p, t.y), "top_decile_share": r.TopShare(t.y, t.w, 0.1),
			"mae": eval.MAE(p, t.y, t.w), "rmse": eval.RMSE(p, t.y), "bias": eval.SumRatio(p, t.y, t.w) - 1,
			"calibration": eval.SumRatio(p, t.y, t.w), "decile_mape": eval.DecileMAPE(p, t.y)}
	}
	line := eval.Recalibrate(p, t.y)
	m := marks{"auc": r.AUC(t.y, t.w), "pr_auc": r.AveragePrecision(t.y, t.w), "log_loss": eval.LogLoss(p, t.y, t.w), "brier": eval.Brier(p, t.y, t.w),
		"ece": eval.ECE(p, t.y), "lift_5": r.Lift(t.y, t.w, 0.05), "lift_10": r.Lift(t.y, t.w, 0.1), "lift_20": r.Lift(t.y, t.w, 0.2),
		"prior_shift": line.Shift, "calibration_intercept": line.Intercept, "calibration_slope": line.Slope}
	if near := recent(p, t); near != nil {
		m["auc_recency_90"] = eval.Rank(near.p).AUC(near.y, nil)
		m["log_loss_recency_90"] = eval.LogLoss(near.p, near.y, nil)
		m["ece_recency_90"] = eval.ECE(near.p, near.y)
	}
	return m
}

type pair struct{ p, y []float64 }

// recent returns the rows with an order within recentDays before the cut, nil when the catalog has no recency.
func recent(p []float64, t truth) *pair {
	if t.recency == nil {
		return nil
	}
	var near pair
	for i, days := range t.recency {
		if days <= recentDays {
			near.p, near.y = append(near.p, p[i]), append(near.y, t.y[i])
		}
	}
	return &near
}

// merit is what candidates compete on: AUC for churn, the normalised Gini for LTV. w weights rows for the bootstrap.
func merit(target Target, j *judged, y, w []float64) float64 {
	r := eval.Rank(j.p)
	var v float64
	if target == LTV {
		v = r.Gini(y, w) / eval.Rank(y).Gini(y, w)
	} else {
		v = r.AUC(y, w)
	}
	if math.IsNaN(v) {
		return math.Inf(-1)
	}
	return v
}

type difference struct{ mean, se float64 }

// reps is how many bootstrap replicates an interval takes: fewer where rows abound and the interval is narrow anyway.
func reps(n int) int {
	switch {
	case n > 200_000:
		return 40
	case n > 20_000:
		return 100
	}
	return 200
}

// weighted multiplies the bootstrap's weights by those of the rows; either may be nil, which means all 1.
func weighted(w, base []float64) []float64 {
	switch {
	case base == nil:
		return w
	case w == nil:
		return base
	}
	out := make([]float64, len(w))
	for i := range out {
		out[i] = w[i] * base[i]
	}
	return out
}

// gap is the difference in merit of two candidates on the same rows and its paired bootstrap standard error. base weights the rows.
func (t *trial) gap(a, b *judged, y, base []float64) difference {
	ra, rb := eval.Rank(a.p), eval.Rank(b.p)
	perfect := eval.Rank(y)
	metric := func(w []float64) float64 {
		w = weighted(w, base)
		if t.plan.Target == LTV {
			return (ra.Gini(y, w) - rb.Gini(y, w)) / perfect.Gini(y, w)
		}
		return ra.AUC(y, w) - rb.AUC(y, w)
	}
	return difference{metric(nil), eval.Bootstrap(len(y), reps(len(y)), t.plan.Seed, metric).SE}
}

// intervals adds 95 % bootstrap intervals of the headline metrics over the test users.
func intervals(target Target, p []float64, t truth, seed uint64, into map[string]*float64) {
	r := eval.Rank(p)
	n := len(p)
	add := func(name string, metric func(w []float64) float64) {
		b := eval.Bootstrap(n, reps(n), seed, func(w []float64) float64 { return metric(weighted(w, t.w)) })
		into[name+"_low"], into[name+"_high"] = number(b.Low), number(b.High)
	}
	if target == LTV {
		perfect := eval.Rank(t.y)
		add("ngini", func(w []float64) float64 { return r.Gini(t.y, w) / perfect.Gini(t.y, w) })
		add("top_decile_share", func(w []float64) float64 { return r.TopShare(t.y, w, 0.1) })
		add("calibration", func(w []float64) float64 { return eval.SumRatio(p, t.y, w) })
		add("mae", func(w []float64) float64 { return eval.MAE(p, t.y, w) })
		return
	}
	add("auc", func(w []float64) float64 { return r.AUC(t.y, w) })
	add("log_loss", func(w []float64) float64 { return eval.LogLoss(p, t.y, w) })
	add("brier", func(w []float64) float64 { return eval.Brier(p, t.y, w) })
}

// coverage adds the share of users who spent at most their unwidened P90 and at most their P10.
func coverage(r Ranger, f *Frame, y []float64, into map[string]*float64) {
	ranges, err := r.Range(f)
	if err != nil {
		return // a model without a spread has no coverage to report
	}
	low, high := make([]float64, len(ranges)), make([]float64, len(ranges))
	for i, g := range ranges {
		low[i], high[i] = g.Low, g.High
	}
	into["p90_coverage"], into["p10_coverage"] = number(eval.Within(high, y)), number(eval.Within(low, y))
}

// calibration is ten equal bins of the judged rows by prediction.
func calibration(p, y []float64) []CalibrationBin {
	out := []CalibrationBin{}
	for _, b := range eval.Bins(p, y, 10) {
		out = append(out, CalibrationBin{b.Predicted, b.Observed, b.N})
	}
	return out
}

// remarks says in words what a reader of the numbers would want to ask.
func remarks(target Target, chosen *judged, rules []*judged) []string {
	var notes []string
	for _, r := range rules {
		if target == Churn && r.name == "recency" {
			notes = append(notes, fmt.Sprintf("recency alone ranks with AUC %.4f, this model with %.4f; among users who ordered within %d days recency has %.4f, this model %.4f",
				r.marks["auc"], chosen.marks["auc"], recentDays, r.marks["auc_recency_90"], chosen.marks["auc_recency_90"]))
		}
		if target == LTV && r.name == "past_revenue" {
			notes = append(notes, fmt.Sprintf("past revenue alone holds %.4f of the horizon's revenue in its top tenth, this model %.4f; the model's total is %+.1f %% of what was spent",
				r.marks["top_decile_share"], chosen.marks["top_decile_share"], 100*chosen.marks["bias"]))
		}
	}
	if target == Churn && math.Abs(chosen.marks["prior_shift"]) > 0.05 {
		notes = append(notes, fmt.Sprintf("the base rate moved between the cuts: predicted minus observed is %+.3f on average, slope %.2f; target by decile where the level matters",
			chosen.marks["prior_shift"], chosen.marks["calibration_slope"]))
	}
	return notes
}
