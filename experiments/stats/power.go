package stats

import "math"

// Inflation returns by which factor a group-sequential design of equally spaced looks needs more units than the fixed one at the same
// two-sided α and power: the squared ratio of drifts, by integration. NaN for a design that cannot be computed.
func Inflation(looks int, alpha, power float64, s Spending) float64 {
	if looks < 1 {
		return math.NaN()
	}
	d := EqualLooks(looks, looks)
	d.Spending = s
	bounds, err := d.Boundaries(alpha)
	if err != nil {
		return math.NaN()
	}
	fixed := NormalUpper(alpha/2) + NormalUpper(1-power)
	lo, hi := 0.5*fixed, 3*fixed
	for range 40 {
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

// Sizing is the question "how many units". Proportion or not, Baseline is the control's mean; SD is the units' standard deviation for
// a mean. Ratio is treated ÷ control; Arms counts the control; α is shared by the arms compared (Bonferroni).
type Sizing struct {
	Proportion   bool
	Baseline, SD float64
	Alpha, Power float64
	Ratio        float64
	Arms         int
	Inflation    float64 // of a sequential design; 1 for a fixed one
}

// Units returns the control's size (not rounded) that detects an absolute effect: the normal formula with unpooled variances for
// proportions; for means with Guenther's (1981) t correction z²/(2(1+ratio)). ErrDesign when the effect is 0 or leaves 0..1.
func (s Sizing) Units(effect float64) (float64, error) {
	alpha := s.Alpha / float64(max(1, s.Arms-1))
	za, zb := NormalUpper(alpha/2), NormalUpper(1-s.Power)
	v := s.SD * s.SD * (1 + 1/s.Ratio)
	correction := za * za / (2 * (1 + s.Ratio))
	if s.Proportion {
		p1, p2 := s.Baseline, s.Baseline+effect
		if !(p1 > 0 && p1 < 1 && p2 > 0 && p2 < 1) {
			return 0, ErrDesign
		}
		v, correction = p1*(1-p1)+p2*(1-p2)/s.Ratio, 0
	}
	if effect == 0 || !(v > 0) {
		return 0, ErrDesign
	}
	return ((za+zb)*(za+zb)*v/(effect*effect) + correction) * s.Inflation, nil
}

// Effect returns the smallest positive absolute effect that a control arm of n units detects. ErrDesign when none within reach does.
func (s Sizing) Effect(n float64) (float64, error) {
	lo, hi := 0.0, 1e3*(math.Abs(s.Baseline)+s.SD)
	if s.Proportion {
		hi = 1 - s.Baseline - 1e-12
	}
	if need, err := s.Units(hi); err != nil || need > n {
		return 0, ErrDesign
	}
	for range 200 {
		mid := (lo + hi) / 2
		if need, err := s.Units(mid); err != nil || need > n {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi, nil
}

// TestAndRoll returns the size of each of two arms that maximises expected profit over a population that will all get the winner (Feit &
// Berman 2019, Marketing Science, arXiv 1811.00457, eq. 10): sd is the units' standard deviation and priorSD that of the arms' means.
func TestAndRoll(population, sd, priorSD float64) float64 {
	r := sd * sd / (priorSD * priorSD)
	return math.Sqrt(population/4*r+0.5625*r*r) - 0.75*r
}
