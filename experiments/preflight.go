package experiments

import (
	"fmt"
	"math"

	"perennial/experiments/stats"
)

// Audience is what history says of the customers that an experiment would take: means and spread per customer over a window as long as the experiment's.
type Audience struct {
	Users         int64   // who meet the targeting now
	Known         int64   // customers there are
	PerDay        float64 // of the audience that come on a day
	Orders        float64 // orders per customer and window
	OrderRate     float64 // share that orders at all in a window
	Revenue       float64 // per customer and window
	RevenueSD     float64
	AOV           float64
	WindowDays    int
	HistoryDays   int
	RunningOthers []string // running experiments outside a common layer
}

// Preflight is what is known before a start: whom it reaches, how long it takes, what the offers cost, and what should be looked at first.
type Preflight struct {
	Audience    int64            `json:"audience"`
	Share       Num              `json:"share"` // of all customers
	UnitsNeeded *int64           `json:"units_needed"`
	PerDay      Num              `json:"units_per_day"`
	Days        *int             `json:"days"` // enrolment and the last customer's window
	MDE         Num              `json:"mde"`  // relative, that the whole audience can show
	CostLow     Num              `json:"cost_low"`
	CostHigh    Num              `json:"cost_high"`
	Currency    string           `json:"currency"`
	Reason      *string          `json:"reason"` // no_history: nothing to plan with
	Checks      []PreflightCheck `json:"checks"`
	Text        Text             `json:"text"`
}

// PreflightCheck is one thing to look at: ok, warning, or fail, which a start would refuse.
type PreflightCheck struct {
	Code    string `json:"code"`
	Verdict string `json:"verdict"`
	Text    Text   `json:"text"`
}

// responseRoom is how much more customers with an offer may order in the upper estimate of its cost.
const responseRoom = 1.3

// PreflightOf looks at a definition before it starts. offers are the catalogue.
func PreflightOf(d Definition, offers []Offer, a Audience, marginRate float64, currency string) Preflight {
	d.Plan = d.Plan.WithDefaults()
	p := Preflight{Audience: a.Users, Share: None, PerDay: None, MDE: None, CostLow: None, CostHigh: None, Currency: currency, Checks: []PreflightCheck{}}
	if a.Known > 0 {
		p.Share = Num(float64(a.Users) / float64(a.Known))
	}
	add := func(code, verdict, zh, en string) {
		p.Checks = append(p.Checks, PreflightCheck{code, verdict, Text{zh, en}})
	}
	p.size(d, a, marginRate)
	p.cost(d, offers, a)
	p.look(d, offers, a, add)
	p.Text = p.words()
	return p
}

// size fills how many customers the plan needs and how long they take to come.
func (p *Preflight) size(d Definition, a Audience, marginRate float64) {
	coverage := 1.0
	switch {
	case d.Ramp != nil: // most of the time it is at its last step
		coverage = d.Ramp.Steps[len(d.Ramp.Steps)-1]
	case d.Coverage != nil:
		coverage = *d.Coverage
	}
	if a.PerDay > 0 {
		p.PerDay = Num(a.PerDay * coverage)
	}
	mde := 0.05
	if d.Plan.MDE != nil {
		mde = *d.Plan.MDE
	}
	arms := len(d.Variants)
	s := stats.Sizing{Alpha: d.Plan.Alpha, Power: d.Plan.Power, Ratio: 1, Arms: max(2, arms), Inflation: 1}
	level := 0.0 // what the relative effect is relative to
	switch primary := d.Metrics.Primary; {
	case primary == "" || primary == "profit":
		s.Baseline, s.SD, level = a.Revenue*marginRate, a.RevenueSD*marginRate, a.Revenue*marginRate
	case primary == "revenue":
		s.Baseline, s.SD, level = a.Revenue, a.RevenueSD, a.Revenue
	case primary == "order_rate":
		s.Proportion, s.Baseline, level = true, a.OrderRate, a.OrderRate
	}
	if !(level > 0) || !s.Proportion && !(s.SD > 0) || arms < 2 {
		code := "no_history"
		p.Reason = &code
		return
	}
	switch d.Plan.Inference {
	case GST:
		s.Inflation = stats.Inflation(d.Plan.Looks, d.Plan.Alpha/float64(arms-1), d.Plan.Power, stats.OBrienFleming)
	case ConfSeq: // its interval is about this much wider where it is narrowest
		c := stats.Sequence{Alpha: d.Plan.Alpha, Tuning: 5000}.Multiplier(5000) / stats.NormalUpper(d.Plan.Alpha/2)
		s.Inflation = c * c
	}
	perArm, err := s.Units(mde * level)
	if err != nil || perArm*float64(arms) > 1e15 {
		code := "no_history"
		p.Reason = &code
		return
	}
	n := int64(math.Ceil(perArm)) * int64(arms)
	if d.Plan.MaxUnits != nil {
		n = *d.Plan.MaxUnits
	}
	p.UnitsNeeded = &n
	if effect, err := s.Effect(float64(a.Users) * coverage / float64(arms)); err == nil {
		p.MDE = Num(effect / level)
	}
	if p.PerDay.Known() && n <= a.Users {
		days := int(math.Ceil(float64(n)/float64(p.PerDay))) + d.Plan.HorizonDays
		p.Days = &days
	}
}

