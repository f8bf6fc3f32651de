package experiments

import (
	"math"

	"perennial/experiments/stats"
)

// mde is the relative effect that the plan wants to see.
func (j *judging) mde() float64 {
	if j.plan.MDE == nil || *j.plan.MDE == 0 {
		return 0.05
	}
	return math.Abs(*j.plan.MDE)
}

// pooled is the blinded summary of a metric: all variants together, so that it says nothing about their difference.
func (j *judging) pooled(metric string) stats.Moments {
	all := j.c.total(metric, j.c.control, "", "")
	for _, v := range j.variants {
		all = all.Merge(j.c.total(metric, v, "", ""))
	}
	return all
}

// wanted is the absolute effect of the primary metric that the plan wants to see; NaN when nothing is known yet. For profit it is
// mde × revenue per unit × margin rate: profit itself may be near 0.
func (j *judging) wanted() float64 {
	if j.primary == "profit" {
		revenue := j.pooled("revenue")
		if revenue.N == 0 || revenue.Mean[0] <= 0 {
			return math.NaN()
		}
		return j.mde() * revenue.Mean[0] * j.MarginRate
	}
	if j.HistoryMean != nil && *j.HistoryMean != 0 {
		return j.mde() * math.Abs(*j.HistoryMean)
	}
	all := meanOf(j.pooled(j.primary), j.c.specs[j.primary].Kind)
	if !all.Known() || all == 0 {
		return math.NaN()
	}
	return j.mde() * math.Abs(float64(all))
}

// plannedUnits is max_units: the plan's, or that of the first recorded look (frozen there), or the sample size for mde and power from the
// blinded variance. 0 when there is nothing to plan with.
func (j *judging) plannedUnits() int64 {
	if j.plan.MaxUnits != nil {
		return *j.plan.MaxUnits
	}
	if len(j.Looks) > 0 && j.Looks[0].MaxUnits > 0 {
		return j.Looks[0].MaxUnits
	}
	delta := j.wanted()
	sd := math.NaN()
	if j.HistorySD != nil {
		sd = *j.HistorySD
	} else if all := j.pooled(j.primary); all.N >= 2 {
		if e, err := estimateOf(all, j.c.specs[j.primary].Kind); err == nil {
			sd = math.Sqrt(e.Var * float64(all.N))
		}
	}
	if !(delta > 0) || !(sd > 0) || len(j.variants) == 0 {
		return 0
	}
	arms := float64(len(j.variants))
	z := stats.NormalUpper(j.alpha/2/arms) + stats.NormalUpper(1-j.plan.Power)
	n := z * z * 2 * sd * sd / (delta * delta) * (arms + 1)
	if j.method == GST {
		n *= stats.Inflation(j.plan.Looks, j.alpha/arms, j.plan.Power, stats.OBrienFleming)
	}
	if n > 1e15 {
		return 0
	}
	return int64(math.Ceil(n))
}

func estimateOf(m stats.Moments, kind string) (stats.Estimate, error) {
	if kind == KindRatio {
		return stats.Ratio(m)
	}
	return stats.Mean(m)
}

// ended tells whether the pre-declared end has passed.
func (j *judging) ended() bool {
	e := j.Experiment
	return e.EndAt != nil && !j.m.Source.AsOf.Before(*e.EndAt)
}

