package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"perennial/experiments"
	"perennial/experiments/stats"
)

type simulateCmd struct {
	World     string  `help:"null, sparse, heavy, cluster, drift, delayed, heterogeneous, covariates or reweighted." default:"null"`
	Inference string  `help:"fixed, gst or confseq." default:"gst"`
	Looks     int     `help:"Equally spaced looks." default:"60"`
	Runs      int     `help:"Simulated tests." default:"20000"`
	Units     int     `help:"Units of both arms at the last look." default:"20000"`
	Effect    float64 `help:"True relative effect." default:"0"`
	Alpha     float64 `help:"Two-sided level." default:"0.05"`
	Seed      uint64  `help:"The same seed gives the same answer." default:"1"`
	EndEarly  float64 `name:"end-early" help:"Share of the tests that end at a random look by a closing look." default:"0"`
	Share     float64 `help:"Treated share of the units." default:"0.5"`
	Adjust    string  `help:"Adjust for covariates: own, prediction, both, missing, strata or noise." placeholder:"WHAT"`
	Naive     bool    `help:"Fall into the world's trap (cluster, delayed, reweighted)."`
	Scale     float64 `help:"Multiply every outcome, as if money were counted in another unit." default:"1"`
	Table     bool    `help:"Run every world under every method and print the tables of experiments/stats/README.md; takes --runs and --seed alone."`
}

// Help says what the worlds are.
func (simulateCmd) Help() string {
	return `Worlds:
  null           normal units (mean 1, sd 1)
  sparse         3 % of the units buy; lognormal amounts, sigma 1
  heavy          lognormal amounts, sigma 1.5
  cluster        clusters of 10 to 30 units with intra-cluster correlation 0.3, analysed cluster-robust (--naive: as independent units)
  drift          the mean doubles and the variance quadruples during the test
  delayed        10 % buy within a window of a fifth of the test, the treated twice as soon; only mature units count (--naive: all)
  heterogeneous  the treatment helps half of the units by 1.5 and harms the others by as much
  covariates     the outcome hangs on an interaction that a model knows and one's own past value does not show
  reweighted     10/90, from the middle on 50/50, while the base rate rises from 5 to 8 %; stratified (--naive: pooled)

Examples:
  perennial simulate --world null --inference gst --looks 60 --runs 20000 --json
  perennial simulate --world sparse --inference fixed --looks 1 --units 2000      # does the lift interval cover the truth?
  perennial simulate --world covariates --adjust prediction --share 0.1 --looks 1 # what adjustment buys, at 10/90`
}

// Run simulates and prints rates with their Monte-Carlo errors.
func (c simulateCmd) Run(a *App, ctx context.Context) error {
	if c.Table {
		return c.printTables(a, ctx)
	}
	s := stats.Simulation{World: c.World, Method: c.Inference, Looks: c.Looks, Runs: c.Runs, Units: c.Units, Effect: c.Effect, Alpha: c.Alpha, Seed: c.Seed, EndEarly: c.EndEarly,
		Share: c.Share, Covariates: c.Adjust, Naive: c.Naive, Scale: c.Scale}
	var bar *mpb.Bar
	if f, ok := a.Err.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		bars := mpb.New(mpb.WithOutput(f), mpb.WithWidth(60))
		bar = bars.AddBar(int64(c.Runs), mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Name("simulate "), decor.CountersNoUnit("%d / %d ")), mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_GO)))
		defer bars.Shutdown()
	}
	s.Tick = func() bool {
		if bar != nil {
			bar.Increment()
		}
		return ctx.Err() == nil
	}
	r, err := s.Run()
	if errors.Is(err, stats.ErrStopped) {
		return fmt.Errorf("simulate: %w", ctx.Err())
	}
	if err != nil {
		return usageError{c.fault(err)}
	}
	if a.JSON {
		return writeJSON(a.Out, r)
	}
	return c.print(a, r)
}

// fault names what cannot be run.
func (c simulateCmd) fault(err error) error {
	if c.Adjust != "" || c.Naive {
		return experiments.Invalid("--world", "%q, --inference %q, --looks %d, --units %d, --adjust %q, --naive %v: %v (not every world has covariates or a trap; see --help)",
			c.World, c.Inference, c.Looks, c.Units, c.Adjust, c.Naive, err)
	}
	return experiments.Invalid("--world", "%q, --inference %q, --looks %d, --runs %d, --units %d: %v (at least 4 units a look; see --help for worlds)", c.World, c.Inference, c.Looks, c.Runs, c.Units, err)
}

func (c simulateCmd) print(a *App, r stats.SimulationResult) error {
	var b strings.Builder
	what := "false alarms"
	if c.Effect != 0 {
		what = "effect found"
	}
	fmt.Fprintf(&b, "%s %.4f ± %.4f (at the last look %.4f)\n", what, r.Rejected, r.RejectedSE, r.RejectedAtEnd)
	fmt.Fprintf(&b, "coverage when it ends %.4f ± %.4f\nmean units %.0f of %d\n", r.Coverage, r.CoverageSE, r.MeanUnits, c.Units)
	fmt.Fprintf(&b, "lift interval (Fieller, at the end): coverage %.4f, truth below %.4f, above %.4f, unbounded %.4f\n", r.LiftCoverage, r.LiftBelow, r.LiftAbove, r.LiftUnbounded)
	fmt.Fprintf(&b, "mean estimated lift %+.4f (truth %+.4f)\n", r.MeanEffect, c.Effect)
	b.WriteString("p at or below:")
	for _, l := range r.Below {
		fmt.Fprintf(&b, "  %v: %.4f", l.Level, l.Share)
	}
	b.WriteString("\n")
	if c.Adjust != "" {
		fmt.Fprintf(&b, "adjusted ÷ unadjusted standard error: mean %.4f, worst run %.4f (variance removed %.1f %%)\n", r.SERatio, r.SERatioMax, 100*(1-r.SERatio*r.SERatio))
	}
	_, err := io.WriteString(a.Out, b.String())
	return err
}
