package stats

import (
	"math"
	"math/rand/v2"
)

// simulator is a simulation with what its runs share.
type simulator struct {
	Simulation
	world  world
	counts []int     // units of both arms that are in at each look
	info   []float64 // the expected clock of correlation
	bounds []float64
	looks  []*Look   // of the expected clock, for repeated p-values
	close  []float64 // boundary of a closing look at each look
	closes []*Look
}

// schedule is how many units count at each look. A look without a new unit is none.
func (w world) schedule(s Simulation) []int {
	counts := make([]int, 0, s.Looks)
	for k := 1; k <= s.Looks; k++ {
		at := float64(k) / float64(s.Looks)
		switch {
		case w.delay > 0 && s.Naive:
			at = math.Min(1, at*(1+w.delay))
		case w.delay > 0:
			at = at*(1+w.delay) - w.delay
		}
		n := int(math.Round(at*float64(s.Units)/2)) * 2
		if w.delay == 0 {
			n = s.Units / 2 * k / s.Looks * 2
		}
		if last := len(counts); n >= 4 && (last == 0 || n > counts[last-1]) || (w.delay > 0 && s.Naive) {
			counts = append(counts, n)
		}
	}
	return counts
}

// arms are the summaries of one stratum of a run.
type arms struct{ t, c Moments }

// path is one run up to its last look: the pair at every look, and the unadjusted one at the last. Units choose their arm by a coin of their
// own, as they do outside: with equal batches in both arms a moving mean would cancel more than chance allows.
func (s *simulator) path(rng *rand.Rand, last int) (pairs []Pair, raw Pair) {
	if s.world.delay > 0 {
		return s.delayed(rng, last)
	}
	pairs = make([]Pair, last)
	strata := make([]arms, 1, 2)
	done := 0
	for k := range last {
		at := (float64(k) + 0.5) / float64(len(s.counts))
		share, stratum := s.Share, 0
		if s.world.share != nil {
			share = s.world.share(at)
		}
		if s.world.stratum != nil && !s.Naive {
			stratum = s.world.stratum(at)
		}
		for len(strata) <= stratum {
			strata = append(strata, arms{})
		}
		n := s.counts[k] - done
		done = s.counts[k]
		treated := binomial(rng, n, share)
		x := &strata[stratum]
		x.t = x.t.Merge(s.draw(rng, treated, at, 1+s.Effect, true))
		x.c = x.c.Merge(s.draw(rng, n-treated, at, 1, false))
		pairs[k], raw = s.compare(strata, k == last-1)
	}
	return pairs, raw
}

func (s *simulator) draw(rng *rand.Rand, n int, at, lift float64, treated bool) Moments {
	var m Moments
	if s.Covariates != "" || s.world.batch == nil {
		m = s.world.drawUnits(rng, n, at, lift, treated, s.Covariates)
	} else {
		m = s.world.batch(rng, n, at, lift, treated)
	}
	if s.Scale == 1 || m.N == 0 {
		return m
	}
	m.Mean[0] *= s.Scale
	k := len(m.Mean)
	for i := range k {
		m.M2[i] *= s.Scale
		m.M2[i*k] *= s.Scale
	}
	return m
}

// compare is the product's own way from summaries to a pair: adjustment where there are covariates, strata by weight.
func (s *simulator) compare(strata []arms, isLast bool) (pair, raw Pair) {
	estimate := s.world.estimate
	if s.Naive && s.world.naive != nil {
		estimate = s.world.naive
	}
	total := int64(0)
	for _, x := range strata {
		total += x.t.N + x.c.N
	}
	var list []Stratum
	for _, x := range strata {
		t, terr := estimate(x.t)
		c, cerr := estimate(x.c)
		if terr != nil || cerr != nil {
			continue
		}
		p, _ := Welch(t, c)
		raw = p
		if s.Covariates != "" {
			if adjusted, err := Adjust(x.t, x.c, false); err == nil {
				p = adjusted
			}
		}
		list = append(list, Stratum{p, float64(x.t.N+x.c.N) / float64(total)})
	}
	pair, _ = Stratified(list)
	return pair, raw
}

const (
	delayedWindow = 0.2
	delayedRate   = 0.1
)

// delayed is a run in the world where outcomes come late: at each look either only those units count whose window is over, or (naive) all. The
// treated buy earlier, not more.
func (s *simulator) delayed(rng *rand.Rand, last int) (pairs []Pair, raw Pair) {
	looks := len(s.counts)
	var units, buyers [2][]int // by the look at which they come to count
	for arm := range 2 {
		units[arm], buyers[arm] = make([]int, looks), make([]int, looks)
	}
	first := func(moment float64) int { // the look that sees a moment of the test
		k := int(math.Ceil(moment/(1+delayedWindow)*float64(s.Looks)-1e-9)) - 1 - (s.Looks - looks)
		return min(max(k, 0), looks-1)
	}
	for i := range s.Units {
		arm := 0
		if rng.Float64() < s.Share {
			arm = 1
		}
		entry := (float64(i) + 0.5) / float64(s.Units)
		rate, delay := delayedRate, delayedWindow
		if arm == 1 {
			rate, delay = rate*(1+s.Effect), delay/2
		}
		bought := rng.Float64() < rate
		sees, seesBuying := first(entry+delayedWindow), first(entry+delayedWindow)
		if s.Naive {
			sees, seesBuying = first(entry), first(entry+delay*rng.Float64())
		}
		units[arm][sees]++
		if bought {
			buyers[arm][seesBuying]++
		}
	}
	pairs = make([]Pair, last)
	var n, x [2]float64
	for k := range last {
		var e [2]Estimate
		for arm := range 2 {
			n[arm] += float64(units[arm][k])
			x[arm] += float64(buyers[arm][k])
			if n[arm] > 0 {
				e[arm], _ = Mean(Moments{int64(n[arm]), []float64{x[arm] / n[arm] * s.Scale}, []float64{x[arm] * (1 - x[arm]/n[arm]) * s.Scale * s.Scale}})
			}
		}
		pairs[k], _ = Welch(e[1], e[0])
	}
	return pairs, pairs[last-1]
}

