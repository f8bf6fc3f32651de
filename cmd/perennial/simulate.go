package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"perennial/experiments"
	"perennial/experiments/stats"
)

type simulateCmd struct {
	World     string  `help:"null, sparse, heavy, cluster or drift." default:"null"`
	Inference string  `help:"fixed, gst or confseq." default:"gst"`
	Looks     int     `help:"Equally spaced looks." default:"60"`
	Runs      int     `help:"Simulated tests." default:"20000"`
	Units     int     `help:"Units of both arms at the last look." default:"20000"`
	Effect    float64 `help:"True relative effect." default:"0"`
	Alpha     float64 `help:"Two-sided level." default:"0.05"`
	Seed      uint64  `help:"The same seed gives the same answer." default:"1"`
	EndEarly  float64 `name:"end-early" help:"Share of the tests that end at a random look by a closing look." default:"0"`
}

// Help says what the worlds are.
func (simulateCmd) Help() string {
	return `Worlds:
  null     normal units (mean 1, sd 1)
  sparse   3 % of the units buy; lognormal amounts, sigma 1
  heavy    lognormal amounts, sigma 1.5
  cluster  clusters of 10 to 30 units with intra-cluster correlation 0.3, analysed cluster-robust
  drift    the mean doubles and the variance quadruples during the test

Example:
  perennial simulate --world null --inference gst --looks 60 --runs 20000 --json`
}

// Run simulates and prints rates with their Monte-Carlo errors.
func (c simulateCmd) Run(a *App, ctx context.Context) error {
	s := stats.Simulation{World: c.World, Method: c.Inference, Looks: c.Looks, Runs: c.Runs, Units: c.Units, Effect: c.Effect, Alpha: c.Alpha, Seed: c.Seed, EndEarly: c.EndEarly}
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
		return usageError{experiments.Invalid("--world", "%q, --inference %q, --looks %d, --runs %d, --units %d: %v (at least 4 units a look; see --help for worlds)", c.World, c.Inference, c.Looks, c.Runs, c.Units, err)}
	}
	if a.JSON {
		return writeJSON(a.Out, r)
	}
	_, err = fmt.Fprintf(a.Out, "rejected %.4f ± %.4f (at the last look %.4f)\ncoverage when it ends %.4f ± %.4f\nmean units %.0f of %d\nlift interval (Fieller, at the end): coverage %.4f, truth below %.4f, above %.4f, unbounded %.4f\n",
		r.Rejected, r.RejectedSE, r.RejectedAtEnd, r.Coverage, r.CoverageSE, r.MeanUnits, c.Units, r.LiftCoverage, r.LiftBelow, r.LiftAbove, r.LiftUnbounded)
	return err
}
