package experiments

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// worstOf is the worst verdict of every code of a preflight.
func worstOf(p Preflight) map[string]string {
	rank := map[string]int{"": 0, "ok": 1, "warning": 2, "fail": 3}
	out := map[string]string{}
	for _, c := range p.Checks {
		if rank[c.Verdict] > rank[out[c.Code]] {
			out[c.Code] = c.Verdict
		}
	}
	return out
}

// Sizes are those of the textbook formula, costs those of the cart calculator, and every fault is named before the start.
func TestPreflight(t *testing.T) {
	mde := 0.1
	d := Definition{Key: "coupon", Salt: "s", Control: "none", Variants: []Variant{{Key: "none", Weight: 1}, {Key: "s100", Weight: 1, Offer: "s100-20"}},
		Metrics: Metrics{Primary: "profit", Guardrails: []Guardrail{{Metric: "refund_share", Margin: 0.02}}}, Plan: Plan{Inference: Fixed, MDE: &mde, HorizonDays: 14},
		Ramp: &RampPlan{Steps: []float64{0.05, 1}}}
	offers := []Offer{{Key: "s100-20", Kind: "spend_threshold", Terms: json.RawMessage(`{"threshold":100,"off":20}`), Rules: Text{"满100减20", "20 off from 100"}}}
	a := Audience{Users: 50000, Known: 100000, PerDay: 1000, Orders: 0.5, OrderRate: 0.4, Revenue: 60, RevenueSD: 90, AOV: 120, WindowDays: 14}
	p := PreflightOf(d, offers, a, 0.3, "CNY")
	z := 1.959963984540054 + 0.8416212335729143
	want := 2 * math.Ceil(z*z*2*90*90/(6*6)+1.959963984540054*1.959963984540054/4)
	if p.UnitsNeeded == nil || float64(*p.UnitsNeeded) != want || p.Days == nil || *p.Days != int(math.Ceil(want/1000))+14 || p.Share != 0.5 || p.Reason != nil {
		t.Errorf("needs %v in %v days, want %v: %+v", *p.UnitsNeeded, *p.Days, want, p)
	}
	if cost := want / 2 * 0.5 * 20; math.Abs(float64(p.CostLow)-cost) > 1e-6 || math.Abs(float64(p.CostHigh)-1.3*cost) > 1e-6 {
		t.Errorf("cost %v to %v, want %v and 1.3 of it", p.CostLow, p.CostHigh, cost)
	}
	for code, verdict := range map[string]string{"audience": "ok", "offer": "ok", "metric": "ok", "guardrails": "ok", "ramp": "ok"} {
		if got := worstOf(p)[code]; got != verdict {
			t.Errorf("%s is %q, want %s: %+v", code, got, verdict, p.Checks)
		}
	}
	if !strings.Contains(p.Text.ZH, "天") || !strings.Contains(p.Text.EN, "¥") {
		t.Errorf("text %+v", p.Text)
	}
	d.Metrics, d.Ramp, offers[0].Rules.EN = Metrics{Primary: "order_rate"}, nil, ""
	a.Users, a.RunningOthers = 300, []string{"x"}
	p = PreflightOf(d, offers, a, 0.3, "CNY")
	for code, verdict := range map[string]string{"audience": "warning", "offer": "fail", "metric": "warning", "guardrails": "warning", "ramp": "warning", "overlap": "warning"} {
		if got := worstOf(p)[code]; got != verdict {
			t.Errorf("%s is %q, want %s: %+v", code, got, verdict, p.Checks)
		}
	}
	if p.Days != nil || !(p.MDE > 0.1) {
		t.Errorf("300 customers: %+v", p)
	}
	p = PreflightOf(Definition{}, nil, Audience{}, 0.3, "CNY")
	if worstOf(p)["definition"] != "fail" || worstOf(p)["audience"] != "fail" || p.Reason == nil || *p.Reason != "no_history" {
		t.Errorf("nothing at all: %+v", p)
	}
}