// pilot finds the expected path of the variance clock in 200 runs and the boundaries on it.
func (s *simulator) pilot() error {
	s.info = make([]float64, len(s.counts))
	for i := range 200 {
		rng := rand.New(rand.NewPCG(s.Seed^0x9e3779b97f4a7c15, uint64(i)))
		pairs, _ := s.path(rng, len(s.counts))
		for k, v := range s.clock(pairs) {
			s.info[k] += v / 200
		}
	}
	d := s.design(s.info)
	var err error
	if s.bounds, err = d.Boundaries(s.Alpha); err != nil {
		return err
	}
	s.looks = make([]*Look, len(s.counts))
	for k := range s.looks {
		if s.looks[k], err = NewLook(Design{Fraction: d.Fraction[:k+1], Information: d.Information[:k+1]}, s.Alpha); err != nil {
			return err
		}
	}
	if s.EndEarly == 0 {
		return nil
	}
	s.close, s.closes = make([]float64, len(s.counts)), make([]*Look, len(s.counts))
	for k := range s.close {
		if s.closes[k], err = NewLook(closing(d, k+1), s.Alpha); err != nil {
			return err
		}
		s.close[k] = s.closes[k].Boundary()
	}
	return nil
}

// clock is the variance of the sum at every look, forced not to fall.
func (s *simulator) clock(pairs []Pair) []float64 {
	v := make([]float64, len(pairs))
	for k, p := range pairs {
		n := float64(s.counts[k])
		v[k] = n * n * p.SE() * p.SE()
		if k > 0 {
			v[k] = math.Max(v[k], v[k-1])
		}
	}
	return v
}

// design is the history of looks on a clock of correlation; the clock that spends is the share of the planned units.
func (s *simulator) design(info []float64) Design {
	d := Design{Fraction: make([]float64, len(info)), Information: info}
	for k := range d.Fraction {
		d.Fraction[k] = float64(s.counts[k]) / float64(s.counts[len(s.counts)-1])
	}
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
	looks := len(s.counts)
	last := looks
	if s.EndEarly > 0 && rng.Float64() < s.EndEarly {
		last = 1 + rng.IntN(looks)
	}
	pairs, raw := s.path(rng, last)
	bounds := s.boundaries(pairs, last)
	o := outcome{p: s.smallestP(pairs, last)}
	at := last - 1
	for k, p := range pairs {
		if math.Abs(normalScore(p)) > bounds[k] {
			o.rejected, at = true, k
			break
		}
	}
	o.atEnd = math.Abs(normalScore(pairs[last-1])) > bounds[last-1]
	p := pairs[at]
	truth := s.world.mean(at+1, looks) * s.Effect * s.Scale
	o.covered = math.Abs(p.Effect()-truth) <= p.fastCritical(bounds[at])*p.SE()
	o.units = float64(s.counts[at])
	end := pairs[last-1]
	if end.C.Mean != 0 {
		o.lift = end.Effect() / end.C.Mean
	}
	if s.Covariates != "" {
		o.seRatio = end.SE() / raw.SE()
	}
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

// smallestP is the p-value that the test's reader may quote: of the last look when it is the only valid one, else the smallest of all looks.
func (s *simulator) smallestP(pairs []Pair, last int) float64 {
	smallest := 1.0
	for k, p := range pairs {
		z := normalScore(p)
		switch {
		case s.Method == "confseq":
			smallest = math.Min(smallest, s.sequence().P(z, float64(p.T.N+p.C.N)))
		case s.Method == "gst" && s.close != nil && k == last-1 && last < len(s.counts):
			smallest = math.Min(smallest, s.closes[k].P(z))
		case s.Method == "gst":
			smallest = math.Min(smallest, s.looks[k].P(z))
		case k == last-1:
			smallest = 2 * NormalSF(math.Abs(z))
		}
	}
	return smallest
}

func (s *simulator) sequence() Sequence {
	return Sequence{Alpha: s.Alpha, Tuning: float64(s.Units) / s.world.size}
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
		for k, p := range pairs {
			bounds[k] = s.sequence().Multiplier(float64(p.T.N + p.C.N))
		}
	default:
		copy(bounds, s.bounds)
		closes := s.close != nil && last < len(s.counts)
		if closes {
			bounds[last-1] = s.close[last-1]
		}
		for k, p := range pairs {
			if r := math.Abs(normalScore(p)) / bounds[k]; r > 0.97 && r < 1.03 {
				d := s.design(s.clock(pairs))
				if closes {
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
	if math.IsNaN(t) || !(p.DF > 0) {
		return 0
	}
	return t * (1 - (t*t+1)/(4*p.DF))
}

func (p Pair) fastCritical(z float64) float64 { return z * (1 + (z*z+1)/(4*p.DF)) }
