package stats

import "math"

// BernoulliSequence is a confidence sequence for rates that holds exactly, however few the successes: the two-sided beta-binomial mixture of Howard,
// Ramdas, McAuliffe & Sekhon (2021, Annals of Statistics 49, prop. 7; their package confseq). Tuning is the number of units of one arm at which it
// is narrowest; it must be fixed before the data.
type BernoulliSequence struct {
	Alpha  float64
	Tuning float64
}

// logEvidence is the logarithm of the mixture martingale against a true rate p when x of n units succeeded.
func (s BernoulliSequence) logEvidence(x, n, p float64) float64 {
	q := 1 - p
	if !(p > 0 && q > 0) {
		if x > 0 && p <= 0 || x < n && q <= 0 {
			return math.Inf(1)
		}
		return 0
	}
	dev, v := x-n*p, p*q*n
	scale := -2*math.Log(s.Alpha) + math.Log1p(-2*math.Log(s.Alpha))
	rho := math.Max(p*q*s.Tuning/scale-p*q, 1e-3*p*q)
	return -(v+q*dev)/q*math.Log(p) - (v-p*dev)/p*math.Log(q) + lnBeta((rho+v-p*dev)/p, (rho+v+q*dev)/q) - lnBeta(rho/p, rho/q)
}

// Interval returns the rates that are not ruled out when x of n units succeeded. With no unit it is all of 0..1.
func (s BernoulliSequence) Interval(x, n int64) (low, high float64) {
	if n < 1 {
		return 0, 1
	}
	at := float64(x) / float64(n)
	out := func(p float64) bool { return s.logEvidence(float64(x), float64(n), p) > -math.Log(s.Alpha) }
	return bisect(out, 0, at), bisect(out, 1, at)
}

// bisect returns the last point on the way from inside to outside that is not out; outside itself when nothing is.
func bisect(out func(float64) bool, outside, inside float64) float64 {
	if !out(outside) {
		return outside
	}
	for range 100 {
		if mid := (outside + inside) / 2; out(mid) {
			outside = mid
		} else {
			inside = mid
		}
	}
	return inside
}

// Difference compares two rates x1/n1 − x2/n2 at any number of looks: the evidence of both arms multiplied, at the common rate that suits both best. p
// is below Alpha exactly when the interval leaves 0 out. Both n must be at least 1; NaN otherwise.
func (s BernoulliSequence) Difference(x1, n1, x2, n2 int64) (p, low, high float64) {
	if n1 < 1 || n2 < 1 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	a, an, b, bn := float64(x1), float64(n1), float64(x2), float64(n2)
	evidence := func(d float64) float64 { // the least evidence against p1 − p2 = d
		return minimum(func(p2 float64) float64 { return s.logEvidence(a, an, p2+d) + s.logEvidence(b, bn, p2) }, math.Max(0, -d), math.Min(1, 1-d))
	}
	at := a/an - b/bn
	out := func(d float64) bool { return evidence(d) > -math.Log(s.Alpha) }
	return math.Min(1, math.Exp(-evidence(0))), bisect(out, -1, at), bisect(out, 1, at)
}

// minimum is the least value of a function with one valley, by golden section.
func minimum(f func(float64) float64, lo, hi float64) float64 {
	const ratio = 0.6180339887498949
	a, b := hi-ratio*(hi-lo), lo+ratio*(hi-lo)
	fa, fb := f(a), f(b)
	for range 80 {
		if fa <= fb {
			hi, b, fb = b, a, fa
			a = hi - ratio*(hi-lo)
			fa = f(a)
			continue
		}
		lo, a, fa = a, b, fb
		b = lo + ratio*(hi-lo)
		fb = f(b)
	}
	return math.Min(fa, fb)
}
