package stats

import (
	"math"
	"sync"
)

// Spending says how much of α may be spent by information fraction t.
type Spending uint8

const (
	// OBrienFleming is the Lan–DeMets (1983) spending 4·(1 − Φ(z_{1−α/4}/√t)), two-sided: very little early, nearly α at the end.
	OBrienFleming Spending = iota
	// Quadratic is α·t²: the earlier stopping for harm that guardrails want.
	Quadratic
)

// Spent returns the α that is spent by t in [0, 1]; t above 1 counts as 1. For two-sided O'Brien–Fleming alpha is that of both sides.
func (s Spending) Spent(alpha, t float64) float64 {
	switch {
	case t <= 0:
		return 0
	case t >= 1:
		return alpha
	case s == Quadratic:
		return alpha * t * t
	}
	return 4 * NormalSF(NormalUpper(alpha/4)/math.Sqrt(t))
}

// Design is the history of looks of a group-sequential test up to the present one. Fraction is the clock that spends α (matured ÷
// planned, 1 at a closing look); Information is the clock of correlation, the variance of the sum, (n·SE)², in any unit: looks j < k are
// correlated by √(I_j/I_k) (statistics.md §6.1). Both must not fall. OneSided tests only the upper side.
type Design struct {
	Fraction    []float64
	Information []float64
	Spending    Spending
	OneSided    bool
}

// EqualLooks is the design after look k of n equally spaced ones.
func EqualLooks(n, k int) Design {
	d := Design{Fraction: make([]float64, k), Information: make([]float64, k)}
	for i := range k {
		d.Fraction[i] = float64(i+1) / float64(n)
		d.Information[i] = d.Fraction[i]
	}
	return d
}

// never is a boundary that no statistic crosses: beyond it a normal tail is below the range of float64.
const never = 38

// Boundaries returns the critical |z| of every look for a total α, by recursive integration (Armitage, McPherson & Rowe 1969) with
// Gauss–Legendre nodes between the boundaries. ErrDesign for an empty or falling clock or α outside (0, 1].
func (d Design) Boundaries(alpha float64) ([]float64, error) {
	if err := d.check(alpha); err != nil {
		return nil, err
	}
	bounds := make([]float64, 0, len(d.Fraction))
	spent := 0.0
	var walk walk
	for k, info := range d.Information {
		target := d.Spending.Spent(alpha, d.Fraction[k])
		side := math.Max(0, target-spent)
		spent = math.Max(spent, target)
		if !d.OneSided {
			side /= 2
		}
		c := walk.solve(info, side)
		bounds = append(bounds, c)
		walk.step(info, c, d.OneSided, 0)
	}
	return bounds, nil
}

func (d Design) check(alpha float64) error {
	if len(d.Fraction) == 0 || len(d.Fraction) != len(d.Information) || !(alpha > 0 && alpha <= 1) || !(d.Information[0] > 0) {
		return ErrDesign
	}
	for k := 1; k < len(d.Fraction); k++ {
		if d.Fraction[k] < d.Fraction[k-1] || d.Information[k] < d.Information[k-1] {
			return ErrDesign
		}
	}
	return nil
}

// Crossing returns the probability that the statistic leaves the boundaries at some look and, of that, the part on the upper side, when its
// mean at information I is drift·√I (drift = E[Z] at Information 1), and the mean information at which the test ends, as a share of the last.
func (d Design) Crossing(bounds []float64, drift float64) (any, upper, meanInformation float64) {
	last := d.Information[len(d.Information)-1]
	still := 1.0
	var walk walk
	prev := 0.0
	for k, info := range d.Information {
		meanInformation += still * (info - prev) / last
		prev = info
		up := walk.exit(info, bounds[k], drift)
		down := 0.0
		if !d.OneSided {
			down = walk.mirror().exit(info, bounds[k], -drift)
		}
		any, upper = any+up+down, upper+up
		still = math.Max(0, 1-any)
		walk.step(info, bounds[k], d.OneSided, drift)
	}
	return any, upper, meanInformation
}

// MedianUnbiased returns the statistic that a design which stopped at its last look with |z| should be read as: the drift under which a result as
// extreme, in the stage-wise order (earlier crossings are more extreme), is as likely as not (Fairbanks & Madsen 1982; Jennison & Turnbull 2000,
// §8.3). The plain z of a test that stopped early is inflated; times the standard error this is the effect to forecast with. bounds are those of
// all looks; with one look it is |z| itself.
func (d Design) MedianUnbiased(bounds []float64, z float64) float64 {
	z = math.Abs(z)
	k := len(bounds) - 1
	last := d.Information[k]
	scaled := Design{Fraction: d.Fraction, Information: make([]float64, k+1), Spending: d.Spending, OneSided: d.OneSided}
	for i, v := range d.Information {
		scaled.Information[i] = v / last
	}
	ends := append(append([]float64(nil), bounds[:k]...), z)
	lo, hi := -z-2, z+2
	for range 60 {
		mid := (lo + hi) / 2
		if _, up, _ := scaled.Crossing(ends, mid); up < 0.5 {
			lo = mid
		} else {
			hi = mid
		}
	}
	return (lo + hi) / 2
}

