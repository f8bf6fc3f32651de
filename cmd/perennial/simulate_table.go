package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"perennial/experiments"
	"perennial/experiments/stats"
)

// simulationTables is what experiments/stats/README.md shows: every world under every method, powers, traps, lift intervals, p-values and what adjustment
// costs, each run afresh.
type simulationTables struct {
	out  io.Writer
	runs int
	seed uint64
	ctx  context.Context
	tick func() bool
	err  error
}

// printTables writes all tables as Markdown.
func (c simulateCmd) printTables(a *App, ctx context.Context) error {
	t := &simulationTables{out: a.Out, runs: c.Runs, seed: c.Seed, ctx: ctx, tick: func() bool { return ctx.Err() == nil }}
	for _, table := range []func(){t.alarms, t.power, t.traps, t.lifts, t.uniform, t.adjustment} {
		if table(); t.err != nil {
			return t.err
		}
	}
	return nil
}

// run simulates one setting; after a failure nothing more is run.
func (t *simulationTables) run(s stats.Simulation) stats.SimulationResult {
	if t.err != nil {
		return stats.SimulationResult{}
	}
	s.Alpha, s.Seed, s.Tick = 0.05, t.seed, t.tick
	if s.Runs == 0 {
		s.Runs = t.runs
	}
	r, err := s.Run()
	if errors.Is(err, stats.ErrStopped) {
		err = t.ctx.Err()
	}
	if err != nil {
		t.err = fmt.Errorf("simulate %s, %s: %w", s.World, s.Method, err)
	}
	return r
}

func (t *simulationTables) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.out, format+"\n", args...)
	}
}

