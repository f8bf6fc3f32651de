package experiments

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

// decisionCases are the states that the binding order of decisions generates.
func decisionCases() []struct {
	name string
	v    evidence
} {
	days := 9
	arm := func(variant string, effect, low, high float64) armEvidence {
		r := blank("profit", KindMean, variant)
		r.Effect = Num(effect)
		return armEvidence{variant: variant, result: r, low: Num(low), high: Num(high), eqLow: Num(low * 0.8), eqHigh: Num(high * 0.8)}
	}
	base := evidence{names: map[string]Text{"none": {"不发券", "no coupon"}, "s100": {"满100减20", "spend 100 save 20"}, "p10": {"限时九折", "10 % off"}}, metrics: map[string]Text{"refund_share": {"退款占比", "refund share"}}, guarded: true, control: "none", metric: "profit", money: true,
		currency: "CNY", alpha: 0.05, mayDecide: true, sequential: true, matured: 8120, planned: 20000, horizonDays: 14, daysLeft: &days, exposed: 9000, equivalent: 0.2}
	with := func(change func(*evidence)) evidence {
		v := base
		change(&v)
		return v
	}
	win, lose, open, small := arm("s100", 0.42, 0.11, 0.73), arm("s100", -0.35, -0.6, -0.1), arm("s100", 0.2, -0.3, 0.7), arm("s100", 0.01, -0.09, 0.1)
	return []struct {
		name string
		v    evidence
	}{
		{"not started", with(func(v *evidence) { v.notStarted = true })},
		{"sample ratio mismatch before everything", with(func(v *evidence) { v.srmFailed, v.srmP, v.arms = true, 2e-9, []armEvidence{win} })},
		{"units in two arms", with(func(v *evidence) { v.twoArmBad, v.twoArm, v.arms = true, 214, []armEvidence{win} })},
		{"an offer leaked into another arm", with(func(v *evidence) { v.broken, v.arms = "leak", []armEvidence{win} })},
		{"stale scores", with(func(v *evidence) { v.broken, v.arms = "stale", []armEvidence{win} })},
		{"no outcomes", with(func(v *evidence) { v.broken, v.arms = "silent", []armEvidence{win} })},
		{"guardrail harmed although the primary wins", with(func(v *evidence) { a := win; a.harmed = []string{"refund_share"}; v.arms = []armEvidence{a} })},
		{"ship", with(func(v *evidence) { v.arms = []armEvidence{win} })},
		{"ship, with what it brings a month", with(func(v *evidence) { v.monthly, v.arms = num(84123.4), []armEvidence{win} })},
		{"ship the better of two", with(func(v *evidence) { v.arms = []armEvidence{win, arm("p10", 0.61, 0.2, 1.02)} })},
		{"ship although another arm loses", with(func(v *evidence) { v.arms = []armEvidence{win, arm("p10", -0.61, -1.02, -0.2)} })},
		{"winner after less than a week", with(func(v *evidence) { v.shortRun, v.arms = true, []armEvidence{win} })},
		{"winner with an open guardrail", with(func(v *evidence) { a := win; a.unproven = []string{"refund_share"}; v.arms = []armEvidence{a} })},
		{"winner that refunds may turn", with(func(v *evidence) { a := win; a.refunds = true; v.arms = []armEvidence{a} })},
		{"winner on small counts", with(func(v *evidence) { a := win; a.smallClash = true; v.arms = []armEvidence{a} })},
		{"losing", with(func(v *evidence) { v.arms = []armEvidence{lose} })},
		{"one of two loses", with(func(v *evidence) { v.arms = []armEvidence{lose, arm("p10", 0.1, -0.2, 0.4)} })},
		{"no difference that matters", with(func(v *evidence) { v.arms = []armEvidence{small} })},
		{"closed without a difference", with(func(v *evidence) { v.closed, v.arms = true, []armEvidence{open} })},
		{"keep running", with(func(v *evidence) { v.arms = []armEvidence{open} })},
		{"keep running, with what waiting costs", with(func(v *evidence) { v.waiting, v.arms = &Waiting{7, 1243.2, 3907, "s100"}, []armEvidence{open} })},
		{"keep running although waiting costs more than it tells", with(func(v *evidence) { v.waiting, v.arms = &Waiting{7, 12432, 907, "s100"}, []armEvidence{open} })},
		{"waiting does not pay and the control is as good", with(func(v *evidence) { v.waiting, v.arms = &Waiting{7, 1243.2, 0, "none"}, []armEvidence{open} })},
		{"keep running without a plan", with(func(v *evidence) { v.planned, v.daysLeft, v.arms = 0, nil, []armEvidence{open} })},
		{"a winner may not decide before the end of a fixed plan", with(func(v *evidence) { v.mayDecide, v.sequential, v.arms = false, false, []armEvidence{win} })},
		{"nothing has matured", with(func(v *evidence) { v.matured = 0 })},
		{"no look yet", with(func(v *evidence) { v.noLook, v.mayDecide = true, false })},
		{"a rate, lower is better", with(func(v *evidence) {
			a := arm("s100", -0.0123, -0.021, -0.0036)
			v.metric, v.money, v.share, v.lower, v.guarded, v.arms = "refund_share", false, true, true, false, []armEvidence{a}
		})},
		{"unknown equivalence", with(func(v *evidence) { v.equivalent, v.arms = math.NaN(), []armEvidence{small} })},
	}
}

func num(x float64) *Num {
	n := Num(x)
	return &n
}

// The golden file is read in review as a story, in both languages.
func TestDecisionsGolden(t *testing.T) {
	var b bytes.Buffer
	for _, c := range decisionCases() {
		d := c.v.decide()
		variant := "-"
		if d.Variant != nil {
			variant = *d.Variant
		}
		fmt.Fprintf(&b, "%s\n----\n%s %s %s\n%s\n%s\n\n", c.name, d.Action, d.Code, variant, d.Text.ZH, d.Text.EN)
	}
	const path = "testdata/decisions.txt"
	if *rewrite {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("decisions changed; read them and run go test ./experiments -run Golden -rewrite\n%s", b.String())
	}
}
