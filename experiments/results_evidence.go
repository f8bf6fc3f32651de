package experiments

import (
	"fmt"
	"math"
	"time"

	"perennial/experiments/stats"
)

// span7 tells whether enrolment spans fewer than seven local days.
func (j *judging) span7() bool {
	first, last := "", ""
	for _, d := range j.m.ExposedByDay {
		if first == "" || d.Day < first {
			first = d.Day
		}
		last = max(last, d.Day)
	}
	a, erra := time.Parse(time.DateOnly, first)
	b, errb := time.Parse(time.DateOnly, last)
	return erra != nil || errb != nil || b.Sub(a) < 6*24*time.Hour
}

// daysLeft is how long the plan still takes at the present pace of enrolment; nil when it cannot be said.
func (j *judging) daysLeft() *int {
	days := math.Inf(1)
	if e := j.Experiment.EndAt; e != nil && e.After(j.m.Source.AsOf) {
		days = e.Sub(j.m.Source.AsOf).Hours() / 24
	}
	if j.maxUnits > 0 && j.m.Source.Exposed > 0 && j.m.Source.Matured < j.maxUnits {
		seen := map[string]bool{}
		for _, d := range j.m.ExposedByDay {
			seen[d.Day] = true
		}
		pace := float64(j.m.Source.Exposed) / math.Max(1, float64(len(seen)))
		more := math.Max(0, float64(j.maxUnits-j.m.Source.Exposed)/pace)
		days = math.Min(days, more+float64(j.plan.HorizonDays))
	}
	if math.IsInf(days, 0) || days > 3650 {
		return nil
	}
	n := int(math.Ceil(days))
	return &n
}

// evidence gathers what the decision is made from.
func (j *judging) evidence(rows []row, doc *Results, twoArm int64, twoArmBad bool) evidence {
	e := j.Experiment
	spec := j.c.specs[j.primary]
	v := evidence{names: map[string]Text{}, metrics: map[string]Text{}, share: spec.Share, guarded: len(e.Metrics.Guardrails) > 0, control: e.Control, metric: j.primary, money: spec.Money, currency: j.Currency, lower: spec.Lower, alpha: j.alpha,
		sequential: e.Plan.Inference != Fixed, mayDecide: true, closed: doc.State.Closed, notStarted: e.Status == Draft, noLook: j.method == noMethod, matured: j.m.Source.Matured, planned: j.maxUnits,
		horizonDays: j.plan.HorizonDays, daysLeft: j.daysLeft(), srmP: float64(doc.SRM.PValue), srmFailed: doc.SRM.Verdict == "fail", twoArm: twoArm, exposed: j.m.Source.Exposed,
		twoArmBad: twoArmBad, broken: j.broken, equivalent: j.wanted(), waiting: j.waiting(rows), monthly: j.monthly(rows)}
	if doc.SRM.SequentialP != nil {
		v.srmP = float64(*doc.SRM.SequentialP)
	}
	for _, s := range j.Specs {
		v.metrics[s.Key] = s.Name
	}
	for _, x := range e.Variants {
		if x.Name != nil {
			v.names[x.Key] = *x.Name
		}
	}
	if e.Plan.Equivalence != nil {
		v.equivalent = *e.Plan.Equivalence
	}
	switch {
	case j.method == noMethod:
		v.mayDecide = false
	case v.sequential:
		v.shortRun = j.span7()
		v.hasPlan = true
	default: // fixed: with a plan only at its end, without one at once and with the warning
		v.hasPlan = j.plan.MaxUnits != nil || e.EndAt != nil
		v.mayDecide = !v.hasPlan || doc.State.Closed
	}
	if j.plan.MaxUnits == nil && e.Plan.Inference == Fixed {
		v.planned = 0
	}
	k := float64(len(j.variants))
	for _, variant := range j.variants {
		a := armEvidence{variant: variant, low: None, high: None, eqLow: None, eqHigh: None}
		for _, r := range rows {
			if r.Variant != variant {
				continue
			}
			if r.Role == RolePrimary {
				a.result = r.Result
				a.smallClash = r.Exact != nil && (float64(r.Exact.PValue) < j.alpha) != (float64(r.PValue) < j.alpha)
			}
			if g := r.NonInferior; g != nil && r.Role == RoleGuardrail {
				switch g.Verdict {
				case "harm":
					a.harmed = append(a.harmed, r.Metric)
				case "open":
					a.unproven = append(a.unproven, r.Metric)
				}
			} else if r.Role == RoleGuardrail {
				a.unproven = append(a.unproven, r.Metric)
			}
		}
		if j.method != noMethod {
			d := j.compare(j.primary, variant, j.alpha/k, nil)
			a.low, a.high = d.EffectLow, d.EffectHigh
			q := j.compare(j.primary, variant, math.Min(2*j.alpha, 0.4), nil)
			a.eqLow, a.eqHigh = q.EffectLow, q.EffectHigh
		}
		if v.sequential && j.m.RefundsOpen {
			a.refunds = j.refundsTurn(a)
		}
		v.arms = append(v.arms, a)
	}
	return v
}

