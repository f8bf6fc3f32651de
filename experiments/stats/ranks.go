package stats

import "math"

// quantilePoints are the three positions, counted from 0, that Quantile reads of n ascending values: the quantile and the ends of its binomial
// outer interval.
func quantilePoints(n int64, q float64) [3]float64 {
	half := 1.959963984540054 * math.Sqrt(q*(1-q)/float64(n))
	var at [3]float64
	for i, p := range []float64{q, q - half, q + half} {
		at[i] = min(max(p, 0), 1) * float64(n-1)
	}
	return at
}

// QuantileRanks returns the ranks, from 1 to n, of the order statistics that QuantileAt needs for n values; none for n < 1.
func QuantileRanks(n int64, q float64) []int64 {
	if n < 1 {
		return nil
	}
	var ranks []int64
	for _, at := range quantilePoints(n, q) {
		low := int64(at) + 1
		ranks = append(ranks, low, min(low+1, n))
	}
	return ranks
}

// QuantileAt is Quantile from the order statistics alone: value(r) is the r-th smallest of n values. It answers what Quantile does for all values.
func QuantileAt(n int64, q float64, value func(rank int64) float64) (Estimate, error) {
	if q <= 0 || q >= 1 {
		return Estimate{}, ErrDesign
	}
	if n < 2 || float64(n) <= 3.84*math.Max(q/(1-q), (1-q)/q) {
		return Estimate{N: n}, ErrTooFew
	}
	var read [3]float64
	for i, at := range quantilePoints(n, q) {
		low := int64(at)
		v := value(low + 1)
		if low+1 < n {
			v += (at - float64(low)) * (value(low+2) - v)
		}
		read[i] = v
	}
	sd := (read[2] - read[1]) / (2 * 1.959963984540054)
	return Estimate{n, read[0], sd * sd * float64(n-1) / float64(n), float64(n) - 1}, nil
}
