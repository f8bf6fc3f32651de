package stats

import "math"

// stirling returns lnΓ(x) − [(x − ½)·ln x − x + ½·ln 2π] for x >= 10 (Abramowitz & Stegun 6.1.41; error below 1e-16).
func stirling(x float64) float64 {
	r := 1 / (x * x)
	return (1.0/12 + r*(-1.0/360+r*(1.0/1260+r*(-1.0/1680+r*(1.0/1188-r*691.0/360360))))) / x
}

// lnBeta returns ln B(a, b) for a, b > 0. Differences of large lnΓ are formed analytically (DiDonato & Morris 1992, TOMS 708), so that
// 10⁹ degrees of freedom cost no digits.
func lnBeta(a, b float64) float64 {
	p, q := math.Min(a, b), math.Max(a, b)
	switch {
	case p >= 10:
		return 0.5*math.Log(2*math.Pi) + stirling(p) + stirling(q) - stirling(p+q) -
			(p-0.5)*math.Log1p(q/p) - (q-0.5)*math.Log1p(p/q) - 0.5*math.Log(p+q)
	case q >= 10:
		g, _ := math.Lgamma(p)
		return g + stirling(q) - stirling(p+q) - (q-0.5)*math.Log1p(p/q) - p*math.Log(p+q) + p
	}
	gp, _ := math.Lgamma(p)
	gq, _ := math.Lgamma(q)
	gs, _ := math.Lgamma(p + q)
	return gp + gq - gs
}

// betaTail returns I_x(a, b) given x and y = 1 − x, both with full precision, and lnX, lnY their logarithms. It is exact in relative
// terms where x is below the mean, that is, for a tail; there it may be as small as 1e-308.
func betaTail(a, b, x, y, lnX, lnY float64) float64 {
	switch {
	case x <= 0:
		return 0
	case y <= 0:
		return 1
	case x > (a+1)/(a+b+2):
		return 1 - betaTail(b, a, y, x, lnY, lnX)
	}
	return math.Exp(a*lnX+b*lnY-lnBeta(a, b)) * betaFraction(a, b, x) / a
}

// BetaInc returns the regularised incomplete beta function I_x(a, b) for a, b > 0 and x in [0, 1].
func BetaInc(a, b, x float64) float64 {
	if math.IsNaN(x) || a <= 0 || b <= 0 {
		return math.NaN()
	}
	return betaTail(a, b, x, 1-x, math.Log(x), math.Log1p(-x))
}

// betaFraction is the continued fraction of I_x(a, b) by Lentz's method (DLMF 8.17.22).
func betaFraction(a, b, x float64) float64 {
	const tiny = 1e-300
	lift := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/lift(1-(a+b)*x/(a+1))
	f := d
	for m := 1.0; m < 200000; m++ {
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d = 1 / lift(1+even*d)
		c = lift(1 + even/c)
		f *= d * c
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d = 1 / lift(1+odd*d)
		c = lift(1 + odd/c)
		f *= d * c
		if math.Abs(d*c-1) < 1e-16 {
			break
		}
	}
	return f
}
