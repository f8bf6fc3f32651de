package eval

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Interval is a bootstrap percentile interval and the standard deviation of the replicates.
type Interval struct{ Low, High, SE float64 }

// Bootstrap draws reps multinomial weightings of n rows (the row bootstrap, without copying rows) and returns the 2.5 % and 97.5 %
// percentiles of the metric and its standard error. metric must not keep w. Replicates that are NaN are left out; without at least two
// the interval is NaN. The same seed gives the same bytes.
func Bootstrap(n, reps int, seed uint64, metric func(w []float64) float64) Interval {
	rng := rand.New(rand.NewPCG(seed, 0x626f6f74))
	w := make([]float64, n)
	values := make([]float64, 0, reps)
	for range reps {
		clear(w)
		for range n {
			w[rng.IntN(n)]++
		}
		if v := metric(w); !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	if len(values) < 2 {
		return Interval{math.NaN(), math.NaN(), math.NaN()}
	}
	var mean, m2 float64
	for i, v := range values {
		d := v - mean
		mean += d / float64(i+1)
		m2 += d * (v - mean)
	}
	slices.Sort(values)
	return Interval{Low: Quantile(values, 0.025), High: Quantile(values, 0.975), SE: math.Sqrt(m2 / float64(len(values)-1))}
}

// Quantile returns the q-quantile of sorted values by linear interpolation (type 7 of Hyndman and Fan 1996). NaN without values.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	h := q * float64(len(sorted)-1)
	i := min(int(h), len(sorted)-1)
	if i+1 >= len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (h-float64(i))*(sorted[i+1]-sorted[i])
}
