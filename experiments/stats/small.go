package stats

import "math"

// MiettinenNurminen compares two proportions x1/n1 − x2/n2 by the score test with the variance restricted to the null difference
// (Miettinen & Nurminen 1985, Statistics in Medicine 4). It returns the two-sided p of "no difference" and the interval that
// contains every difference not rejected at alpha. It stays sensible with no successes at all, where Welch has no variance. Both n must
// be at least 1; NaN otherwise.
func MiettinenNurminen(x1, n1, x2, n2 int64, alpha float64) (p, low, high float64) {
	if n1 < 1 || n2 < 1 || x1 < 0 || x2 < 0 || x1 > n1 || x2 > n2 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	s := func(d float64) float64 { return scoreDifference(float64(x1), float64(n1), float64(x2), float64(n2), d) }
	p = 2 * NormalSF(math.Abs(s(0)))
	z := NormalUpper(alpha / 2)
	point := float64(x1)/float64(n1) - float64(x2)/float64(n2)
	root := func(out, in float64) float64 { // |score| > z at out, <= z at in
		for range 100 {
			if mid := (out + in) / 2; math.Abs(s(mid)) > z {
				out = mid
			} else {
				in = mid
			}
		}
		return in
	}
	low, high = -1, 1
	if math.Abs(s(-1+1e-12)) > z {
		low = root(-1+1e-12, point)
	}
	if math.Abs(s(1-1e-12)) > z {
		high = root(1-1e-12, point)
	}
	return math.Min(1, p), low, high
}

// scoreDifference is the score statistic of p1 − p2 = d, with p2 the restricted maximum likelihood estimate: the root of a cubic that
// Farrington & Manning (1990) give in closed form.
func scoreDifference(x1, n1, x2, n2, d float64) float64 {
	p1, p2 := x1/n1, x2/n2
	if math.Abs(p1-p2-d) < 1e-15 {
		return 0
	}
	theta := n2 / n1
	a := 1 + theta
	b := -(1 + theta + p1 + theta*p2 + d*(theta+2))
	c := d*d + d*(2*p1+theta+1) + p1 + theta*p2
	e := -p1 * d * (1 + d)
	v := b*b*b/(27*a*a*a) - b*c/(6*a*a) + e/(2*a)
	u := math.Copysign(math.Sqrt(math.Max(0, b*b/(9*a*a)-c/(3*a))), v)
	w := math.Pi / 3
	if u != 0 {
		w = (math.Pi + math.Acos(math.Min(1, math.Max(-1, v/(u*u*u))))) / 3
	}
	r1 := 2*u*math.Cos(w) - b/(3*a)
	r1 = math.Min(1, math.Max(0, r1))
	r2 := math.Min(1, math.Max(0, r1-d))
	variance := (r1*(1-r1)/n1 + r2*(1-r2)/n2) * (n1 + n2) / (n1 + n2 - 1)
	if variance <= 0 {
		return math.Copysign(math.Inf(1), p1-p2-d)
	}
	return (p1 - p2 - d) / math.Sqrt(variance)
}
