package models

import (
	"errors"
	"math"

	"perennial/models/eval"
)

// linear is intercept + β·z over a design.
type linear struct {
	Design    *design   `json:"design"`
	Intercept float64   `json:"intercept"`
	Beta      []float64 `json:"beta"`
}

// predict writes the linear predictor of every row.
func (l *linear) predict(f *Frame, dst []float64) error {
	p := len(l.Beta)
	x, err := l.Design.matrix(f)
	if err != nil {
		return err
	}
	for i := range dst {
		z := l.Intercept
		for k, b := range l.Beta {
			z += b * x[i*p+k]
		}
		dst[i] = z
	}
	return nil
}

// contribute adds β·z of every term to its feature's place: dst[i*len(f.Names)+j].
func (l *linear) contribute(f *Frame, scale float64, dst []float64) error {
	place := map[string]int{}
	for j, name := range f.Names {
		place[name] = j
	}
	for k, t := range l.Design.Terms {
		cols, err := f.columns([]string{t.Feature})
		if err != nil {
			return err
		}
		for i, v := range cols[0] {
			dst[i*len(f.Names)+place[t.Feature]] += scale * l.Beta[k] * t.value(v)
		}
	}
	return nil
}

func (l *linear) check() error {
	if l.Design == nil || len(l.Beta) != len(l.Design.Terms) || !finite(l.Beta, []float64{l.Intercept}) {
		return errors.New("its coefficients do not fit its terms")
	}
	return l.Design.check()
}

// fitLogistic minimises Σ w·(softplus(z) − y·z) + |β|²/(2c), the intercept free, by Newton's method with step halving. y may be any
// number within 0..1. It errs when all labels are equal.
func fitLogistic(s *stacked, c float64) (*linear, error) {
	d, err := newDesign(s)
	if err != nil {
		return nil, err
	}
	x, err := d.matrix(s.frame())
	if err != nil {
		return nil, err
	}
	n, p := len(s.y), len(d.Terms)
	var positives, all float64
	for i, y := range s.y {
		positives += y * s.weight(i)
		all += s.weight(i)
	}
	if positives <= 0 || positives >= all {
		return nil, errOneClass
	}
	beta := make([]float64, p+1) // the intercept last
	beta[p] = math.Log(positives / (all - positives))
	z := make([]float64, n)
	loss := func(b []float64) float64 {
		sum := 0.0
		for _, v := range b[:p] {
			sum += v * v / (2 * c)
		}
		for i := range z {
			v := b[p]
			for k, q := range x[i*p : i*p+p] {
				v += b[k] * q
			}
			z[i] = v
			if v > 0 {
				sum += s.weight(i) * (v + math.Log1p(math.Exp(-v)) - s.y[i]*v)
			} else {
				sum += s.weight(i) * (math.Log1p(math.Exp(v)) - s.y[i]*v)
			}
		}
		return sum
	}
	at := loss(beta)
	for range 50 {
		h, g := newSquare(p+1), make([]float64, p+1)
		for i := range z {
			q := eval.Sigmoid(z[i])
			w := s.weight(i)
			h.rankOne(x[i*p:i*p+p], w*q*(1-q))
			r := w * (q - s.y[i])
			for k, v := range x[i*p : i*p+p] {
				g[k] += r * v
			}
			g[p] += r
		}
		for k := range p {
			h.add(k, k, 1/c)
			g[k] += beta[k] / c
		}
		step, ok := h.solve(g)
		if !ok {
			return nil, errors.New("the features are collinear beyond what the penalty can hold")
		}
		next, moved := make([]float64, p+1), false
		for half := 1.0; half > 1e-6; half /= 2 {
			for k := range next {
				next[k] = beta[k] - half*step[k]
			}
			if l := loss(next); l <= at {
				moved = at-l > 1e-10*(1+at)
				beta, at, next = next, l, beta
				break
			}
		}
		if !moved {
			break
		}
		loss(beta)
	}
	return &linear{Design: d, Intercept: beta[p], Beta: beta[:p:p]}, nil
}

var errOneClass = errors.New("all labels are equal: wait for users who do and users who do not come back")

// fitRidge minimises Σ w·(y − z)² + λ|β|², the intercept free. It errs with fewer than two rows.
func fitRidge(s *stacked, lambda float64) (*linear, error) {
	if len(s.y) < 2 {
		return nil, errors.New("fewer than two buyers")
	}
	d, err := newDesign(s)
	if err != nil {
		return nil, err
	}
	x, err := d.matrix(s.frame())
	if err != nil {
		return nil, err
	}
	p := len(d.Terms)
	h, g := newSquare(p+1), make([]float64, p+1)
	for i, y := range s.y {
		w := s.weight(i)
		h.rankOne(x[i*p:i*p+p], w)
		for k, v := range x[i*p : i*p+p] {
			g[k] += w * y * v
		}
		g[p] += w * y
	}
	for k := range p {
		h.add(k, k, lambda)
	}
	beta, ok := h.solve(g)
	if !ok {
		return nil, errors.New("the features are collinear beyond what the penalty can hold")
	}
	return &linear{Design: d, Intercept: beta[p], Beta: beta[:p:p]}, nil
}

// square is a symmetric matrix of which the lower triangle is kept. Sums run in row order, so a fit is the same on every machine.
type square struct {
	n int
	a []float64
}

func newSquare(n int) *square { return &square{n, make([]float64, n*n)} }

func (m *square) add(i, j int, v float64) { m.a[i*m.n+j] += v }

// rankOne adds w·(x,1)(x,1)ᵀ.
func (m *square) rankOne(x []float64, w float64) {
	p := len(x)
	for i, v := range x {
		row := m.a[i*m.n : i*m.n+i+1]
		wv := w * v
		for j := range row {
			row[j] += wv * x[j]
		}
	}
	last := m.a[p*m.n : p*m.n+p+1]
	for j, v := range x {
		last[j] += w * v
	}
	last[p] += w
}

// solve returns m⁻¹·g by Cholesky; ok is false when m is not positive definite.
func (m *square) solve(g []float64) (x []float64, ok bool) {
	n := m.n
	for j := range n {
		for i := j; i < n; i++ {
			s := m.a[i*n+j]
			for k := range j {
				s -= m.a[i*n+k] * m.a[j*n+k]
			}
			if i == j {
				if !(s > 0) {
					return nil, false
				}
				m.a[j*n+j] = math.Sqrt(s)
			} else {
				m.a[i*n+j] = s / m.a[j*n+j]
			}
		}
	}
	x = append([]float64(nil), g...)
	for i := range n {
		for k := range i {
			x[i] -= m.a[i*n+k] * x[k]
		}
		x[i] /= m.a[i*n+i]
	}
	for i := n - 1; i >= 0; i-- {
		for k := i + 1; k < n; k++ {
			x[i] -= m.a[k*n+i] * x[k]
		}
		x[i] /= m.a[i*n+i]
	}
	return x, finite(x)
}