func (t *simulationTables) head(title string, columns ...string) {
	t.line("\n**%s**\n\n| %s |\n|%s", title, strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

const tableLooks, tableUnits = 60, 20000

// alarms: worlds without an effect, looked at every day.
func (t *simulationTables) alarms() {
	t.head(fmt.Sprintf("No effect, %d looks, %d units, %d runs (per cent)", tableLooks, tableUnits, t.runs), "world", "method", "false alarms", "at the last look", "coverage when it ends", "mean units")
	row := func(s stats.Simulation, method string) {
		r := t.run(s)
		t.line("| %s | %s | %.2f ± %.2f | %.2f | %.2f | %.0f |", s.World, method, 100*r.Rejected, 100*r.RejectedSE, 100*r.RejectedAtEnd, 100*r.Coverage, r.MeanUnits)
	}
	for _, world := range stats.Worlds {
		if world == stats.WorldCovariates { // adds nothing before adjustment
			continue
		}
		s := stats.Simulation{World: world, Looks: tableLooks, Units: tableUnits}
		s.Method = experiments.GST
		row(s, "gst")
		if world == stats.WorldNull || world == stats.WorldSparse || world == stats.WorldDrift {
			early := s
			early.EndEarly = 0.3
			row(early, "gst, 30 % end early by a closing look")
		}
		s.Method = experiments.ConfSeq
		row(s, "confseq")
		s.Method = experiments.Fixed
		row(s, fmt.Sprintf("fixed, looked at %d times", tableLooks))
	}
}

// power: a fixed design of 80 % power.
func (t *simulationTables) power() {
	t.head(fmt.Sprintf("An effect that a single look at the end finds with 80 %%; %d units, %d runs (per cent)", tableUnits, t.runs), "method", "looks", "found", "by integration", "mean units", "coverage when it ends")
	drift := stats.NormalUpper(0.025) + stats.NormalUpper(0.2)
	effect := drift * math.Sqrt(4.0/tableUnits)
	for _, c := range []struct {
		method string
		looks  int
	}{{experiments.Fixed, 1}, {experiments.GST, 5}, {experiments.GST, 14}, {experiments.GST, 60}, {experiments.ConfSeq, 60}} {
		r := t.run(stats.Simulation{World: stats.WorldNull, Method: c.method, Looks: c.looks, Units: tableUnits, Effect: effect})
		exact := "–"
		if c.method == experiments.GST {
			d := stats.EqualLooks(c.looks, c.looks)
			if bounds, err := d.Boundaries(0.05); err == nil {
				any, _, _ := d.Crossing(bounds, drift)
				exact = fmt.Sprintf("%.2f", 100*any)
			}
		}
		t.line("| %s | %d | %.2f ± %.2f | %s | %.0f | %.2f |", c.method, c.looks, 100*r.Rejected, 100*r.RejectedSE, exact, r.MeanUnits, 100*r.Coverage)
	}
}

// traps: what the naive reading of three worlds says.
func (t *simulationTables) traps() {
	t.head(fmt.Sprintf("Worlds with a trap, no effect, judged once (`delayed`: on a random day), %d units, %d runs (per cent)", tableUnits, t.runs), "world", "analysis", "false alarms", "mean estimated lift")
	for _, c := range []struct {
		world, right, naive string
		looks, look         int
	}{{stats.WorldCluster, "cluster-robust", "units as independent", 1, 1}, {stats.WorldReweighted, "stratified by assignment probabilities", "pooled", 60, 60},
		{stats.WorldDelayed, "mature units only", "immature units too", 60, 60}} {
		for i, analysis := range []string{c.right, c.naive} {
			s := stats.Simulation{World: c.world, Method: experiments.Fixed, Looks: c.looks, Units: tableUnits, Naive: i == 1}
			if c.world == stats.WorldDelayed {
				s.EndEarly = 1 // judged at a random day, as people do
			}
			r := t.run(s)
			alarms, se := r.RejectedAtEnd, math.Sqrt(r.RejectedAtEnd*(1-r.RejectedAtEnd)/float64(t.runs))
			t.line("| %s | %s | %.2f ± %.2f | %+.2f |", c.world, analysis, 100*alarms, 100*se, 100*r.MeanEffect)
		}
	}
}

// lifts: Fieller's interval where the delta method fails.
func (t *simulationTables) lifts() {
	t.head(fmt.Sprintf("Fieller's interval of the lift, one look, %d runs (per cent)", t.runs), "world", "units per arm", "true lift", "coverage", "truth below", "truth above", "unbounded")
	for _, c := range []struct {
		world  string
		units  int
		effect float64
	}{{stats.WorldSparse, 2000, 0}, {stats.WorldSparse, 2000, 0.2}, {stats.WorldSparse, 8000, 0}, {stats.WorldNull, 2000, 0.1}, {stats.WorldHeavy, 2000, 0}, {stats.WorldCluster, 2000, 0}, {stats.WorldDelayed, 2000, 0.2}} {
		r := t.run(stats.Simulation{World: c.world, Method: experiments.Fixed, Looks: 1, Units: c.units, Effect: c.effect})
		t.line("| %s | %d | %.0f %% | %.2f ± %.2f | %.2f | %.2f | %.2f |", c.world, c.units/2, 100*c.effect, 100*r.LiftCoverage, 100*math.Sqrt(r.LiftCoverage*(1-r.LiftCoverage)/float64(t.runs)),
			100*r.LiftBelow, 100*r.LiftAbove, 100*r.LiftUnbounded)
	}
}

// uniform: the share of p-values at or below a level.
func (t *simulationTables) uniform() {
	t.head(fmt.Sprintf("Share of p-values at or below a level when there is no effect, %d runs (per cent)", t.runs), "world", "p-value", "1", "5", "10", "25", "50", "75", "90")
	for _, c := range []struct {
		world, method, what string
		looks, units        int
	}{{stats.WorldDelayed, experiments.Fixed, "fixed, 100 conversions an arm", 1, 2000}, {stats.WorldNull, experiments.Fixed, "fixed", 1, 2000}, {stats.WorldSparse, experiments.Fixed, "fixed, 300 buyers an arm", 1, 20000},
		{stats.WorldNull, experiments.GST, "smallest of 14 gst looks", 14, tableUnits}, {stats.WorldNull, experiments.ConfSeq, "smallest of 60 confseq looks", 60, tableUnits}} {
		r := t.run(stats.Simulation{World: c.world, Method: c.method, Looks: c.looks, Units: c.units})
		cells := make([]string, len(r.Below))
		for i, b := range r.Below {
			cells[i] = fmt.Sprintf("%.1f", 100*b.Share)
		}
		t.line("| %s | %s | %s |", c.world, c.what, strings.Join(cells, " | "))
	}
}

// adjustment: what covariates buy, and that they never cost.
func (t *simulationTables) adjustment() {
	runs := max(1, t.runs/20)
	const units = 10000
	t.head(fmt.Sprintf("Adjusted ÷ unadjusted standard error, one look, %d units, %d runs: mean (worst run)", units, runs), "world", "treated share", "noise", "own past value", "model's prediction", "both", "own, a quarter missing", "four strata")
	for _, world := range []string{stats.WorldNull, stats.WorldSparse, stats.WorldHeavy, stats.WorldDrift, stats.WorldHeterogeneous, stats.WorldCovariates} {
		for _, share := range []float64{0.5, 0.1} {
			var cells []string
			for _, adjust := range []string{stats.AdjustNoise, stats.AdjustOwn, stats.AdjustPrediction, stats.AdjustBoth, stats.AdjustMissing, stats.AdjustStrata} {
				r := t.run(stats.Simulation{World: world, Method: experiments.Fixed, Looks: 1, Units: units, Runs: runs, Share: share, Covariates: adjust})
				cells = append(cells, fmt.Sprintf("%.4f (%.4f)", r.SERatio, r.SERatioMax))
			}
			t.line("| %s | %.0f %% | %s |", world, 100*share, strings.Join(cells, " | "))
		}
	}
}
