package experiments

import (
	"fmt"
	"math"
	"sort"

	"perennial/experiments/stats"
)

// doubtful is the level below which a diagnostic, corrected for how many were asked, becomes a warning: they are looked at every day.
const doubtful = 0.001

// soundness answers what the counts beside the metrics say: the split day by day and by dimension, leaks, exposures without outcomes, stale scores, novelty,
// and experiments that disturb each other. It notes in j.broken what forbids a judgement.
func (j *judging) soundness() []HealthCheck {
	var checks []HealthCheck
	for _, ask := range []func() []HealthCheck{j.splitByDay, j.splitByDimension, j.leaks, j.silence, j.staleness, j.lateExposures, j.novelty, j.overlaps} {
		checks = append(checks, ask()...)
	}
	return checks
}

// piece is one cell of a split that is tested on its own.
type piece struct {
	name string
	by   map[string]map[string]int64 // stratum → variant → units
}

// worstSplit tests every part and returns the one with the smallest p, Holm-adjusted over the parts. ok is false when none can be tested.
func (j *judging) worstSplit(parts []piece) (name string, p float64, ok bool) {
	var names []string
	var ps []float64
	for _, x := range parts {
		statistic, df, enough := 0.0, 0.0, true
		for stratum, by := range x.by {
			counts, weights := j.counts(stratum, by)
			s, d, _, err := stats.SRM(counts, weights)
			if err != nil {
				continue
			}
			statistic, df = statistic+s, df+d
			total, sum := int64(0), 0.0
			for i := range counts {
				total, sum = total+counts[i], sum+weights[i]
			}
			for _, w := range weights { // χ² needs about five expected units a cell
				enough = enough && (w == 0 || float64(total)*w/sum >= 5)
			}
		}
		if df > 0 && enough {
			names, ps = append(names, x.name), append(ps, stats.Chi2SF(statistic, df))
		}
	}
	if len(ps) == 0 {
		return "", 0, false
	}
	adjusted, best := stats.Holm(ps), 0
	for i := range adjusted {
		if ps[i] < ps[best] {
			best = i
		}
	}
	return names[best], adjusted[best], true
}

func (j *judging) splitCheck(code string, parts []piece, what Text) []HealthCheck {
	name, p, ok := j.worstSplit(parts)
	if !ok {
		return nil
	}
	c := HealthCheck{Code: code, Verdict: "ok", PValue: Num(p)}
	if p < doubtful {
		c.Verdict = "warning"
		c.Detail = &Text{fmt.Sprintf(what.ZH, name), fmt.Sprintf(what.EN, name)}
	}
	return []HealthCheck{c}
}

// splitByDay asks whether the split went wrong on one day, which the whole may hide.
func (j *judging) splitByDay() []HealthCheck {
	days := map[string]map[string]map[string]int64{}
	for _, d := range j.m.ExposedByDay {
		if days[d.Day] == nil {
			days[d.Day] = map[string]map[string]int64{}
		}
		if days[d.Day][d.Stratum] == nil {
			days[d.Day][d.Stratum] = map[string]int64{}
		}
		days[d.Day][d.Stratum][d.Variant] += d.Units
	}
	var parts []piece
	for day, by := range days {
		parts = append(parts, piece{day, by})
	}
	sort.Slice(parts, func(a, b int) bool { return parts[a].name < parts[b].name })
	return j.splitCheck("srm_by_day", parts, Text{"%s 当天进组的人数与计划的比例不符。", "The split of %s does not fit the plan."})
}

// splitByDimension asks the same of every stage and decile, and of every channel where results are split by it.
func (j *judging) splitByDimension() []HealthCheck {
	var checks []HealthCheck
	for _, dimension := range []string{"stage", "churn_decile", "ltv_decile", "channel"} {
		values := map[string]map[string]map[string]int64{}
		for _, d := range j.m.Soundness.Dimensions {
			if d.Dimension != dimension {
				continue
			}
			if values[d.Value] == nil {
				values[d.Value] = map[string]map[string]int64{}
			}
			if values[d.Value][d.Stratum] == nil {
				values[d.Value][d.Stratum] = map[string]int64{}
			}
			values[d.Value][d.Stratum][d.Variant] += d.Units
		}
		var parts []piece
		for value, by := range values {
			parts = append(parts, piece{value, by})
		}
		sort.Slice(parts, func(a, b int) bool { return parts[a].name < parts[b].name })
		checks = append(checks, j.splitCheck("srm_by_"+dimension, parts, Text{"分层“%s”里的人数与计划的比例不符。", "The split within “%s” does not fit the plan."})...)
	}
	return checks
}

