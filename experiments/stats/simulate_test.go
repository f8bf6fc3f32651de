package stats

import (
	"math"
	"reflect"
	"testing"
)

func simulate(t *testing.T, s Simulation) SimulationResult {
	t.Helper()
	if s.Alpha == 0 {
		s.Alpha = 0.05
	}
	if s.Seed == 0 {
		s.Seed = 7
	}
	r, err := s.Run()
	if err != nil {
		t.Fatalf("%s %s: %v", s.World, s.Method, err)
	}
	return r
}

// Rates lie within four Monte-Carlo standard errors of what each method promises: a right method fails a line once in 16,000 changes of the seed.
// The full runs (20,000 of 60 looks) are the tables of experiments/stats/README.md, by `perennial simulate --table`.
func TestSimulatedRates(t *testing.T) {
	for _, c := range []struct {
		name     string
		sim      Simulation
		low, top float64 // of Rejected
	}{
		{"gst null", Simulation{World: WorldNull, Method: "gst", Looks: 10, Runs: 4000, Units: 4000}, 0.05, 0.05},
		{"gst drift", Simulation{World: WorldDrift, Method: "gst", Looks: 10, Runs: 4000, Units: 4000}, 0.05, 0.05},
		{"gst sparse", Simulation{World: WorldSparse, Method: "gst", Looks: 10, Runs: 2000, Units: 8000}, 0.045, 0.055},
		{"gst ended early", Simulation{World: WorldNull, Method: "gst", Looks: 10, Runs: 4000, Units: 4000, EndEarly: 0.3}, 0.05, 0.05},
		{"gst delayed", Simulation{World: WorldDelayed, Method: "gst", Looks: 10, Runs: 2000, Units: 8000}, 0.045, 0.055},
		{"gst heterogeneous", Simulation{World: WorldHeterogeneous, Method: "gst", Looks: 10, Runs: 2000, Units: 4000}, 0.05, 0.05},
		{"gst reweighted", Simulation{World: WorldReweighted, Method: "gst", Looks: 10, Runs: 2000, Units: 10000}, 0.045, 0.06},
		{"confidence sequence", Simulation{World: WorldNull, Method: "confseq", Looks: 10, Runs: 2000, Units: 4000}, 0, 0.05},
		{"confidence sequence drift", Simulation{World: WorldDrift, Method: "confseq", Looks: 10, Runs: 2000, Units: 4000}, 0, 0.05},
		{"fixed looked at once", Simulation{World: WorldNull, Method: "fixed", Looks: 1, Runs: 4000, Units: 400}, 0.05, 0.05},
		{"clusters, 40 an arm", Simulation{World: WorldCluster, Method: "fixed", Looks: 1, Runs: 3000, Units: 1600}, 0.03, 0.07},
		{"gst power at 14 looks", Simulation{World: WorldNull, Method: "gst", Looks: 14, Runs: 3000, Units: 8000, Effect: 2.801585 * math.Sqrt(4.0/8000)}, 0.7834, 0.7834},
	} {
		r := simulate(t, c.sim)
		se := func(p float64) float64 { return math.Sqrt(p * (1 - p) / float64(c.sim.Runs)) }
		if r.Rejected < c.low-4*se(c.low) || r.Rejected > c.top+4*se(c.top) {
			t.Errorf("%s: rejected %.4f, want %v to %v", c.name, r.Rejected, c.low, c.top)
		}
	}
}

