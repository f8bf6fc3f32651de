package btyd

import "math"

// ParetoNBD is the Pareto/NBD model (Schmittlein, Morrison, Colombo 1987; likelihood in the form of Fader and Hardie 2005, "A note on
// deriving the Pareto/NBD model"): purchase rates Gamma(r, alpha), dropout rates Gamma(s, beta).
type ParetoNBD struct{ R, Alpha, S, Beta float64 }

// Name returns pareto-nbd.
func (ParetoNBD) Name() string { return "pareto-nbd" }

// Parameters returns r, alpha, s and beta.
func (m ParetoNBD) Parameters() map[string]float64 {
	return map[string]float64{"r": m.R, "alpha": m.Alpha, "s": m.S, "beta": m.Beta}
}

// lnG returns ln g(y), whose difference g(tx) − g(T) is the weight of having dropped out in between.
func (m ParetoNBD) lnG(x, y float64) float64 {
	if m.Alpha >= m.Beta {
		f := hyp2f1(1, m.R+x, m.R+m.S+x+1, (m.Alpha-m.Beta)/(m.Alpha+y))
		return -m.S*math.Log(m.Beta+y) - (m.R+x)*math.Log(m.Alpha+y) + math.Log(f)
	}
	f := hyp2f1(1, m.S+1, m.R+m.S+x+1, (m.Beta-m.Alpha)/(m.Beta+y))
	return (1-m.R-x)*math.Log(m.Alpha+y) - (m.S+1)*math.Log(m.Beta+y) + math.Log(f)
}

// paths returns the two terms of the likelihood: alive at T, and dropped out between tx and T.
func (m ParetoNBD) paths(c Customer) (alive, dropped float64) {
	alive = -(m.R+c.X)*math.Log(m.Alpha+c.T) - m.S*math.Log(m.Beta+c.T)
	at, end := m.lnG(c.X, c.TX), m.lnG(c.X, c.T)
	if end >= at {
		return alive, math.Inf(-1)
	}
	return alive, math.Log(m.S) - math.Log(m.R+m.S+c.X) + at + math.Log(-math.Expm1(end-at))
}

// LogLikelihood returns ln L of one customer.
func (m ParetoNBD) LogLikelihood(c Customer) float64 {
	alive, dropped := m.paths(c)
	return lnGammaRatio(m.R, c.X) + m.R*math.Log(m.Alpha) + m.S*math.Log(m.Beta) + logAddExp(alive, dropped)
}

// Alive returns P(alive at T).
func (m ParetoNBD) Alive(c Customer) float64 {
	alive, dropped := m.paths(c)
	return 1 / (1 + math.Exp(dropped-alive))
}

// Expected returns the expected purchases in (T, T+t]; s = 1 is a removable singularity.
func (m ParetoNBD) Expected(c Customer, t float64) float64 {
	return m.Alive(c) * (m.R + c.X) * (m.Beta + c.T) / (m.Alpha + c.T) * decayed(m.S, m.Beta+c.T, t)
}

// decayed returns (1 − (b/(b+t))^(s−1))/(s−1), and its limit at s = 1.
func decayed(s, b, t float64) float64 {
	ln := math.Log(b) - math.Log(b+t)
	if math.Abs(s-1) < 1e-9 {
		return -ln
	}
	return -math.Expm1((s-1)*ln) / (s - 1)
}

// NoPurchase returns P(no purchase in (T, T+t]), by integrating the density of the first purchase,
// E[λ·exp(−(λ+μ)u)] under the posterior of a customer who is alive.
func (m ParetoNBD) NoPurchase(c Customer, t float64) float64 {
	r, a, b := m.R+c.X, m.Alpha+c.T, m.Beta+c.T
	buys := integrate(func(u float64) float64 {
		return math.Exp(math.Log(r/a) + (r+1)*(math.Log(a)-math.Log(a+u)) + m.S*(math.Log(b)-math.Log(b+u)))
	}, t, 4)
	return 1 - m.Alive(c)*buys
}

// ExpectedNew returns the expected repeat purchases of a new customer in (0, t].
func (m ParetoNBD) ExpectedNew(t float64) float64 {
	return m.R * m.Beta / m.Alpha * decayed(m.S, m.Beta, t)
}

// DERT returns the discounted expected residual transactions at a continuous rate per time unit (Fader, Hardie, Lee 2005, "RFM and
// CLV", Journal of Marketing Research 42, eq. 6), in the form eᶻE_s(z) that has no pole at whole s.
func (m ParetoNBD) DERT(c Customer, rate float64) float64 {
	b := m.Beta + c.T
	return m.Alive(c) * (m.R + c.X) / (m.Alpha + c.T) * b * expintScaled(m.S, rate*b)
}
