package stats

import "math"

// RateBelief is what two rates are believed to be after uniform priors: Beta(1 + successes, 1 + failures) each, independent.
type RateBelief struct {
	Successes, Units               int64 // treated
	ControlSuccesses, ControlUnits int64
}

// ChanceToBeat returns P(treated > control), the exact finite sum over the smallest of the four counts.
func (b RateBelief) ChanceToBeat() float64 {
	return betaBeats(float64(b.Successes+1), float64(b.Units-b.Successes+1), float64(b.ControlSuccesses+1), float64(b.ControlUnits-b.ControlSuccesses+1))
}

// ExpectedLoss returns what is lost per unit on average by keeping the control, E max(δ, 0), and by shipping, E max(−δ, 0).
func (b RateBelief) ExpectedLoss() (ifKept, ifShipped float64) {
	t1, t0 := float64(b.Successes+1), float64(b.Units-b.Successes+1)
	c1, c0 := float64(b.ControlSuccesses+1), float64(b.ControlUnits-b.ControlSuccesses+1)
	t, c := t1/(t1+t0), c1/(c1+c0)
	ifKept = t*betaBeats(t1+1, t0, c1, c0) - c*betaBeats(t1, t0, c1+1, c0)
	ifShipped = c*betaBeats(c1+1, c0, t1, t0) - t*betaBeats(c1, c0, t1+1, t0)
	return math.Max(0, ifKept), math.Max(0, ifShipped)
}

// betaBeats returns P(X > Y) for independent X ~ Beta(x1, x0), Y ~ Beta(y1, y0) of whole parameters (Cook 2005, "Exact calculation of beta
// inequalities"): Σ over i < x1 of B(y1 + i, x0 + y0) / ((x0 + i)·B(1 + i, x0)·B(y1, y0)). Mirror images make the sum the shortest of four.
func betaBeats(x1, x0, y1, y0 float64) float64 {
	switch least := min(x1, x0, y1, y0); least {
	case x1:
	case y0: // X > Y when 1 − Y > 1 − X
		return betaBeats(y0, y1, x0, x1)
	default: // 1 − P(Y > X)
		return 1 - betaBeats(y1, y0, x1, x0)
	}
	sum := 0.0
	for i := range int(x1) {
		k := float64(i)
		sum += math.Exp(lnBeta(y1+k, x0+y0) - math.Log(x0+k) - lnBeta(1+k, x0) - lnBeta(y1, y0))
	}
	return sum
}