// nextLook prepares the clocks of the look to be recorded.
func (j *judging) nextLook() error {
	matured := j.m.Source.Matured
	n := &Look{Number: len(j.Looks) + 1, At: j.Now, Matured: matured, Information: map[string]float64{}, MaxUnits: j.maxUnits}
	if j.Experiment.Status != Running {
		return Invalid("status", "is %s; only a running experiment records looks", j.Experiment.Status)
	}
	if len(j.Looks) > 0 {
		last := j.Looks[len(j.Looks)-1]
		if last.Closing {
			return Invalid("look", "the plan ended with look %d; later numbers are descriptive", last.Number)
		}
		if matured <= last.Matured {
			return Invalid("look", "no unit has matured since look %d", last.Number)
		}
		n.Fraction = last.Fraction
	}
	if matured == 0 {
		return Invalid("look", "no unit has matured yet")
	}
	if j.maxUnits > 0 {
		n.Fraction = math.Max(n.Fraction, math.Min(1, float64(matured)/float64(j.maxUnits)))
	} else if !j.ended() {
		return Invalid("plan.max_units", "cannot be derived yet (no_history): set it, or wait for units that buy")
	}
	if n.Fraction >= 1 || j.ended() {
		n.Fraction, n.Closing = 1, true
	}
	j.next = n
	return nil
}

// design is the history of looks of one metric and variant: the recorded ones, and the one being recorded.
func (j *judging) design(metric, variant string, spending stats.Spending, oneSided bool, p stats.Pair) stats.Design {
	d := stats.Design{Spending: spending, OneSided: oneSided}
	key := metric + "/" + variant
	info := 0.0
	for _, l := range j.Looks {
		v, ok := l.Information[key]
		if !ok {
			continue
		}
		info = math.Max(info, v)
		d.Fraction, d.Information = append(d.Fraction, l.Fraction), append(d.Information, info)
	}
	n := float64(p.T.N + p.C.N)
	info = math.Max(info, n*n*p.SE()*p.SE())
	d.Fraction, d.Information = append(d.Fraction, j.next.Fraction), append(d.Information, info)
	j.next.Information[key] = info
	return d
}

// sequence is the confidence sequence of the plan: narrowest at the units of the first decision where these were fixed before the data, by the plan or from
// history, else at the default.
func (j *judging) sequence(alpha float64) stats.Sequence {
	s := stats.Sequence{Alpha: alpha}
	if j.plan.MaxUnits != nil || j.HistorySD != nil {
		s.Tuning = float64(j.maxUnits)
	}
	return s
}

// judgeFor is the judge of one metric and variant at a level.
func (j *judging) judgeFor(metric, variant string, alpha float64, p stats.Pair, ok bool) judge {
	out := judge{method: j.method, alpha: alpha, seq: j.sequence(alpha)}
	if j.method == GST && ok {
		look, err := stats.NewLook(j.design(metric, variant, stats.OBrienFleming, false, p), alpha)
		if err != nil {
			out.method = noMethod
			return out
		}
		out.look = look
	}
	return out
}

// state is where the sequential plan stands.
func (j *judging) state() State {
	s := State{Look: len(j.Looks), Looks: j.plan.Looks, Information: None, Boundary: None}
	if j.maxUnits > 0 {
		n := j.maxUnits
		s.MaxUnits = &n
		s.Information = Num(math.Min(1, float64(j.m.Source.Matured)/float64(j.maxUnits)))
	} else {
		code := "no_history"
		s.Reason = &code
	}
	switch {
	case j.method == GST && j.next != nil:
		s.Look, s.Closed = j.next.Number, j.next.Closing
		s.Information = Num(j.next.Fraction)
		if len(j.variants) > 0 {
			if p, err := j.c.pair(j.primary, j.variants[0], "", "", false); err == nil {
				if look, err := stats.NewLook(j.design(j.primary, j.variants[0], stats.OBrienFleming, false, p), j.alpha/float64(len(j.variants))); err == nil {
					s.Boundary = Num(look.Boundary())
				}
			}
		}
	case j.Experiment.Plan.Inference == Fixed || j.Experiment.Plan.Inference == ConfSeq:
		s.Closed = j.ended() || j.plan.MaxUnits != nil && j.m.Source.Matured >= *j.plan.MaxUnits
	}
	for _, l := range j.Looks {
		if l.Crossed != nil && s.Crossed == nil {
			s.Crossed = l.Crossed
		}
		s.Closed = s.Closed || l.Closing
	}
	return s
}
