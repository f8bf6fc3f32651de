package experiments

import (
	"perennial/experiments/stats"
)

func (j *judging) profitRow(rows []row, variant string) row {
	for _, r := range rows {
		if r.Metric == "profit" && r.Variant == variant {
			return r
		}
	}
	return j.compare("profit", variant, j.alpha, nil)
}

// money is the profit line of a variant.
func (j *judging) money(r row, variant string) Profit {
	p := Profit{Variant: variant, EstimatedShare: j.estimatedShare(variant), PerUnit: r.Effect, Low: r.EffectLow, High: r.EffectHigh, PValue: r.PValue, Total: None, IROI: None, IROILow: None, IROIHigh: None, Reason: r.Reason}
	if r.Reason != nil && *r.Reason == NotControlNearZero {
		p.Reason = nil // only the relative lift is unbounded
	}
	if r.Effect.Known() {
		p.Total = r.Effect * Num(r.N)
	}
	if !r.ok {
		return p
	}
	if v, low, high, ok := j.c.iroi(variant, stats.StudentUpper(j.alpha/2, r.pair.DF)); ok {
		p.IROI, p.IROILow, p.IROIHigh = Num(v), Num(low), Num(high)
	}
	return p
}

// waterfall is the parts of profit per matured unit of each variant.
func (j *judging) waterfall() map[string]map[string]float64 {
	out := map[string]map[string]float64{}
	for v, parts := range j.m.Waterfall {
		n := j.c.total("profit", v, "", "").N
		if n == 0 {
			continue
		}
		out[v] = map[string]float64{}
		for name, sum := range parts {
			out[v][name] = sum / float64(n)
		}
	}
	return out
}
