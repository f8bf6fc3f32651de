package stats

import "math"

// Sequence is an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, arXiv 2103.06476v7): an interval that
// may be looked at after every unit. Tuning is the number of units at which it is narrowest; it must be fixed before the data.
type Sequence struct {
	Alpha  float64
	Tuning float64 // units of both arms; 0 means 5000
}

// rho2 returns ρ² = (−2·ln α + ln(1 − 2·ln α)) / N*.
func (s Sequence) rho2() float64 {
	tuning := s.Tuning
	if tuning <= 0 {
		tuning = 5000
	}
	return (-2*math.Log(s.Alpha) + math.Log(1-2*math.Log(s.Alpha))) / tuning
}

// Multiplier returns how many standard errors a half interval is wide when n units are in: √((nρ²+1)/(nρ²) · 2·ln(√(nρ²+1)/α)).
func (s Sequence) Multiplier(n float64) float64 {
	r := n * s.rho2()
	return math.Sqrt((r + 1) / r * 2 * (0.5*math.Log1p(r) - math.Log(s.Alpha)))
}

// P returns the p-value, valid at every look, of a statistic of z standard errors when n units are in: min(1, 1/e) with the mixture
// martingale e = exp(ρ²z²n / (2(nρ²+1))) / √(nρ²+1).
func (s Sequence) P(z, n float64) float64 {
	r := n * s.rho2()
	return math.Min(1, math.Exp(0.5*math.Log1p(r)-r*z*z/(2*(r+1))))
}

// OneSidedMultiplier is Multiplier for a lower (or upper) limit alone, at level Alpha (eq. 134 of the paper's appendix: the normal
// mixture on the half line costs ln 2 less than two-sided at 2α).
func (s Sequence) OneSidedMultiplier(n float64) float64 {
	two := Sequence{Alpha: math.Min(2*s.Alpha, 0.999), Tuning: s.Tuning}
	r := n * two.rho2()
	return math.Sqrt((r + 1) / r * 2 * math.Log1p(math.Exp(0.5*math.Log1p(r)-math.Log(2*s.Alpha))))
}

// OneSidedP returns the smallest level at which z standard errors above the null exclude it, within [1e-9, 0.4999]; 0.4999 also stands
// for "not at all" and is returned as 1.
func (s Sequence) OneSidedP(z, n float64) float64 {
	lo, hi := math.Log(1e-9), math.Log(0.4999)
	out := func(level float64) bool { return z > (Sequence{level, s.Tuning}).OneSidedMultiplier(n) }
	if !out(math.Exp(hi)) {
		return 1
	}
	if out(math.Exp(lo)) {
		return math.Exp(lo)
	}
	for range 60 {
		if mid := (lo + hi) / 2; out(math.Exp(mid)) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return math.Exp(hi)
}
