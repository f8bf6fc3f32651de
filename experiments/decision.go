package experiments

import (
	"fmt"
	"math"
	"strings"
)

// Actions that a decision can be.
const (
	Ship         = "ship"
	KeepRunning  = "keep_running"
	StopLosing   = "stop_losing"
	NoDifference = "no_difference"
	CannotJudge  = "cannot_judge"
)

// Decision is what to do, in one word and in plain sentences made from the numbers. Code says which rule decided.
type Decision struct {
	Action   string  `json:"action"`
	Variant  *string `json:"variant"`
	Code     string  `json:"code"`
	Text     Text    `json:"text"`
	DaysLeft *int    `json:"days_left"`
	// Waiting weighs one more week, where the primary metric is money; Monthly is what the leader brings in thirty days at full coverage.
	Waiting *Waiting `json:"waiting,omitempty"`
	Monthly *Num     `json:"monthly,omitempty"`
}

// evidence is what a decision is made from; the order of its questions is statistics.md §6.
type evidence struct {
	names    map[string]Text // of variants
	metrics  map[string]Text // of metrics
	share    bool            // the primary metric is a share
	guarded  bool            // there are guardrails
	control  string
	metric   string // the primary metric's key
	money    bool   // it is money per exposed unit
	currency string
	lower    bool // lower is better
	alpha    float64

	sequential  bool // gst or confseq
	mayDecide   bool // a crossing counts now
	hasPlan     bool // max_units or end_at is set, or the method has its own stopping rule
	closed      bool // the plan is at its end
	notStarted  bool
	noLook      bool // gst without a recorded look
	matured     int64
	planned     int64
	horizonDays int
	daysLeft    *int

	srmP       float64 // of the verdict
	srmFailed  bool
	twoArm     int64
	exposed    int64
	twoArmBad  bool
	broken     string // leak, stale, silent: what else is wrong with the data
	shortRun   bool
	waiting    *Waiting
	monthly    *Num
	arms       []armEvidence
	equivalent float64 // half width of "no difference that matters"; NaN when unknown
}

// armEvidence is one variant against the control.
type armEvidence struct {
	variant    string
	result     Result
	low, high  Num // the deciding interval, at 1 − α ÷ arms
	eqLow      Num // the 1 − 2α interval, for equivalence
	eqHigh     Num
	harmed     []string // guardrails that got worse beyond doubt
	unproven   []string // guardrails not yet shown to be unharmed
	smallClash bool     // the exact view of small counts disagrees
	refunds    bool     // refunds that may still come would turn the ship
}

func (a armEvidence) better(lower bool) bool {
	if lower {
		return a.high.Known() && a.high < 0
	}
	return a.low.Known() && a.low > 0
}

func (a armEvidence) worse(lower bool) bool {
	if lower {
		return a.low.Known() && a.low > 0
	}
	return a.high.Known() && a.high < 0
}

// decide answers in the binding order: cannot judge → guardrail harm → closed or crossed → equivalence → keep running.
func (v evidence) decide() Decision {
	for _, rule := range []func() (Decision, bool){v.unsound, v.guardrails, v.crossed, v.equivalence, v.end} {
		if d, ok := rule(); ok {
			return d
		}
	}
	return v.goOn("open", Text{})
}

// unsound: a decision must not stand on broken data.
func (v evidence) unsound() (Decision, bool) {
	switch {
	case v.notStarted:
		return v.say(KeepRunning, "not_started", "", "实验还没有开始。", "The experiment has not started."), true
	case v.srmFailed:
		return v.say(CannotJudge, "srm", "", fmt.Sprintf("无法判断：各组人数与计划的分流比例不符（p = %s）。请先检查分流和曝光埋点，在查清之前不要看效果。", pText(v.srmP)),
			fmt.Sprintf("Cannot judge: the arms' sizes do not fit the planned split (p = %s). Check assignment and exposure tracking first; the effects cannot be trusted until then.", pText(v.srmP))), true
	case v.twoArmBad:
		return v.say(CannotJudge, "multiple_exposure", "", fmt.Sprintf("无法判断：%d 个曝光用户里有 %d 个见过不止一个组。请检查用户标识和缓存。", v.exposed, v.twoArm),
			fmt.Sprintf("Cannot judge: %d of %d exposed units met more than one variant. Check user ids and caching.", v.twoArm, v.exposed)), true
	case v.broken == "leak":
		return v.say(CannotJudge, "leak", "", "无法判断：有用户用到了别的组的优惠，或者见到了实验里没有的组。请检查优惠的发放和曝光埋点。",
			"Cannot judge: units used another variant's offer, or met variants that the experiment does not have. Check how the offer is given out and how exposures are sent."), true
	case v.broken == "stale":
		return v.say(CannotJudge, "stale_exposure", "", "无法判断：分流时用的评分已经过期。请先让每晚的评分恢复正常。", "Cannot judge: the scores used at assignment were stale. Get the nightly scores running again first."), true
	case v.broken == "silent":
		return v.say(CannotJudge, "no_outcomes", "", "无法判断：曝光的用户没有任何一条自己的事件，曝光和订单的用户标识多半不一致。",
			"Cannot judge: not one exposed unit has an event of its own. The ids of exposures and of orders probably differ."), true
	}
	return Decision{}, false
}