// refundsTurn tells whether a ship would not survive the refunds that are still to come: the variant's margin of revenue, refunded at the
// worse arm's share so far, taken off its lower limit (statistics.md §6, decision order).
func (j *judging) refundsTurn(a armEvidence) bool {
	if j.primary != "profit" || !a.low.Known() {
		return false
	}
	share := func(v string) float64 {
		w := j.m.Waterfall[v]
		if w["revenue"] <= 0 {
			return 0
		}
		return w["refunded"] / w["revenue"]
	}
	t, c := share(a.variant), share(j.c.control)
	n := float64(j.c.total("profit", a.variant, "", "").N)
	if n == 0 {
		return false
	}
	w := j.m.Waterfall[a.variant]
	extra := math.Max(0, math.Max(t, c)-t) * (w["revenue"] - w["cost_of_goods"]) / n
	return float64(a.low)-extra <= 0
}

// absorb keeps the first crossing: later looks are labelled, they do not take it back.
func (j *judging) absorb(doc *Results, v evidence) {
	if c := doc.State.Crossed; c != nil {
		variant := c.Variant
		side, sideEN := "优于", "better"
		if c.Side == "worse" {
			side, sideEN = "差于", "worse"
		}
		d := Decision{Action: c.Action, Variant: &variant, Code: "crossed_before", Monthly: doc.Decision.Monthly, Text: Text{
			fmt.Sprintf("第 %d 次查看时“%s”已确认%s“%s”（差 %s，预计长期约 %s），结论不变；之后的数字仅供参考。", c.Look, v.name(variant).ZH, side, v.name(v.control).ZH, v.signed(c.Effect), v.signed(c.Shrunk)),
			fmt.Sprintf("Decided at look %d: %s is %s than %s (%s; expect about %s in the long run). Later numbers are descriptive.", c.Look, v.name(variant).EN, sideEN, v.name(v.control).EN, v.signed(c.Effect), v.signed(c.Shrunk))}}
		if doc.Decision.Action != CannotJudge && doc.Decision.Code != "guardrail_harm" {
			doc.Decision = d
		}
		return
	}
	if j.method != GST || j.next == nil || (doc.Decision.Action != Ship && doc.Decision.Code != "losing") {
		return
	}
	for _, a := range v.arms {
		if doc.Decision.Action == Ship && a.variant != *doc.Decision.Variant {
			continue
		}
		c := &Crossed{Look: j.next.Number, At: j.next.At, Variant: a.variant, Side: "better", Effect: a.result.Effect, Low: a.low, High: a.high, Shrunk: a.result.Effect, Action: doc.Decision.Action}
		if doc.Decision.Action != Ship {
			c.Side = "worse"
		}
		if p, err := j.c.pair(j.primary, a.variant, "", "", false); err == nil {
			d := j.design(j.primary, a.variant, stats.OBrienFleming, false, p)
			if bounds, err := d.Boundaries(j.alpha / float64(len(j.variants))); err == nil {
				c.Shrunk = Num(math.Copysign(d.MedianUnbiased(bounds, p.Z())*p.SE(), p.Effect()))
			}
		}
		doc.State.Crossed = c
		return
	}
}
