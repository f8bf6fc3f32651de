package experiments

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// rampDoc is what a night knows: matured units, the guardrail's statistic, and the advice.
func rampDoc(matured int64, statistic float64, action, code string) *Results {
	g := &NonInferior{Statistic: Num(statistic)}
	return &Results{Analysis: Analysis{Results: []Result{{Metric: "refund_share", Variant: "s100", Role: RoleGuardrail, NonInferior: g}}}, Source: ResultsSource{Matured: matured},
		Decision: Decision{Action: action, Code: code, Text: Text{"中", "en"}}}
}

// rampExperiment is a started experiment with the usual ramp.
func rampExperiment(t *testing.T, start time.Time) *Experiment {
	t.Helper()
	d := Definition{Key: "ramped", Salt: "s", Control: "none", Variants: []Variant{{Key: "none", Weight: 1}, {Key: "s100", Weight: 1}},
		Ramp: &RampPlan{Steps: []float64{0.01, 0.05, 0.2, 0.5, 1}, Days: 2, MinUnits: 50}}
	e, err := NewExperiment(d, start)
	if err != nil {
		t.Fatal(err)
	}
	if *e.Coverage != 0.01 || Covered(e.Allocation) != 1000 {
		t.Fatalf("a draft with a ramp covers %v, want its first step", *e.Coverage)
	}
	if e, err = e.Act("start", nil, "test", start); err != nil {
		t.Fatal(err)
	}
	return e
}

// night applies what the night says and returns the experiment and the move.
func night(t *testing.T, e *Experiment, doc *Results, now time.Time) (*Experiment, string) {
	t.Helper()
	move := e.NextRamp(doc, now)
	if move.Action == "" {
		return e, ""
	}
	raw, err := Marshal(move)
	if err != nil {
		t.Fatal(err)
	}
	next, err := e.Act(move.Action, raw, "night", now)
	if err != nil {
		t.Fatal(err)
	}
	return next, move.Action
}

// A healthy ramp climbs 1 → 5 → 20 → 50 → 100 %, a step every two days once enough has matured, and everybody who is in stays in.
func TestRampClimbs(t *testing.T) {
	e := rampExperiment(t, day0)
	var coverage []float64
	for day := 1; day <= 14; day++ {
		before := e.Allocation
		matured := int64(0)
		if day > 3 {
			matured = 60 // nothing has matured before: no step
		}
		next, move := night(t, e, rampDoc(matured, 0.3, KeepRunning, "open"), day0.AddDate(0, 0, day))
		if move != "" {
			coverage = append(coverage, *next.Coverage)
		}
		for b := range Buckets {
			if was := variantAt(before, b); was != "" && variantAt(next.Allocation, b) != was {
				t.Fatalf("day %d: bucket %d left %s", day, b, was)
			}
		}
		e = next
	}
	if len(coverage) != 4 || coverage[0] != 0.05 || coverage[3] != 1 || e.Ramped.Status != RampDone || e.Ramped.Step != 4 {
		t.Errorf("the ramp went %v and is %+v", coverage, e.Ramped)
	}
}

func variantAt(ranges []Range, bucket int) string {
	for _, r := range ranges {
		if r.Start <= bucket && bucket < r.End {
			return r.Variant
		}
	}
	return ""
}

// A guardrail that looks worse holds the ramp, once; when it recovers the ramp goes on; proven harm rolls back, and then nothing moves any more.
func TestRampHoldsAndRollsBack(t *testing.T) {
	e := rampExperiment(t, day0)
	at := func(day int) time.Time { return day0.AddDate(0, 0, day) }
	e, move := night(t, e, rampDoc(500, -2.2, KeepRunning, "open"), at(5))
	if move != "ramp_hold" || e.Ramped.Status != RampHeld || *e.Coverage != 0.01 || e.Ramped.Reason == nil {
		t.Fatalf("in doubt: %q, %+v", move, e.Ramped)
	}
	if e, move = night(t, e, rampDoc(510, -2.1, KeepRunning, "open"), at(6)); move != "" {
		t.Errorf("held once more: %q", move)
	}
	if e, move = night(t, e, rampDoc(600, 0.4, KeepRunning, "open"), at(7)); move != "ramp_advance" || e.Ramped.Status != Ramping || e.Ramped.Reason != nil || *e.Coverage != 0.05 {
		t.Fatalf("recovered: %q, %+v", move, e.Ramped)
	}
	if e, move = night(t, e, rampDoc(700, 0.4, CannotJudge, "srm"), at(10)); move != "ramp_hold" {
		t.Errorf("a broken split: %q", move)
	}
	if e, move = night(t, e, rampDoc(800, -6, StopLosing, "guardrail_harm"), at(11)); move != "ramp_roll_back" || e.Status != Stopped || e.Ramped.Status != RolledBack || e.StoppedAt == nil {
		t.Fatalf("harm: %q, %s, %+v", move, e.Status, e.Ramped)
	}
	if _, move = night(t, e, rampDoc(900, 1, KeepRunning, "open"), at(20)); move != "" {
		t.Errorf("after the roll-back: %q", move)
	}
	again, err := e.Act("start", nil, "person", at(21))
	if err != nil || again.Ramped.Status != Ramping || again.Ramped.Step != 1 {
		t.Errorf("started again: %+v, %v", again.Ramped, err)
	}
}