// The naive reading of a trap is wrong by far more than chance; the right one is not.
func TestTraps(t *testing.T) {
	for _, c := range []struct {
		name         string
		sim          Simulation
		naive        float64 // at least so many false alarms
		lift, faking float64 // the naive mean lift
	}{
		{"clusters as units", Simulation{World: WorldCluster, Looks: 1, Runs: 1000, Units: 4000}, 0.35, 0, 0.05},
		{"pooled over a change of weights", Simulation{World: WorldReweighted, Looks: 10, Runs: 1000, Units: 20000}, 0.9, 0.235, 0.03},
		{"immature units count", Simulation{World: WorldDelayed, Looks: 10, Runs: 1000, Units: 20000, EndEarly: 1}, 0.3, 0.22, 0.1},
	} {
		c.sim.Method = "fixed"
		right := simulate(t, c.sim)
		c.sim.Naive = true
		naive := simulate(t, c.sim)
		if right.RejectedAtEnd > 0.05+4*math.Sqrt(0.05*0.95/1000) || math.Abs(right.MeanEffect) > 0.03 {
			t.Errorf("%s: the right reading alarms in %.3f, lift %+.3f", c.name, right.RejectedAtEnd, right.MeanEffect)
		}
		if naive.RejectedAtEnd < c.naive || math.Abs(naive.MeanEffect-c.lift) > c.faking {
			t.Errorf("%s: the trap is gone: %.3f alarms, lift %+.3f, want %.3f, %+.3f", c.name, naive.RejectedAtEnd, naive.MeanEffect, c.naive, c.lift)
		}
	}
}

// Fixed p-values are uniform under A/A with a hundred conversions an arm; the smallest of sequential ones is not smaller than a uniform.
// Seven levels, 4.5 standard errors: a false alarm once in 20,000 changes of the seed.
func TestPValuesUnderNoEffect(t *testing.T) {
	for name, c := range map[string]struct {
		sim     Simulation
		uniform bool
	}{
		"fixed rate":       {Simulation{World: WorldDelayed, Method: "fixed", Looks: 1, Units: 2000, Runs: 6000}, true},
		"fixed mean":       {Simulation{World: WorldNull, Method: "fixed", Looks: 1, Units: 2000, Runs: 6000}, true},
		"fixed clusters":   {Simulation{World: WorldCluster, Method: "fixed", Looks: 1, Units: 8000, Runs: 2000}, true},
		"smallest gst":     {Simulation{World: WorldNull, Method: "gst", Looks: 8, Units: 4000, Runs: 3000}, false},
		"smallest confseq": {Simulation{World: WorldSparse, Method: "confseq", Looks: 8, Units: 8000, Runs: 3000}, false},
	} {
		for _, b := range simulate(t, c.sim).Below {
			slack := 4.5 * math.Sqrt(b.Level*(1-b.Level)/float64(c.sim.Runs))
			if b.Share > b.Level+slack || (c.uniform && b.Share < b.Level-slack) {
				t.Errorf("%s: %.4f of the p-values are at or below %v", name, b.Share, b.Level)
			}
		}
	}
}

// Fieller at 1,000 an arm, 3 % conversion, lognormal σ = 1: reference statistics §6 (95.6 %, tails 2.7 and 1.8), where delta covers 91 %.
// Unbounded sets are counted and cover.
func TestFiellerCoverage(t *testing.T) {
	r := simulate(t, Simulation{World: WorldSparse, Method: "fixed", Looks: 1, Runs: 12000, Units: 2000, Seed: 11})
	if r.LiftCoverage < 0.945 || r.LiftCoverage > 0.965 || r.LiftBelow < 0.015 || r.LiftBelow > 0.03 || r.LiftAbove < 0.015 || r.LiftAbove > 0.03 {
		t.Errorf("coverage %.4f, tails %.4f and %.4f, unbounded %.4f; want 0.945 to 0.965 and 0.015 to 0.030", r.LiftCoverage, r.LiftBelow, r.LiftAbove, r.LiftUnbounded)
	}
	if r.LiftUnbounded == 0 || r.LiftUnbounded > 0.01 {
		t.Errorf("unbounded %.4f, want a few in a thousand", r.LiftUnbounded)
	}
}

