package experiments

import (
	"math"
	"testing"
	"time"

	"perennial/experiments/stats"
)

// check returns the named health check of a document.
func check(doc *Results, code string) HealthCheck {
	for _, h := range doc.Health {
		if h.Code == code {
			return h
		}
	}
	return HealthCheck{Verdict: "absent"}
}

// Every question about the data is silent when they are sound, and named when they are not; three of them forbid a judgement.
func TestSoundness(t *testing.T) {
	at := day0.AddDate(0, 0, 9)
	summary := func(n int64, mean float64) stats.Summary { return stats.Summary{N: n, Mean: mean, M2: float64(n - 1)} }
	for _, c := range []struct {
		name, code, verdict, decision string
		change                        func(m *Measurement)
	}{
		{"the split is right every day", "srm_by_day", "ok", "", func(*Measurement) {}},
		{"one day went wrong", "srm_by_day", "warning", "", func(m *Measurement) {
			m.ExposedByDay = []ExposedDay{{"2026-11-01", "", "none", 1000}, {"2026-11-01", "", "s100", 1000}, {"2026-11-02", "", "none", 400}, {"2026-11-02", "", "s100", 600}, {"2026-11-03", "", "none", 600}, {"2026-11-03", "", "s100", 400}}
		}},
		{"one decile went wrong", "srm_by_churn_decile", "warning", "", func(m *Measurement) {
			m.Soundness.Dimensions = []DimensionUnits{{"churn_decile", "1", "", "none", 500}, {"churn_decile", "1", "", "s100", 500}, {"churn_decile", "2", "", "none", 400}, {"churn_decile", "2", "", "s100", 600}}
		}},
		{"few coupons leaked", "leak", "warning", "", func(m *Measurement) { m.Soundness.Leaked = map[string]int64{"none": 3} }},
		{"many coupons leaked", "leak", "fail", "leak", func(m *Measurement) { m.Soundness.Leaked = map[string]int64{"none": 300} }},
		{"unknown variants", "leak", "fail", "leak", func(m *Measurement) { m.Soundness.Stray = 400 }},
		{"one arm's tracking is lost", "exposure_without_metric", "warning", "", func(m *Measurement) { m.Soundness.Silent = map[string]int64{"none": 100, "s100": 220} }},
		{"no outcome at all", "exposure_without_metric", "fail", "no_outcomes", func(m *Measurement) { m.Soundness.Silent = map[string]int64{"none": 2000, "s100": 2000} }},
		{"a few stale scores", "stale_scores", "warning", "", func(m *Measurement) { m.Soundness.Stale = map[string]int64{"none": 4} }},
		{"stale scores", "stale_scores", "fail", "stale_exposure", func(m *Measurement) {
			m.Soundness.Stale, m.Soundness.Ancient = map[string]int64{"none": 2400}, map[string]int64{"none": 2400}
		}},
		{"scores of last week", "stale_scores", "warning", "", func(m *Measurement) { m.Soundness.Stale = map[string]int64{"none": 2000, "s100": 2000} }},
		{"exposures lead to orders", "metric_before_exposure", "ok", "", func(m *Measurement) {
			m.Soundness.Early, m.Soundness.Late = map[string]int64{"none": 20, "s100": 20}, map[string]int64{"none": 60, "s100": 80}
		}},
		{"orders lead to exposures", "metric_before_exposure", "warning", "", func(m *Measurement) {
			m.Soundness.Early, m.Soundness.Late = map[string]int64{"none": 60, "s100": 80}, map[string]int64{"none": 20, "s100": 20}
		}},
		{"one channel went wrong", "srm_by_channel", "warning", "", func(m *Measurement) {
			m.Soundness.Dimensions = []DimensionUnits{{"channel", "app", "", "none", 500}, {"channel", "app", "", "s100", 500}, {"channel", "wechat", "", "none", 400}, {"channel", "wechat", "", "s100", 600}}
		}},
		{"the effect wears off", "novelty", "warning", "", func(m *Measurement) {
			m.Cells = append(m.Cells, Cell{Metric: noveltyMetric, Variant: "none", Moments: summary(2000, 0).Of()}, Cell{Metric: noveltyMetric, Variant: "s100", Moments: summary(2000, -0.3).Of()})
		}},
		{"the effect stays", "novelty", "ok", "", func(m *Measurement) {
			m.Cells = append(m.Cells, Cell{Metric: noveltyMetric, Variant: "none", Moments: summary(2000, 0).Of()}, Cell{Metric: noveltyMetric, Variant: "s100", Moments: summary(2000, 0.01).Of()})
		}},
		{"another experiment interferes", "interaction", "warning", "", func(m *Measurement) {
			m.Soundness.Overlaps = []OverlapCell{{"price", "a", "none", summary(1000, 0)}, {"price", "a", "s100", summary(1000, 0.5)}, {"price", "b", "none", summary(1000, 0)}, {"price", "b", "s100", summary(1000, -0.5)},
				{"colour", "a", "none", summary(1000, 0)}, {"colour", "a", "s100", summary(1000, 0)}, {"colour", "b", "none", summary(1000, 0)}, {"colour", "b", "s100", summary(1000, 0)}}
		}},
	} {
		s := newShop(6)
		s.add("2026-11-01", 2000, 3)
		m := s.measurement(at)
		c.change(m)
		doc, _, err := Judge(question(t, experiment(func(e *Experiment) { e.Plan.Inference = Fixed }), at), m)
		if err != nil {
			t.Fatal(err)
		}
		if h := check(doc, c.code); h.Verdict != c.verdict || (h.Verdict != "ok") != (h.Detail != nil) {
			t.Errorf("%s: %+v, want %s with its detail", c.name, h, c.verdict)
		}
		if c.decision == "" {
			c.decision = "better"
		}
		if doc.Decision.Code != c.decision {
			t.Errorf("%s: decision %s, want %s", c.name, doc.Decision.Code, c.decision)
		}
	}
}

