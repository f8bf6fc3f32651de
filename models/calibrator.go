package models

import (
	"math"
	"slices"

	"perennial/models/eval"
)

// isotonicRows is how many left-out rows a monotone curve needs before it may replace Platt's line.
const isotonicRows = 20_000

// calibrator turns a raw score into a probability: Platt's line or, where many rows show another shape, the nearest rising curve.
type calibrator struct {
	Intercept float64   `json:"intercept"`
	Slope     float64   `json:"slope"`
	At        []float64 `json:"at,omitempty"`    // knots of the curve, by raw score
	Value     []float64 `json:"value,omitempty"` // probabilities there
}

// newCalibrator fits on raw scores of rows that the model has not seen. With more than isotonicRows the curve is taken when, fitted on one
// half of the users, it has a lower log loss on the other than the line has.
func newCalibrator(z, y, w []float64, groups []int, seed uint64) calibrator {
	c := calibrator{Slope: 1}
	if a, b, ok := eval.Platt(z, y, w); ok && b > 0.5 && b < 2 {
		c.Intercept, c.Slope = a, b
	}
	if len(z) < isotonicRows {
		return c
	}
	var line, curve float64
	for half := range 2 {
		in := func(i int) bool { return fold(groups[i], seed^0x69736f74, 2) == half }
		fit, test := calibrationRows(z, y, w, func(i int) bool { return !in(i) }), calibrationRows(z, y, w, in)
		if len(fit.z) == 0 || len(test.z) == 0 {
			return c
		}
		a, b, ok := eval.Platt(fit.z, fit.y, fit.w)
		at, value := eval.Isotonic(fit.z, fit.y, fit.w)
		if !ok || len(at) < 3 {
			return c
		}
		p, q := make([]float64, len(test.z)), make([]float64, len(test.z))
		for i, v := range test.z {
			p[i], q[i] = eval.Sigmoid(a+b*v), eval.Interpolate(at, value, v)
		}
		line, curve = line+eval.LogLoss(p, test.y, test.w), curve+eval.LogLoss(q, test.y, test.w)
	}
	if curve < line {
		c.At, c.Value = eval.Isotonic(z, y, w)
	}
	return c
}

type calibrationSet struct{ z, y, w []float64 }

func calibrationRows(z, y, w []float64, keep func(int) bool) calibrationSet {
	var s calibrationSet
	for i := range z {
		if keep(i) {
			s.z, s.y = append(s.z, z[i]), append(s.y, y[i])
			if w != nil {
				s.w = append(s.w, w[i])
			}
		}
	}
	return s
}

func (c *calibrator) probability(z float64) float64 {
	if len(c.At) == 0 {
		return eval.Sigmoid(c.Intercept + c.Slope*z)
	}
	// Beyond the outer knots, and within a flat pool, a hundredth of the line keeps the order of the raw scores.
	curve := eval.Logit(eval.Interpolate(c.At, c.Value, z))
	return eval.Sigmoid(0.99*curve + 0.01*(c.Intercept+c.Slope*z))
}

// sound refuses numbers that no fit gives.
func (c *calibrator) sound() bool {
	if !finite([]float64{c.Intercept, c.Slope}, c.At, c.Value) || math.Abs(c.Slope) > 1e6 || len(c.At) != len(c.Value) || len(c.At) > 1<<20 || !slices.IsSorted(c.At) {
		return false
	}
	for _, v := range c.Value {
		if v <= 0 || v >= 1 {
			return false
		}
	}
	for i := 1; i < len(c.At); i++ {
		if c.At[i] == c.At[i-1] {
			return false
		}
	}
	return true
}