// guardrails: harm beyond doubt stops, whatever the primary metric says.
func (v evidence) guardrails() (Decision, bool) {
	var zh, en, variants []string
	for _, a := range v.arms {
		if len(a.harmed) > 0 {
			zh = append(zh, fmt.Sprintf("“%s”的护栏指标“%s”明显变差", v.name(a.variant).ZH, v.list(a.harmed).ZH))
			en = append(en, fmt.Sprintf("%s harms the guardrail %s", v.name(a.variant).EN, v.list(a.harmed).EN))
			variants = append(variants, a.variant)
		}
	}
	if len(variants) == 0 {
		return Decision{}, false
	}
	return v.say(StopLosing, "guardrail_harm", v.control, "建议停止："+strings.Join(zh, "；")+fmt.Sprintf("。请退回“%s”。", v.name(v.control).ZH),
		"Stop: "+strings.Join(en, "; ")+fmt.Sprintf(". Roll back to %s.", v.name(v.control).EN)), true
}

// crossed: the best variant whose deciding interval is beyond 0, or all variants lose.
func (v evidence) crossed() (Decision, bool) {
	if !v.mayDecide {
		return Decision{}, false
	}
	best, losing := -1, 0
	for i, a := range v.arms {
		if a.worse(v.lower) {
			losing++
		}
		if a.better(v.lower) && (best < 0 || v.gain(a) > v.gain(v.arms[best])) {
			best = i
		}
	}
	if best >= 0 {
		return v.shipOrHold(v.arms[best]), true
	}
	if losing == 0 || losing < len(v.arms) {
		return Decision{}, false
	}
	a := v.arms[0]
	for _, b := range v.arms[1:] {
		if v.gain(b) > v.gain(a) {
			a = b
		}
	}
	zh, en := v.size(a)
	return v.say(StopLosing, "losing", v.control, fmt.Sprintf("建议停止：“%s”%s。", v.name(a.variant).ZH, zh),
		fmt.Sprintf("Stop: %s %s.", v.name(a.variant).EN, en)), true
}

func (v evidence) gain(a armEvidence) float64 {
	if v.lower {
		return -float64(a.result.Effect)
	}
	return float64(a.result.Effect)
}

// shipOrHold: a winner ships unless something that can be waited for stands against it.
func (v evidence) shipOrHold(a armEvidence) Decision {
	zh, en := v.size(a)
	switch {
	case v.shortRun:
		return v.goOn("short_run", Text{fmt.Sprintf("“%s”目前领先：%s；但进组还不满 7 天，请至少跑满一周再定。", v.name(a.variant).ZH, zh),
			fmt.Sprintf("%s leads: it %s. But enrolment spans fewer than 7 days: let a full week pass.", v.name(a.variant).EN, en)})
	case len(a.unproven) > 0:
		return v.goOn("guardrail_open", Text{fmt.Sprintf("“%s”目前领先：%s；但护栏指标“%s”还不能确认没有变差。", v.name(a.variant).ZH, zh, v.list(a.unproven).ZH),
			fmt.Sprintf("%s leads: it %s. But the guardrail %s is not yet shown to be unharmed.", v.name(a.variant).EN, en, v.list(a.unproven).EN)})
	case a.smallClash:
		return v.goOn("small_count", Text{fmt.Sprintf("“%s”目前领先，但次数太少，小样本检验并不支持，请再等等。", v.name(a.variant).ZH),
			fmt.Sprintf("%s leads, but the counts are so small that the exact test disagrees: wait.", v.name(a.variant).EN)})
	case a.refunds:
		return v.goOn("refunds_open", Text{fmt.Sprintf("“%s”目前领先：%s；但退款还没到期；按目前较差一组的退款率，结论可能会变。", v.name(a.variant).ZH, zh),
			fmt.Sprintf("%s leads: it %s. But refunds are still open and, at the worse arm's refund share, could turn this.", v.name(a.variant).EN, en)})
	}
	month, sound := v.monthText(), Text{"样本比例正常。", " The split is as planned."}
	if v.guarded {
		sound = Text{"护栏指标和样本比例正常。", " Guardrails and split are in order."}
	}
	return v.say(Ship, "better", a.variant, fmt.Sprintf("建议全量“%s”：它%s。%s%s", v.name(a.variant).ZH, zh, month.ZH, sound.ZH),
		fmt.Sprintf("Ship %s: it %s.%s%s", v.name(a.variant).EN, en, month.EN, sound.EN))
}