// leaks: units that used another variant's coupon, and exposures to variants that the experiment does not have. More than one per cent forbids a judgement.
func (j *judging) leaks() []HealthCheck {
	leaked, s := sumOf(j.m.Soundness.Leaked), j.m.Soundness
	if len(s.Leaked) == 0 && s.Stray == 0 {
		return nil
	}
	c := HealthCheck{Code: "leak", Verdict: "ok", PValue: None}
	if leaked > 0 || s.Stray > 0 {
		c.Verdict = "warning"
		c.Detail = &Text{fmt.Sprintf("%d 个用户用了别的组的优惠；%d 个用户只见过实验里没有的组。", leaked, s.Stray),
			fmt.Sprintf("%d units used another variant's offer; %d met only variants that the experiment does not have.", leaked, s.Stray)}
	}
	if float64(leaked) > 0.01*float64(j.m.Source.Matured) || float64(s.Stray) > 0.01*float64(j.m.Source.Exposed+s.Stray) && s.Stray > 10 {
		c.Verdict, j.broken = "fail", "leak"
	}
	return []HealthCheck{c}
}

// silence: exposed units that never did anything. All of them, of a hundred or more, means that ids do not match; an uneven share that tracking differs.
func (j *judging) silence() []HealthCheck {
	silent := j.m.Soundness.Silent
	if len(silent) == 0 || j.m.Source.Matured == 0 {
		return nil
	}
	c := HealthCheck{Code: "exposure_without_metric", Verdict: "ok", PValue: None}
	total := sumOf(silent)
	counts, weights := []int64{}, []float64{}
	for _, a := range j.arms() {
		n := j.c.total("profit", a.Variant, "", "").N
		counts, weights = append(counts, silent[a.Variant]), append(weights, float64(n))
	}
	if total >= 10*int64(len(counts)) {
		if _, _, p, err := stats.SRM(counts, weights); err == nil {
			if c.PValue = Num(p); p < doubtful {
				c.Verdict, c.Detail = "warning", &Text{"没有任何后续事件的用户在各组里占比不同：可能有一组的埋点丢了。", "Units without any event of their own are spread unevenly: one arm's tracking may be lost."}
			}
		}
	}
	if total == j.m.Source.Matured && total >= 100 {
		c.Verdict, j.broken = "fail", "silent"
		c.Detail = &Text{"没有一个曝光用户有自己的事件。", "Not one exposed unit has an event of its own."}
	}
	return []HealthCheck{c}
}

// staleness: units that were assigned on scores more than two days old are told of. The arms stay alike, so a judgement is forbidden only where most of them
// were assigned on scores of a month ago: it would speak of other customers than those who are targeted today.
func (j *judging) staleness() []HealthCheck {
	stale := sumOf(j.m.Soundness.Stale)
	if stale == 0 {
		return nil
	}
	c := HealthCheck{Code: "stale_scores", Verdict: "warning", PValue: None, Detail: &Text{fmt.Sprintf("%d 个用户分流时用的评分已超过两天。", stale), fmt.Sprintf("%d units were assigned on scores more than two days old.", stale)}}
	if 2*sumOf(j.m.Soundness.Ancient) > j.m.Source.Exposed {
		c.Verdict, j.broken = "fail", "stale"
	}
	return []HealthCheck{c}
}

// lateExposures asks whether exposures come after what they should cause: more units that bought in the hour before the exposure than in the hour after. An
// exposure that is independent of orders has as many on both sides; one that leads to orders has more after.
func (j *judging) lateExposures() []HealthCheck {
	early, late := float64(sumOf(j.m.Soundness.Early)), float64(sumOf(j.m.Soundness.Late))
	if early+late < 20 {
		return nil
	}
	c := HealthCheck{Code: "metric_before_exposure", Verdict: "ok", PValue: Num(stats.NormalSF((early - late) / math.Sqrt(early+late)))}
	if float64(c.PValue) < doubtful {
		c.Verdict = "warning"
		c.Detail = &Text{fmt.Sprintf("%.0f 个用户在曝光前一小时内下了单，曝光后一小时内只有 %.0f 个：曝光可能记晚了（例如记在下单成功页），这些订单没有算进结果。", early, late),
			fmt.Sprintf("%.0f units ordered in the hour before their exposure and only %.0f in the hour after: exposures may be sent too late (on the page after the order, say), and those orders are not counted.", early, late)}
	}
	return []HealthCheck{c}
}

