package experiments

import (
	"fmt"
	"math"
	"strconv"
)

// Verdict is the one word a result gets: better, worse, unclear, pass, harm, open (guardrails), unknown (nothing computed) or suspect (the split is not
// as planned, so no effect can be trusted).
func (a *Analysis) Verdict(r Result) string {
	switch {
	case a.SRM.Verdict == "fail":
		return "suspect"
	case r.NonInferior != nil && r.NonInferior.Statistic.Known():
		return r.NonInferior.Verdict
	case !r.PAdjusted.Known() || !r.Effect.Known():
		return "unknown"
	case float64(r.PAdjusted) >= a.Alpha:
		return "unclear"
	case (r.Effect > 0) == (r.Direction != "down"):
		return "better"
	}
	return "worse"
}

// verdicts are the words for people.
var verdicts = map[string]Text{
	"better": {"更好", "better"}, "worse": {"更差", "worse"}, "unclear": {"看不出差别", "unclear"}, "pass": {"没有变差", "not worse"}, "harm": {"变差了", "harm"},
	"open": {"还不能排除变差", "open"}, "unknown": {"算不出来", "not computed"}, "suspect": {"先查分流", "check the split"},
}

// VerdictText is a verdict in both languages.
func VerdictText(verdict string) Text { return verdicts[verdict] }

// reasons say why a number is missing.
var reasons = map[string]Text{
	NotTooFew:          {"样本太少，算不出来。", "Too few units to compute this."},
	NotZeroVariance:    {"数据没有变化，没有误差可言。", "Nothing varies, so there is no error to speak of."},
	NotControlNearZero: {"对照组接近 0，相对提升没有意义，请看绝对差。", "The control is near 0: a relative lift means nothing; read the absolute effect."},
	NotMissingVariance: {"缺少方差。", "A variance is missing."},
	NotImmature:        {"观察窗还没有结束。", "The outcome windows are not over yet."},
	NotNoLook:          {"还没有到第一次查看。", "The first look is still to come."},
}

// Notes are the sentences below a result: what the table has no column for.
func (r Result) Notes() []Text {
	var notes []Text
	say := func(zh, en string, args ...any) {
		notes = append(notes, Text{ZH: fmt.Sprintf(zh, args...), EN: fmt.Sprintf(en, args...)})
	}
	if r.Reason != nil {
		notes = append(notes, reasons[*r.Reason])
	}
	if r.Method == "lin" && r.VarianceReduction.Known() {
		say("协变量去掉了 %s 的方差。", "Adjustment removed %s of the variance.", inPercent(r.VarianceReduction))
	}
	if r.Cap != nil && r.Uncapped != nil && r.Uncapped.Effect != nil {
		say("已截尾在 %s；不截尾的差是 %s，区间 %s 到 %s（p = %s）。", "Cut off at %s; without the cut the effect is %s, interval %s to %s (p = %s).",
			showNum(*r.Cap), showNum(*r.Uncapped.Effect), showNum(r.Uncapped.EffectLow), showNum(r.Uncapped.EffectHigh), showP(r.Uncapped.PValue))
	}
	if n := r.NonInferior; n != nil && n.Statistic.Known() {
		margin := inPercent(Num(n.Margin))
		switch n.Verdict {
		case "pass":
			say("可以排除变差超过 %s（p = %s）。", "Worse by more than %s is ruled out (p = %s).", margin, showP(n.PValue))
		case "harm":
			say("变差超过了 %s（p = %s）。", "It is worse by more than %s (p = %s).", margin, showP(n.HarmP))
		default:
			say("还不能排除变差超过 %s（p = %s）。", "Worse by more than %s is not ruled out (p = %s).", margin, showP(n.PValue))
		}
	}
	if e := r.Equivalent; e != nil {
		switch e.Verdict {
		case "equivalent":
			say("差别在 ±%s 以内，可以视为没有差别。", "The difference lies within ±%s: no difference that matters.", showNum(e.Bound))
		case "different":
			say("差别超过了 ±%s。", "The difference is larger than ±%s.", showNum(e.Bound))
		default:
			say("还不能说差别在 ±%s 以内（区间 %s 到 %s）。", "Not shown to lie within ±%s (interval %s to %s).", showNum(e.Bound), showNum(e.Low), showNum(e.High))
		}
	}
	if c := r.ConditionalPower; c != nil {
		if c.Planned.Known() {
			say("照目前的走势，最后显著的可能是 %s；如果计划中的效果是真的，是 %s。", "Chance to end significant: %s on the trend so far, %s if the planned effect is true.", inPercent(c.Trend), inPercent(c.Planned))
		} else {
			say("照目前的走势，最后显著的可能是 %s。", "Chance to end significant on the trend so far: %s.", inPercent(c.Trend))
		}
	}
	if x := r.Exact; x != nil {
		say("次数很少，精确检验（%s）：p = %s，差的区间 %s 到 %s。", "Few counts; exact (%s): p = %s, effect %s to %s.", x.Method, showP(x.PValue), showNum(x.Low), showNum(x.High))
	}
	if b := r.Bayes; b != nil && b.ChanceToBeat.Known() {
		say("更好的可能 %s；每个用户的期望损失：推全 %s，不推 %s。", "Chance to be better %s; expected loss per unit %s if shipped, %s if not.", inPercent(b.ChanceToBeat), short(b.LossIfShip), short(b.LossIfKeep))
	}
	return notes
}

// inPercent prints a share with as many digits as it needs to differ from 0 and 100 %.
func inPercent(n Num) string {
	if !n.Known() {
		return "–"
	}
	v := 100 * float64(n)
	switch {
	case v > 99.95 && v < 100:
		return "> 99.9 %"
	case v > 0 && v < 0.05:
		return "< 0.1 %"
	}
	return strconv.FormatFloat(math.Round(10*v)/10, 'g', -1, 64) + " %"
}

// short prints two digits, and 0 for what is nothing beside anything.
func short(n Num) string {
	if !n.Known() {
		return "–"
	}
	if math.Abs(float64(n)) < 1e-12 {
		return "0"
	}
	return strconv.FormatFloat(float64(n), 'g', 2, 64)
}

func showP(n Num) string {
	if !n.Known() {
		return "–"
	}
	return strconv.FormatFloat(float64(n), 'g', 3, 64)
}
