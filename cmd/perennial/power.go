package main

import (
	"context"
	"fmt"
	"math"

	"perennial/experiments"
	"perennial/experiments/stats"
)

type powerCmd struct {
	Kind        string  `help:"proportion or mean." required:"" placeholder:"KIND"`
	Baseline    float64 `help:"The control's mean or rate." required:"" placeholder:"MEAN"`
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
	PriorSD     float64 `name:"prior-sd" help:"How much the arms' means differ from experiment to experiment." placeholder:"SD"`
}

// Help shows examples.
func (powerCmd) Help() string {
	return `Examples:
  perennial power --kind proportion --baseline 0.106 --mde 0.1 --per-day 2000
  perennial power --kind proportion --baseline 0.106 --mde 0.1 --inference gst --looks 14 --json
  perennial power --kind mean --baseline 100 --sd 50 --units 800        # which effect would 800 units show?`
}

// powerAnswer is the document of CONTRACT §2.
type powerAnswer struct {
	NPerArm     int64        `json:"n_per_arm"`
	NByArm      []int64      `json:"n_by_arm"` // control first
	NTotal      int64        `json:"n_total"`
	Days        *int64       `json:"days"`
	Inflation   float64      `json:"inflation"`
	MDERelative float64      `json:"mde_relative"`
	MDEAbsolute float64      `json:"mde_absolute"`
	Alpha       float64      `json:"alpha"`
	Power       float64      `json:"power"`
	TestAndRoll *testAndRoll `json:"test_and_roll,omitempty"`
}

type testAndRoll struct {
	NPerArm    int64   `json:"n_per_arm"`
	Population float64 `json:"population"`
}

// Run sizes a test.
func (c powerCmd) Run(a *App, ctx context.Context) error {
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
	var err error
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
	if a.JSON {
		return writeJSON(a.Out, out)
	}
	return out.print(a)
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
		fault("--baseline", "must not be 0: a relative effect needs it")
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
	_, err := fmt.Fprintf(a.Out, "%d units in the control, %d in all arms, to see %+.4g%% (%.6g) with %.4g%% power\n", p.NPerArm, p.NTotal, 100*p.MDERelative, p.MDEAbsolute, 100*p.Power)
	if err == nil && p.Inflation != 1 {
		_, err = fmt.Fprintf(a.Out, "looking costs %.2f%% more units than one look at the end\n", 100*(p.Inflation-1))
	}
	if err == nil && p.Days != nil {
		_, err = fmt.Fprintf(a.Out, "%d days\n", *p.Days)
	}
	if err == nil && p.TestAndRoll != nil {
		_, err = fmt.Fprintf(a.Out, "most profitable test for %.0f people: %d in each of two arms (Test & Roll)\n", p.TestAndRoll.Population, p.TestAndRoll.NPerArm)
	}
	return err
}
