package stats

import "math"

// StudentSF returns P(T > t) of Student's t with df > 0 degrees of freedom (df = +Inf is the normal), with full relative precision in
// the upper tail down to 1e-308. It is NaN for df <= 0.
func StudentSF(t, df float64) float64 {
	if t < 0 {
		return 1 - StudentSF(-t, df)
	}
	return StudentTwoSided(t, df) / 2
}

// StudentTwoSided returns P(|T| > |t|) = I_{df/(df+t²)}(df/2, ½).
func StudentTwoSided(t, df float64) float64 {
	switch {
	case math.IsNaN(t) || math.IsNaN(df) || df <= 0:
		return math.NaN()
	case math.IsInf(df, 1):
		return 2 * NormalSF(math.Abs(t))
	case math.IsInf(t, 0):
		return 0
	case t == 0:
		return 1
	}
	t = math.Abs(t)
	if df > hillFrom {
		return 2 * NormalSF(hill(t, df))
	}
	r := t / df * t
	if r > 1e30 { // the tail is a power; t² may be beyond the range of float64
		return math.Exp(-df/2*(2*math.Log(t)-math.Log(df))-lnBeta(df/2, 0.5)) / (df / 2)
	}
	return betaTail(df/2, 0.5, 1/(1+r), r/(1+r), -math.Log1p(r), math.Log(r)-math.Log1p(r))
}

// hillFrom is where Hill's expansion takes over: beyond it its error is below 1e-13 and the continued fraction loses df·1e-16.
const hillFrom = 1e4

// hill returns the z with the same tail as t (Hill 1970, CACM algorithm 395).
func hill(t, df float64) float64 {
	a := df - 0.5
	b := 48 * a * a
	w2 := a * math.Log1p(t/df*t)
	w := math.Sqrt(w2)
	return w + w*(w2+3)/b - w*(((4*w2+33)*w2+240)*w2+855)/(10*b*(b+0.8*w2*w2+100))
}

// StudentUpper returns the t with P(T > t) = p, for 0 < p < 1 and df > 0: Newton on the logarithm of the tail from a
// Cornish–Fisher start, so it keeps its digits for p down to 1e-300.
func StudentUpper(p, df float64) float64 {
	switch {
	case math.IsNaN(p) || p < 0 || p > 1 || math.IsNaN(df) || df <= 0:
		return math.NaN()
	case math.IsInf(df, 1):
		return NormalUpper(p)
	case p == 0:
		return math.Inf(1)
	case p == 1:
		return math.Inf(-1)
	case p == 0.5:
		return 0
	case p > 0.5:
		return -StudentUpper(1-p, df)
	}
	t := studentStart(p, df)
	lnC := -lnBeta(df/2, 0.5) - 0.5*math.Log(df)
	lo, hi := 0.0, math.Inf(1)
	for range 100 {
		sf := StudentSF(t, df)
		if sf > p {
			lo = t
		} else {
			hi = t
		}
		ratio := sf / p
		lnPDF := lnC - (df+1)/2*log1pSquare(t, df)
		step := math.Log(ratio) * sf * math.Exp(-lnPDF)
		if math.Abs(step) <= 1e-15*t || (math.Abs(step) <= 1e-9*t && math.Abs(ratio-1) < 1e-8) {
			return t + step // Newton is quadratic: the next step would be below the last digit
		}
		next := t + step
		if !(next > lo && next < hi) {
			next = (lo + hi) / 2
			if math.IsInf(hi, 1) {
				next = 2*t + 1
			}
		}
		t = next
	}
	return t
}

// log1pSquare returns ln(1 + t²/df) for t >= 0, also where t² overflows.
func log1pSquare(t, df float64) float64 {
	if t > 1e100 {
		return 2*math.Log(t) - math.Log(df)
	}
	return math.Log1p(t / df * t)
}

// studentStart is the Cornish–Fisher expansion (Abramowitz & Stegun 26.7.5), or the leading power of the tail where that does not hold.
func studentStart(p, df float64) float64 {
	z := NormalUpper(p)
	z2 := z * z
	if z2 > df || df <= 3 {
		t := math.Sqrt(df) * math.Exp((-math.Log(p)-lnBeta(df/2, 0.5)-math.Log(df))/df)
		if p > 0.01 { // df <= 3 near the middle: the power is too far out, and Newton needs only the order of magnitude
			return math.Min(t, 2*z+1)
		}
		return t
	}
	g1 := (z2 + 1) * z / 4
	g2 := ((5*z2+16)*z2 + 3) * z / 96
	g3 := (((3*z2+19)*z2+17)*z2 - 15) * z / 384
	return z + (g1+(g2+g3/df)/df)/df
}
