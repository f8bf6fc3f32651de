package experiments

import (
	"fmt"
	"math"
	"sort"
)

// explained is what each warning code means, for people.
var explained = map[string]Text{
	"peeking":           {"这是固定样本量的检验，却没有约定结束时间或样本量：多看几次就会多出假的“显著”。请在计划里写明 max_units 或 end_at，或改用 gst。", "This is a fixed-sample test without an agreed end or size: every further look adds false winners. Set max_units or end_at in the plan, or use gst."},
	"short_run":         {"进组还不满 7 个自然日，一周里的起伏还没走完一遍。", "Enrolment spans fewer than 7 days, so not every weekday has been seen."},
	"few_clusters":      {"某一组的簇少于 40 个，簇稳健的区间会偏窄。", "An arm has fewer than 40 clusters; cluster-robust intervals are then too narrow."},
	"refunds_open":      {"退款还没有到期，利润可能还会变小。", "Refunds are still open; profit can still shrink."},
	"srm":               {"各组人数与计划的比例不符，分流或埋点可能有问题；先查清原因再看结论。", "The arms' sizes do not fit the planned split; check assignment and tracking before you trust the effects."},
	"low_power":         {"样本太小，即使有计划中想看到的效果，也多半看不出来。", "The sample is small: an effect of the planned size would probably go unseen."},
	"heavy_tail":        {"某一组里单独一个用户就占了方差的 10% 以上；可用 cap=p99.9 看看截尾后的结果。", "One unit makes more than 10 % of an arm's variance; look at the capped value, too (cap=p99.9)."},
	"multiple_exposure": {"有用户同时出现在两个组里。", "Some units were in two arms."},
	"immature":          {"有用户的观察窗还没有结束，没有计入。", "Some units' outcome windows are not over; they are not counted yet."},
	"small_count":       {"成功或失败次数不到 10，请看 exact 一栏的小样本结果。", "Fewer than 10 successes or failures in an arm; read the exact result beside."},
	"skewed":            {"分布很偏，均值离正态还远，区间只是近似。", "The metric is very skewed for so few units; the interval is approximate."},
	"unequal_split_suspected": {"人数很像是按不等比例设计的；如果是，请用 --split 写明计划的比例。",
		"The sizes look like a planned unequal split; if so, state it with --split."},
	"revalidate":             {"这个结论已经过了约定的复查日期，顾客可能已经变了：请用一个小实验再验证一次。", "This decision is past the date that was set for looking at it again; customers may have changed: confirm it with a small test."},
	"metric_before_exposure": {"有指标在曝光之前就发生了。", "Some outcomes lie before the exposure."},
}

// warnings collects the codes of all results and of the split, explained.
func (a *tableAnalysis) warnings(out *Analysis) []Warning {
	codes := map[string]bool{}
	for _, r := range out.Results {
		for _, c := range r.Warnings {
			codes[c] = true
		}
	}
	if out.SRM.Verdict == "warning" || out.SRM.Verdict == "fail" {
		codes["srm"] = true
		if a.plan.Split == nil {
			if s := suspectedSplit(out.Arms); s != "" {
				codes["unequal_split_suspected"] = true
			}
		}
	}
	list := explain(codes)
	for i := range list {
		if list[i].Code == "srm" {
			list[i].Detail.ZH += fmt.Sprintf(" p = %.3g。", float64(out.SRM.PValue))
			list[i].Detail.EN += fmt.Sprintf(" p = %.3g.", float64(out.SRM.PValue))
		}
		if list[i].Code == "unequal_split_suspected" {
			list[i].Detail.ZH += " " + suspectedSplit(out.Arms)
			list[i].Detail.EN += " " + suspectedSplit(out.Arms)
		}
	}
	return list
}

// explain turns codes into warnings in the order of the alphabet.
func explain(codes map[string]bool) []Warning {
	list := []Warning{}
	for c, on := range codes {
		if on {
			list = append(list, Warning{c, explained[c]})
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Code < list[j].Code })
	return list
}

// suspectedSplit returns a --split of small whole numbers (up to 20 to 1) that the sizes fit well, or "". One arm may differ from the rest.
func suspectedSplit(arms []Arm) string {
	for odd := range arms {
		for _, weight := range []float64{2, 3, 4, 5, 7, 8, 9, 10, 19, 20} {
			trial := append([]Arm(nil), arms...)
			sum := weight + float64(len(arms)-1)
			for i := range trial {
				trial[i].PlannedShare = 1 / sum
			}
			trial[odd].PlannedShare = weight / sum
			if s := testSplit(trial); s.PValue.Known() && s.PValue > 0.05 {
				text := "--split "
				for i, t := range trial {
					if i > 0 {
						text += ","
					}
					text += fmt.Sprintf("%s=%v", t.Variant, math.Round(t.PlannedShare*sum))
				}
				return text
			}
		}
	}
	return ""
}
