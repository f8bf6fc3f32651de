package eval

import "math"

// probabilityFloor keeps the logarithm of a certain and wrong prediction finite.
const probabilityFloor = 1e-15

// LogLoss returns the mean of −ln of the probability given to what happened, probabilities clipped to [1e-15, 1 − 1e-15]. NaN without rows.
func LogLoss(p, y, w []float64) float64 {
	var sum, all float64
	for i := range p {
		v := weight(w, int32(i))
		q := min(max(p[i], probabilityFloor), 1-probabilityFloor)
		sum -= v * (y[i]*math.Log(q) + (1-y[i])*math.Log1p(-q))
		all += v
	}
	return ratio(sum, all)
}

// Brier returns the mean squared difference of probability and label. NaN without rows.
func Brier(p, y, w []float64) float64 {
	var sum, all float64
	for i := range p {
		v := weight(w, int32(i))
		sum += v * (p[i] - y[i]) * (p[i] - y[i])
		all += v
	}
	return ratio(sum, all)
}

// Bin is an equal share of the rows by rank of the prediction.
type Bin struct {
	Predicted, Observed float64 // means
	N                   int
}

// Bins cuts the rows into n parts of equal size by rank of the prediction, lowest first; ties keep their row order. Empty bins are left out.
func Bins(p, y []float64, n int) []Bin {
	r := Rank(p)
	bins := make([]Bin, 0, n)
	for b := range n {
		lo, hi := b*len(p)/n, (b+1)*len(p)/n
		if lo == hi {
			continue
		}
		bin := Bin{N: hi - lo}
		for i := lo; i < hi; i++ {
			k := r.order[len(p)-1-i]
			bin.Predicted += p[k]
			bin.Observed += y[k]
		}
		bin.Predicted /= float64(bin.N)
		bin.Observed /= float64(bin.N)
		bins = append(bins, bin)
	}
	return bins
}

// ECE returns the expected calibration error: the mean over ten equal bins of |predicted − observed|. NaN without rows.
func ECE(p, y []float64) float64 {
	var sum float64
	for _, b := range Bins(p, y, 10) {
		sum += float64(b.N) * math.Abs(b.Predicted-b.Observed)
	}
	return ratio(sum, float64(len(p)))
}

// Line is the logistic recalibration logit(observed) = Intercept + Slope·logit(predicted) (Cox 1958): 0 and 1 are perfect. Slope under 1
// says that the predictions are too extreme. Shift is mean predicted − mean observed: a moved base rate, apart from the slope.
type Line struct{ Intercept, Slope, Shift float64 }

// Recalibrate fits the line by Newton's method; its fields are NaN without both classes or when all predictions are equal.
func Recalibrate(p, y []float64) Line {
	l := Line{Intercept: math.NaN(), Slope: math.NaN(), Shift: math.NaN()}
	if len(p) == 0 {
		return l
	}
	x := make([]float64, len(p))
	var mean, positives float64
	for i := range p {
		x[i] = Logit(p[i])
		mean += p[i]
		positives += y[i]
	}
	n := float64(len(p))
	l.Shift = (mean - positives) / n
	if a, b, ok := Platt(x, y, nil); ok {
		l.Intercept, l.Slope = a, b
	}
	return l
}

// Platt fits P(y=1) = 1/(1+exp(−a − b·x)) by Newton's method with step halving (Platt 1999 without his target smoothing, which would bias
// the mean). ok is false without both classes, for constant x, or when the classes are separable so that no finite fit exists.
func Platt(x, y, w []float64) (a, b float64, ok bool) {
	var all, positives, lo, hi float64 = 0, 0, math.Inf(1), math.Inf(-1)
	for i := range x {
		v := weight(w, int32(i))
		all += v
		positives += v * y[i]
		lo, hi = min(lo, x[i]), max(hi, x[i])
	}
	if positives <= 0 || positives >= all || !(lo < hi) {
		return 0, 0, false
	}
	loss := func(a, b float64) float64 {
		var sum float64
		for i := range x {
			z := a + b*x[i]
			sum += weight(w, int32(i)) * (softplus(z) - y[i]*z)
		}
		return sum
	}
	a = math.Log(positives / (all - positives))
	at := loss(a, 0)
	for range 100 {
		var ga, gb, haa, hab, hbb float64
		for i := range x {
			v := weight(w, int32(i))
			p := Sigmoid(a + b*x[i])
			g, h := v*(p-y[i]), v*p*(1-p)
			ga, gb = ga+g, gb+g*x[i]
			haa, hab, hbb = haa+h, hab+h*x[i], hbb+h*x[i]*x[i]
		}
		det := haa*hbb - hab*hab
		if !(det > 1e-12*haa*hbb) {
			return a, b, b != 0 && math.Abs(b) < 1e6
		}
		da, db := (hbb*ga-hab*gb)/det, (haa*gb-hab*ga)/det
		step, moved := 1.0, false
		for range 30 {
			if next := loss(a-step*da, b-step*db); next <= at {
				moved = at-next > 1e-12*(1+at)
				a, b, at = a-step*da, b-step*db, next
				break
			}
			step /= 2
		}
		if !moved {
			break
		}
	}
	return a, b, !math.IsNaN(a) && math.Abs(b) < 1e6
}

// Sigmoid is 1/(1+e^−z) without overflow.
func Sigmoid(z float64) float64 {
	if z >= 0 {
		return 1 / (1 + math.Exp(-z))
	}
	e := math.Exp(z)
	return e / (1 + e)
}

// Logit is ln(p/(1−p)) with p clipped to [1e-15, 1 − 1e-15].
func Logit(p float64) float64 {
	p = min(max(p, probabilityFloor), 1-probabilityFloor)
	return math.Log(p) - math.Log1p(-p)
}

// softplus is ln(1+e^z) without overflow.
func softplus(z float64) float64 {
	if z > 0 {
		return z + math.Log1p(math.Exp(-z))
	}
	return math.Log1p(math.Exp(z))
}
