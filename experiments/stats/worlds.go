package stats

import (
	"math"
	"math/bits"
	"math/rand/v2"
)

// Worlds that simulations can be run in; each has a known truth and, but for the first, a trap.
const (
	WorldNull          = "null"          // normal units, mean 1, sd 1
	WorldSparse        = "sparse"        // 3 % of the units buy, lognormal amounts with σ = 1
	WorldHeavy         = "heavy"         // lognormal amounts with σ = 1.5
	WorldCluster       = "cluster"       // clusters of 10 to 30 units, intra-cluster correlation 0.3; naive: as if units were independent
	WorldDrift         = "drift"         // normal units whose mean rises from 1 to 2 and whose variance from 1 to 4 over the test
	WorldDelayed       = "delayed"       // 10 % buy within a window of a fifth of the test, the treated twice as soon; naive: immature units count
	WorldHeterogeneous = "heterogeneous" // the treatment gives half of the units 1.5 more and takes 1.5 from the others: no effect on average
	WorldCovariates    = "covariates"    // the outcome depends on an interaction that a model knows and one's own past value does not show
	WorldReweighted    = "reweighted"    // 10/90, from the middle on 50/50, while the rate rises from 5 to 8 %; naive: pooled
)

// Worlds lists them in the order of the documentation.
var Worlds = []string{WorldNull, WorldSparse, WorldHeavy, WorldCluster, WorldDrift, WorldDelayed, WorldHeterogeneous, WorldCovariates, WorldReweighted}

// world makes the summary of a batch of units that arrive at a share `at` of the test, the treated ones with their mean multiplied by lift.
type world struct {
	// batch draws a summary without covariates. Where units are normal it is drawn itself (mean and χ² are independent), exact and fast.
	batch func(rng *rand.Rand, n int, at, lift float64, treated bool) Moments
	// unit draws one unit with the covariates that are known of it; nil where the world has none.
	unit     func(rng *rand.Rand, at, lift float64, treated bool) unitDraw
	estimate func(Moments) (Estimate, error)
	naive    func(Moments) (Estimate, error) // nil where there is no such trap
	mean     func(look, looks int) float64   // the control's true mean over all units up to a look
	size     float64                         // units in one analysed unit, on average
	share    func(at float64) float64        // treated share; nil leaves it to the simulation
	stratum  func(at float64) int            // which vector of assignment probabilities held; nil is always 0
	delay    float64                         // the outcome window as a share of the test
}

// unitDraw is one unit: its outcome, its own value before the test, a model's prediction, and the group it is in (0 to 3).
type unitDraw struct {
	y, own, prediction float64
	group              int
}

func constant(m float64) func(int, int) float64 { return func(int, int) float64 { return m } }

