package stats

import "math"

// SRM is Pearson's test that units fell on the arms as planned. Arms with weight 0 are left out of statistic, total and degrees of
// freedom (a count there is a leak and is reported by the caller).
func SRM(counts []int64, weights []float64) (statistic, df, p float64, err error) {
	total, sum, k := 0.0, 0.0, 0
	for i, n := range counts {
		if weights[i] > 0 {
			total += float64(n)
			sum += weights[i]
			k++
		}
	}
	if k < 2 || total == 0 {
		return 0, 0, 0, ErrTooFew
	}
	for i, n := range counts {
		if weights[i] > 0 {
			want := total * weights[i] / sum
			statistic += (float64(n) - want) * (float64(n) - want) / want
		}
	}
	df = float64(k - 1)
	return statistic, df, Chi2SF(statistic, df), nil
}

// LogBayesSRM returns the log Bayes factor of "some other split" against the planned weights after these counts: the Dirichlet-multinomial
// with parameters alpha (Lindon & Malek 2022, NeurIPS, "Anytime-Valid Inference for Multinomial Count Data"; arXiv 2011.03567). Its
// exponential is a martingale under the plan, so 1/max over looks is a p-value that is valid at every look.
func LogBayesSRM(counts []int64, weights, alpha []float64) float64 {
	var sumA, sumW, n, out float64
	for i := range counts {
		if weights[i] > 0 {
			sumW += weights[i]
		}
	}
	for i, c := range counts {
		if weights[i] <= 0 {
			continue
		}
		x := float64(c)
		sumA += alpha[i]
		n += x
		out += lnGammaDiff(alpha[i], x) - x*math.Log(weights[i]/sumW)
	}
	return out - lnGammaDiff(sumA, n)
}

// lnGammaDiff returns lnΓ(a + x) − lnΓ(a).
func lnGammaDiff(a, x float64) float64 {
	u, _ := math.Lgamma(a + x)
	v, _ := math.Lgamma(a)
	return u - v
}
