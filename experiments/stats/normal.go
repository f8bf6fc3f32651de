package stats

import "math"

// NormalSF returns P(Z > z) of the standard normal, with full relative precision down to 1e-308.
func NormalSF(z float64) float64 { return 0.5 * math.Erfc(z/math.Sqrt2) }

// NormalCDF returns P(Z <= z), with full relative precision in the lower tail.
func NormalCDF(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }

// NormalPDF returns the standard normal density.
func NormalPDF(z float64) float64 { return math.Exp(-z*z/2) / math.Sqrt(2*math.Pi) }

// NormalUpper returns the z with P(Z > z) = p, for 0 < p < 1. It is +Inf at 0, -Inf at 1 and NaN outside.
// A rational start (Acklam 2003) is refined by Halley steps on the tail that is smaller, so it keeps its digits to p = 1e-300.
func NormalUpper(p float64) float64 {
	switch {
	case math.IsNaN(p) || p < 0 || p > 1:
		return math.NaN()
	case p == 0:
		return math.Inf(1)
	case p == 1:
		return math.Inf(-1)
	case p > 0.5:
		return -normalUpperTail(1 - p)
	}
	return normalUpperTail(p)
}

// NormalQuantile returns the z with P(Z <= z) = p.
func NormalQuantile(p float64) float64 {
	if p < 0.5 {
		return -NormalUpper(p)
	}
	return NormalUpper(1 - p)
}

// normalUpperTail is NormalUpper for p <= 0.5.
func normalUpperTail(p float64) float64 {
	var z float64
	if p < 0.02425 {
		q := math.Sqrt(-2 * math.Log(p))
		z = -(((((-7.784894002430293e-03*q-3.223964580411365e-01)*q-2.400758277161838e+00)*q-2.549732539343734e+00)*q+4.374664141464968e+00)*q + 2.938163982698783e+00) /
			((((7.784695709041462e-03*q+3.224671290700398e-01)*q+2.445134137142996e+00)*q+3.754408661907416e+00)*q + 1)
	} else {
		q := p - 0.5
		r := q * q
		z = -(((((-3.969683028665376e+01*r+2.209460984245205e+02)*r-2.759285104469687e+02)*r+1.383577518672690e+02)*r-3.066479806614716e+01)*r + 2.506628277459239e+00) * q /
			(((((-5.447609879822406e+01*r+1.615858368580409e+02)*r-1.556989798598866e+02)*r+6.680131188771972e+01)*r-1.328068155288572e+01)*r + 1)
	}
	for range 3 {
		sf := NormalSF(z)
		if sf == 0 {
			break
		}
		u := (sf - p) / sf * (sf / NormalPDF(z)) // Newton step on the tail itself; its sign follows sf − p
		step := u / (1 - z*u/2)
		z += step
		if math.Abs(step) <= 1e-15*math.Abs(z) {
			break
		}
	}
	return z
}