// cost fills what the offers cost over the units of the plan: every order of the audience's usual size gets its discount, and gifts their unit cost. The upper
// figure has room for customers who order more because of the offer.
func (p *Preflight) cost(d Definition, offers []Offer, a Audience) {
	total := 0.0
	for _, v := range d.Variants {
		total += v.Weight
	}
	units := float64(a.Users)
	if p.UnitsNeeded != nil {
		units = math.Min(units, float64(*p.UnitsNeeded))
	}
	if total <= 0 || a.AOV <= 0 {
		return
	}
	sum := 0.0
	for _, v := range d.Variants {
		for i := range offers {
			if offers[i].Key != v.Offer {
				continue
			}
			half := micros(a.AOV / 2)
			q, err := offers[i].Price(Cart{Items: []CartItem{{Quantity: 2, PriceMicros: half}}, FirstOrder: true, Points: 1000})
			if err == nil {
				sum += units * v.Weight / total * a.Orders * float64(q.DiscountMicros+q.CostMicros) / 1e6
			}
		}
	}
	p.CostLow, p.CostHigh = Num(sum), Num(sum*responseRoom)
}

// look goes through what should be right before a start.
func (p *Preflight) look(d Definition, offers []Offer, a Audience, add func(code, verdict, zh, en string)) {
	if err := d.Validate(); err != nil {
		add("definition", "fail", "定义还不完整："+err.Error(), "The definition is not complete: "+err.Error())
	}
	switch {
	case a.Users == 0:
		add("audience", "fail", "现在没有任何顾客符合条件。", "No customer meets the conditions now.")
	case p.UnitsNeeded != nil && *p.UnitsNeeded > a.Users:
		en, zh := "", ""
		if p.MDE.Known() {
			zh, en = fmt.Sprintf("；全部顾客都参加，也只能看出 %.0f%% 以上的差别", 100*float64(p.MDE)), fmt.Sprintf("; all of them together show a difference of %.0f %% or more", 100*float64(p.MDE))
		}
		add("audience", "warning", fmt.Sprintf("需要 %d 位顾客，符合条件的只有 %d 位%s。", *p.UnitsNeeded, a.Users, zh), fmt.Sprintf("The plan needs %d customers and only %d meet the conditions%s.", *p.UnitsNeeded, a.Users, en))
	default:
		add("audience", "ok", fmt.Sprintf("%d 位顾客符合条件。", a.Users), fmt.Sprintf("%d customers meet the conditions.", a.Users))
	}
	given, bad := false, false
	for _, v := range d.Variants {
		for i := range offers {
			if offers[i].Key == v.Offer {
				given = true
				for _, l := range offers[i].Lint() {
					verdict := "warning"
					if l.Level == "error" {
						verdict = "fail"
					}
					bad = true
					add("offer", verdict, fmt.Sprintf("优惠“%s”：%s", v.Offer, l.Detail.ZH), fmt.Sprintf("Offer “%s”: %s", v.Offer, l.Detail.EN))
				}
			}
		}
	}
	if given && !bad {
		add("offer", "ok", "优惠的规则中英文齐全，成本已知。", "The offers' rules are there in both languages and their costs are known.")
	}
	if primary := d.Metrics.Primary; primary != "" && primary != "profit" {
		add("metric", "warning", "主要指标不是利润：下单变多也可能是亏的。", "The main metric is not profit: more orders may still lose money.")
	} else {
		add("metric", "ok", "用扣除成本后的利润来判断。", "It is judged by profit after costs.")
	}
	if len(d.Metrics.Guardrails) == 0 {
		add("guardrails", "warning", "没有护栏指标；建议至少加上退款占比。", "There is no guardrail; add the refund share at least.")
	} else {
		add("guardrails", "ok", "有护栏指标。", "There are guardrails.")
	}
	if d.Ramp == nil {
		add("ramp", "warning", "没有设置自动放量：一开始就按全部比例进行。", "There is no automatic ramp: it starts at its full share.")
	} else {
		add("ramp", "ok", fmt.Sprintf("从 %g%% 开始自动放量，护栏变差时自动暂停或撤回。", 100*d.Ramp.Steps[0]), fmt.Sprintf("It starts at %g %% and widens by itself, held or rolled back when a guardrail gets worse.", 100*d.Ramp.Steps[0]))
	}
	if len(a.RunningOthers) > 0 && d.Layer == nil {
		add("overlap", "warning", fmt.Sprintf("还有 %d 个实验在运行，顾客可能同时参加；要互斥请放进同一层。", len(a.RunningOthers)), fmt.Sprintf("%d other experiments are running and may share customers; use a layer to keep them apart.", len(a.RunningOthers)))
	}
	if p.Reason != nil {
		add("history", "warning", "没有足够的历史数据，估不出需要多少顾客。", "There is not enough history to say how many customers it needs.")
	}
}

// words says the estimate in a sentence.
func (p *Preflight) words() Text {
	v := evidence{money: true, currency: p.Currency}
	var zh, en string
	switch {
	case p.UnitsNeeded == nil:
		zh, en = "没有足够的历史数据，估不出时间。", "There is not enough history to estimate the duration."
	case p.Days == nil:
		zh, en = fmt.Sprintf("需要 %d 位顾客。", *p.UnitsNeeded), fmt.Sprintf("It needs %d customers.", *p.UnitsNeeded)
	default:
		zh, en = fmt.Sprintf("预计 %d 天（%d 位顾客）。", *p.Days, *p.UnitsNeeded), fmt.Sprintf("About %d days (%d customers).", *p.Days, *p.UnitsNeeded)
	}
	if p.CostHigh.Known() && p.CostHigh > 0 {
		low, high := v.round(float64(p.CostLow)), v.round(float64(p.CostHigh))
		zh += fmt.Sprintf("优惠成本约 %s–%s。", low, high)
		en += fmt.Sprintf(" The offers cost about %s–%s.", low, high)
	}
	return Text{zh, en}
}
