package stats

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
)

// Simulation runs a method many times in a world. Effect is relative: the treated mean is (1 + Effect) × the control's.
type Simulation struct {
	World      string
	Method     string // fixed, gst, confseq
	Looks      int
	Runs       int
	Units      int // both arms together, at the last look
	Effect     float64
	Alpha      float64
	Seed       uint64
	EndEarly   float64 // share of the runs that end at a random earlier look, by a closing look
	Share      float64 // treated share; 0 is one half
	Covariates string  // AdjustOwn and its like; "" adjusts for nothing
	Naive      bool    // fall into the world's trap: what the right analysis is there to avoid
	Scale      float64 // every outcome is multiplied by it, as if money were counted in another unit; 0 is 1
	// Tick is called before every run, from several goroutines; false ends the simulation with ErrStopped. nil never does.
	Tick func() bool
}

// SimulationResult is what came out, each rate with its Monte-Carlo standard error. Coverage is of the interval that is valid when the test
// ends (at its first rejection, else at its last look). Lift numbers are Fieller's interval of the fixed horizon at the last look.
type SimulationResult struct {
	Rejected      float64 `json:"rejected"`
	RejectedSE    float64 `json:"rejected_se"`
	RejectedAtEnd float64 `json:"rejected_at_end"`
	Coverage      float64 `json:"coverage"`
	CoverageSE    float64 `json:"coverage_se"`
	MeanUnits     float64 `json:"mean_units"`
	LiftCoverage  float64 `json:"lift_coverage"`
	LiftBelow     float64 `json:"lift_truth_below"`
	LiftAbove     float64 `json:"lift_truth_above"`
	LiftUnbounded float64 `json:"lift_unbounded"`
	// MeanEffect is the estimated relative effect at the last look, averaged: what a biased analysis fakes.
	MeanEffect float64 `json:"mean_rel_effect"`
	// Below is how often the p-value was at or below each level: the fixed one at the last look, the smallest of all looks of a sequential one.
	Below []LevelShare `json:"p_at_or_below"`
	// SERatio and SERatioMax are the adjusted standard error ÷ the unadjusted one at the last look, its mean and the worst run.
	SERatio    float64 `json:"se_ratio,omitempty"`
	SERatioMax float64 `json:"se_ratio_max,omitempty"`
}

// LevelShare is how often a p-value was at or below a level.
type LevelShare struct {
	Level float64 `json:"level"`
	Share float64 `json:"share"`
}

var levels = []float64{0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9}

// outcome is one run.
type outcome struct {
	rejected, atEnd, covered           bool
	units, lift, p, seRatio            float64
	liftIn, liftBelow, liftAbove, open bool
}

// check refuses what cannot be run.
func (s Simulation) check() (world, error) {
	w, ok := worlds[s.World]
	if !ok || s.Looks < 1 || s.Runs < 1 || s.Units < 4*s.Looks || s.Alpha <= 0 || s.Alpha >= 0.5 {
		return w, ErrDesign
	}
	if s.Method != "fixed" && s.Method != "gst" && s.Method != "confseq" {
		return w, ErrDesign
	}
	if _, ok := covariates(rand.New(rand.NewPCG(1, 1)), nil, unitDraw{}, s.Covariates); !ok || (s.Covariates != "" && w.unit == nil) {
		return w, ErrDesign
	}
	if s.Share < 0 || s.Share >= 1 || s.Scale < 0 || (s.Naive && w.naive == nil && w.delay == 0) {
		return w, ErrDesign
	}
	return w, nil
}

// Run simulates. The same seed gives the same bytes on any number of processors. ErrDesign for an unknown world, method or covariate, for
// covariates or naivety that a world does not have, or sizes below four units a look.
func (s Simulation) Run() (SimulationResult, error) {
	w, err := s.check()
	if err != nil {
		return SimulationResult{}, err
	}
	if s.Share == 0 {
		s.Share = 0.5
	}
	if s.Scale == 0 {
		s.Scale = 1
	}
	sim := &simulator{Simulation: s, world: w, counts: w.schedule(s)}
	if s.Method == "gst" {
		if err := sim.pilot(); err != nil {
			return SimulationResult{}, err
		}
	}
	out := make([]outcome, s.Runs)
	var wg sync.WaitGroup
	var stopped atomic.Bool
	workers := runtime.GOMAXPROCS(0)
	for k := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := k; i < s.Runs; i += workers {
				if s.Tick != nil && !s.Tick() {
					stopped.Store(true)
					return
				}
				out[i] = sim.one(uint64(i))
			}
		}()
	}
	wg.Wait()
	if stopped.Load() {
		return SimulationResult{}, ErrStopped
	}
	return summarise(out), nil
}

func summarise(runs []outcome) SimulationResult {
	var r SimulationResult
	n := float64(len(runs))
	share := func(f func(outcome) bool) float64 {
		k := 0.0
		for _, o := range runs {
			if f(o) {
				k++
			}
		}
		return k / n
	}
	se := func(p float64) float64 { return math.Sqrt(p * (1 - p) / n) }
	r.Rejected = share(func(o outcome) bool { return o.rejected })
	r.RejectedAtEnd = share(func(o outcome) bool { return o.atEnd })
	r.Coverage = share(func(o outcome) bool { return o.covered })
	r.LiftCoverage = share(func(o outcome) bool { return o.liftIn })
	r.LiftBelow = share(func(o outcome) bool { return o.liftBelow })
	r.LiftAbove = share(func(o outcome) bool { return o.liftAbove })
	r.LiftUnbounded = share(func(o outcome) bool { return o.open })
	r.RejectedSE, r.CoverageSE = se(r.Rejected), se(r.Coverage)
	for _, o := range runs {
		r.MeanUnits += o.units / n
		r.MeanEffect += o.lift / n
		r.SERatio += o.seRatio / n
		r.SERatioMax = math.Max(r.SERatioMax, o.seRatio)
	}
	for _, level := range levels {
		r.Below = append(r.Below, LevelShare{level, share(func(o outcome) bool { return o.p <= level })})
	}
	return r
}
