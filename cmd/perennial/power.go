package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"

	"perennial/experiments"
	"perennial/experiments/stats"
)

type powerCmd struct {
	Kind        string  `help:"proportion or mean; with --metric it comes from there." placeholder:"KIND"`
	Baseline    float64 `help:"The control's mean or rate; with --history it comes from there." placeholder:"MEAN"`
	SD          float64 `name:"sd" help:"Standard deviation of one unit (mean)." placeholder:"SD"`
	MDE         float64 `name:"mde" help:"Smallest effect worth seeing, relative: 0.1 is ten per cent." placeholder:"SHARE"`
	MDEAbsolute float64 `name:"mde-absolute" help:"The same on the metric's own scale, instead of --mde." placeholder:"X"`
	Units       int64   `help:"Units in all arms together; without an effect: the smallest that they show." placeholder:"N"`
	Alpha       float64 `help:"Two-sided level; shared by the arms compared." default:"0.05"`
	Power       float64 `help:"Chance to see the effect if it is there." default:"0.8"`
	Ratio       float64 `help:"Treated ÷ control units." default:"1"`
	Arms        int     `help:"Arms, the control among them." default:"2"`
	Inference   string  `help:"fixed, gst or confseq." default:"fixed"`
	Looks       int     `help:"Looks of a group-sequential plan." default:"14"`
	PerDay      float64 `name:"per-day" help:"Units a day, to say how long it takes." placeholder:"N"`
	Population  float64 `help:"With --prior-sd: everybody who will get the winner; adds the most profitable test size (Test & Roll)." placeholder:"N"`
	CostPerUnit float64 `name:"cost-per-unit" help:"What treating one unit costs, such as the coupon it is likely to use; adds the cost of the test." placeholder:"MONEY"`
	History     string  `help:"A table of the past (CSV, TSV, NDJSON, Parquet; .gz, .zst): level, spread and what covariates explain are read from it." type:"path" placeholder:"FILE"`
	Metric      string  `help:"Which column of the history, in the words of perennial analyze: COL:KIND[,covariate=COL][,cap=p99.9][,cluster=COL]." sep:"none" placeholder:"COL:KIND"`
	Unit        string  `help:"Column of the unit id in the history; rows of one unit are summed." placeholder:"COL"`
	PriorSD     float64 `name:"prior-sd" help:"How much the arms' means differ from experiment to experiment." placeholder:"SD"`
}

// Help shows examples.
func (powerCmd) Help() string {
	return `Examples:
  perennial power --kind proportion --baseline 0.106 --mde 0.1 --per-day 2000
  perennial power --kind proportion --baseline 0.106 --mde 0.1 --inference gst --looks 14 --json
  perennial power --kind mean --baseline 100 --sd 50 --units 800        # which effect would 800 units show?
  perennial power --kind proportion --baseline 0.05 --mde 0.1 --population 500000 --prior-sd 0.005 --cost-per-unit 2

From the shop's own history, with what is known of every customer before the test:
  perennial features training --as-of 2011-10-01 --horizon 30d --out past.parquet
  perennial power --history past.parquet --metric label_revenue:mean,cap=p99.9,covariate=revenue,covariate=r90 --mde 0.1 --inference gst`
}

// powerAnswer is the document of CONTRACT §2.
type powerAnswer struct {
	NPerArm     int64             `json:"n_per_arm"`
	NByArm      []int64           `json:"n_by_arm"` // control first
	NTotal      int64             `json:"n_total"`
	Days        *int64            `json:"days"`
	Inflation   float64           `json:"inflation"`
	MDERelative float64           `json:"mde_relative"`
	MDEAbsolute float64           `json:"mde_absolute"`
	Alpha       float64           `json:"alpha"`
	Power       float64           `json:"power"`
	TestAndRoll *testAndRoll      `json:"test_and_roll,omitempty"`
	Cost        *testCost         `json:"cost,omitempty"`
	History     *experiments.Past `json:"history,omitempty"`
	Unadjusted  *int64            `json:"n_total_unadjusted,omitempty"` // what it would take without covariates
}

// testCost is what a test costs: Treatment for all treated units, and after how many further units an effect of the size looked for has paid that back,
// when the metric is money.
type testCost struct {
	Treatment float64 `json:"treatment"`
	PayBack   float64 `json:"pay_back_units"`
}

type testAndRoll struct {
	NPerArm    int64   `json:"n_per_arm"`
	Population float64 `json:"population"`
}

