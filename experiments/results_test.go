package experiments

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"perennial/experiments/stats"
)

// shop is a hand-made measurement: per-unit profit and revenue of a control and a variant whose effect is planted.
type shop struct {
	rng    *rand.Rand
	scale  float64
	units  map[string][][]float64 // variant → columns profit, revenue, orders
	strata map[string]map[string]int64
	days   []ExposedDay
}

func newShop(seed uint64) *shop {
	return &shop{rng: rand.New(rand.NewPCG(seed, 9)), scale: 1, units: map[string][][]float64{"none": {{}, {}, {}}, "s100": {{}, {}, {}}}, strata: map[string]map[string]int64{"": {}}}
}

// add lets n units of each arm mature on a day.
func (s *shop) add(day string, n int, effect float64) {
	for _, variant := range []string{"none", "s100"} {
		cols := s.units[variant]
		for range n {
			bought, revenue := 0.0, 0.0
			if s.rng.Float64() < 0.4 {
				bought, revenue = 1, 20+60*s.rng.Float64()
			}
			profit := 0.3*revenue + s.rng.NormFloat64()
			if variant == "s100" {
				profit += effect
			}
			cols[0], cols[1], cols[2] = append(cols[0], profit*s.scale), append(cols[1], revenue*s.scale), append(cols[2], bought)
		}
		s.units[variant] = cols
		s.strata[""][variant] += int64(n)
		s.days = append(s.days, ExposedDay{Day: day, Variant: variant, Units: int64(n)})
	}
}

func (s *shop) measurement(at time.Time) *Measurement {
	m := &Measurement{ExposedBy: s.strata, ExposedByDay: s.days, TwoArm: map[string]int64{}, Waterfall: map[string]map[string]float64{}, SQL: []string{"SELECT 1"}}
	for v, cols := range s.units {
		m.Source.Exposed += int64(len(cols[0]))
		for i, metric := range []string{"profit", "revenue", "order_rate"} {
			m.Cells = append(m.Cells, Cell{Metric: metric, Variant: v, Moments: stats.MomentsOf(cols[i])})
		}
	}
	m.Source.Matured, m.Source.AsOf = m.Source.Exposed, at
	return m
}

func experiment(change func(*Experiment)) *Experiment {
	e := &Experiment{Status: Running, Revision: 3}
	e.Key, e.Control = "coupon", "none"
	e.Variants = []Variant{{Key: "none", Weight: 1}, {Key: "s100", Weight: 1}}
	e.Metrics = Metrics{Primary: "profit", Secondary: []string{"revenue", "order_rate"}}
	e.Plan = Plan{Inference: GST, Alpha: 0.05, Power: 0.8, Looks: 5, HorizonDays: 14}
	if change != nil {
		change(e)
	}
	return e
}

