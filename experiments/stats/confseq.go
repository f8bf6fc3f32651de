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

// StudentMultiplier is Multiplier for a statistic whose variance was estimated with df degrees of freedom: the same mixture over Student's t
// instead of the normal (Lindon, Ham, Tingley & Bojinov, arXiv 2210.08589, "Anytime-Valid Linear Models"), exact for normal units however few
// and Multiplier itself for many. It is infinite where no statistic of so few degrees of freedom can be evidence at this level.
func (s Sequence) StudentMultiplier(n, df float64) float64 {
	r := n * s.rho2()
	if df > 1e7 {
		return s.Multiplier(n)
	}
	// (1 + x/(r+1)) / (1 + x) = q with x = t²/df
	q := math.Exp((math.Log(s.Alpha) - 0.5*math.Log1p(r)) * 2 / (df + 1))
	if q*(r+1) <= 1 {
		return math.Inf(1)
	}
	return math.Sqrt(df * (1 - q) / (q - 1/(r+1)))
}

// StudentP is the p-value, valid at every look, that belongs to StudentMultiplier.
func (s Sequence) StudentP(t, n, df float64) float64 {
	r := n * s.rho2()
	if df > 1e7 {
		return s.P(t, n)
	}
	x := t * t / df
	return math.Min(1, math.Exp(0.5*math.Log1p(r)+(df+1)/2*(math.Log1p(x/(r+1))-math.Log1p(x))))
}

// OneSidedP returns the p-value, valid at every look, of z standard errors above the null: 1/e with the mixture over the half line
// e = 2/√(nρ²+1)·exp(ρ²z²n/(2(nρ²+1)))·Φ(z·√(nρ²/(nρ²+1))) (Howard, Ramdas, McAuliffe & Sekhon 2021, Annals of Statistics 49, prop. 6), with ρ² tuned for 2α.
func (s Sequence) OneSidedP(z, n float64) float64 {
	return math.Min(1, math.Exp(-s.oneSided(z, n)))
}

// oneSided is the logarithm of the one-sided mixture martingale.
func (s Sequence) oneSided(z, n float64) float64 {
	r := n * Sequence{Alpha: math.Min(2*s.Alpha, 0.999), Tuning: s.Tuning}.rho2()
	return math.Ln2 - 0.5*math.Log1p(r) + r*z*z/(2*(r+1)) + math.Log(NormalCDF(z*math.Sqrt(r/(r+1))))
}

// OneSidedMultiplier is Multiplier for a lower (or upper) limit alone, at level Alpha: the z whose OneSidedP is Alpha.
func (s Sequence) OneSidedMultiplier(n float64) float64 {
	lo, hi := 0.0, 1.0
	for s.oneSided(hi, n) < -math.Log(s.Alpha) {
		hi *= 2
	}
	for range 100 {
		if mid := (lo + hi) / 2; s.oneSided(mid, n) < -math.Log(s.Alpha) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return (lo + hi) / 2
}
