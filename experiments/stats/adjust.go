package stats

import "math"

// Adjust compares two arms after regression on covariates with a slope per arm (Lin 2013, Annals of Applied Statistics 7), centred on both
// arms together. The values of each arm are the metric (for a ratio: numerator and denominator) and then the covariates. The variance is
// Σ RSSₐ/((nₐ−k−1)·nₐ) + (β_T−β_C)′S(β_T−β_C)/n, that of the super-population: never asymptotically worse than no adjustment.
// A covariate that is constant or a combination of earlier ones is left out. ErrTooFew needs n > k+2 in each arm.
func Adjust(t, c Moments, isRatio bool) (Pair, error) {
	if isRatio {
		var err error
		if t, _, err = linearise(t); err != nil {
			return Pair{T: Estimate{N: t.N}, C: Estimate{N: c.N}}, err
		}
		if c, _, err = linearise(c); err != nil {
			return Pair{T: Estimate{N: t.N}, C: Estimate{N: c.N}}, err
		}
	}
	k := len(t.Mean) - 1
	if t.N <= int64(k)+2 || c.N <= int64(k)+2 {
		return Pair{T: Estimate{N: t.N}, C: Estimate{N: c.N}}, ErrTooFew
	}
	all := t.Merge(c)
	n := float64(all.N)
	bt, rt, kt := regress(t)
	bc, rc, kc := regress(c)
	at, ac, cov := 0.0, 0.0, 0.0
	p := Pair{T: Estimate{N: t.N, Mean: t.Mean[0]}, C: Estimate{N: c.N, Mean: c.Mean[0]}}
	for i := range k {
		p.T.Mean -= (t.Mean[i+1] - all.Mean[i+1]) * bt[i]
		p.C.Mean -= (c.Mean[i+1] - all.Mean[i+1]) * bc[i]
		for j := range k {
			s := all.M2[(i+1)*(k+1)+j+1] / (n - 1) / n
			at += bt[i] * s * bt[j]
			ac += bc[i] * s * bc[j]
			cov += bt[i] * s * bc[j]
		}
	}
	p.T.DF, p.C.DF = float64(t.N)-float64(kt)-1, float64(c.N)-float64(kc)-1
	vt, vc := rt/p.T.DF/float64(t.N), rc/p.C.DF/float64(c.N)
	p.T.Var, p.C.Var, p.Cov = vt+at, vc+ac, cov
	if !(vt+vc > 0) {
		return p, ErrZeroVariance
	}
	p.DF = (vt + vc) * (vt + vc) / (vt*vt/p.T.DF + vc*vc/p.C.DF)
	return p, nil
}

// Explained returns the share of the variance of a metric (the first value; for a ratio the first two) that its covariates explain within one arm, corrected
// for their number; at least 0. ErrTooFew needs n > k+2.
func Explained(m Moments, isRatio bool) (float64, error) {
	if isRatio {
		var err error
		if m, _, err = linearise(m); err != nil {
			return 0, err
		}
	}
	k := len(m.Mean) - 1
	if m.N <= int64(k)+2 {
		return 0, ErrTooFew
	}
	if !(m.M2[0] > 0) {
		return 0, ErrZeroVariance
	}
	_, rss, rank := regress(m)
	n := float64(m.N)
	return math.Max(0, 1-rss/(n-float64(rank)-1)/(m.M2[0]/(n-1))), nil
}

// regress returns the slopes of value 0 on the others within one arm, the residual sum of squares and how many slopes were fitted.
// It is a Cholesky factorisation that skips what adds nothing.
func regress(m Moments) (beta []float64, rss float64, rank int) {
	k := len(m.Mean) - 1
	beta = make([]float64, k)
	at := func(i, j int) float64 { return m.M2[i*(k+1)+j] }
	low := make([][]float64, 0, k) // rows of L for the kept covariates
	kept := make([]int, 0, k)
	proj := make([]float64, 0, k) // L⁻¹·S_zy
	rss = at(0, 0)
	for i := 1; i <= k; i++ {
		row := make([]float64, len(kept)+1)
		d := at(i, i)
		for a, j := range kept {
			s := at(i, j)
			for b := range a {
				s -= row[b] * low[a][b]
			}
			row[a] = s / low[a][a]
			d -= row[a] * row[a]
		}
		if !(d > 1e-10*at(i, i)) || at(i, i) == 0 {
			continue
		}
		row[len(kept)] = math.Sqrt(d)
		s := at(i, 0)
		for b := range kept {
			s -= row[b] * proj[b]
		}
		s /= row[len(kept)]
		kept, low, proj = append(kept, i), append(low, row), append(proj, s)
		rss -= s * s
	}
	for a := len(kept) - 1; a >= 0; a-- { // back substitution L′β = proj
		s := proj[a]
		for b := a + 1; b < len(kept); b++ {
			s -= low[b][a] * beta[kept[b]-1]
		}
		beta[kept[a]-1] = s / low[a][a]
	}
	return beta, math.Max(0, rss), len(kept)
}
