package stats

import (
	"math"
	"sync"
)

// Look answers, for one look of a group-sequential test, which |z| is the boundary and which repeated p-value a statistic has. The boundary
// is computed once for each level asked and kept; a Look is safe for concurrent use.
type Look struct {
	design Design
	alpha  float64
	mu     sync.Mutex
	knots  map[int]float64 // knot → boundary of this look at that knot's level
}

// NewLook returns the present (last) look of a design at level alpha.
func NewLook(d Design, alpha float64) (*Look, error) {
	if err := d.check(alpha); err != nil {
		return nil, err
	}
	if alpha > 0.5 {
		return nil, ErrDesign
	}
	return &Look{design: d, alpha: alpha, knots: map[int]float64{}}, nil
}

// Knots are levels whose normal score ζ (level = 4·P(Z > ζ)) lies half a unit apart, the design's own level among them: the boundary
// is nearly linear in ζ, so that a cubic through four knots gives the repeated p-value to about six digits, and the decision
// p < α ⇔ |z| > boundary stays exact.
const (
	knotStep = 0.5
	zeta1    = 0.6744897501960817 // ζ of level 1
)

func (l *Look) zeta(i int) float64 {
	return math.Max(zeta1, NormalUpper(l.alpha/4)+float64(i)*knotStep)
}

// lowest is the knot of level 1.
func (l *Look) lowest() int {
	return -int(math.Ceil((NormalUpper(l.alpha/4) - zeta1) / knotStep))
}

// Boundary returns the |z| that this look must exceed.
func (l *Look) Boundary() float64 { return l.at(0) }

func (l *Look) at(i int) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.knots[i]; ok {
		return c
	}
	level := 4 * NormalSF(l.zeta(i))
	if i == 0 {
		level = l.alpha
	}
	c := float64(never)
	if level > 1e-290 {
		if bounds, err := l.design.Boundaries(math.Min(1, level)); err == nil {
			c = bounds[len(bounds)-1]
		}
	}
	l.knots[i] = c
	return c
}

// P returns the repeated p-value of a statistic at this look: the smallest level whose boundary is reached, capped at 1 (statistics.md
// §6.3). It is below the design's level exactly when the statistic is beyond Boundary. The sign matters only to a one-sided design.
func (l *Look) P(z float64) float64 {
	if !l.design.OneSided {
		z = math.Abs(z)
	}
	return l.p(z)
}

func (l *Look) p(z float64) float64 {
	if math.IsNaN(z) {
		return math.NaN()
	}
	lo := l.lowest()
	if z < l.at(lo) {
		return 1
	}
	hi := 0 // find a bracket of knots around z: at(lo) <= z < at(hi)
	if z >= l.at(0) {
		lo = 0
		for hi = 2; z >= l.at(hi) && l.at(hi) < never; hi *= 2 {
			lo = hi
		}
		if z >= never {
			return 2 * NormalSF(z)
		}
	}
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; z >= l.at(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return math.Min(1, 4*NormalSF(l.interpolate(lo, hi, z)))
}

// interpolate returns ζ at boundary z between knots lo and hi = lo+1: the cubic through the four nearest, kept within the two.
func (l *Look) interpolate(lo, hi int, z float64) float64 {
	var xs, ys []float64
	for i := lo - 1; i <= hi+1; i++ {
		if i < l.lowest() {
			continue
		}
		if c := l.at(i); c < never && (len(xs) == 0 || c > xs[len(xs)-1]) {
			xs, ys = append(xs, c), append(ys, l.zeta(i))
		}
	}
	out := 0.0
	for i := range xs {
		term := ys[i]
		for j := range xs {
			if j != i {
				term *= (z - xs[j]) / (xs[i] - xs[j])
			}
		}
		out += term
	}
	return math.Min(math.Max(out, l.zeta(lo)), l.zeta(hi))
}
