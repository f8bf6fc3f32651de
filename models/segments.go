package models

import (
	"math"
	"slices"

	"perennial/models/eval"
)

// minSegment is the fewest users of a segment that is judged on its own.
const minSegment = 50

// segmentRows returns the rows of each segment of a judged frame: by stage, by recency, and by thirds of past revenue.
func segmentRows(f *Frame) map[string][]int {
	out := map[string][]int{}
	for i := range f.Users {
		if f.Stage != nil {
			out["stage "+f.Stage[i]] = append(out["stage "+f.Stage[i]], i)
		}
	}
	if days := f.column("recency_days"); days != nil {
		for i, d := range days {
			if d <= recentDays {
				out["recency ≤ 90 days"] = append(out["recency ≤ 90 days"], i)
			} else {
				out["recency > 90 days"] = append(out["recency > 90 days"], i)
			}
		}
	}
	if money := f.column("revenue_all"); money != nil {
		known := slices.DeleteFunc(slices.Clone(money), math.IsNaN)
		slices.Sort(known)
		third, twoThirds := eval.Quantile(known, 1./3), eval.Quantile(known, 2./3)
		for i, v := range money {
			name := "value middle"
			switch {
			case !(v > third):
				name = "value low"
			case v > twoThirds:
				name = "value high"
			}
			out[name] = append(out[name], i)
		}
	}
	for name, rows := range out {
		if len(rows) < minSegment {
			delete(out, name)
		}
	}
	return out
}

// segments judges predictions within each segment.
func segments(target Target, p, y []float64, f *Frame) map[string]map[string]float64 {
	out := map[string]map[string]float64{}
	for name, rows := range segmentRows(f) {
		q, z := pick(p, rows), pick(y, rows)
		m := marks{"users": float64(len(rows)), "predicted": mean1(q), "observed": mean1(z)}
		if target == Churn {
			m["auc"], m["log_loss"], m["ece"] = eval.Rank(q).AUC(z, nil), eval.LogLoss(q, z, nil), eval.ECE(q, z)
		} else {
			m["ngini"], m["spearman"], m["mae"] = eval.Rank(q).NGini(z, nil), eval.Spearman(q, z), eval.MAE(q, z, nil)
		}
		out[name] = m.known()
	}
	return out
}

func pick(values []float64, rows []int) []float64 {
	out := make([]float64, len(rows))
	for k, i := range rows {
		out[k] = values[i]
	}
	return out
}

func mean1(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