// The slope of the daily effect is that of least squares: an arm whose units bring 5, 4, 3, … a day more than the control's loses 1 a day.
func TestNoveltySlope(t *testing.T) {
	at := day0.AddDate(0, 0, 9)
	s := newShop(6)
	s.add("2026-11-01", 2000, 3)
	m := s.measurement(at)
	e := experiment(func(e *Experiment) { e.Plan.Inference, e.Plan.HorizonDays = Fixed, 5 })
	w := 0.0 // Σ value × (2d − (D − 1))
	for d, more := range []float64{5, 4, 3, 2, 1} {
		w += more * float64(2*d-4)
	}
	for v, mean := range map[string]float64{"none": 0, "s100": w} {
		m.Cells = append(m.Cells, Cell{Metric: noveltyMetric, Variant: v, Moments: stats.Summary{N: 2000, Mean: mean, M2: 1999 * 100}.Of()})
	}
	doc, _, err := Judge(question(t, e, at), m)
	if err != nil {
		t.Fatal(err)
	}
	h := check(doc, "novelty")
	half := stats.StudentUpper(0.025, 3998) * math.Sqrt(2*100.0/2000) * 6 / (5 * 24)
	for _, x := range []struct{ got, want float64 }{{float64(*h.Slope), -1}, {float64(*h.SlopeLow), -1 - half}, {float64(*h.SlopeHigh), -1 + half}} {
		if math.Abs(x.got-x.want) > 1e-9 {
			t.Errorf("slope %v in %v … %v, want −1 ± %v", *h.Slope, *h.SlopeLow, *h.SlopeHigh, half)
			break
		}
	}
}

// The capped value stands beside the plain one with its caps, and redeemers are described, not compared.
func TestCappedAndRedeemed(t *testing.T) {
	var at time.Time = day0.AddDate(0, 0, 9)
	s := newShop(6)
	s.add("2026-11-01", 2000, 3)
	m := s.measurement(at)
	m.Cells = append(m.Cells, Cell{Metric: "profit" + cappedSuffix, Variant: "none", Moments: stats.Summary{N: 2000, Mean: 4, M2: 2000}.Of()},
		Cell{Metric: "profit" + cappedSuffix, Variant: "s100", Moments: stats.Summary{N: 2000, Mean: 6.5, M2: 2000}.Of()})
	m.Soundness = Soundness{Caps: [2]float64{-3, 40}, Estimated: map[string]int64{"none": 1, "s100": 2}, Orders: map[string]int64{"none": 10, "s100": 10},
		Redeemed: map[string]map[string]float64{"s100": {"units": 500, "revenue": 50000, "discount": 5000, "profit": 9000}}}
	doc, _, err := Judge(question(t, experiment(func(e *Experiment) { e.Plan.Inference = Fixed }), at), m)
	if err != nil || len(doc.Sensitivity) != 1 {
		t.Fatalf("sensitivity %+v, %v", doc.Sensitivity, err)
	}
	if x := doc.Sensitivity[0]; x.Choice != "capped" || x.Effect != 2.5 || *x.CapLow != -3 || *x.CapHigh != 40 {
		t.Errorf("capped %+v", x)
	}
	profit := doc.Results[0]
	r := doc.Redemption["s100"]
	if rest := (float64(profit.Mean)*2000 - 9000) / 1500; r.Units != 500 || r.Share != 0.25 || r.ProfitPerUnit != 18 || r.RestPerUnit != Num(rest) || r.Label.ZH == "" {
		t.Errorf("redemption %+v, want the rest at %v", r, rest)
	}
	if doc.Profit[0].EstimatedShare != 0.15 {
		t.Errorf("estimated share %v, want 3 of 20", doc.Profit[0].EstimatedShare)
	}
}
