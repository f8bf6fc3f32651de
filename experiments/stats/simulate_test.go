package stats

import (
	"math"
	"testing"
)

// Small seeded simulations: rates within four Monte-Carlo standard errors of what each method promises.
func TestSimulatedRates(t *testing.T) {
	for _, c := range []struct {
		name     string
		sim      Simulation
		low, top float64 // of Rejected
	}{
		{"gst null", Simulation{World: WorldNull, Method: "gst", Looks: 10, Runs: 4000, Units: 4000}, 0.05, 0.05},
		{"gst drift", Simulation{World: WorldDrift, Method: "gst", Looks: 10, Runs: 4000, Units: 4000}, 0.05, 0.05},
		{"gst ended early", Simulation{World: WorldNull, Method: "gst", Looks: 10, Runs: 4000, Units: 4000, EndEarly: 0.3}, 0.05, 0.05},
		{"confidence sequence", Simulation{World: WorldNull, Method: "confseq", Looks: 10, Runs: 2000, Units: 4000}, 0, 0.05},
		{"fixed looked at once", Simulation{World: WorldNull, Method: "fixed", Looks: 1, Runs: 4000, Units: 400}, 0.05, 0.05},
		{"clusters", Simulation{World: WorldCluster, Method: "fixed", Looks: 1, Runs: 2000, Units: 2400}, 0.03, 0.07},
	} {
		c.sim.Alpha, c.sim.Seed = 0.05, 7
		r, err := c.sim.Run()
		if err != nil {
			t.Fatal(c.name, err)
		}
		slack := 4 * math.Sqrt(0.05*0.95/float64(c.sim.Runs))
		if r.Rejected < c.low-slack || r.Rejected > c.top+slack {
			t.Errorf("%s: rejected %.4f, want %v to %v", c.name, r.Rejected, c.low, c.top)
		}
	}
}

// Fieller at 1,000 an arm, 3 % conversion, lognormal σ = 1: reference statistics §6 (95.6 %, tails 2.7 and 1.8), where delta covers 91 %.
func TestFiellerCoverage(t *testing.T) {
	r, err := (Simulation{World: WorldSparse, Method: "fixed", Looks: 1, Runs: 6000, Units: 2000, Alpha: 0.05, Seed: 11}).Run()
	if err != nil {
		t.Fatal(err)
	}
	if r.LiftCoverage < 0.94 || r.LiftCoverage > 0.97 {
		t.Errorf("coverage %.4f, want 0.945 to 0.965", r.LiftCoverage)
	}
}

func TestSimulationIsRepeatable(t *testing.T) {
	s := Simulation{World: WorldSparse, Method: "gst", Looks: 5, Runs: 200, Units: 2000, Alpha: 0.05, Seed: 3}
	a, err := s.Run()
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := s.Run(); a != b {
		t.Errorf("the same seed gave %v and %v", a, b)
	}
	s.Tick = func() bool { return false }
	if _, err := s.Run(); err != ErrStopped {
		t.Errorf("a stopped simulation: %v, want ErrStopped", err)
	}
	if _, err := (Simulation{World: "moon", Method: "gst", Looks: 5, Runs: 2, Units: 2000, Alpha: 0.05}).Run(); err != ErrDesign {
		t.Errorf("unknown world: %v, want ErrDesign", err)
	}
}