// novelty asks whether the effect on revenue changes from day to day of a unit's window. The metric is w = Σ value·(2d − (D − 1)) over the days d of D, so
// that 6w/(D(D² − 1)) is the least-squares slope of a unit's revenue over its days, and its difference between two arms the slope of the daily effect.
func (j *judging) novelty() []HealthCheck {
	days := float64(j.plan.HorizonDays)
	perDay := 6 / (days * (days*days - 1))
	least, tests := 1.0, 0.0
	var slope stats.Pair
	for _, v := range j.variants {
		p, err := j.c.pair(noveltyMetric, v, "", "", false)
		if err != nil || days < 2 {
			continue
		}
		tests++
		if q := stats.StudentTwoSided(p.T0(), p.DF); q <= least {
			least, slope = q, p
		}
	}
	if tests == 0 {
		return nil
	}
	half := stats.StudentUpper(j.alpha/2, slope.DF) * slope.SE()
	at, low, high := Num(perDay*slope.Effect()), Num(perDay*(slope.Effect()-half)), Num(perDay*(slope.Effect()+half))
	c := HealthCheck{Code: "novelty", Verdict: "ok", PValue: Num(math.Min(1, least*tests)), Slope: &at, SlopeLow: &low, SlopeHigh: &high}
	if float64(c.PValue) < doubtful {
		c.Verdict = "warning"
		if at < 0 {
			c.Detail = &Text{"效果在观察窗里一天天变小：新鲜感可能会过去。", "The effect shrinks from day to day of the window: novelty may wear off."}
		} else {
			c.Detail = &Text{"效果在观察窗里一天天变大：窗口也许还不够长。", "The effect grows from day to day of the window: the window may be too short."}
		}
	}
	return []HealthCheck{c}
}

// overlaps asks of every other experiment that shares units whether this one's effect depends on the variant that they have there.
func (j *judging) overlaps() []HealthCheck {
	byOther := map[string]map[string]map[string]stats.Summary{} // other → its variant → ours
	for _, c := range j.m.Soundness.Overlaps {
		if byOther[c.Other] == nil {
			byOther[c.Other] = map[string]map[string]stats.Summary{}
		}
		if byOther[c.Other][c.OtherVariant] == nil {
			byOther[c.Other][c.OtherVariant] = map[string]stats.Summary{}
		}
		byOther[c.Other][c.OtherVariant][c.Variant] = c.Summary
	}
	var names []string
	var ps []float64
	for other, cells := range byOther {
		least, tests := 1.0, 0.0
		for _, v := range j.variants {
			var effects, variances []float64
			for _, by := range cells {
				if p, err := compareMoments(by[v].Of(), by[j.c.control].Of(), KindMean); err == nil {
					effects, variances = append(effects, p.Effect()), append(variances, p.SE()*p.SE())
				}
			}
			if _, _, p, err := stats.Heterogeneity(effects, variances); err == nil {
				tests++
				least = math.Min(least, p)
			}
		}
		if tests > 0 {
			names, ps = append(names, other), append(ps, math.Min(1, least*tests))
		}
	}
	if len(ps) == 0 {
		return nil
	}
	adjusted, best := stats.Holm(ps), 0
	for i := range ps {
		if ps[i] < ps[best] || ps[i] == ps[best] && names[i] < names[best] {
			best = i
		}
	}
	c := HealthCheck{Code: "interaction", Verdict: "ok", PValue: Num(adjusted[best])}
	if adjusted[best] < doubtful {
		c.Verdict = "warning"
		c.Detail = &Text{fmt.Sprintf("效果取决于用户在实验“%s”里的组：两个实验互相影响，请把它们放进同一个互斥层。", names[best]),
			fmt.Sprintf("The effect depends on the unit's variant in “%s”: the two disturb each other; put them into one layer.", names[best])}
	}
	return []HealthCheck{c}
}

// estimatedShare is the share of the variant's and the control's orders that came without a margin.
func (j *judging) estimatedShare(variant string) Num {
	s := j.m.Soundness
	orders := s.Orders[variant] + s.Orders[j.c.control]
	if orders == 0 {
		return None
	}
	return Num(float64(s.Estimated[variant]+s.Estimated[j.c.control]) / float64(orders))
}

// redemption splits the units of every variant with a coupon by whether they used it.
func (j *judging) redemption() map[string]Redemption {
	var out map[string]Redemption
	for variant, r := range j.m.Soundness.Redeemed {
		total := j.c.total("profit", variant, "", "")
		used := r["units"]
		if total.N == 0 {
			continue
		}
		x := Redemption{Units: int64(used), Share: Num(used / float64(total.N)), RevenuePerUnit: None, DiscountPerUnit: None, ProfitPerUnit: None, RestPerUnit: None,
			Label: Text{"仅作描述：用券的人本来就不一样，两者之差不是优惠券的效果。", "Descriptive: those who redeem differ anyway, so this difference is no effect of the coupon."}}
		if used > 0 {
			x.RevenuePerUnit, x.DiscountPerUnit, x.ProfitPerUnit = Num(r["revenue"]/used), Num(r["discount"]/used), Num(r["profit"]/used)
		}
		if rest := float64(total.N) - used; rest > 0 {
			x.RestPerUnit = Num((total.Mean[0]*float64(total.N) - r["profit"]) / rest)
		}
		if out == nil {
			out = map[string]Redemption{}
		}
		out[variant] = x
	}
	return out
}

func sumOf(by map[string]int64) int64 {
	var n int64
	for _, v := range by {
		n += v
	}
	return n
}
