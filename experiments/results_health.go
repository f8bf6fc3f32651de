package experiments

import (
	"fmt"
	"math"
	"sort"

	"perennial/experiments/stats"
)

// shares returns the planned shares of a stratum; a stratum that nothing is known of has the present ones.
func (j *judging) shares(stratum string) map[string]float64 {
	if s, ok := j.Shares[stratum]; ok {
		return s
	}
	return j.Shares[""]
}

// arms are the exposed units of each variant, control first in the declared order.
func (j *judging) arms() []Arm {
	units := map[string]int64{}
	for _, by := range j.m.ExposedBy {
		for v, n := range by {
			units[v] += n
		}
	}
	planned := j.shares("")
	out := []Arm{{Variant: j.c.control, Units: units[j.c.control], PlannedShare: planned[j.c.control]}}
	for _, v := range j.variants {
		out = append(out, Arm{v, units[v], planned[v]})
	}
	return out
}

// split tests the exposed units against their own strata's plans: Σ χ² with Σ (K − 1) degrees of freedom, and the sequential test day by day,
// which gives the verdict because results are looked at every day (statistics.md §6.7, §6.10).
func (j *judging) split() SRM {
	statistic, df := 0.0, 0.0
	for stratum, by := range j.m.ExposedBy {
		counts, weights := j.counts(stratum, by)
		x, d, _, err := stats.SRM(counts, weights)
		if err == nil {
			statistic, df = statistic+x, df+d
		}
	}
	if df == 0 {
		return SRM{Statistic: None, DF: None, PValue: None, Verdict: "unknown"}
	}
	p := stats.Chi2SF(statistic, df)
	seq := Num(j.sequentialSplit())
	return SRM{Statistic: Num(statistic), DF: Num(df), PValue: Num(p), SequentialP: &seq, Verdict: srmVerdict(float64(seq))}
}

func (j *judging) counts(stratum string, by map[string]int64) ([]int64, []float64) {
	shares := j.shares(stratum)
	names := append([]string{j.c.control}, j.variants...)
	counts, weights := make([]int64, len(names)), make([]float64, len(names))
	for i, v := range names {
		counts[i], weights[i] = by[v], shares[v]
	}
	return counts, weights
}

// sequentialSplit is the running minimum of 1/BF over the days of enrolment.
func (j *judging) sequentialSplit() float64 {
	days := append([]ExposedDay(nil), j.m.ExposedByDay...)
	sort.SliceStable(days, func(a, b int) bool { return days[a].Day < days[b].Day })
	sofar := map[string]map[string]int64{}
	best := 0.0
	for i, d := range days {
		if sofar[d.Stratum] == nil {
			sofar[d.Stratum] = map[string]int64{}
		}
		sofar[d.Stratum][d.Variant] += d.Units
		if i+1 < len(days) && days[i+1].Day == d.Day {
			continue
		}
		total := 0.0
		for stratum, by := range sofar {
			counts, weights := j.counts(stratum, by)
			total += stats.LogBayesSRM(counts, weights, concentration(weights))
		}
		best = math.Max(best, total)
	}
	return math.Exp(-best)
}

// concentration is the prior of the sequential test: one unit per arm, spread as planned.
func concentration(weights []float64) []float64 {
	sum, k := 0.0, 0.0
	for _, w := range weights {
		if w > 0 {
			sum, k = sum+w, k+1
		}
	}
	alpha := make([]float64, len(weights))
	for i, w := range weights {
		if w > 0 {
			alpha[i] = k * w / sum
		}
	}
	return alpha
}

