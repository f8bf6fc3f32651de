package stats

import (
	"math"
	"sort"
)

// Estimate is an estimated mean (ratio, quantile) of one arm with the variance of the estimate, not of the units.
type Estimate struct {
	N    int64
	Mean float64
	Var  float64
	DF   float64 // degrees of freedom of Var
}

// Mean estimates the mean of m's first value; m.N must be at least 2 (ErrTooFew).
func Mean(m Moments) (Estimate, error) {
	if m.N < 2 {
		return Estimate{N: m.N}, ErrTooFew
	}
	n := float64(m.N)
	return Estimate{m.N, m.Mean[0], m.M2[0] / (n - 1) / n, n - 1}, nil
}

// Ratio estimates Σy/Σd of m's first two values by the delta method, that is, as the mean of the linearised (y − R·d)/d̄.
// It errs with ErrControlNearZero when the denominator's mean is 0.
func Ratio(m Moments) (Estimate, error) {
	lin, r, err := linearise(m)
	if err != nil {
		return Estimate{N: m.N}, err
	}
	e, err := Mean(lin)
	e.Mean = r
	return e, err
}

// linearise turns (y, d, z…) into ((y − R·d)/d̄, z…) and returns R.
func linearise(m Moments) (Moments, float64, error) {
	k := len(m.Mean)
	if m.N < 2 {
		return m, 0, ErrTooFew
	}
	if m.Mean[1] == 0 {
		return m, 0, ErrControlNearZero
	}
	r := m.Mean[0] / m.Mean[1]
	w := make([][]float64, k-1)
	for i := range w {
		w[i] = make([]float64, k)
		if i > 0 {
			w[i][i+1] = 1
		}
	}
	w[0][0], w[0][1] = 1/m.Mean[1], -r/m.Mean[1]
	lin := m.combine(w)
	lin.Mean[0] = r
	return lin, r, nil
}