var worlds = map[string]world{
	WorldNull: {batch: func(rng *rand.Rand, n int, _, lift float64, _ bool) Moments { return normalBatch(rng, n, lift, 1) },
		unit: func(rng *rand.Rand, _, lift float64, _ bool) unitDraw {
			return covary(rng, 0.6, func(u float64) float64 { return lift + 0.6*u + 0.8*rng.NormFloat64() })
		}, estimate: Mean, mean: constant(1), size: 1},
	WorldDrift: {batch: func(rng *rand.Rand, n int, at, lift float64, _ bool) Moments {
		return normalBatch(rng, n, (1+at)*lift, math.Sqrt(1+3*at))
	}, unit: func(rng *rand.Rand, at, lift float64, _ bool) unitDraw {
		sd := math.Sqrt(1 + 3*at)
		return covary(rng, 0.6*sd, func(u float64) float64 { return (1+at)*lift + sd*(0.6*u+0.8*rng.NormFloat64()) })
	}, estimate: Mean, mean: func(look, looks int) float64 { return 1 + float64(look)/float64(looks)/2 }, size: 1},
	WorldSparse: {batch: func(rng *rand.Rand, n int, _, lift float64, _ bool) Moments {
		values := make([]float64, 0, n/16)
		for i := skip(rng, 0.03); i < n; i += 1 + skip(rng, 0.03) {
			values = append(values, lift*math.Exp(rng.NormFloat64()))
		}
		return withZeros(values, n)
	}, unit: func(rng *rand.Rand, _, lift float64, _ bool) unitDraw {
		return covary(rng, 0.1, func(u float64) float64 { // who is inclined buys more often; 3 % on average
			if rng.Float64() < 0.03*math.Exp(0.5*u-0.125) {
				return lift * math.Exp(rng.NormFloat64())
			}
			return 0
		})
	}, estimate: Mean, mean: constant(0.03 * math.Exp(0.5)), size: 1},
	WorldHeavy: {batch: func(rng *rand.Rand, n int, _, lift float64, _ bool) Moments {
		values := make([]float64, n)
		for i := range values {
			values[i] = lift * math.Exp(1.5*rng.NormFloat64())
		}
		return withZeros(values, n)
	}, unit: func(rng *rand.Rand, _, lift float64, _ bool) unitDraw {
		return covary(rng, 1, func(u float64) float64 { return lift * math.Exp(0.9*u+1.2*rng.NormFloat64()) })
	}, estimate: Mean, mean: constant(math.Exp(1.125)), size: 1},
	WorldCluster: {batch: func(rng *rand.Rand, n int, _, lift float64, _ bool) Moments { return clusterBatch(rng, n, lift) },
		estimate: Ratio, naive: independent, mean: constant(1), size: 20},
	WorldDelayed: {delay: delayedWindow, estimate: Mean, mean: constant(delayedRate), size: 1},
	WorldHeterogeneous: {batch: func(rng *rand.Rand, n int, _, lift float64, treated bool) Moments {
		if !treated {
			return normalBatch(rng, n, 1, 1)
		}
		won := binomial(rng, n, 0.5)
		return normalBatch(rng, won, lift+1.5, 1).Merge(normalBatch(rng, n-won, lift-1.5, 1))
	}, unit: func(rng *rand.Rand, _, lift float64, treated bool) unitDraw {
		return covary(rng, 0.6, func(u float64) float64 {
			y := lift + 0.6*u + 0.8*rng.NormFloat64()
			switch {
			case treated && u > 0:
				y += 1.5
			case treated:
				y -= 1.5
			}
			return y
		})
	}, estimate: Mean, mean: constant(1), size: 1},
	WorldCovariates: {unit: func(rng *rand.Rand, _, lift float64, _ bool) unitDraw {
		u, w := rng.NormFloat64(), rng.NormFloat64()
		known := 0.4*u + 0.8*u*w
		return unitDraw{y: lift + known + 0.6*rng.NormFloat64(), own: u + 0.5*rng.NormFloat64(), prediction: known + 0.2*rng.NormFloat64(), group: quarter(u)}
	}, estimate: Mean, mean: constant(1), size: 1},
	WorldReweighted: {batch: func(rng *rand.Rand, n int, at, lift float64, _ bool) Moments {
		x := float64(binomial(rng, n, lift*reweightedRate(at)))
		if n == 0 {
			return Moments{}
		}
		return Moments{int64(n), []float64{x / float64(n)}, []float64{x * (1 - x/float64(n))}}
	}, estimate: Mean, naive: Mean, mean: func(look, looks int) float64 {
		sum := 0.0
		for k := range look {
			sum += reweightedRate((float64(k) + 0.5) / float64(looks))
		}
		return sum / float64(look)
	}, size: 1, stratum: func(at float64) int { return int(2 * at) }, share: func(at float64) float64 {
		if at < 0.5 {
			return 0.1
		}
		return 0.5
	}},
}

func reweightedRate(at float64) float64 {
	if at < 0.5 {
		return 0.05
	}
	return 0.08
}

// covary draws an inclination u, the outcome that follows from it, and what is known of u: a noisy own past value and a better prediction.
func covary(rng *rand.Rand, slope float64, outcome func(u float64) float64) unitDraw {
	u := rng.NormFloat64()
	return unitDraw{y: outcome(u), own: u + rng.NormFloat64(), prediction: slope * (u + 0.4*rng.NormFloat64()), group: quarter(u)}
}