// health answers the questions about soundness, and whether units in two arms forbid a judgement: above 1 % of the exposed, or unevenly
// spread at p < 0.001 (statistics.md §6.8).
func (j *judging) health(srm SRM) (checks []HealthCheck, twoArm int64, bad bool) {
	verdict := srm.Verdict
	if verdict == "unknown" {
		verdict = "ok"
	}
	p := srm.PValue
	if srm.SequentialP != nil {
		p = *srm.SequentialP
	}
	checks = append(checks, HealthCheck{Code: "srm", Verdict: verdict, PValue: p})
	arms := j.arms()
	counts, weights := make([]int64, len(arms)), make([]float64, len(arms))
	for i, a := range arms {
		counts[i], weights[i] = j.m.TwoArm[a.Variant], float64(a.Units)
		twoArm += counts[i]
	}
	two := HealthCheck{Code: "multiple_exposure", Verdict: "ok", PValue: None}
	if twoArm > 0 {
		two.Verdict = "warning"
		if _, _, p, err := stats.SRM(counts, weights); err == nil {
			two.PValue = Num(p)
			bad = p < 0.001
		}
		bad = bad || float64(twoArm) > 0.01*float64(j.m.Source.Exposed)
		if bad {
			two.Verdict = "fail"
		}
		two.Detail = &Text{fmt.Sprintf("%d 个用户见过不止一个组。", twoArm), fmt.Sprintf("%d units met more than one variant.", twoArm)}
	}
	checks = append(checks, two)
	immature := j.m.Source.Exposed - j.m.Source.Matured
	if immature > 0 {
		checks = append(checks, HealthCheck{Code: "immature", Verdict: "ok", PValue: None,
			Detail: &Text{fmt.Sprintf("%d 个用户的观察窗还没有结束。", immature), fmt.Sprintf("The windows of %d units are not over yet.", immature)}})
	}
	if p, ok := j.preBias(); ok {
		c := HealthCheck{Code: "pre_period_bias", Verdict: "ok", PValue: Num(p)}
		if p < 0.001 {
			c.Verdict, c.Detail = "warning", &Text{"曝光之前两组的消费就已经不同：随机分组或曝光埋点可能有偏。", "The arms spent differently before any exposure: assignment or exposure tracking may be biased."}
		}
		checks = append(checks, c)
	}
	checks = append(checks, j.soundness()...)
	if j.m.RefundsOpen {
		checks = append(checks, HealthCheck{Code: "refunds_open", Verdict: "warning", PValue: None})
	}
	return checks, twoArm, bad
}

// preBias tests, for every variant and covariate, that the arms were alike before the exposure; the smallest p, times the number of tests.
func (j *judging) preBias() (float64, bool) {
	least, tests := 1.0, 0.0
	for _, v := range j.variants {
		control := j.c.cells[cellKey{j.primary, j.c.control, "", ""}]
		for _, t := range j.c.cells[cellKey{j.primary, v, "", ""}] {
			for _, c := range control {
				if c.Stratum != t.Stratum || c.Covariates != t.Covariates {
					continue
				}
				for i := len(t.Moments.Mean) - t.Covariates; i < len(t.Moments.Mean); i++ {
					p, err := compareMoments(t.Moments.Summary(i).Of(), c.Moments.Summary(i).Of(), KindMean)
					if err == nil {
						tests++
						least = math.Min(least, stats.StudentTwoSided(p.T0(), p.DF))
					}
				}
			}
		}
	}
	return math.Min(1, least*tests), tests > 0
}

// warnings collects the codes of the document.
func (j *judging) warnings(doc *Results, rows []row, twoArm int64) map[string]bool {
	codes := map[string]bool{}
	for _, r := range rows {
		for _, c := range r.Warnings {
			codes[c] = true
		}
	}
	codes["srm"] = doc.SRM.Verdict == "warning" || doc.SRM.Verdict == "fail"
	codes["multiple_exposure"] = twoArm > 0
	codes["refunds_open"] = j.m.RefundsOpen
	codes["revalidate"] = j.Experiment.DueAgain(j.Now)
	for _, h := range doc.Health {
		codes[h.Code] = codes[h.Code] || h.Code == "metric_before_exposure" && h.Verdict != "ok"
	}
	codes["immature"] = j.m.Source.Exposed > j.m.Source.Matured
	fixed := j.Experiment.Plan.Inference == Fixed
	codes["peeking"] = fixed && j.plan.MaxUnits == nil && j.Experiment.EndAt == nil
	codes["short_run"] = !fixed && j.m.Source.Exposed > 0 && j.span7()
	if wanted := j.wanted(); (fixed || doc.State.Closed) && wanted > 0 {
		for _, r := range rows {
			if r.Role == RolePrimary && r.ok {
				need := (stats.NormalUpper(j.alpha/2) + stats.NormalUpper(1-j.plan.Power)) * r.pair.SE()
				codes["low_power"] = codes["low_power"] || need > wanted
			}
		}
	}
	return codes
}
