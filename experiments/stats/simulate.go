package stats

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
)

// Worlds that simulations can be run in; each has a known truth.
const (
	WorldNull    = "null"    // normal units, mean 1, sd 1
	WorldSparse  = "sparse"  // 3 % of the units buy, lognormal amounts with σ = 1
	WorldHeavy   = "heavy"   // lognormal amounts with σ = 1.5
	WorldCluster = "cluster" // clusters of 10 to 30 units, intra-cluster correlation 0.3, cluster-robust analysis
	WorldDrift   = "drift"   // normal units whose mean rises from 1 to 2 and whose variance from 1 to 4 over the test
)

// Simulation runs a method many times in a world. Effect is relative: the treated mean is (1 + Effect) × the control's.
type Simulation struct {
	World    string
	Method   string // fixed, gst, confseq
	Looks    int
	Runs     int
	Units    int // both arms together, at the last look
	Effect   float64
	Alpha    float64
	Seed     uint64
	EndEarly float64 // share of the runs that end at a random earlier look, by a closing look
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
}

// outcome is one run.
type outcome struct {
	rejected, atEnd, covered           bool
	units                              float64
	liftIn, liftBelow, liftAbove, open bool
}

// Run simulates. The same seed gives the same bytes on any number of processors. ErrDesign for an unknown world or method, or sizes
// below one unit an arm and look.
func (s Simulation) Run() (SimulationResult, error) {
	w, ok := worlds[s.World]
	if !ok || s.Looks < 1 || s.Runs < 1 || s.Units < 4*s.Looks || s.Alpha <= 0 || s.Alpha >= 0.5 {
		return SimulationResult{}, ErrDesign
	}
	if s.Method != "fixed" && s.Method != "gst" && s.Method != "confseq" {
		return SimulationResult{}, ErrDesign
	}
	sim := &simulator{Simulation: s, world: w}
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
	}
	return r
}

// simulator is a simulation with what its runs share.
type simulator struct {
	Simulation
	world  world
	info   []float64 // the expected clock of correlation
	bounds []float64
	close  []float64 // boundary of a closing look at each look
}

// path is one run up to its last look: the pair at every look.
func (s *simulator) path(rng *rand.Rand, last int) []Pair {
	pairs := make([]Pair, last)
	var t, c Moments
	done := 0
	for k := range last {
		upTo := s.Units / 2 * (k + 1) / s.Looks
		at := (float64(k) + 0.5) / float64(s.Looks)
		t = t.Merge(s.world.batch(rng, upTo-done, at, 1+s.Effect))
		c = c.Merge(s.world.batch(rng, upTo-done, at, 1))
		done = upTo
		te, _ := s.world.estimate(t)
		ce, _ := s.world.estimate(c)
		pairs[k], _ = Welch(te, ce)
	}
	return pairs
}

// pilot finds the expected path of the variance clock in 200 runs and the boundaries on it.
func (s *simulator) pilot() error {
	s.info = make([]float64, s.Looks)
	for i := range 200 {
		rng := rand.New(rand.NewPCG(s.Seed^0x9e3779b97f4a7c15, uint64(i)))
		for k, v := range s.clock(s.path(rng, s.Looks)) {
			s.info[k] += v / 200
		}
	}
	d := s.design(s.info)
	var err error
	if s.bounds, err = d.Boundaries(s.Alpha); err != nil {
		return err
	}
	if s.EndEarly > 0 {
		s.close = make([]float64, s.Looks)
		for k := range s.close {
			b, err := closing(d, k+1).Boundaries(s.Alpha)
			if err != nil {
				return err
			}
			s.close[k] = b[k]
		}
	}
	return nil
}

// clock is the variance of the sum at every look, forced not to fall.
func (s *simulator) clock(pairs []Pair) []float64 {
	v := make([]float64, len(pairs))
	for k, p := range pairs {
		n := float64(s.Units/2*(k+1)/s.Looks) * 2
		v[k] = n * n * p.SE() * p.SE()
		if k > 0 {
			v[k] = math.Max(v[k], v[k-1])
		}
	}
	return v
}

func (s *simulator) design(info []float64) Design {
	d := EqualLooks(s.Looks, len(info))
	d.Information = info
	return d
}

// closing is the design that ends with look k and spends all there.
func closing(d Design, k int) Design {
	out := Design{Fraction: append([]float64(nil), d.Fraction[:k]...), Information: d.Information[:k]}
	out.Fraction[k-1] = 1
	return out
}

// one is one run.
func (s *simulator) one(i uint64) outcome {
	rng := rand.New(rand.NewPCG(s.Seed, i))
	last := s.Looks
	if s.EndEarly > 0 && rng.Float64() < s.EndEarly {
		last = 1 + rng.IntN(s.Looks)
	}
	pairs := s.path(rng, last)
	bounds := s.boundaries(pairs, last)
	truth := s.world.mean(last, s.Looks) * s.Effect
	o := outcome{}
	at := last - 1
	for k, p := range pairs {
		if math.Abs(normalScore(p)) > bounds[k] {
			o.rejected, at = true, k
			break
		}
	}
	o.atEnd = math.Abs(normalScore(pairs[last-1])) > bounds[last-1]
	p := pairs[at]
	if at < last-1 {
		truth = s.world.mean(at+1, s.Looks) * s.Effect
	}
	o.covered = math.Abs(p.Effect()-truth) <= p.fastCritical(bounds[at])*p.SE()
	o.units = float64(s.Units/2*(at+1)/s.Looks) * 2
	end := pairs[last-1]
	low, high, err := end.Relative(end.fastCritical(NormalUpper(s.Alpha / 2)))
	switch {
	case err != nil:
		o.open, o.liftIn = true, true
	case s.Effect < low:
		o.liftBelow = true
	case s.Effect > high:
		o.liftAbove = true
	default:
		o.liftIn = true
	}
	return o
}

// boundaries are those of the method. A group-sequential run that comes near the boundary on the expected clock is judged on its own clock:
// everywhere else the two agree.
func (s *simulator) boundaries(pairs []Pair, last int) []float64 {
	bounds := make([]float64, last)
	switch s.Method {
	case "fixed":
		for k := range bounds {
			bounds[k] = NormalUpper(s.Alpha / 2)
		}
	case "confseq":
		seq := Sequence{Alpha: s.Alpha, Tuning: float64(s.Units) / s.world.size}
		for k, p := range pairs {
			bounds[k] = seq.Multiplier(float64(p.T.N + p.C.N))
		}
	default:
		copy(bounds, s.bounds)
		if s.close != nil && last < s.Looks {
			bounds[last-1] = s.close[last-1]
		}
		for k, p := range pairs {
			if r := math.Abs(normalScore(p)) / bounds[k]; r > 0.97 && r < 1.03 {
				d := s.design(s.clock(pairs))
				if last < s.Looks {
					d = closing(d, last)
				}
				if own, err := d.Boundaries(s.Alpha); err == nil {
					return own
				}
			}
		}
	}
	return bounds
}

// normalScore is Z by its expansion in 1/df, good for the hundreds of units a look that simulations have.
func normalScore(p Pair) float64 {
	t := p.T0()
	if math.IsNaN(t) {
		return 0
	}
	return t * (1 - (t*t+1)/(4*p.DF))
}

func (p Pair) fastCritical(z float64) float64 { return z * (1 + (z*z+1)/(4*p.DF)) }
