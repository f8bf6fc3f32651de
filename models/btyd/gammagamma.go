package btyd

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mathext"
)

// GammaGamma is the model of spend per purchase (Fader, Hardie 2013, "The Gamma-Gamma model of monetary value").
type GammaGamma struct{ P, Q, V float64 }

// Spend is the mean value Mean of X purchases of a customer, X ≥ 1 and Mean > 0.
type Spend struct {
	X, Mean float64
	Weight  float64 // 0 means 1
}

// LogLikelihood returns ln L of one customer.
func (m GammaGamma) LogLikelihood(s Spend) float64 {
	px := m.P * s.X
	return lgamma(px+m.Q) - lgamma(px) - lgamma(m.Q) + m.Q*math.Log(m.V) + (px-1)*math.Log(s.Mean) + px*math.Log(s.X) - (px+m.Q)*math.Log(s.X*s.Mean+m.V)
}

// gradient adds d ln L / d(p, q, v), times w, to g.
func (m GammaGamma) gradient(s Spend, w float64, g []float64) {
	px, lnTotal := m.P*s.X, math.Log(s.X*s.Mean+m.V)
	both := mathext.Digamma(px + m.Q)
	g[0] += w * s.X * (both - mathext.Digamma(px) + math.Log(s.Mean) + math.Log(s.X) - lnTotal)
	g[1] += w * (both - mathext.Digamma(m.Q) + math.Log(m.V) - lnTotal)
	g[2] += w * (m.Q/m.V - (px+m.Q)/(s.X*s.Mean+m.V))
}

// Expected returns the expected value per purchase of a customer, or of a new one when s.X is 0.
func (m GammaGamma) Expected(s Spend) float64 {
	if s.X == 0 {
		return m.Mean()
	}
	return m.P * (m.V + s.X*s.Mean) / (m.P*s.X + m.Q - 1)
}

// Mean returns the population's mean value per purchase; it needs q > 1 and is NaN otherwise.
func (m GammaGamma) Mean() float64 {
	if m.Q <= 1 {
		return math.NaN()
	}
	return m.P * m.V / (m.Q - 1)
}

// FitGammaGamma fits by maximum likelihood to customers with at least one (repeat) purchase of positive mean value.
func FitGammaGamma(spends []Spend) (GammaGamma, Fit, error) {
	var scale, total float64
	for _, s := range spends {
		if !(s.X >= 1) || !(s.Mean > 0) || math.IsInf(s.Mean, 0) || s.Weight < 0 {
			return GammaGamma{}, Fit{}, errors.New("a spend needs x ≥ 1 and a positive mean")
		}
		w := max(s.Weight, 0)
		if w == 0 {
			w = 1
		}
		scale, total = scale+w*s.Mean, total+w
	}
	if total < 3 {
		return GammaGamma{}, Fit{}, errors.New("fewer than three repeat customers")
	}
	scale /= total
	of := func(p []float64) GammaGamma { return GammaGamma{p[0], p[1], p[2] * scale} }
	value := func(p, g []float64) float64 {
		m, sum := of(p), 0.0
		for _, s := range spends {
			w := s.Weight
			if w == 0 {
				w = 1
			}
			sum += w * m.LogLikelihood(s)
			if g != nil {
				m.gradient(s, w, g)
			}
		}
		if g != nil {
			g[2] *= scale
		}
		return sum
	}
	fit, err := maximise(value, []string{"p", "q", "v"}, []float64{1, 2, 1}, []float64{1, 1, scale}, total, runaway)
	m := GammaGamma{fit.Parameters["p"], fit.Parameters["q"], fit.Parameters["v"]}
	if err == nil && m.Q <= 1 {
		err = fmt.Errorf("%w: q %.4g, and a mean spend needs q > 1", ErrDegenerate, m.Q)
	}
	return m, fit, err
}
