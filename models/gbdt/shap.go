package gbdt

import (
	"math"
	"sync"
)

// The Shapley value of feature i in one leaf of value v, with path-dependent feature perturbation (Lundberg, Erion, Lee 2018, "Consistent
// individualized feature attribution for tree ensembles"), is
//
//	φᵢ = v·(oᵢ − rᵢ)·∫₀¹ Πⱼ≠ᵢ (oⱼ·t + rⱼ·(1 − t)) dt
//
// where j runs over the distinct features of the leaf's path, oⱼ is 1 when the row meets all of the path's conditions on j, and rⱼ is the
// product of the cover fractions of those conditions. The integrand is a polynomial of degree d − 1, so a Gauss-Legendre rule of ⌈d/2⌉
// points is exact. It depends on the row through the d bits o alone, so within a block of rows every mask of bits that occurs is computed once.

// tableBits bounds the leaves whose masks index a table; longer paths are computed row by row.
const tableBits = 14

// explainRows is how many rows are explained at a time.
const explainRows = 4096

// condition is what one leaf's path asks of one feature.
type condition struct {
	feature int32
	lo, hi  uint8 // numeric: bins lo … hi
	missing bool
	cat     bool
	levels  levelSet
	r       float64
}

func (c *condition) holds(b uint8) bool {
	if b == missing {
		return c.missing
	}
	if c.cat {
		return c.levels.has(b)
	}
	return b >= c.lo && b <= c.hi
}

// shapLeaf is one leaf with its conditions.
type shapLeaf struct {
	value      float64
	conditions []condition
}

// explainer holds every leaf of a model; it is made when the first row is explained.
type explainer struct {
	once     sync.Once
	leaves   []shapLeaf
	expected float64 // mean raw score over the training rows, by cover
	rules    [][]rulePoint
}

type rulePoint struct{ t, w float64 }

// explainer returns the model's explainer.
func (m *Model) explainer() *explainer {
	m.shap.once.Do(func() { m.shap.collect(m) })
	return &m.shap
}

func (e *explainer) collect(m *Model) {
	e.expected = m.Base
	longest := 1
	for i := range m.trees {
		e.walk(m, &m.trees[i], 0, nil)
	}
	for i := range e.leaves {
		l := &e.leaves[i]
		longest = max(longest, len(l.conditions))
		share := l.value
		for _, c := range l.conditions {
			share *= c.r
		}
		e.expected += share
	}
	e.rules = make([][]rulePoint, (longest+1)/2+1)
	for n := 1; n < len(e.rules); n++ {
		e.rules[n] = gaussLegendre(n)
	}
}

// walk collects the leaves below a node.
func (e *explainer) walk(m *Model, t *tree, at int, path []condition) {
	n := &t.nodes[at]
	if n.leaf(at) {
		e.leaves = append(e.leaves, shapLeaf{value: n.Value, conditions: append([]condition(nil), path...)})
		return
	}
	e.walk(m, t, int(n.Left), t.follow(at, true, path))
	e.walk(m, t, int(n.Right), t.follow(at, false, path))
}

// contributions fills phi[k] for the leaf's k-th condition, given the mask of those that hold.
func (e *explainer) contributions(l *shapLeaf, mask uint64, phi []float64) {
	d := len(l.conditions)
	phi = phi[:d]
	clear(phi)
	var prefix, factor [maxDepth + 1]float64
	for _, p := range e.rules[(d+1)/2] {
		prefix[0] = 1
		for k := range d {
			factor[k] = l.conditions[k].at(int(mask>>k&1), p.t)
			prefix[k+1] = prefix[k] * factor[k]
		}
		suffix := p.w
		for k := d - 1; k >= 0; k-- {
			phi[k] += prefix[k] * suffix
			suffix *= factor[k]
		}
	}
	for k := range phi {
		phi[k] *= l.value * (float64(mask>>k&1) - l.conditions[k].r)
	}
}

// scratch is what explaining one block of rows needs.
type scratch struct {
	cells  [][]uint8   // by feature
	phi    [][]float64 // by feature
	masks  []uint64
	table  []float64 // [condition][mask]
	filled []uint32  // by mask: the leaf (plus one) whose values the table holds
	one    [maxDepth]float64
	halves halves
}

func newScratch(features int) *scratch {
	s := &scratch{cells: make([][]uint8, features), phi: make([][]float64, features), masks: make([]uint64, explainRows)}
	for j := range features {
		s.cells[j], s.phi[j] = make([]uint8, explainRows), make([]float64, explainRows)
	}
	return s
}

// block adds every leaf's contributions for the first n rows of the scratch.
func (e *explainer) block(s *scratch, n int) {
	for i := range e.leaves {
		e.leaf(s, &e.leaves[i], uint32(i)+1, n)
	}
	clear(s.filled)
}