// equivalence: every variant's interval lies inside what would matter.
func (v evidence) equivalence() (Decision, bool) {
	if !v.mayDecide || len(v.arms) == 0 || math.IsNaN(v.equivalent) || v.equivalent <= 0 {
		return Decision{}, false
	}
	for _, a := range v.arms {
		if !a.eqLow.Known() || !a.eqHigh.Known() || float64(a.eqLow) < -v.equivalent || float64(a.eqHigh) > v.equivalent {
			return Decision{}, false
		}
	}
	limit := v.amount(v.equivalent)
	return v.say(NoDifference, "equivalent", v.control, fmt.Sprintf("没有值得在意的差别：各组与“%s”的差都在 ±%s 以内。选成本低、规则简单的那个即可。", v.name(v.control).ZH, limit),
		fmt.Sprintf("No difference that matters: every variant is within ±%s of %s. Take the cheaper, simpler one.", limit, v.name(v.control).EN)), true
}

// end: the plan is over and nothing was shown.
func (v evidence) end() (Decision, bool) {
	if !v.closed || len(v.arms) == 0 {
		return Decision{}, false
	}
	a := v.arms[0]
	for _, b := range v.arms[1:] {
		if v.gain(b) > v.gain(a) {
			a = b
		}
	}
	if a.better(v.lower) || !a.low.Known() {
		return Decision{}, false
	}
	return v.say(NoDifference, "closed", v.control, fmt.Sprintf("计划的样本已经用完，没有看出差别（“%s”的差在 %s 到 %s 之间）。保留“%s”；若仍想知道，请用更大的样本另开实验。", v.name(a.variant).ZH, v.signed(a.low), v.signed(a.high), v.name(v.control).ZH),
		fmt.Sprintf("The planned sample is used up and no difference was shown (%s: between %s and %s). Keep %s; start a larger test if you still need to know.", v.name(a.variant).EN, v.signed(a.low), v.signed(a.high), v.name(v.control).EN)), true
}

// goOn is keep_running with the reason, and how long.
func (v evidence) goOn(code string, why Text) Decision {
	switch {
	case why.ZH != "":
	case v.matured == 0:
		code, why = "immature", Text{fmt.Sprintf("还没有用户走完 %d 天的观察窗，暂时没有结果。", v.horizonDays), fmt.Sprintf("No unit has completed its %d-day window yet; there is nothing to judge.", v.horizonDays)}
	case v.noLook:
		code, why = "no_look", Text{"还没有记录过查看点；今晚会记录第一个。", "No look has been recorded yet; tonight's run records the first."}
	case v.planned > 0:
		why = Text{fmt.Sprintf("继续：已有 %d 个用户走完观察窗，计划 %d 个，目前还不能下结论%s。", v.matured, v.planned, v.leader().ZH),
			fmt.Sprintf("Keep running: %d of %d planned units have matured and nothing is settled yet%s.", v.matured, v.planned, v.leader().EN)}
	default:
		why = Text{fmt.Sprintf("继续：%d 个用户走完了观察窗，目前还看不出差别%s。", v.matured, v.leader().ZH),
			fmt.Sprintf("Keep running: %d units have matured and no difference is shown yet%s.", v.matured, v.leader().EN)}
	}
	if code == "open" {
		for _, a := range v.arms {
			if a.worse(v.lower) && len(v.arms) > 1 && v.mayDecide {
				zh, en := v.size(a)
				why.ZH += fmt.Sprintf("“%s”%s，可以先停掉这一组。", v.name(a.variant).ZH, zh)
				why.EN += fmt.Sprintf(" %s %s; that arm can be stopped.", v.name(a.variant).EN, en)
			}
		}
	}
	if code == "open" {
		wait := v.waitText()
		why.ZH += wait.ZH
		why.EN += wait.EN
	}
	if v.daysLeft != nil && *v.daysLeft > 0 {
		why.ZH += fmt.Sprintf("大约还要 %d 天。", *v.daysLeft)
		why.EN += fmt.Sprintf(" About %d more days.", *v.daysLeft)
	}
	d := v.say(KeepRunning, code, "", why.ZH, why.EN)
	d.DaysLeft = v.daysLeft
	return d
}