// QuantileOf returns the q-quantile of ascending values by linear interpolation between order statistics (Hyndman & Fan 1996, type 7).
// It is NaN for no values.
func QuantileOf(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := min(max(q, 0), 1) * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// Quantile estimates the q-quantile of ascending values; its variance comes from the width of the binomial outer interval (Deng, Knoblich
// & Lu 2018, KDD, "Applying the Delta Method in Metric Analytics"). ErrTooFew when the interval would leave the data.
func Quantile(sorted []float64, q float64) (Estimate, error) {
	n := float64(len(sorted))
	if q <= 0 || q >= 1 {
		return Estimate{}, ErrDesign
	}
	if n < 2 || n <= 3.84*math.Max(q/(1-q), (1-q)/q) {
		return Estimate{N: int64(n)}, ErrTooFew
	}
	half := 1.959963984540054 * math.Sqrt(q*(1-q)/n)
	sd := (QuantileOf(sorted, q+half) - QuantileOf(sorted, q-half)) / (2 * 1.959963984540054)
	return Estimate{int64(n), QuantileOf(sorted, q), sd * sd * (n - 1) / n, n - 1}, nil
}

// ClusterFactor returns by how much the variance of the q-quantile is larger because units come in clusters: the ratio-of-means variance of the
// share at or below it, over the binomial one (Deng, Knoblich & Lu 2018, section 4.2), and the degrees of freedom. below[g] of the
// size[g] units of cluster g lie at or below the quantile. ErrTooFew for fewer than two clusters.
func ClusterFactor(below, size []float64) (factor, df float64, err error) {
	e, err := Ratio(MomentsOf(below, size))
	if err != nil {
		return 0, 0, err
	}
	n := 0.0
	for _, s := range size {
		n += s
	}
	if !(e.Mean > 0 && e.Mean < 1) {
		return 0, 0, ErrTooFew
	}
	return e.Var / (e.Mean * (1 - e.Mean) / n), e.DF, nil
}

// Pair is two arms compared: Effect is T.Mean − C.Mean and Cov the covariance of the two estimates (not 0 only after adjustment).
type Pair struct {
	T, C Estimate
	Cov  float64
	DF   float64
}

// Welch compares two independent estimates with the Welch–Satterthwaite degrees of freedom (Welch 1947, Biometrika 34). It errs with
// ErrZeroVariance when neither varies; the pair is then still filled.
func Welch(t, c Estimate) (Pair, error) {
	p := Pair{T: t, C: c}
	if t.N < 2 || c.N < 2 {
		return p, ErrTooFew
	}
	v := t.Var + c.Var
	if !(v > 0) {
		return p, ErrZeroVariance
	}
	p.DF = v * v / (t.Var*t.Var/t.DF + c.Var*c.Var/c.DF)
	return p, nil
}

// Effect returns treatment minus control.
func (p Pair) Effect() float64 { return p.T.Mean - p.C.Mean }

// SE returns the standard error of the effect.
func (p Pair) SE() float64 { return math.Sqrt(math.Max(0, p.T.Var+p.C.Var-2*p.Cov)) }

// T0 returns the statistic of "no effect".
func (p Pair) T0() float64 { return p.Effect() / p.SE() }

// Z returns the statistic on the normal scale: the z with the same tail as T0 under its degrees of freedom. It loses nothing far out,
// and is T0 itself where the tail is below the range of float64.
func (p Pair) Z() float64 {
	t := p.T0()
	tail := StudentSF(math.Abs(t), p.DF)
	if tail < 1e-300 {
		return t
	}
	return math.Copysign(NormalUpper(tail), t)
}

// Critical returns how many standard errors wide a half interval is whose normal counterpart is z wide.
func (p Pair) Critical(z float64) float64 {
	tail := NormalSF(z)
	if tail < 1e-300 {
		return z
	}
	return StudentUpper(tail, p.DF)
}

// Relative returns Fieller's interval (1954) for the effect divided by |control|, c standard errors wide. It errs with
// ErrControlNearZero when the interval is unbounded. For a negative control the sign is that of the effect: −10 → −5 is +0.5.
func (p Pair) Relative(c float64) (low, high float64, err error) {
	mt, mc := p.T.Mean, p.C.Mean
	c2 := c * c
	a := mc*mc - c2*p.C.Var
	if !(a > 0) || mc == 0 {
		return 0, 0, ErrControlNearZero
	}
	b := mt*mc - c2*p.Cov
	disc := b*b - a*(mt*mt-c2*p.T.Var)
	root := math.Sqrt(math.Max(0, disc))
	low, high = (b-root)/a-1, (b+root)/a-1
	if mc < 0 {
		low, high = -high, -low
	}
	return low, high, nil
}

// Stratum is one stratum of a comparison and its weight n_r/n.
type Stratum struct {
	Pair
	Weight float64
}

// Stratified pools comparisons over strata: effect = Σ w_r·(T_r − C_r), variance Σ w_r²·V_r (statistics.md §6.7). Weights must sum to 1.
// A stratum without variance adds none. It errs with ErrZeroVariance when nothing varies.
func Stratified(strata []Stratum) (Pair, error) {
	if len(strata) == 1 {
		p := strata[0].Pair
		if p.SE() == 0 {
			return p, ErrZeroVariance
		}
		return p, nil
	}
	var p Pair
	var below, v, tBelow, cBelow float64
	for _, s := range strata {
		w := s.Weight
		p.T.N += s.T.N
		p.C.N += s.C.N
		p.T.Mean += w * s.T.Mean
		p.C.Mean += w * s.C.Mean
		p.T.Var += w * w * s.T.Var
		p.C.Var += w * w * s.C.Var
		p.Cov += w * w * s.Cov
		part := w * w * (s.T.Var + s.C.Var - 2*s.Cov)
		v += part
		if part > 0 {
			below += part * part / s.DF
		}
		if s.T.Var > 0 {
			tBelow += w * w * w * w * s.T.Var * s.T.Var / s.T.DF
		}
		if s.C.Var > 0 {
			cBelow += w * w * w * w * s.C.Var * s.C.Var / s.C.DF
		}
	}
	if !(v > 0) {
		return p, ErrZeroVariance
	}
	p.DF, p.T.DF, p.C.DF = v*v/below, p.T.Var*p.T.Var/tBelow, p.C.Var*p.C.Var/cBelow
	return p, nil
}

// PooledCap returns the q-quantile of the values of all arms together: a cap must never differ between arms. The input is not changed.
func PooledCap(values []float64, q float64) float64 {
	sorted := append([]float64(nil), values...)
	sort.Float64s(sorted)
	return QuantileOf(sorted, q)
}