// walk is the sub-density of the sum B = Z·√I on the nodes of the region where the test goes on. The zero value is the start.
type walk struct {
	info float64
	x, f []float64 // nodes, and density times quadrature weight
}

// mirror returns the walk reflected at 0.
func (w *walk) mirror() *walk {
	n := len(w.x)
	m := &walk{info: w.info, x: make([]float64, n), f: make([]float64, n)}
	for i, x := range w.x {
		m.x[n-1-i], m.f[n-1-i] = -x, w.f[i]
	}
	return m
}

// exit returns the probability of going on until now and then leaving above c at information info.
func (w *walk) exit(info, c, drift float64) float64 {
	b := c * math.Sqrt(info)
	if w.info == 0 {
		return NormalSF(c - drift*math.Sqrt(info))
	}
	delta := info - w.info
	if delta <= 1e-9*info { // no new information: only what already lies beyond
		s := 0.0
		for i, x := range w.x {
			if x > b {
				s += w.f[i]
			}
		}
		return s
	}
	sd := math.Sqrt(delta)
	s := 0.0
	for i := len(w.x) - 1; i >= 0; i-- { // from the boundary down; at most 1e-21 is left where it stops
		z := (b - w.x[i] - drift*delta) / sd
		if z > 9.5 && s > 1e-9 {
			break
		}
		s += w.f[i] * NormalSF(z)
	}
	return s
}

// solve returns the c at which exit is p.
func (w *walk) solve(info, p float64) float64 {
	if p < 1e-300 || (w.info > 0 && info-w.info <= 1e-9*info) {
		return never
	}
	if w.info == 0 {
		return NormalUpper(p)
	}
	lo, hi := -10.0, float64(never)
	c := math.Min(NormalUpper(math.Min(p, 0.5)), never)
	for range 200 {
		e := w.exit(info, c, 0)
		if e > p {
			lo = c
		} else {
			hi = c
		}
		if hi-lo < 1e-12 {
			break
		}
		// Newton on the logarithm of the tail with the slope of a normal tail at c, inside the bracket.
		next := (lo + hi) / 2
		if e > 0 {
			const h = 1e-6
			if slope := (math.Log(w.exit(info, c+h, 0)) - math.Log(e)) / h; slope < 0 && !math.IsInf(slope, 0) {
				if n := c + (math.Log(p)-math.Log(e))/slope; n > lo && n < hi {
					next = n
				}
			}
		}
		if math.Abs(next-c) < 1e-11 {
			return next
		}
		c = next
	}
	return c
}

// step moves the density to information info, keeping what lies within the boundary c.
func (w *walk) step(info, c float64, oneSided bool, drift float64) {
	delta := info - w.info
	if w.info > 0 && delta <= 1e-9*info {
		return
	}
	root, centre := math.Sqrt(info), drift*info
	hi := math.Min(c*root, centre+9*root)
	lo := math.Max(-c*root, centre-9*root)
	if oneSided {
		lo = centre - 9*root
	}
	if hi <= lo {
		w.info, w.x, w.f = info, nil, nil
		return
	}
	sd := math.Sqrt(delta)
	nodes := 32 + 16*int(math.Min(40, (hi-lo)/sd*0.22))
	gx, gw := gaussLegendre(nodes)
	x, f := make([]float64, nodes), make([]float64, nodes)
	scale := 1 / (sd * math.Sqrt(2*math.Pi))
	symmetric := !oneSided && drift == 0 // the nodes mirror each other, and so does the density
	for j := range nodes {
		if symmetric && j >= (nodes+1)/2 {
			x[j], f[j] = -x[nodes-1-j], f[nodes-1-j]
			continue
		}
		x[j] = (lo+hi)/2 + gx[j]*(hi-lo)/2
		d := 0.0
		if w.info == 0 {
			z := (x[j] - centre) / root
			d = math.Exp(-z * z / 2)
		} else {
			for i, from := range w.x {
				z := (x[j] - from - drift*delta) / sd
				if z < 9 && z > -9 {
					d += w.f[i] * math.Exp(-z*z/2)
				}
			}
		}
		f[j] = d * scale * gw[j] * (hi - lo) / 2
	}
	w.info, w.x, w.f = info, x, f
}

var legendre sync.Map // number of nodes → [2][]float64

// gaussLegendre returns the nodes and weights on [-1, 1], by Newton on the Legendre polynomial.
func gaussLegendre(n int) (x, w []float64) {
	if v, ok := legendre.Load(n); ok {
		p := v.([2][]float64)
		return p[0], p[1]
	}
	x, w = make([]float64, n), make([]float64, n)
	for i := range n {
		z := math.Cos(math.Pi * (float64(i) + 0.75) / (float64(n) + 0.5))
		var dp float64
		for range 20 {
			p0, p1 := 1.0, 0.0
			for j := range n {
				p0, p1 = ((2*float64(j)+1)*z*p0-float64(j)*p1)/float64(j+1), p0
			}
			dp = float64(n) * (z*p0 - p1) / (z*z - 1)
			step := p0 / dp
			z -= step
			if math.Abs(step) < 1e-15 {
				break
			}
		}
		x[n-1-i], w[n-1-i] = z, 2/((1-z*z)*dp*dp)
	}
	legendre.Store(n, [2][]float64{x, w})
	return x, w
}
