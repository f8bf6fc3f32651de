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

// OneSidedP returns the p-value, valid at every look, of z standard errors above the null: the level at which OneSidedMultiplier, with the
// tuning of this sequence's own level, is z. It is 1 for z <= 0.
func (s Sequence) OneSidedP(z, n float64) float64 {
	if z <= 0 {
		return 1
	}
	r := n * Sequence{Alpha: math.Min(2*s.Alpha, 0.999), Tuning: s.Tuning}.rho2()
	return math.Min(1, math.Sqrt(r+1)/(2*math.Expm1(z*z*r/(2*(r+1)))))
}