func question(t *testing.T, e *Experiment, at time.Time) Question {
	t.Helper()
	specs, err := SpecsOf(e, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Question{Experiment: e, Specs: specs, Shares: map[string]map[string]float64{"": {"none": 0.5, "s100": 0.5}}, Now: at, MarginRate: 0.3, Currency: "CNY"}
}

var day0 = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func units(n int64) *int64 { return &n }

// The life of a planned test: no look, looks, the crossing stands although later looks turn round, and recorded documents do not change.
func TestLooksOfALife(t *testing.T) {
	e := experiment(func(e *Experiment) { e.Plan.MaxUnits = units(20000) })
	s := newShop(1)
	var looks []Look
	judgeAt := func(day int, record bool) (*Results, *Look) {
		at := day0.AddDate(0, 0, day)
		q := question(t, e, at)
		q.Looks, q.Record = looks, record
		doc, look, err := Judge(q, s.measurement(at))
		if err != nil {
			t.Fatalf("day %d: %v", day, err)
		}
		return doc, look
	}
	s.add("2026-11-01", 1000, 1)
	doc, _ := judgeAt(1, false)
	if r := doc.Results[0]; r.PValue.Known() || r.EffectLow.Known() || !r.Effect.Known() || r.Fixed == nil || *r.Reason != NotNoLook || doc.Decision.Action != KeepRunning {
		t.Errorf("before the first look: %+v, decision %s", r, doc.Decision.Action)
	}
	for day := 1; day <= 9; day++ {
		effect := 1.0
		if day > 7 {
			effect = -6 // the world turns round after the decision
		}
		if day > 1 {
			s.add(day0.AddDate(0, 0, day-1).Format(time.DateOnly), 1000, effect)
		}
		doc, look := judgeAt(day, true)
		raw, err := json.Marshal(look)
		if err != nil {
			t.Fatal(err)
		}
		var kept Look
		if err := json.Unmarshal(raw, &kept); err != nil {
			t.Fatal(err)
		}
		looks = append(looks, kept)
		r := doc.Results[0]
		if r.Fixed == nil || float64(r.EffectHigh-r.EffectLow) <= float64(r.Fixed.EffectHigh-r.Fixed.EffectLow) && look.Fraction < 1 {
			t.Errorf("look %d: the interval is not wider than the fixed one: %+v", look.Number, r)
		}
		if (r.PValue < 0.05) != (r.EffectLow > 0 || r.EffectHigh < 0) {
			t.Errorf("look %d: p %v but interval %v to %v", look.Number, r.PValue, r.EffectLow, r.EffectHigh)
		}
		if day == 6 && (doc.Decision.Action != KeepRunning || doc.Decision.Code != "short_run") {
			t.Errorf("day 6: %s %s, want keep_running short_run", doc.Decision.Action, doc.Decision.Code)
		}
		if day == 7 && (doc.Decision.Action != Ship || doc.State.Crossed == nil) {
			t.Errorf("day 7: %s, crossed %v, want ship", doc.Decision.Action, doc.State.Crossed)
		}
		if day == 9 && (doc.Decision.Code != "crossed_before" || doc.Decision.Action != Ship || doc.State.Crossed.Look != 7) {
			t.Errorf("day 9: %s %s %+v, want the crossing of look 7 to stand", doc.Decision.Action, doc.Decision.Code, doc.State.Crossed)
		}
	}
	before, _ := json.Marshal(looks[8].Results.Analysis.Results)
	s.add("2026-11-10", 500, 0)
	doc, _ = judgeAt(10, false)
	after, _ := json.Marshal(doc.Results)
	if string(before) != string(after) || doc.Live == nil || doc.Live.Source.Exposed != 19000 {
		t.Errorf("the recorded look changed, or what came since is not shown: live %+v", doc.Live)
	}
	if c := doc.State.Crossed; float64(c.Shrunk) >= float64(c.Effect) || c.Shrunk <= 0 {
		t.Errorf("estimate at crossing %v is not shrunk: %v", c.Effect, c.Shrunk)
	}
}

// Looks that must not be recorded are refused by field.
func TestLooksRefused(t *testing.T) {
	at := day0.AddDate(0, 0, 9)
	for name, c := range map[string]struct {
		change func(*Experiment)
		looks  []Look
		units  int
		field  string
	}{
		"stopped":     {func(e *Experiment) { e.Status = Stopped; e.Plan.MaxUnits = units(10) }, nil, 10, "status"},
		"nothing new": {func(e *Experiment) { e.Plan.MaxUnits = units(1000) }, []Look{{Number: 1, Matured: 20, Fraction: 0.02}}, 10, "look"},
		"closed":      {func(e *Experiment) { e.Plan.MaxUnits = units(1000) }, []Look{{Number: 1, Matured: 10, Closing: true}}, 10, "look"},
		"nobody":      {func(e *Experiment) { e.Plan.MaxUnits = units(1000) }, nil, 0, "look"},
	} {
		s := newShop(2)
		s.add("2026-11-01", c.units, 0)
		q := question(t, experiment(c.change), at)
		q.Looks, q.Record = c.looks, true
		_, _, err := Judge(q, s.measurement(at))
		var invalid *InvalidError
		if !errors.As(err, &invalid) || invalid.Faults[0].Field != c.field {
			t.Errorf("%s: %v, want a fault of %s", name, err, c.field)
		}
	}
}

// A pre-declared end spends all α that is left: alone it is the fixed test.
func TestClosingLook(t *testing.T) {
	at := day0.AddDate(0, 0, 20)
	end := at.Add(-time.Hour)
	e := experiment(func(e *Experiment) { e.Plan.MaxUnits = units(1_000_000); e.EndAt = &end })
	s := newShop(3)
	for d := range 8 {
		s.add(day0.AddDate(0, 0, d).Format(time.DateOnly), 200, 0)
	}
	q := question(t, e, at)
	q.Record = true
	doc, look, err := Judge(q, s.measurement(at))
	if err != nil || !look.Closing || look.Fraction != 1 {
		t.Fatalf("closing look: %+v, %v", look, err)
	}
	if r := doc.Results[0]; math.Abs(float64(r.PValue-r.Fixed.PValue)) > 1e-3 {
		t.Errorf("one closing look has p %v, the fixed test %v", r.PValue, r.Fixed.PValue)
	}
	if doc.Decision.Code != "closed" && doc.Decision.Code != "equivalent" {
		t.Errorf("decision %s %s, want the end of the plan", doc.Decision.Action, doc.Decision.Code)
	}
}

// Fixed: with a plan only its end decides, without one it decides at once and warns of peeking.
func TestFixedDecides(t *testing.T) {
	at := day0.AddDate(0, 0, 9)
	for name, c := range map[string]struct {
		max    *int64
		action string
		peek   bool
	}{"no plan": {nil, Ship, true}, "before the end": {units(100000), KeepRunning, false}, "at the end": {units(3000), Ship, false}} {
		s := newShop(4)
		s.add("2026-11-01", 2000, 3)
		e := experiment(func(e *Experiment) { e.Plan.Inference, e.Plan.MaxUnits = Fixed, c.max })
		doc, _, err := Judge(question(t, e, at), s.measurement(at))
		if err != nil {
			t.Fatal(err)
		}
		peeking := false
		for _, w := range doc.Warnings {
			peeking = peeking || w.Code == "peeking"
		}
		if doc.Decision.Action != c.action || peeking != c.peek {
			t.Errorf("%s: %s, peeking %v, want %s, %v (%s)", name, doc.Decision.Action, peeking, c.action, c.peek, doc.Decision.Text.EN)
		}
		if doc.Profit[0].PerUnit != doc.Results[0].Effect || doc.Results[0].Role != RolePrimary || len(doc.Results) != 3 {
			t.Errorf("%s: profit %+v, results %+v", name, doc.Profit[0], doc.Results)
		}
	}
}

// Money × 100 changes nothing but the money (peers' defect D1).
func TestScaleInvariance(t *testing.T) {
	at := day0.AddDate(0, 0, 9)
	var docs [2]*Results
	for i, scale := range []float64{1, 100} {
		s := newShop(5)
		s.scale = scale
		for d := range 8 {
			s.add(day0.AddDate(0, 0, d).Format(time.DateOnly), 300, 0.5)
		}
		q := question(t, experiment(nil), at)
		q.Record = true
		doc, _, err := Judge(q, s.measurement(at))
		if err != nil {
			t.Fatal(err)
		}
		docs[i] = doc
	}
	a, b := docs[0], docs[1]
	if a.Decision.Action != b.Decision.Action || *a.State.MaxUnits != *b.State.MaxUnits {
		t.Errorf("decision %s and %s, units %d and %d", a.Decision.Action, b.Decision.Action, *a.State.MaxUnits, *b.State.MaxUnits)
	}
	for i, r := range a.Results {
		x := b.Results[i]
		if math.Abs(float64(r.PValue-x.PValue)) > 1e-9 || math.Abs(float64(r.RelEffect-x.RelEffect)) > 1e-9 {
			t.Errorf("%s: p %v and %v, lift %v and %v", r.Metric, r.PValue, x.PValue, r.RelEffect, x.RelEffect)
		}
	}
}

// A split that does not fit, and units in two arms, forbid a judgement.
func TestUnsoundData(t *testing.T) {
	at := day0.AddDate(0, 0, 9)
	s := newShop(6)
	s.add("2026-11-01", 2000, 3)
	e := experiment(func(e *Experiment) { e.Plan.Inference = Fixed })
	m := s.measurement(at)
	m.ExposedByDay = []ExposedDay{{Day: "2026-11-01", Variant: "none", Units: 2000}, {Day: "2026-11-01", Variant: "s100", Units: 1500}}
	m.ExposedBy = map[string]map[string]int64{"": {"none": 2000, "s100": 1500}}
	doc, _, err := Judge(question(t, e, at), m)
	if err != nil || doc.Decision.Action != CannotJudge || doc.SRM.Verdict != "fail" {
		t.Errorf("2000 : 1500: %s, SRM %+v, %v", doc.Decision.Action, doc.SRM, err)
	}
	m = s.measurement(at)
	m.TwoArm = map[string]int64{"none": 30, "s100": 30}
	if doc, _, err = Judge(question(t, e, at), m); err != nil || doc.Decision.Code != "multiple_exposure" {
		t.Errorf("1.5 %% in two arms: %s, %v", doc.Decision.Code, err)
	}
	m.TwoArm = map[string]int64{"none": 3, "s100": 4}
	if doc, _, err = Judge(question(t, e, at), m); err != nil || doc.Decision.Action != Ship {
		t.Errorf("0.2 %% in two arms: %s, %v", doc.Decision.Action, err)
	}
}

// Arms that differed before the exposure are named; alike ones pass. The covariate also serves the sensitivity line.
func TestPrePeriod(t *testing.T) {
	at := day0.AddDate(0, 0, 9)
	for name, c := range map[string]struct {
		shift   float64
		verdict string
	}{"alike": {0, "ok"}, "biased": {2, "warning"}} {
		s := newShop(8)
		s.add("2026-11-01", 2000, 0)
		m := s.measurement(at)
		for i := range m.Cells {
			if m.Cells[i].Metric != "profit" {
				continue
			}
			y := s.units[m.Cells[i].Variant][0]
			z := make([]float64, len(y))
			for k := range z {
				z[k] = y[k] + s.rng.NormFloat64()
				if m.Cells[i].Variant == "s100" {
					z[k] += c.shift
				}
			}
			m.Cells[i].Moments, m.Cells[i].Covariates = stats.MomentsOf(y, z), 1
		}
		doc, _, err := Judge(question(t, experiment(func(e *Experiment) { e.Plan.Inference = Fixed }), at), m)
		if err != nil {
			t.Fatal(err)
		}
		verdict := ""
		for _, h := range doc.Health {
			if h.Code == "pre_period_bias" {
				verdict = h.Verdict
			}
		}
		if verdict != c.verdict || len(doc.Sensitivity) != 1 || doc.Sensitivity[0].VarianceReduction < 0.5 {
			t.Errorf("%s: verdict %q, sensitivity %+v, want %q", name, verdict, doc.Sensitivity, c.verdict)
		}
	}
}

// Segments are shrunk towards each other, Holm-adjusted inside their dimension and tested for a difference.
func TestSegments(t *testing.T) {
	at := day0.AddDate(0, 0, 9)
	s := newShop(9)
	s.add("2026-11-01", 3000, 1)
	m := s.measurement(at)
	for i, stage := range []string{"new", "active", "loyal"} {
		for v, cols := range s.units {
			part := cols[0][i*1000 : (i+1)*1000]
			m.Cells = append(m.Cells, Cell{Metric: "profit", Variant: v, Segment: stage, Moments: stats.MomentsOf(part)})
		}
	}
	q := question(t, experiment(func(e *Experiment) { e.Plan.Inference = Fixed }), at)
	q.SegmentBy = "stage"
	doc, _, err := Judge(q, m)
	if err != nil || len(doc.Heterogeneity) != 1 {
		t.Fatalf("heterogeneity %+v, %v", doc.Heterogeneity, err)
	}
	rows := 0
	for _, r := range doc.Results {
		if r.Segment == nil {
			continue
		}
		rows++
		if r.PAdjusted < r.PValue || r.Shrunk == nil || r.Segment.Dimension != "stage" {
			t.Errorf("segment row %+v", r)
		}
	}
	if rows != 3 || doc.Heterogeneity[0].DF != 2 || doc.Heterogeneity[0].PValue < 1e-4 {
		t.Errorf("%d rows, %+v", rows, doc.Heterogeneity[0])
	}
}

// A guardrail that gets worse beyond doubt stops a winner; one that is not yet proven holds it.
func TestGuardrails(t *testing.T) {
	at := day0.AddDate(0, 0, 9)
	for name, c := range map[string]struct {
		margin, shift float64
		code          string
	}{"harmed": {0.02, -0.15, "guardrail_harm"}, "open": {0.02, -0.01, "guardrail_open"}, "unharmed": {0.3, 0, "better"}} {
		s := newShop(7)
		s.add("2026-11-01", 2000, 3)
		for i := range s.units["s100"][2] {
			if float64(i%1000) < -c.shift*1000 {
				s.units["s100"][2][i] = 0
			}
		}
		e := experiment(func(e *Experiment) {
			e.Plan.Inference = Fixed
			e.Metrics.Secondary = nil
			e.Metrics.Guardrails = []Guardrail{{Metric: "order_rate", Margin: c.margin}}
		})
		doc, _, err := Judge(question(t, e, at), s.measurement(at))
		if err != nil || doc.Decision.Code != c.code {
			t.Errorf("%s: %s (%s), %v, want %s", name, doc.Decision.Code, doc.Decision.Text.EN, err, c.code)
		}
	}
}

// What was not computed is null with a reason, and the document is valid JSON.
func TestNothingMatured(t *testing.T) {
	at := day0
	m := &Measurement{ExposedBy: map[string]map[string]int64{}, Source: ResultsSource{AsOf: at}}
	for _, inference := range []string{GST, Fixed, ConfSeq} {
		e := experiment(func(e *Experiment) { e.Plan.Inference = inference })
		doc, _, err := Judge(question(t, e, at), m)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if r := doc.Results[0]; r.PValue.Known() || r.Reason == nil || doc.Decision.Action != KeepRunning {
			t.Errorf("%s: %+v, %s", inference, r, doc.Decision.Action)
		}
		if !strings.Contains(string(raw), `"p_value":null`) || strings.Contains(string(raw), "NaN") {
			t.Errorf("%s: %s", inference, raw)
		}
	}
}

// An unknown metric names its field.
func TestSpecsOf(t *testing.T) {
	e := experiment(func(e *Experiment) { e.Metrics.Secondary = []string{"revenue", "clicks"} })
	var invalid *InvalidError
	if _, err := SpecsOf(e, nil); !errors.As(err, &invalid) || invalid.Faults[0].Field != "metrics.secondary[1]" {
		t.Errorf("unknown metric: %v", err)
	}
	specs, err := SpecsOf(e, []MetricDef{{Key: "clicks", Kind: "ratio", Event: "Click", Field: "value", Filter: json.RawMessage(`{"category":"food"}`), Cap: json.RawMessage(`50`), Direction: "down"}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range specs {
		names = append(names, fmt.Sprintf("%s/%v", s.Key, s.Hidden))
		if s.Key == "clicks" && (s.CapMicros != 50_000_000 || !s.Lower || s.Filter["category"][0] != "food" || s.Denominator != "clicks_events") {
			t.Errorf("clicks = %+v", s)
		}
	}
	if got := strings.Join(names[:4], " "); got != "profit/false revenue/false clicks/false clicks_events/true" {
		t.Errorf("specs %s", got)
	}
}
