package gbdt

import (
	"math"
	"slices"
)

// gradients fills g and h of rows from … to−1 with the first and second derivative of the loss by the raw score, times the weight.
func (p *Params) gradients(d *Data, score, g, h []float64, from, to int) {
	y := d.Y[from:to]
	score, g, h = score[from:to], g[from:to], h[from:to]
	switch p.Objective {
	case Logistic:
		for i, s := range score {
			q := 1 / (1 + math.Exp(-s)) // exp may overflow to infinity: 0
			g[i], h[i] = q-y[i], q*(1-q)
		}
	case L2:
		for i, s := range score {
			g[i], h[i] = s-y[i], 1
		}
	case Poisson:
		for i, s := range score {
			e := math.Exp(s)
			g[i], h[i] = e-y[i], e*math.Exp(0.7)
		}
	case Gamma:
		for i, s := range score {
			e := y[i] * math.Exp(-s)
			g[i], h[i] = 1-e, e
		}
	case Tweedie:
		for i, s := range score {
			a, b := math.Exp((1-p.Power)*s), math.Exp((2-p.Power)*s)
			g[i], h[i] = b-y[i]*a, (2-p.Power)*b-y[i]*(1-p.Power)*a
		}
	case Quantile:
		for i, s := range score {
			g[i], h[i] = -p.Alpha, 1
			if s >= y[i] {
				g[i] = 1 - p.Alpha
			}
		}
	}
	if d.Weights == nil {
		return
	}
	for i, w := range d.Weights[from:to] {
		g[i], h[i] = g[i]*w, h[i]*w
	}
}

// loss returns the mean loss of raw scores.
func (p *Params) loss(d *Data, score []float64) float64 {
	var sum, total float64
	for i, y := range d.Y {
		s, w := score[i], 1.0
		if d.Weights != nil {
			w = d.Weights[i]
		}
		var l float64
		switch p.Objective {
		case Logistic:
			l = softplus(s) - y*s
		case L2:
			l = (s - y) * (s - y) / 2
		case Poisson:
			l = math.Exp(s) - y*s
		case Gamma:
			l = s + y*math.Exp(-s)
		case Tweedie:
			l = math.Exp((2-p.Power)*s)/(2-p.Power) - y*math.Exp((1-p.Power)*s)/(1-p.Power)
		case Quantile:
			l = max(p.Alpha*(y-s), (p.Alpha-1)*(y-s))
		}
		sum, total = sum+w*l, total+w
	}
	return sum / total
}

// start returns the constant raw score that is best on its own.
func (p *Params) start(d *Data) float64 {
	var sum, total float64
	for i, y := range d.Y {
		w := 1.0
		if d.Weights != nil {
			w = d.Weights[i]
		}
		sum, total = sum+w*y, total+w
	}
	mean := sum / total
	switch p.Objective {
	case Logistic:
		mean = min(max(mean, 1e-9), 1-1e-9)
		return math.Log(mean) - math.Log1p(-mean)
	case Poisson, Gamma, Tweedie:
		return math.Log(max(mean, 1e-9))
	case Quantile:
		return quantile(slices.Clone(d.Y), p.Alpha)
	}
	return mean
}

// Output turns a raw score into a prediction.
func (o Objective) Output(s float64) float64 {
	switch o {
	case Logistic:
		return sigmoid(s)
	case Poisson, Gamma, Tweedie:
		return math.Exp(s)
	}
	return s
}

func sigmoid(s float64) float64 {
	if s >= 0 {
		return 1 / (1 + math.Exp(-s))
	}
	e := math.Exp(s)
	return e / (1 + e)
}

func softplus(s float64) float64 { return max(s, 0) + math.Log1p(math.Exp(-math.Abs(s))) }

// quantile returns the α-quantile of values, which it sorts.
func quantile(values []float64, alpha float64) float64 {
	slices.Sort(values)
	at := alpha * float64(len(values)-1)
	lo := int(at)
	hi := min(lo+1, len(values)-1)
	return values[lo] + (at-float64(lo))*(values[hi]-values[lo])
}