// leader names the variant that is ahead so far.
func (v evidence) leader() Text {
	if len(v.arms) == 0 || !v.arms[0].result.Effect.Known() || !v.arms[0].low.Known() {
		return Text{}
	}
	a := v.arms[0]
	for _, b := range v.arms[1:] {
		if v.gain(b) > v.gain(a) {
			a = b
		}
	}
	return Text{fmt.Sprintf("（“%s”的差在 %s 到 %s 之间）", v.name(a.variant).ZH, v.signed(a.low), v.signed(a.high)),
		fmt.Sprintf(" (%s: between %s and %s)", v.name(a.variant).EN, v.signed(a.low), v.signed(a.high))}
}

func (v evidence) say(action, code, variant, zh, en string) Decision {
	if v.share {
		zh = strings.ReplaceAll(zh, " pp", " 个百分点")
	}
	d := Decision{Action: action, Code: code, Text: Text{zh, en}, Waiting: v.waiting, Monthly: v.monthly}
	if variant != "" {
		d.Variant = &variant
	}
	return d
}

func (v evidence) name(variant string) Text {
	if n, ok := v.names[variant]; ok && n.ZH != "" && n.EN != "" {
		return Text{n.ZH, "“" + n.EN + "”"}
	}
	return Text{variant, "“" + variant + "”"}
}

// metricName is a metric in words, its key where it has none.
func (v evidence) metricName(key string) Text {
	n := v.metrics[key]
	if n.ZH == "" {
		n.ZH = key
	}
	if n.EN == "" {
		n.EN = key
	}
	return n
}

// list names metrics.
func (v evidence) list(keys []string) Text {
	zh, en := make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		n := v.metricName(k)
		zh[i], en[i] = n.ZH, n.EN
	}
	return Text{strings.Join(zh, "、"), strings.Join(en, ", ")}
}

// size says the effect of a variant against the control in words, with its deciding interval.
func (v evidence) size(a armEvidence) (zh, en string) {
	e := float64(a.result.Effect)
	level := fmt.Sprintf("%.4g%%", 100*(1-v.alpha/math.Max(1, float64(len(v.arms)))))
	low, high, control := v.signed(a.low), v.signed(a.high), v.name(v.control)
	intervalZH, intervalEN := fmt.Sprintf("（%s 区间 %s 到 %s）", level, low, high), fmt.Sprintf(" (%s interval %s to %s)", level, low, high)
	if v.metric == "profit" {
		more, moreEN := "多赚", "more"
		if e < 0 {
			more, moreEN = "少赚", "less"
		}
		return fmt.Sprintf("比“%s”每位顾客%s %s%s", control.ZH, more, v.amount(math.Abs(e)), intervalZH),
			fmt.Sprintf("earns %s %s per exposed customer than %s%s", v.amount(math.Abs(e)), moreEN, control.EN, intervalEN)
	}
	higher, higherEN := "高", "higher"
	if e < 0 {
		higher, higherEN = "低", "lower"
	}
	metric := v.metricName(v.metric)
	return fmt.Sprintf("的%s比“%s”%s %s%s", metric.ZH, control.ZH, higher, v.amount(math.Abs(e)), intervalZH),
		fmt.Sprintf("has a %s that is %s %s than %s%s", metric.EN, v.amount(math.Abs(e)), higherEN, control.EN, intervalEN)
}

var currencySigns = map[string]string{"CNY": "¥", "JPY": "¥", "USD": "$", "GBP": "£", "EUR": "€", "HKD": "HK$", "TWD": "NT$", "KRW": "₩", "INR": "₹"}

// amount prints a size: money with its sign, a share in percentage points, else a plain number, with at least two significant digits.
func (v evidence) amount(x float64) string {
	unit, places := "", 2
	if v.share {
		x, unit = 100*x, " pp"
	}
	if a := math.Abs(x); a > 0 && a < 0.1 {
		places = min(8, 1-int(math.Floor(math.Log10(a))))
	}
	text := fmt.Sprintf("%.*f", places, math.Abs(x))
	if v.money {
		sign, ok := currencySigns[v.currency]
		if !ok {
			sign = v.currency + " "
		}
		text = sign + text
	}
	text += unit
	if x < 0 {
		text = "−" + text
	}
	return text
}

func (v evidence) signed(n Num) string {
	if !n.Known() {
		return "?"
	}
	if n > 0 {
		return "+" + v.amount(float64(n))
	}
	return v.amount(float64(n))
}

func pText(p float64) string {
	if p < 0.0001 {
		return fmt.Sprintf("%.1e", p)
	}
	return fmt.Sprintf("%.4f", p)
}
