package stats

import (
	"math"
	"math/rand/v2"
)

// world makes the summary of a batch of units that arrive at a share `at` of the test, with their mean multiplied by lift. Where units are
// normal the summary is drawn itself (mean and χ² are independent), which is exact and fast.
type world struct {
	batch    func(rng *rand.Rand, n int, at, lift float64) Moments
	estimate func(Moments) (Estimate, error)
	mean     func(look, looks int) float64 // the control's true mean over all units up to a look
	size     float64                       // units in one analysed unit, on average
}

func constant(m float64) func(int, int) float64 { return func(int, int) float64 { return m } }

var worlds = map[string]world{
	WorldNull: {batch: func(rng *rand.Rand, n int, _, lift float64) Moments { return normalBatch(rng, n, lift, 1) }, estimate: Mean, mean: constant(1), size: 1},
	WorldDrift: {batch: func(rng *rand.Rand, n int, at, lift float64) Moments {
		return normalBatch(rng, n, (1+at)*lift, math.Sqrt(1+3*at))
	}, estimate: Mean, mean: func(look, looks int) float64 { return 1 + float64(look)/float64(looks)/2 }, size: 1},
	WorldSparse: {batch: func(rng *rand.Rand, n int, _, lift float64) Moments {
		values := make([]float64, 0, n/16)
		for i := skip(rng, 0.03); i < n; i += 1 + skip(rng, 0.03) {
			values = append(values, lift*math.Exp(rng.NormFloat64()))
		}
		return withZeros(values, n)
	}, estimate: Mean, mean: constant(0.03 * math.Exp(0.5)), size: 1},
	WorldHeavy: {batch: func(rng *rand.Rand, n int, _, lift float64) Moments {
		values := make([]float64, n)
		for i := range values {
			values[i] = lift * math.Exp(1.5*rng.NormFloat64())
		}
		return withZeros(values, n)
	}, estimate: Mean, mean: constant(math.Exp(1.125)), size: 1},
	WorldCluster: {batch: clusterBatch, estimate: Ratio, mean: constant(1), size: 20},
}

// normalBatch draws n, mean and M2 of n normal units.
func normalBatch(rng *rand.Rand, n int, mean, sd float64) Moments {
	if n == 0 {
		return Moments{}
	}
	m := mean + sd*rng.NormFloat64()/math.Sqrt(float64(n))
	return Moments{int64(n), []float64{m}, []float64{sd * sd * 2 * gammaDraw(rng, float64(n-1)/2)}}
}

// clusterBatch draws clusters until n units are in: the values are the cluster's sum and its size. Units have variance 1, of which 0.3 is
// the cluster's own.
func clusterBatch(rng *rand.Rand, n int, _, lift float64) Moments {
	var sums, sizes []float64
	for n > 0 {
		size := min(n, 10+rng.IntN(21))
		n -= size
		m := float64(size)
		sums = append(sums, m*(lift+math.Sqrt(0.3)*rng.NormFloat64())+math.Sqrt(0.7*m)*rng.NormFloat64())
		sizes = append(sizes, m)
	}
	return MomentsOf(sums, sizes)
}

// withZeros is the summary of values and of zeros up to n units.
func withZeros(values []float64, n int) Moments {
	if n == 0 {
		return Moments{}
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	mean := sum / float64(n)
	m2 := float64(n-len(values)) * mean * mean
	for _, v := range values {
		m2 += (v - mean) * (v - mean)
	}
	return Moments{int64(n), []float64{mean}, []float64{m2}}
}

// skip is how many failures come before the next success of probability p.
func skip(rng *rand.Rand, p float64) int {
	return int(math.Log1p(-rng.Float64()) / math.Log1p(-p))
}

// gammaDraw draws a gamma variate of shape a and scale 1 (Marsaglia & Tsang 2000); 0 for shape 0.
func gammaDraw(rng *rand.Rand, a float64) float64 {
	if a <= 0 {
		return 0
	}
	if a < 1 {
		return gammaDraw(rng, a+1) * math.Pow(rng.Float64(), 1/a)
	}
	d := a - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if u := rng.Float64(); math.Log(u) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
