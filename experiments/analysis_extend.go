package experiments

import (
	"math"

	"perennial/experiments/stats"
)

// priorShare is the standard deviation of the weak prior of a lift: effects beyond 60 % of the control are rare.
const priorShare = 0.3

// extend adds what goes beyond effect and interval: non-inferiority, equivalence, the chance to end significant, and the Bayesian line.
func (a *tableAnalysis) extend(r *Result, m TableMetric, pair stats.Pair) {
	if m.Margin > 0 {
		r.NonInferior = nonInferior(pair, m.Margin, 0.025, m.Lower, nil)
	}
	if m.Equivalence > 0 {
		r.Equivalent = a.equivalent(pair, m.Equivalence)
	}
	if a.plan.Inference == GST && a.plan.Look < a.plan.Looks {
		r.ConditionalPower = a.conditional(pair, m.Lower)
	}
	if r.Bayes == nil {
		r.Bayes = weakBelief(pair, priorShare*math.Abs(pair.C.Mean), m.Lower)
	}
}

// equivalent tells whether the interval of level 1 − 2α that is valid at this look lies within ± bound × |control|: two one-sided tests.
func (a *tableAnalysis) equivalent(pair stats.Pair, bound float64) *Equivalent {
	var r Result
	a.wide.fill(&r, pair, nil)
	e := &Equivalent{Bound: Num(bound * math.Abs(pair.C.Mean)), Low: r.EffectLow, High: r.EffectHigh, Verdict: "open"}
	switch {
	case !e.Low.Known() || !e.High.Known():
	case e.Low > -e.Bound && e.High < e.Bound:
		e.Verdict = "equivalent"
	case e.Low > e.Bound || e.High < -e.Bound:
		e.Verdict = "different"
	}
	return e
}

// conditional is the chance to cross at the last look: on the trend seen so far, and on the effect that was planned for.
func (a *tableAnalysis) conditional(pair stats.Pair, lower bool) *ConditionalPower {
	t := float64(a.plan.Look) / float64(a.plan.Looks)
	z := pair.Z()
	c := &ConditionalPower{Trend: Num(stats.ConditionalPower(math.Abs(z), t, a.final, math.Abs(z)/math.Sqrt(t))), Planned: None}
	if a.plan.MDE != 0 {
		if lower {
			z = -z
		}
		drift := a.plan.MDE * math.Abs(pair.C.Mean) / (pair.SE() * math.Sqrt(t))
		c.Planned = Num(stats.ConditionalPower(z, t, a.final, drift))
	}
	return c
}

// weakBelief is the Bayesian line under a N(0, sd²) prior of the effect; nil without a scale for it.
func weakBelief(pair stats.Pair, sd float64, lower bool) *Bayes {
	if !(sd > 0) || !(pair.SE() > 0) {
		return nil
	}
	mean, se := shrink(pair.Effect(), pair.SE(), sd)
	kept, shipped := stats.ExpectedLoss(mean, se)
	b := &Bayes{ChanceToBeat: Num(stats.NormalCDF(mean / se)), LossIfShip: Num(shipped), LossIfKeep: Num(kept), Shrunk: Num(mean)}
	return b.turned(lower)
}

// turned is the belief where lower is better.
func (b *Bayes) turned(lower bool) *Bayes {
	if lower {
		b.ChanceToBeat, b.LossIfShip, b.LossIfKeep = 1-b.ChanceToBeat, b.LossIfKeep, b.LossIfShip
	}
	return b
}

// small adds the exact view of two proportions when an arm has fewer than ten successes or failures.
func (r *Result) small(t, c armView, alpha float64) {
	xt, xc, few := t.few(c)
	if !few {
		return
	}
	p, low, high := stats.MiettinenNurminen(xt, t.n, xc, c.n, alpha)
	r.Exact = &Exact{Method: "miettinen-nurminen", PValue: Num(p), Low: Num(low), High: Num(high)}
	r.code("small_count", true)
}

// few returns the successes of both arms, and whether successes or failures are too few for a normal approximation.
func (t armView) few(c armView) (xt, xc int64, few bool) {
	xt, xc = int64(math.Round(t.mean*float64(t.n))), int64(math.Round(c.mean*float64(c.n)))
	return xt, xc, min(xt, t.n-xt, xc, c.n-xc) < 10
}

// small is the exact view of a table: where looks go on for ever one that holds at all of them, and the belief from uniform priors.
func (a *tableAnalysis) small(r *Result, m TableMetric, t, c armView) {
	xt, xc, few := t.few(c)
	if !few || m.Cluster != "" {
		return
	}
	r.small(t, c, a.plan.Alpha)
	if a.plan.Inference == ConfSeq {
		p, low, high := stats.BernoulliSequence{Alpha: a.plan.Alpha, Tuning: max(1, a.plan.Tuning/2)}.Difference(xt, t.n, xc, c.n)
		r.Exact = &Exact{Method: "beta-binomial", PValue: Num(p), Low: Num(low), High: Num(high)}
	}
	belief := stats.RateBelief{Successes: xt, Units: t.n, ControlSuccesses: xc, ControlUnits: c.n}
	kept, shipped := belief.ExpectedLoss()
	mean := float64(xt+1)/float64(t.n+2) - float64(xc+1)/float64(c.n+2)
	r.Bayes = (&Bayes{ChanceToBeat: Num(belief.ChanceToBeat()), LossIfShip: Num(shipped), LossIfKeep: Num(kept), Shrunk: Num(mean)}).turned(m.Lower)
}
