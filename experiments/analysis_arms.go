package experiments

import (
	"math"
	"slices"

	"perennial/experiments/stats"
)

// pair compares the arms and, with covariates, also without them (raw). It fills counts, means and codes of the result.
func (a *tableAnalysis) pair(r *Result, m TableMetric, values []float64, v int, keep []bool) (pair, raw stats.Pair, err error) {
	t, terr := a.arm(m, values, v, keep)
	c, cerr := a.arm(m, values, 0, keep)
	r.N, r.NControl = t.n, c.n
	if t.n > 0 {
		r.Mean = Num(t.mean)
	}
	if c.n > 0 {
		r.MeanControl = Num(c.mean)
	}
	for _, err := range []error{terr, cerr} {
		if err != nil {
			return stats.Pair{T: t.est, C: c.est}, raw, err
		}
	}
	raw, err = stats.Welch(t.est, c.est)
	if m.Kind == KindProportion {
		a.small(r, m, t, c)
	}
	r.code("heavy_tail", t.heavy || c.heavy)
	r.code("skewed", t.skewed || c.skewed)
	r.code("few_clusters", m.Cluster != "" && min(t.est.N, c.est.N) < 40)
	if err != nil || !m.adjusts() {
		return raw, raw, err
	}
	pair, err = a.adjust(m, values, v, keep)
	return pair, raw, err
}

func (r *Result) code(code string, on bool) {
	if on {
		r.Warnings = append(r.Warnings, code)
	}
}

// armView is one arm of one metric before comparison.
type armView struct {
	n             int64
	mean          float64
	est           stats.Estimate
	heavy, skewed bool
}

func (a *tableAnalysis) arm(m TableMetric, values []float64, v int, keep []bool) (armView, error) {
	var y, d []float64
	var rows []int
	denominator := a.t.Numbers[m.Denominator]
	for _, r := range a.rows[v] {
		if (keep != nil && !keep[r]) || values[r] != values[r] || (denominator != nil && denominator[r] != denominator[r]) {
			continue
		}
		y = append(y, values[r])
		rows = append(rows, r)
		if denominator != nil {
			d = append(d, denominator[r])
		}
	}
	out := armView{n: int64(len(y))}
	if len(y) == 0 {
		return out, stats.ErrTooFew
	}
	var err error
	if m.Kind == KindQuantile {
		return a.quantile(m, rows, y)
	}
	var mom stats.Moments
	if m.Cluster != "" {
		one := make([]float64, len(y))
		for i := range one {
			one[i] = 1
		}
		if d == nil {
			d = one
		}
		sums := a.byCluster(m.Cluster, rows, y, d)
		mom = stats.MomentsOf(sums...)
		out.est, err = stats.Ratio(mom)
		out.mean = out.est.Mean
		return out, err
	}
	if m.Kind == KindRatio {
		mom = stats.MomentsOf(y, d)
		out.est, err = stats.Ratio(mom)
		out.mean = out.est.Mean
		return out, err
	}
	mom = stats.MomentsOf(y)
	out.mean = mom.Mean[0]
	out.est, err = stats.Mean(mom)
	if m.Kind == KindMean {
		out.heavy, out.skewed = shape(y, mom)
	}
	return out, err
}

// quantile estimates one arm's quantile; clusters widen its variance by what the share below it varies between them.
func (a *tableAnalysis) quantile(m TableMetric, rows []int, y []float64) (armView, error) {
	sorted := slices.Sorted(slices.Values(y))
	out := armView{n: int64(len(y)), mean: stats.QuantileOf(sorted, m.Quantile)}
	var err error
	if out.est, err = stats.Quantile(sorted, m.Quantile); err != nil || m.Cluster == "" {
		return out, err
	}
	below, one := make([]float64, len(y)), make([]float64, len(y))
	for i, v := range y {
		if one[i] = 1; v <= out.mean {
			below[i] = 1
		}
	}
	sums := a.byCluster(m.Cluster, rows, below, one)
	factor, df, err := stats.ClusterFactor(sums[0], sums[1])
	out.est.N, out.est.Var, out.est.DF = int64(len(sums[0])), out.est.Var*factor, df
	return out, err
}

// shape tells whether one unit makes more than a tenth of the variance, and whether the mean of so skewed a metric needs more than n
// units to be near normal (n < 355·skewness², Kohavi et al. 2014, "Seven Rules of Thumb").
func shape(y []float64, m stats.Moments) (heavy, skewed bool) {
	if len(y) < 50 || m.M2[0] == 0 {
		return false, false
	}
	top, cube := 0.0, 0.0
	for _, x := range y {
		d := x - m.Mean[0]
		top = max(top, d*d)
		cube += d * d * d
	}
	n := float64(len(y))
	skew := cube / n / math.Pow(m.M2[0]/n, 1.5)
	return top > 0.1*m.M2[0], n < 355*skew*skew
}

// byCluster sums the columns over the rows of each cluster; a row without a cluster is one of its own.
func (a *tableAnalysis) byCluster(column string, rows []int, columns ...[]float64) [][]float64 {
	labels := a.t.Labels[column]
	at := map[string]int{}
	out := make([][]float64, len(columns))
	for i, r := range rows {
		g, ok := at[labels[r]]
		if !ok || labels[r] == "" {
			g = len(out[0])
			at[labels[r]] = g
			for c := range out {
				out[c] = append(out[c], 0)
			}
		}
		for c := range out {
			out[c][g] += columns[c][i]
		}
	}
	return out
}