// leaf adds one leaf's contributions for the first n rows. A stamp is no other leaf's until filled is cleared.
func (e *explainer) leaf(s *scratch, l *shapLeaf, stamp uint32, n int) {
	d := len(l.conditions)
	masks := s.masks[:n]
	clear(masks)
	for k := range l.conditions {
		c := &l.conditions[k]
		var bit [256]uint64
		for b := range bit {
			if c.holds(uint8(b)) {
				bit[b] = 1 << k
			}
		}
		cells := s.cells[c.feature][:n]
		for r := range masks {
			masks[r] |= bit[cells[r]]
		}
	}
	if d > tableBits {
		for r, mask := range masks {
			e.contributions(l, mask, s.one[:])
			for k := range d {
				s.phi[l.conditions[k].feature][r] += s.one[k]
			}
		}
		return
	}
	size := 1 << d
	if need := d * size; len(s.table) < need {
		s.table = make([]float64, need)
	}
	if len(s.filled) < size {
		s.filled = make([]uint32, size)
	}
	filled, split := s.filled, n >= halvesRows
	if split {
		s.halves.make(l, e.rules[(d+1)/2])
	}
	for _, mask := range masks {
		if filled[mask] != stamp {
			filled[mask] = stamp
			if split {
				s.halves.contributions(mask, s.one[:])
			} else {
				e.contributions(l, mask, s.one[:])
			}
			for k := range d {
				s.table[k*size+int(mask)] = s.one[k]
			}
		}
	}
	for k := range d {
		phi, values := s.phi[l.conditions[k].feature][:n], s.table[k*size:][:size]
		for r, mask := range masks {
			phi[r] += values[mask]
		}
	}
}

// halvesRows is how many rows make it worth while to split a leaf's conditions.
const halvesRows = 512

// halves computes one leaf's contributions for many masks. The integrand's product over all conditions but one is that over the rest of its half
// times that over the other half, and a half of at most tableBits/2 conditions has few masks: with both in tables a contribution is a scalar product
// over the points of the rule.
type halves struct {
	bits, points int            // conditions of the first half; points of the rule
	of           [2]halfTable   // the first half's conditions are the low bits of a mask
	conditions   [2][]condition // of each half
}

// halfTable is one half's products at each point: of all its conditions by mask, and of all but one, weighted and scaled, by mask and condition.
type halfTable struct{ all, rest []float64 }

func (h *halves) make(l *shapLeaf, rule []rulePoint) {
	h.bits, h.points = len(l.conditions)/2, len(rule)
	h.conditions = [2][]condition{l.conditions[:h.bits], l.conditions[h.bits:]}
	for k := range h.of {
		t, conditions := &h.of[k], h.conditions[k]
		d := len(conditions)
		t.all, t.rest = t.all[:0], t.rest[:0]
		for mask := range 1 << d {
			for _, p := range rule {
				product := 1.0
				for j := range conditions {
					product *= conditions[j].at(mask>>j&1, p.t)
				}
				t.all = append(t.all, product)
			}
			for i := range conditions {
				scale := l.value * (float64(mask>>i&1) - conditions[i].r)
				for _, p := range rule {
					product := p.w * scale
					for j := range conditions {
						if j != i {
							product *= conditions[j].at(mask>>j&1, p.t)
						}
					}
					t.rest = append(t.rest, product)
				}
			}
		}
	}
}

// at is the condition's factor of the integrand.
func (c *condition) at(holds int, t float64) float64 { return c.r*(1-t) + float64(holds)*t }

// contributions is explainer.contributions of the leaf that make was given.
func (h *halves) contributions(mask uint64, phi []float64) {
	low := int(mask) & (1<<h.bits - 1)
	phi = h.half(0, low, int(mask)>>h.bits, phi)
	h.half(1, int(mask)>>h.bits, low, phi)
}

// half fills phi with the contributions of one half's conditions and returns what is behind them.
func (h *halves) half(k, own, other int, phi []float64) []float64 {
	d, points := len(h.conditions[k]), h.points
	rest, all := h.of[k].rest[own*d*points:][:d*points], h.of[1-k].all[other*points:][:points]
	for i := range d {
		sum := 0.0
		for p, v := range rest[i*points:][:points] {
			sum += v * all[p]
		}
		phi[i] = sum
	}
	return phi[d:]
}

// Contributions fills phi[i][j] with the exact Shapley value of feature j for row i, on the raw score; their sum and Expected make the
// raw score.
func (m *Model) Contributions(columns [][]float64, phi [][]float64) error {
	if err := m.fits(columns, len(phi)); err != nil {
		return err
	}
	s, e := newScratch(len(m.Names)), m.explainer()
	for from := 0; from < len(phi); from += explainRows {
		n := min(explainRows, len(phi)-from)
		for j := range m.bins {
			clear(s.phi[j])
			m.bins[j].fill(s.cells[j], columns[j][from:from+n])
		}
		if m.fast.ready.Load() {
			for k := 0; k < n; k += fastRows {
				m.fastBlock(s, k, min(fastRows, n-k))
			}
			for i := range m.fast.wide {
				e.leaf(s, &m.fast.wide[i], uint32(i)+1, n)
			}
			clear(s.filled)
		} else {
			e.block(s, n)
		}
		for i := range n {
			for j := range s.phi {
				phi[from+i][j] = s.phi[j][i]
			}
		}
	}
	return nil
}

// Expected is the mean raw score over the training rows, by cover: what contributions start from.
func (m *Model) Expected() float64 { return m.explainer().expected }

// gaussLegendre returns the n-point rule on [0, 1], by Newton's method on the Legendre polynomial.
func gaussLegendre(n int) []rulePoint {
	points := make([]rulePoint, n)
	for i := range points {
		x := math.Cos(math.Pi * (float64(i) + 0.75) / (float64(n) + 0.5))
		var slope float64
		for range 100 {
			p, before := 1.0, 0.0
			for k := 1; k <= n; k++ {
				p, before = ((2*float64(k)-1)*x*p-(float64(k)-1)*before)/float64(k), p
			}
			slope = float64(n) * (x*p - before) / (x*x - 1)
			move := p / slope
			x -= move
			if math.Abs(move) < 1e-16 {
				break
			}
		}
		points[i] = rulePoint{t: (1 - x) / 2, w: 1 / ((1 - x*x) * slope * slope)}
	}
	return points
}
