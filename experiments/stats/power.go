package stats

import "math"

// Inflation returns by which factor a group-sequential design of equally spaced looks needs more units than the fixed one at the same
// two-sided α and power: the squared ratio of drifts, by integration.
func Inflation(looks int, alpha, power float64, s Spending) float64 {
	d := EqualLooks(looks, looks)
	d.Spending = s
	bounds, err := d.Boundaries(alpha)
	if err != nil {
		return math.NaN()
	}
	fixed := NormalUpper(alpha/2) + NormalUpper(1-power)
	lo, hi := 0.5*fixed, 3*fixed
	for range 60 {
		mid := (lo + hi) / 2
		if _, up, _ := d.Crossing(bounds, mid); up < power {
			lo = mid
		} else {
			hi = mid
		}
	}
	r := (lo + hi) / 2 / fixed
	return r * r
}
