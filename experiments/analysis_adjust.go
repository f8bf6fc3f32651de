package experiments

import (
	"slices"

	"perennial/experiments/stats"
)

// adjusts tells whether the metric is compared after regression.
func (m TableMetric) adjusts() bool { return len(m.Covariates) > 0 || m.Strata != "" }

// adjust compares after regression on the covariates and on indicators of the strata (post-stratification is the same regression). A missing covariate
// is the mean of both arms, with an indicator of its own. With clusters, every column is summed over them, covariates as deviations from the mean.
func (a *tableAnalysis) adjust(m TableMetric, values []float64, v int, keep []bool) (stats.Pair, error) {
	columns := a.regressors(m, values, [2][]int{a.known(m, values, v, keep), a.known(m, values, 0, keep)})
	return stats.Adjust(stats.MomentsOf(columns[0]...), stats.MomentsOf(columns[1]...), m.Kind == KindRatio || m.Cluster != "")
}

// known are the rows of an arm that have the metric.
func (a *tableAnalysis) known(m TableMetric, values []float64, arm int, keep []bool) []int {
	var rows []int
	d := a.t.Numbers[m.Denominator]
	for _, r := range a.rows[arm] {
		if (keep == nil || keep[r]) && values[r] == values[r] && (d == nil || d[r] == d[r]) {
			rows = append(rows, r)
		}
	}
	return rows
}

// regressors are the columns of a regression for both arms: the metric, its denominator (or cluster size), covariates, missing-indicators, strata.
func (a *tableAnalysis) regressors(m TableMetric, values []float64, arms [2][]int) [2][][]float64 {
	var columns [2][][]float64
	add := func(f func(r int) float64) {
		for i, rows := range arms {
			col := make([]float64, len(rows))
			for j, r := range rows {
				col[j] = f(r)
			}
			columns[i] = append(columns[i], col)
		}
	}
	add(func(r int) float64 { return values[r] })
	switch {
	case m.Kind == KindRatio:
		add(func(r int) float64 { return a.t.Numbers[m.Denominator][r] })
	case m.Cluster != "":
		add(func(int) float64 { return 1 })
	}
	for _, name := range m.Covariates {
		z := a.t.Numbers[name]
		sum, n, missing := 0.0, 0.0, false
		for _, rows := range arms {
			for _, r := range rows {
				if z[r] == z[r] {
					sum, n = sum+z[r], n+1
				} else {
					missing = true
				}
			}
		}
		fallback := 0.0
		if n > 0 {
			fallback = sum / n
		}
		shift := func(z float64) float64 {
			if m.Cluster != "" {
				return z - fallback
			}
			return z
		}
		add(func(r int) float64 {
			if z[r] != z[r] {
				return shift(fallback)
			}
			return shift(z[r])
		})
		if missing {
			add(func(r int) float64 {
				if z[r] != z[r] {
					return 1
				}
				return 0
			})
		}
	}
	a.strata(m, arms, add)
	if m.Cluster != "" {
		for i, rows := range arms {
			columns[i] = a.byCluster(m.Cluster, rows, columns[i]...)
		}
	}
	return columns
}

// strata adds an indicator for every stratum but the largest. A stratum with fewer than two units in one of the arms has no comparison of its own and
// stays with the largest.
func (a *tableAnalysis) strata(m TableMetric, arms [2][]int, add func(func(r int) float64)) {
	if m.Strata == "" {
		return
	}
	labels := a.t.Labels[m.Strata]
	var counts [2]map[string]int
	for i, rows := range arms {
		counts[i] = map[string]int{}
		for _, r := range rows {
			counts[i][labels[r]]++
		}
	}
	var names []string
	largest := ""
	for l, n := range counts[0] {
		if n < 2 || (counts[1][l] < 2 && arms[1] != nil) {
			continue
		}
		names = append(names, l)
		if size, best := n+counts[1][l], counts[0][largest]+counts[1][largest]; len(names) == 1 || size > best || (size == best && l < largest) {
			largest = l
		}
	}
	slices.Sort(names)
	for _, l := range names {
		if l == largest {
			continue
		}
		add(func(r int) float64 {
			if labels[r] == l {
				return 1
			}
			return 0
		})
	}
}