// Run sizes a test.
func (c *powerCmd) Run(a *App, ctx context.Context) error {
	past, err := c.past(ctx, a)
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return usageError{err}
	}
	s := stats.Sizing{Proportion: c.Kind == experiments.KindProportion, Baseline: c.Baseline, SD: c.SD, Alpha: c.Alpha, Power: c.Power, Ratio: c.Ratio, Arms: c.Arms, Inflation: c.inflation()}
	if math.IsNaN(s.Inflation) {
		return usageError{experiments.Invalid("--looks", "a plan of %d looks cannot be computed", c.Looks)}
	}
	weight := 1 + c.Ratio*float64(c.Arms-1) // units of all arms per unit of the control
	out := powerAnswer{Inflation: s.Inflation, Alpha: c.Alpha, Power: c.Power}
	effect := c.MDEAbsolute
	if effect == 0 {
		effect = c.MDE * math.Abs(c.Baseline)
	}
	n := float64(c.Units) / weight
	switch {
	case effect == 0:
		if effect, err = s.Effect(n); err != nil {
			return usageError{experiments.Invalid("--units", "%d units are too few to show any effect on baseline %v", c.Units, c.Baseline)}
		}
	default:
		if n, err = s.Units(effect); err != nil {
			return usageError{experiments.Invalid("--mde", "baseline %v and effect %v do not leave a rate within 0..1, or nothing varies", c.Baseline, effect)}
		}
	}
	c.fill(&out, n, effect)
	if past != nil {
		c.beside(&out, *past, s, effect)
	}
	if a.JSON {
		return writeJSON(a.Out, out)
	}
	return out.print(a)
}

// past reads the history and takes kind, baseline and spread from it; nil without one.
func (c *powerCmd) past(ctx context.Context, a *App) (*experiments.Past, error) {
	if c.History == "" && c.Metric == "" {
		return nil, nil
	}
	if c.History == "" || c.Metric == "" {
		return nil, usageError{experiments.Invalid("--history", "goes with --metric, such as --history past.parquet --metric spend:mean")}
	}
	m, err := parseMetric(c.Metric)
	if err != nil {
		return nil, usageError{experiments.Invalid("--metric "+c.Metric, "%v", err)}
	}
	table, _, err := readTable(ctx, a, c.History, tableColumns{unit: c.Unit, plan: experiments.TablePlan{Metrics: []experiments.TableMetric{m}}})
	if err != nil {
		return nil, err
	}
	past, err := experiments.PastOf(table, m)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", c.History, m.Column, err)
	}
	// A rate without clusters and covariates is a rate; everything else is a mean with the spread that was seen.
	c.Kind = experiments.KindMean
	if m.Kind == experiments.KindProportion && past.DesignEffect == 1 && past.VarianceRemoved == 0 {
		c.Kind = experiments.KindProportion
	}
	if c.Baseline == 0 {
		c.Baseline = float64(past.Mean)
	}
	c.SD = float64(past.AdjustedSD)
	return &past, nil
}

// beside says what the history was, and what the test would take without covariates.
func (c powerCmd) beside(out *powerAnswer, past experiments.Past, s stats.Sizing, effect float64) {
	out.History = &past
	if past.VarianceRemoved == 0 {
		return
	}
	s.SD = float64(past.SD)
	if n, err := s.Units(effect); err == nil {
		total := int64(math.Ceil(n-1e-9)) + int64(c.Arms-1)*int64(math.Ceil(n*c.Ratio-1e-9))
		out.Unadjusted = &total
	}
}

// fill rounds up by arm.
func (c powerCmd) fill(out *powerAnswer, n, effect float64) {
	control, treated := int64(math.Ceil(n-1e-9)), int64(math.Ceil(n*c.Ratio-1e-9))
	if c.Units > 0 && c.MDE == 0 && c.MDEAbsolute == 0 {
		control, treated = int64(n), int64(n*c.Ratio)
	}
	out.NPerArm, out.NByArm, out.NTotal = control, []int64{control}, control
	for range c.Arms - 1 {
		out.NByArm = append(out.NByArm, treated)
		out.NTotal += treated
	}
	if c.Units > 0 && c.MDE == 0 && c.MDEAbsolute == 0 {
		out.NTotal = c.Units
	}
	out.MDEAbsolute = effect
	out.MDERelative = effect / math.Abs(c.Baseline)
	if c.MDE != 0 && c.MDEAbsolute == 0 {
		out.MDERelative = c.MDE
	}
	if c.PerDay > 0 {
		days := int64(math.Ceil(float64(out.NTotal) / c.PerDay))
		out.Days = &days
	}
	if c.CostPerUnit > 0 {
		cost := c.CostPerUnit * float64(out.NTotal-control)
		out.Cost = &testCost{Treatment: cost, PayBack: math.Ceil(cost / math.Abs(effect))}
	}
	if c.Population > 0 && c.PriorSD > 0 {
		sd := c.SD
		if c.Kind == experiments.KindProportion {
			sd = math.Sqrt(c.Baseline * (1 - c.Baseline))
		}
		out.TestAndRoll = &testAndRoll{int64(math.Round(stats.TestAndRoll(c.Population, sd, c.PriorSD))), c.Population}
	}
}

