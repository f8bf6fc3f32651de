package stats

import "math"

// GammaUpper returns the regularised upper incomplete gamma function Q(a, x) for a > 0 and x >= 0, with full relative precision in the
// tail (series below a + 1, continued fraction above; DLMF 8.11.4 and 8.9.2).
func GammaUpper(a, x float64) float64 {
	switch {
	case math.IsNaN(x) || a <= 0 || x < 0:
		return math.NaN()
	case x == 0:
		return 1
	case math.IsInf(x, 1):
		return 0
	}
	front := gammaFront(a, x)
	if x < a+1 {
		term, sum := 1/a, 1/a
		for n := 1.0; n < 1e6 && term > sum*1e-17; n++ {
			term *= x / (a + n)
			sum += term
		}
		return 1 - front*sum
	}
	const tiny = 1e-300
	b := x + 1 - a
	c, d := 1/tiny, 1/b
	f := d
	for i := 1.0; i < 1e6; i++ {
		an := -i * (i - a)
		b += 2
		d = an*d + b
		if math.Abs(d) < tiny {
			d = tiny
		}
		c = b + an/c
		if math.Abs(c) < tiny {
			c = tiny
		}
		d = 1 / d
		f *= d * c
		if math.Abs(d*c-1) < 1e-16 {
			break
		}
	}
	return front * f
}

// gammaFront returns xᵃ·e⁻ˣ / Γ(a) without cancellation for large a.
func gammaFront(a, x float64) float64 {
	if a < 10 {
		g, _ := math.Lgamma(a)
		return math.Exp(a*math.Log(x) - x - g)
	}
	u := (x - a) / a
	return math.Exp(-a*(u-math.Log1p(u))-stirling(a)) * math.Sqrt(a/(2*math.Pi))
}

// Chi2SF returns P(X > x) of the chi-square distribution with df > 0 degrees of freedom.
func Chi2SF(x, df float64) float64 {
	if x <= 0 {
		return 1
	}
	if df == 1 {
		return math.Erfc(math.Sqrt(x / 2))
	}
	return GammaUpper(df/2, x/2)
}