// Adjustment never costs: at most half a per cent of the standard error, in every world, at 50/50 and 90/10, in the worst run; useless covariates
// among them. A model's prediction removes more than the unit's own past value in the world built for it.
func TestAdjustmentNeverCosts(t *testing.T) {
	for _, world := range []string{WorldNull, WorldSparse, WorldHeavy, WorldDrift, WorldHeterogeneous, WorldCovariates} {
		for _, share := range []float64{0.5, 0.1} {
			for _, adjust := range []string{AdjustNoise, AdjustOwn, AdjustBoth, AdjustMissing, AdjustStrata} {
				r := simulate(t, Simulation{World: world, Method: "fixed", Looks: 1, Runs: 12, Units: 10000, Share: share, Covariates: adjust})
				if r.SERatioMax > 1.005 {
					t.Errorf("%s, treated %v, %s: adjusted ÷ unadjusted se %.5f in the worst run", world, share, adjust, r.SERatioMax)
				}
			}
		}
	}
	s := Simulation{World: WorldCovariates, Method: "fixed", Looks: 1, Runs: 200, Units: 4000, Covariates: AdjustOwn}
	own := simulate(t, s)
	s.Covariates = AdjustPrediction
	model := simulate(t, s)
	if removed, by := 1-own.SERatio*own.SERatio, 1-model.SERatio*model.SERatio; by < removed+0.4 {
		t.Errorf("a prediction removes %.3f of the variance, the own value %.3f", by, removed)
	}
	slack := 4 * math.Sqrt(0.05*0.95/200)
	for name, r := range map[string]SimulationResult{"own": own, "prediction": model} {
		if r.Rejected > 0.05+slack || r.Coverage < 0.95-slack {
			t.Errorf("%s: %.3f false alarms, coverage %.3f", name, r.Rejected, r.Coverage)
		}
	}
}

// Money in another unit changes nothing.
func TestSimulationScale(t *testing.T) {
	for _, world := range []string{WorldNull, WorldSparse, WorldCluster, WorldDelayed, WorldReweighted} {
		s := Simulation{World: world, Method: "gst", Looks: 4, Runs: 300, Units: 4000, Effect: 0.05}
		one := simulate(t, s)
		s.Scale = 128 // a power of two: equal to the last bit
		if got := simulate(t, s); !reflect.DeepEqual(got, one) {
			t.Errorf("%s: × 128 gave %+v, want %+v", world, got, one)
		}
		s.Scale = 100
		if got := simulate(t, s); got.Rejected != one.Rejected || math.Abs(got.MeanEffect-one.MeanEffect) > 1e-12 {
			t.Errorf("%s: × 100 gave %+v, want %+v", world, got, one)
		}
	}
}

func TestSimulationIsRepeatable(t *testing.T) {
	s := Simulation{World: WorldSparse, Method: "gst", Looks: 5, Runs: 200, Units: 2000, Alpha: 0.05, Seed: 3}
	a, err := s.Run()
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := s.Run(); !reflect.DeepEqual(a, b) {
		t.Errorf("the same seed gave %v and %v", a, b)
	}
	s.Tick = func() bool { return false }
	if _, err := s.Run(); err != ErrStopped {
		t.Errorf("a stopped simulation: %v, want ErrStopped", err)
	}
}

func TestSimulationRefuses(t *testing.T) {
	good := Simulation{World: WorldNull, Method: "gst", Looks: 5, Runs: 2, Units: 2000, Alpha: 0.05}
	for name, change := range map[string]func(*Simulation){
		"world": func(s *Simulation) { s.World = "moon" }, "method": func(s *Simulation) { s.Method = "guess" }, "size": func(s *Simulation) { s.Units = 3 },
		"level": func(s *Simulation) { s.Alpha = 0.6 }, "share": func(s *Simulation) { s.Share = 1 }, "covariate": func(s *Simulation) { s.Covariates = "moon" },
		"trap of none": func(s *Simulation) { s.Naive = true }, "covariates of none": func(s *Simulation) { s.World, s.Covariates = WorldCluster, AdjustOwn },
	} {
		s := good
		change(&s)
		if _, err := s.Run(); err != ErrDesign {
			t.Errorf("%s: %v, want ErrDesign", name, err)
		}
	}
	if _, err := good.Run(); err != nil {
		t.Fatal(err)
	}
}