// inflation is what looking costs. A confidence sequence is taken at its narrowest, at the end.
func (c powerCmd) inflation() float64 {
	alpha := c.Alpha / float64(c.Arms-1)
	switch c.Inference {
	case experiments.GST:
		return stats.Inflation(c.Looks, alpha, c.Power, stats.OBrienFleming)
	case experiments.ConfSeq:
		zb := stats.NormalUpper(1 - c.Power)
		r := (stats.Sequence{Alpha: alpha, Tuning: 1}.Multiplier(1) + zb) / (stats.NormalUpper(alpha/2) + zb)
		return r * r
	}
	return 1
}

func (c powerCmd) check() error {
	var faults []experiments.Fault
	fault := func(field, format string, args ...any) {
		faults = append(faults, experiments.Fault{Field: field, Reason: fmt.Sprintf(format, args...)})
	}
	switch c.Kind {
	case experiments.KindProportion:
		if !(c.Baseline > 0 && c.Baseline < 1) {
			fault("--baseline", "a rate of %v is not within 0..1", c.Baseline)
		}
	case experiments.KindMean:
		if !(c.SD > 0) {
			fault("--sd", "a mean needs the standard deviation of one unit")
		}
	default:
		fault("--kind", "%q is none of proportion, mean", c.Kind)
	}
	if c.Baseline == 0 {
		fault("--baseline", "must not be 0: a relative effect needs it (or take it from --history)")
	}
	if c.MDE == 0 && c.MDEAbsolute == 0 && c.Units <= 0 {
		fault("--mde", "give --mde, --mde-absolute or --units")
	}
	if c.MDE != 0 && c.MDEAbsolute != 0 {
		fault("--mde", "give --mde or --mde-absolute, not both")
	}
	for field, v := range map[string]float64{"--alpha": c.Alpha, "--power": c.Power} {
		if !(v > 0 && v < 1) {
			fault(field, "%v is not within 0..1", v)
		}
	}
	if !(c.Ratio > 0 && c.Ratio < 1e4) {
		fault("--ratio", "%v is not positive", c.Ratio)
	}
	if c.Arms < 2 || c.Arms > 100 {
		fault("--arms", "%d is not within 2..100", c.Arms)
	}
	if c.Inference != experiments.Fixed && c.Inference != experiments.GST && c.Inference != experiments.ConfSeq {
		fault("--inference", "%q is none of fixed, gst, confseq", c.Inference)
	}
	if c.Looks < 1 || c.Looks > 1000 {
		fault("--looks", "%d is not within 1..1000", c.Looks)
	}
	if faults != nil {
		return &experiments.InvalidError{Faults: faults}
	}
	return nil
}

func (p powerAnswer) print(a *App) error {
	var b strings.Builder
	if h := p.History; h != nil {
		fmt.Fprintf(&b, "history: %d units, mean %.6g, sd %.6g", h.Units, float64(h.Mean), float64(h.SD))
		if h.Cap != nil {
			fmt.Fprintf(&b, ", cut off at %.6g", float64(*h.Cap))
		}
		if h.DesignEffect != 1 {
			fmt.Fprintf(&b, ", clusters cost %.2f times the units", float64(h.DesignEffect))
		}
		if h.VarianceRemoved > 0 {
			fmt.Fprintf(&b, "; covariates remove %.1f %% of the variance", 100*float64(h.VarianceRemoved))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%d units in the control, %d in all arms, to see %+.4g%% (%.6g) with %.4g%% power\n", p.NPerArm, p.NTotal, 100*p.MDERelative, p.MDEAbsolute, 100*p.Power)
	if p.Unadjusted != nil {
		fmt.Fprintf(&b, "without covariates it would take %d\n", *p.Unadjusted)
	}
	if p.Inflation != 1 {
		fmt.Fprintf(&b, "looking costs %.2f%% more units than one look at the end\n", 100*(p.Inflation-1))
	}
	if p.Days != nil {
		fmt.Fprintf(&b, "%d days\n", *p.Days)
	}
	if p.Cost != nil {
		fmt.Fprintf(&b, "treating costs %.6g; an effect of that size has paid for it after %.0f more units\n", p.Cost.Treatment, p.Cost.PayBack)
	}
	if p.TestAndRoll != nil {
		fmt.Fprintf(&b, "most profitable test for %.0f people: %d in each of two arms (Test & Roll)\n", p.TestAndRoll.Population, p.TestAndRoll.NPerArm)
	}
	_, err := io.WriteString(a.Out, b.String())
	return err
}
