package experiments

import (
	"math"

	"perennial/experiments/stats"
)

// Past is what a shop's own history says about a metric: its level, how much one unit varies, and how much of that is known before a test begins.
type Past struct {
	Units           int64 `json:"units"`
	Mean            Num   `json:"mean"`
	SD              Num   `json:"sd"`               // of one unit, clusters and ratios taken in
	AdjustedSD      Num   `json:"adjusted_sd"`      // what covariates and strata leave of it
	VarianceRemoved Num   `json:"variance_removed"` // 1 − (adjusted_sd/sd)²
	DesignEffect    Num   `json:"design_effect"`    // how many times as many units clusters cost; 1 without
	Cap             *Num  `json:"cap,omitempty"`
}

// PastOf reads a metric's past from a table in which nobody was treated; its variant column is ignored. It errs as a comparison of two halves of the
// table would: stats.ErrTooFew, stats.ErrZeroVariance.
func PastOf(t *Table, m TableMetric) (Past, error) {
	past := &Table{Variant: make([]string, len(t.Variant)), Numbers: t.Numbers, Labels: t.Labels}
	a := &tableAnalysis{t: past, plan: TablePlan{Alpha: 0.05, Inference: Fixed, Metrics: []TableMetric{m}}}
	if err := a.prepare(); err != nil {
		return Past{}, err
	}
	values := t.Numbers[m.Column]
	if cut := a.clips[0]; cut != nil {
		values = cut
	}
	v, err := a.arm(m, values, 0, nil)
	if err != nil {
		return Past{Units: v.n}, err
	}
	out := Past{Units: v.n, Mean: Num(v.mean), SD: Num(math.Sqrt(v.est.Var * float64(v.n))), DesignEffect: 1}
	if !(out.SD > 0) {
		return out, stats.ErrZeroVariance
	}
	if m.Cluster != "" {
		alone := m
		alone.Cluster = ""
		if w, err := a.arm(alone, values, 0, nil); err == nil && w.est.Var > 0 {
			out.DesignEffect = Num(v.est.Var / w.est.Var)
		}
	}
	if m.CapQuantile > 0 {
		c := Num(a.caps[0])
		out.Cap = &c
	}
	out.AdjustedSD = out.SD
	if m.adjusts() {
		removed, err := stats.Explained(stats.MomentsOf(a.regressors(m, values, [2][]int{a.known(m, values, 0, nil), nil})[0]...), m.Kind == KindRatio || m.Cluster != "")
		if err != nil {
			return out, err
		}
		out.VarianceRemoved = Num(removed)
		out.AdjustedSD = Num(float64(out.SD) * math.Sqrt(1-removed))
	}
	return out, nil
}
