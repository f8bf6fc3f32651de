package stats

import "math"

// Heterogeneity tests that independent effects are equal: Q = Σ (τₖ − τ̄)²/Vₖ with the precision-weighted mean τ̄, chi-square with
// K − 1 degrees of freedom (Cochran 1954). ErrTooFew for fewer than two effects, ErrZeroVariance when a variance is not positive.
func Heterogeneity(effects, variances []float64) (q, df, p float64, err error) {
	if len(effects) < 2 {
		return 0, 0, 0, ErrTooFew
	}
	mean, _, err := pool(effects, variances)
	if err != nil {
		return 0, 0, 0, err
	}
	for k, e := range effects {
		q += (e - mean) * (e - mean) / variances[k]
	}
	df = float64(len(effects) - 1)
	return q, df, Chi2SF(q, df), nil
}

// Trend fits effects on x (a decile's rank) by weighted least squares and tests the slope against the normal.
func Trend(x, effects, variances []float64) (slope, se, p float64, err error) {
	if len(x) < 3 {
		return 0, 0, 0, ErrTooFew
	}
	mx, _, err := pool(x, variances)
	if err != nil {
		return 0, 0, 0, err
	}
	me, _, _ := pool(effects, variances)
	var sxx, sxy float64
	for k := range x {
		sxx += (x[k] - mx) * (x[k] - mx) / variances[k]
		sxy += (x[k] - mx) * (effects[k] - me) / variances[k]
	}
	if sxx == 0 {
		return 0, 0, 0, ErrZeroVariance
	}
	slope, se = sxy/sxx, 1/math.Sqrt(sxx)
	return slope, se, 2 * NormalSF(math.Abs(slope/se)), nil
}

// Shrink returns effects pulled towards their common mean by the between-group variance τ² of DerSimonian & Laird (1986), the
// empirical-Bayes reading of a forest plot, and τ². With τ² = 0 all are the common mean.
func Shrink(effects, variances []float64) (shrunk []float64, tau2 float64, err error) {
	q, df, _, err := Heterogeneity(effects, variances)
	if err != nil {
		return nil, 0, err
	}
	var w, w2 float64
	for _, v := range variances {
		w += 1 / v
		w2 += 1 / v / v
	}
	tau2 = math.Max(0, (q-df)/(w-w2/w))
	total := make([]float64, len(variances))
	for k, v := range variances {
		total[k] = v + tau2
	}
	mean, _, err := pool(effects, total)
	if err != nil {
		return nil, 0, err
	}
	shrunk = make([]float64, len(effects))
	for k, e := range effects {
		shrunk[k] = mean + (e-mean)*tau2/(tau2+variances[k])
	}
	return shrunk, tau2, nil
}

// pool is the precision-weighted mean and its variance.
func pool(x, variances []float64) (mean, variance float64, err error) {
	var w, s float64
	for k, v := range variances {
		if !(v > 0) {
			return 0, 0, ErrZeroVariance
		}
		w += 1 / v
		s += x[k] / v
	}
	return s / w, 1 / w, nil
}
