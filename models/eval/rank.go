// Package eval judges predictions: ranking, probability and money metrics, calibration, bootstrap intervals and drift. It is pure
// arithmetic on slices. Every metric takes optional weights (nil means all 1), which is how the bootstrap reuses one sort.
//
// Conventions: a higher score means more of what the label counts; labels are 0 or 1 unless a function says value; a metric that the
// data do not define (one class only, no value at all, no rows) is NaN, which callers show as null with a reason, never as 0.
package eval

import (
	"cmp"
	"math"
	"slices"
)

// Ranking is a set of scores sorted once, best first, so that many metrics and many bootstrap weights cost one pass each.
type Ranking struct {
	score []float64
	order []int32 // row numbers, highest score first; equal scores keep their row order
}

// Rank sorts scores, highest first; ties keep their order. A NaN ranks last. The slice is kept, not copied.
func Rank(score []float64) *Ranking {
	order := make([]int32, len(score))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(score[b], score[a]) })
	return &Ranking{score: score, order: order}
}

// Order returns the row numbers, highest score first. The slice must not be modified.
func (r *Ranking) Order() []int32 { return r.order }

// AUC returns the probability that a random positive outranks a random negative, ties counting one half (Mann and Whitney 1947).
// It is NaN without both classes.
func (r *Ranking) AUC(y, w []float64) float64 {
	var above, area, positives, negatives float64 // positives seen above the current group of ties
	for i := 0; i < len(r.order); {
		var pos, neg float64
		j := i
		for ; j < len(r.order) && r.score[r.order[j]] == r.score[r.order[i]]; j++ {
			k := r.order[j]
			pos += y[k] * weight(w, k)
			neg += (1 - y[k]) * weight(w, k)
		}
		if j == i { // NaN equals nothing: a group of its own
			k := r.order[j]
			pos, neg, j = y[k]*weight(w, k), (1-y[k])*weight(w, k), i+1
		}
		area += neg * (above + pos/2)
		above += pos
		positives, negatives = positives+pos, negatives+neg
		i = j
	}
	return ratio(area, positives*negatives)
}

// AveragePrecision returns the area under the precision-recall steps, Σ (R_k − R_{k−1})·P_k over distinct scores. NaN without positives.
func (r *Ranking) AveragePrecision(y, w []float64) float64 {
	var seen, hits, sum float64
	for i := 0; i < len(r.order); {
		var pos, all float64
		j := i
		for ; j < len(r.order) && (j == i || r.score[r.order[j]] == r.score[r.order[i]]); j++ {
			k := r.order[j]
			pos += y[k] * weight(w, k)
			all += weight(w, k)
		}
		seen, hits = seen+all, hits+pos
		if seen > 0 {
			sum += pos * hits / seen
		}
		i = j
	}
	return ratio(sum, hits)
}

// Lift returns the mean label of the best share of rows divided by the mean label of all: 2.9 at 0.1 says that the first tenth holds
// 2.9 times its fair part. The number of rows is floor(n·share), at least one. NaN without rows or positives.
func (r *Ranking) Lift(y, w []float64, share float64) float64 {
	if len(r.order) == 0 {
		return math.NaN()
	}
	top := max(1, int(float64(len(r.order))*share))
	var hits, seen, positives, all float64
	for i, k := range r.order {
		v := weight(w, k)
		if i < top {
			hits, seen = hits+y[k]*v, seen+v
		}
		positives, all = positives+y[k]*v, all+v
	}
	return ratio(hits*all, seen*positives)
}

// TopShare returns the part of the total value that the best share of rows holds; the number of rows is floor(n·share). NaN when the
// total is 0.
func (r *Ranking) TopShare(value, w []float64, share float64) float64 {
	top := int(float64(len(r.order)) * share)
	var held, total float64
	for i, k := range r.order {
		v := value[k] * weight(w, k)
		if i < top {
			held += v
		}
		total += v
	}
	return ratio(held, total)
}

// Gini returns mean(captured value) − ½, the area between the gain curve and the diagonal, best score first. It is half of the Gini
// coefficient of Wang, Liu and Miao (2019, A Deep Probabilistic Model for Customer Lifetime Value Prediction); the half cancels in NGini.
func (r *Ranking) Gini(value, w []float64) float64 {
	var run, area, total, all float64
	for _, k := range r.order {
		total += value[k] * weight(w, k)
	}
	for _, k := range r.order {
		v := weight(w, k)
		run += value[k] * v
		area += v * run
		all += v
	}
	return ratio(area, total*all) - 0.5
}

// NGini returns the Gini of the ranking divided by that of the perfect ranking: 1 is perfect, 0 is random.
func (r *Ranking) NGini(value, w []float64) float64 {
	return ratio(r.Gini(value, w), Rank(value).Gini(value, w))
}

// Gain returns the captured share of value after each of bins equal parts of the rows: the points of the gain curve.
func (r *Ranking) Gain(value []float64, bins int) []float64 {
	curve := make([]float64, bins)
	var total float64
	for _, v := range value {
		total += v
	}
	var run float64
	next := 0
	for i, k := range r.order {
		run += value[k]
		for next < bins && i+1 >= (next+1)*len(r.order)/bins {
			curve[next] = ratio(run, total)
			next++
		}
	}
	return curve
}

// Ranks returns the mid-ranks of values, 1 for the smallest; equal values share the mean of their ranks.
func Ranks(values []float64) []float64 {
	order := make([]int32, len(values))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(values[a], values[b]) })
	ranks := make([]float64, len(values))
	for i := 0; i < len(order); {
		j := i + 1
		for j < len(order) && values[order[j]] == values[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			ranks[k] = float64(i+j+1) / 2
		}
		i = j
	}
	return ranks
}

// Spearman returns the correlation of the mid-ranks of a and b; NaN for fewer than two rows or a constant side.
func Spearman(a, b []float64) float64 { return Pearson(Ranks(a), Ranks(b)) }

// Pearson returns the correlation of a and b; NaN for fewer than two rows or a constant side.
func Pearson(a, b []float64) float64 {
	n := float64(len(a))
	var ma, mb float64
	for i := range a {
		ma, mb = ma+a[i]/n, mb+b[i]/n
	}
	var aa, bb, ab float64
	for i := range a {
		da, db := a[i]-ma, b[i]-mb
		aa, bb, ab = aa+da*da, bb+db*db, ab+da*db
	}
	return ratio(ab, math.Sqrt(aa*bb))
}

func weight(w []float64, k int32) float64 {
	if w == nil {
		return 1
	}
	return w[k]
}

// ratio is a/b, NaN when b is 0.
func ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}
