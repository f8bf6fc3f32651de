package btyd

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// BGNBD is the beta-geometric/NBD model (Fader, Hardie, Lee 2005, "Counting your customers the easy way", Marketing Science 24),
// or with Modified set the MBG/NBD (Batislam, Denizel, Filiztekin 2007), where a customer can drop out right after her first purchase.
// The conditional expectation uses the Euler-transformed hypergeometric, which does not overflow for customers with many purchases.
type BGNBD struct {
	R, Alpha, A, B float64
	Modified       bool
}

// Name returns bgnbd or mbgnbd.
func (m BGNBD) Name() string {
	if m.Modified {
		return "mbgnbd"
	}
	return "bgnbd"
}

// Parameters returns r, alpha, a and b.
func (m BGNBD) Parameters() map[string]float64 {
	return map[string]float64{"r": m.R, "alpha": m.Alpha, "a": m.A, "b": m.B}
}

// paths returns the two terms of the likelihood: still alive at T, and dropped out after the last purchase (−Inf when that is impossible).
func (m BGNBD) paths(c Customer) (alive, dropped float64) {
	alive = -(m.R + c.X) * math.Log(m.Alpha+c.T)
	dropped = math.Inf(-1)
	switch {
	case m.Modified:
		dropped = math.Log(m.A) - math.Log(m.B+c.X) - (m.R+c.X)*math.Log(m.Alpha+c.TX)
	case c.X > 0:
		dropped = math.Log(m.A) - math.Log(m.B+c.X-1) - (m.R+c.X)*math.Log(m.Alpha+c.TX)
	}
	return alive, dropped
}

// LogLikelihood returns ln L of one customer.
func (m BGNBD) LogLikelihood(c Customer) float64 {
	alive, dropped := m.paths(c)
	return lnGammaRatio(m.R, c.X) + m.R*math.Log(m.Alpha) + lnGammaRatio(m.B, m.survivals(c)) - lnGammaRatio(m.A+m.B, m.survivals(c)) + logAddExp(alive, dropped)
}

// survivals is how many chances to drop out the customer has survived when she is alive.
func (m BGNBD) survivals(c Customer) float64 {
	if m.Modified {
		return c.X + 1
	}
	return c.X
}

// likelihood returns Σ weight·ln L over rows and, when g is not nil, adds its gradient by (r, alpha, a, b) to g. Purchases are whole
// numbers, so the gamma functions come from tables by x; what is left are two or three logarithms a row.
func (m BGNBD) likelihood(rows []Customer, maxX int, g []float64) float64 {
	n0 := 0
	if m.Modified {
		n0 = 1
	}
	constant, dR, dA, dB, lnDrop := make([]float64, maxX+1), make([]float64, maxX+1), make([]float64, maxX+1), make([]float64, maxX+1), make([]float64, maxX+1)
	for x := range maxX + 1 {
		n := float64(x + n0)
		constant[x] = lnGammaRatio(m.R, float64(x)) + lnGammaRatio(m.B, n) - lnGammaRatio(m.A+m.B, n)
		lnDrop[x] = math.Log(m.A) - math.Log(m.B+n-1)
		if g != nil {
			dR[x] = mathext.Digamma(m.R + float64(x))
			dA[x] = mathext.Digamma(m.A + m.B + n)
			dB[x] = mathext.Digamma(m.B + n)
		}
	}
	lnAlpha, psiR, psiAB, psiB := math.Log(m.Alpha), mathext.Digamma(m.R), mathext.Digamma(m.A+m.B), mathext.Digamma(m.B)
	var sum float64
	for _, c := range rows {
		x := int(c.X)
		n, lnT := m.R+c.X, math.Log(m.Alpha+c.T)
		alive := -n * lnT
		var lnTX, wDropped, l float64
		if x+n0 > 0 {
			lnTX = math.Log(m.Alpha + c.TX)
			dropped := lnDrop[x] - n*lnTX
			l = logAddExp(alive, dropped)
			wDropped = math.Exp(dropped - l)
		} else {
			l = alive
		}
		sum += c.Weight * (constant[x] + m.R*lnAlpha + l)
		if g == nil {
			continue
		}
		wAlive := 1 - wDropped
		g[0] += c.Weight * (dR[x] - psiR + lnAlpha - wAlive*lnT - wDropped*lnTX)
		g[1] += c.Weight * (m.R/m.Alpha - n*(wAlive/(m.Alpha+c.T)+wDropped/(m.Alpha+c.TX)))
		g[2] += c.Weight * (psiAB - dA[x] + wDropped/m.A)
		db := psiAB - dA[x] + dB[x] - psiB
		if wDropped > 0 {
			db -= wDropped / (m.B + c.X + float64(n0) - 1)
		}
		g[3] += c.Weight * db
	}
	return sum
}

// Alive returns P(alive at T). Without Modified it is 1 for everybody who bought once.
func (m BGNBD) Alive(c Customer) float64 {
	alive, dropped := m.paths(c)
	return 1 / (1 + math.Exp(dropped-alive))
}

// Expected returns the expected purchases in (T, T+t].
func (m BGNBD) Expected(c Customer, t float64) float64 {
	if t <= 0 {
		return 0
	}
	n, z := m.survivals(c)-1, t/(m.Alpha+c.T+t)
	shift := 0.0
	if m.Modified {
		shift = 1
	}
	return smooth(m.A, func(a float64) float64 {
		f := hyp2f1(a+m.B-1-m.R+shift, a-1, a+m.B+n, z)
		return (a + m.B + n) / (a - 1) * -math.Expm1((a-1)*math.Log1p(-z)+math.Log(f))
	}) * m.Alive(c)
}

// NoPurchase returns P(no purchase in (T, T+t]): nobody drops out without buying, so it is the dropped plus the alive who stay silent.
func (m BGNBD) NoPurchase(c Customer, t float64) float64 {
	alive := m.Alive(c)
	return 1 + alive*math.Expm1((m.R+c.X)*(math.Log(m.Alpha+c.T)-math.Log(m.Alpha+c.T+t)))
}

// ExpectedNew returns the expected repeat purchases of a new customer in (0, t].
func (m BGNBD) ExpectedNew(t float64) float64 {
	if t <= 0 {
		return 0
	}
	z := t / (m.Alpha + t)
	return smooth(m.A, func(a float64) float64 {
		if m.Modified {
			return m.B / (a - 1) * -math.Expm1((a-1)*math.Log1p(-z)+math.Log(hyp2f1(a+m.B-m.R, a-1, a+m.B, z)))
		}
		return (a + m.B - 1) / (a - 1) * -math.Expm1((a-1)*math.Log1p(-z)+math.Log(hyp2f1(a+m.B-1-m.R, a-1, a+m.B-1, z)))
	})
}

// smooth evaluates f at a, and as the mean of both sides where a = 1 makes it 0/0.
func smooth(a float64, f func(float64) float64) float64 {
	if math.Abs(a-1) < 1e-6 {
		return (f(1-1e-6) + f(1+1e-6)) / 2
	}
	return f(a)
}