func TestRampRefused(t *testing.T) {
	half := 0.5
	for name, c := range map[string]struct {
		ramp     RampPlan
		coverage *float64
		field    string
	}{
		"one step":        {RampPlan{Steps: []float64{1}}, nil, "ramp.steps"},
		"falling":         {RampPlan{Steps: []float64{0.2, 0.1}}, nil, "ramp.steps[1]"},
		"per cent":        {RampPlan{Steps: []float64{1, 5, 20}}, nil, "ramp.steps[1]"},
		"other coverage":  {RampPlan{Steps: []float64{0.1, 1}}, &half, "coverage"},
		"negative days":   {RampPlan{Steps: []float64{0.1, 1}, Days: -1}, nil, "ramp.days"},
		"negative floor":  {RampPlan{Steps: []float64{0.1, 1}, MinUnits: -1}, nil, "ramp.min_units"},
		"a hundred years": {RampPlan{Steps: []float64{0.1, 1}, Days: 36500}, nil, "ramp.days"},
	} {
		d := Definition{Key: "x", Salt: "s", Control: "a", Variants: []Variant{{Key: "a", Weight: 1}, {Key: "b", Weight: 1}}, Ramp: &c.ramp, Coverage: c.coverage}
		var invalid *InvalidError
		if err := d.Validate(); !errors.As(err, &invalid) || invalid.Faults[0].Field != c.field {
			t.Errorf("%s: %v, want a fault of %s", name, err, c.field)
		}
	}
}

// A decision keeps what was known, is due again after its days and not before, and the results then say so.
func TestDecisionIsFrozenAndDueAgain(t *testing.T) {
	s := newShop(6)
	s.add("2026-11-01", 2000, 3)
	e := experiment(func(e *Experiment) { e.Plan.Inference = Fixed; e.Plan.RevalidateDays = 30; e.StartedAt = &day0 })
	doc, _, err := Judge(question(t, e, day0.AddDate(0, 0, 9)), s.measurement(day0.AddDate(0, 0, 9)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]any{"variant": "s100", "reason": "profit", "evidence": EvidenceOf(doc)})
	if err != nil {
		t.Fatal(err)
	}
	decidedAt := day0.AddDate(0, 0, 10)
	next, err := e.Act("decide", raw, "lin", decidedAt)
	if err != nil {
		t.Fatal(err)
	}
	if ev := next.Decision.Evidence; ev == nil || ev.Advice.Text.ZH != doc.Decision.Text.ZH || ev.Results[0].Effect != doc.Results[0].Effect || ev.Source.Exposed != 4000 {
		t.Errorf("evidence %+v", next.Decision.Evidence)
	}
	if next.DueAgain(decidedAt.AddDate(0, 0, 30).Add(-time.Second)) || !next.DueAgain(decidedAt.AddDate(0, 0, 30)) {
		t.Errorf("due again at %v, want 30 days after %v", next.Decision.RevalidateAt, decidedAt)
	}
	late := decidedAt.AddDate(0, 0, 31)
	doc, _, err = Judge(question(t, next, late), s.measurement(late))
	found := false
	for _, w := range doc.Warnings {
		found = found || w.Code == "revalidate" && w.Detail.ZH != "" && w.Detail.EN != ""
	}
	if err != nil || !found {
		t.Errorf("warnings %+v, %v", doc.Warnings, err)
	}
}

// The worth of one more week is what a simulated week is worth: draw the truth from what is believed now, then the week's data, and choose.
func TestWaiting(t *testing.T) {
	s := newShop(21)
	for d := range 10 {
		s.add(day0.AddDate(0, 0, d).Format(time.DateOnly), 100, 0.1)
	}
	e := experiment(func(e *Experiment) { e.Plan.Inference = Fixed })
	at := day0.AddDate(0, 0, 10)
	doc, _, err := Judge(question(t, e, at), s.measurement(at))
	if err != nil || doc.Decision.Waiting == nil {
		t.Fatalf("waiting %+v, %v", doc.Decision, err)
	}
	r := doc.Results[0]
	j := newJudging(question(t, e, at), s.measurement(at))
	tau, se := j.wanted()*math.Max(1, 0.3/j.mde()), float64(r.SE)
	mean, sd := shrink(float64(r.Effect), se, tau)
	rng := rand.New(rand.NewPCG(2, 2))
	week := se * math.Sqrt(2000/1400.0) // the standard error of a week's own data: 1,400 units at 200 a day, against 2,000 so far
	cost, worth := 0.0, 0.0
	const draws = 400_000
	for range draws {
		truth := mean + sd*rng.NormFloat64()
		seen := truth + week*rng.NormFloat64()
		w := sd * sd / (sd*sd + week*week)
		if mean+w*(seen-mean) > 0 {
			worth += truth / draws
		}
		cost += math.Max(0, truth) / draws
	}
	worth = (worth - math.Max(0, mean)) * 365 * 200
	cost *= 7 * 200 * 0.5
	if got := doc.Decision.Waiting; math.Abs(float64(got.Cost)/cost-1) > 0.01 || math.Abs(float64(got.Worth)/worth-1) > 0.05 {
		t.Errorf("waiting costs %v and is worth %v, simulated %v and %v", got.Cost, got.Worth, cost, worth)
	}
}