// quarter is the quarter of the normal distribution that u is in.
func quarter(u float64) int {
	switch {
	case u < -0.6744897501960817:
		return 0
	case u < 0:
		return 1
	case u < 0.6744897501960817:
		return 2
	}
	return 3
}

// Covariates a simulation adjusts for.
const (
	AdjustOwn        = "own"        // the unit's own value before the test (CUPED)
	AdjustPrediction = "prediction" // a model's prediction (CUPAC)
	AdjustBoth       = "both"
	AdjustMissing    = "missing" // the own value, unknown for those of the lowest quarter
	AdjustStrata     = "strata"  // four groups as indicators: post-stratification
	AdjustNoise      = "noise"   // three covariates that say nothing
)

// covariates appends the values of the chosen covariates of a unit to row; ok is false for a choice that does not exist. The value that
// stands for a missing one is 0: with its indicator any constant gives the same fit.
func covariates(rng *rand.Rand, row []float64, u unitDraw, choice string) (out []float64, ok bool) {
	is := func(on bool) float64 {
		if on {
			return 1
		}
		return 0
	}
	switch choice {
	case AdjustOwn:
		return append(row, u.own), true
	case AdjustPrediction:
		return append(row, u.prediction), true
	case AdjustBoth:
		return append(row, u.own, u.prediction), true
	case AdjustMissing:
		return append(row, u.own*is(u.group > 0), is(u.group == 0)), true
	case AdjustStrata:
		return append(row, is(u.group == 1), is(u.group == 2), is(u.group == 3)), true
	case AdjustNoise:
		return append(row, rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64()), true
	}
	return row, choice == ""
}

// drawUnits is the summary of n units with covariates.
func (w world) drawUnits(rng *rand.Rand, n int, at, lift float64, treated bool, choice string) Moments {
	var m Moments
	row := make([]float64, 0, 4)
	for range n {
		u := w.unit(rng, at, lift, treated)
		row, _ = covariates(rng, append(row[:0], u.y), u, choice)
		m.add(row)
	}
	return m
}

// normalBatch draws n, mean and M2 of n normal units.
func normalBatch(rng *rand.Rand, n int, mean, sd float64) Moments {
	if n == 0 {
		return Moments{}
	}
	m := mean + sd*rng.NormFloat64()/math.Sqrt(float64(n))
	return Moments{int64(n), []float64{m}, []float64{sd * sd * 2 * gammaDraw(rng, float64(n-1)/2)}}
}

// clusterBatch draws clusters until n units are in: the values are the cluster's sum, its size, and the sum of squares within it. Units have
// variance 1, of which 0.3 is the cluster's own.
func clusterBatch(rng *rand.Rand, n int, lift float64) Moments {
	var sums, sizes, squares []float64
	for n > 0 {
		size := min(n, 10+rng.IntN(21))
		n -= size
		m := float64(size)
		mean := lift + math.Sqrt(0.3)*rng.NormFloat64() + math.Sqrt(0.7/m)*rng.NormFloat64()
		sums, sizes = append(sums, m*mean), append(sizes, m)
		squares = append(squares, m*mean*mean+0.7*2*gammaDraw(rng, (m-1)/2))
	}
	return MomentsOf(sums, sizes, squares)
}

// independent reads a cluster batch as if its units were independent: what the robust analysis is there to avoid.
func independent(m Moments) (Estimate, error) {
	clusters := float64(m.N)
	n := clusters * m.Mean[1]
	mean := m.Mean[0] / m.Mean[1]
	m2 := clusters*m.Mean[2] - n*mean*mean
	return Estimate{N: int64(math.Round(n)), Mean: mean, Var: m2 / (n - 1) / n, DF: n - 1}, nil
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

// binomial draws how many of n succeed with probability p.
func binomial(rng *rand.Rand, n int, p float64) int {
	k := 0
	if p == 0.5 {
		for ; n >= 64; n -= 64 {
			k += bits.OnesCount64(rng.Uint64())
		}
		return k + bits.OnesCount64(rng.Uint64()&(1<<n-1))
	}
	for i := skip(rng, p); i < n; i += 1 + skip(rng, p) {
		k++
	}
	return k
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
