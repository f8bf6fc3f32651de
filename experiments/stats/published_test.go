package stats

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
)

// printed fails unless got rounds to want at the given number of decimals.
func printed(t *testing.T, what string, got, want float64, decimals int) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > 0.5000001*math.Pow(10, -float64(decimals)) {
		t.Errorf("%s = %.12g, want %.12g to %d decimals", what, got, want, decimals)
	}
}

// growthbook asks the compatible mode one question in the words of its case file.
func growthbook(t *testing.T, metric, difference, variations string, tuning float64) *GrowthBookAnswer {
	t.Helper()
	var c GrowthBookCase
	text := fmt.Sprintf(`{"metric": %s, "difference_type": %q, "variations": [%s], "alpha": 0.05, "sequential_tuning_parameter": %v}`, metric, difference, variations, tuning)
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	a, err := c.Answer()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// GrowthBook packages/stats: tests/frequentist/test_tests.py (Welch, CUPED, sequences; the numbers printed in reference statistics §5.1 and §5.2) and
// tests/bayesian/test_tests.py (proportions, informative prior, quantile; pydantic 1.10.4, scipy 1.10.1).
func TestGrowthBookPublished(t *testing.T) {
	const raw = `{"n": 3407, "main_sum": 1396.87, "main_sum_squares": 52377.9767}, {"n": 3461, "main_sum": 2422.7, "main_sum_squares": 134698.29}`
	abs := growthbook(t, `{"statistic_type": "mean"}`, "absolute", raw, 5000).Frequentist[0]
	printed(t, "absolute p", *abs.PValue, 0.0201584, 7)
	printed(t, "absolute low", *abs.CI[0], 0.0453779, 7)
	printed(t, "absolute high", *abs.CI[1], 0.5346221, 7)
	rel := growthbook(t, `{"statistic_type": "mean"}`, "relative", raw, 5000).Frequentist[0]
	printed(t, "relative p (D2: another verdict than the absolute one)", *rel.PValue, 0.062, 3)
	const cuped = `{"n": 3000, "main_sum": 1396.87, "main_sum_squares": 52377.9767, "covariate_sum": 16.87, "covariate_sum_squares": 527.9767, "main_covariate_sum_product": 1},
		{"n": 3461, "main_sum": 2422.7, "main_sum_squares": 134698.29, "covariate_sum": 22.7, "covariate_sum_squares": 1348.29, "main_covariate_sum_product": 1}`
	adjusted := growthbook(t, `{"statistic_type": "mean_ra"}`, "relative", cuped, 5000)
	printed(t, "CUPED lift", *adjusted.Frequentist[0].Expected, 0.503384, 6)
	printed(t, "CUPED sd", adjusted.Frequentist[0].Uplift.SD, 0.333412, 6)
	printed(t, "sequence low, N* = 5000", *adjusted.Sequential[0].CI[0], -0.509694, 6)
	printed(t, "sequence high, N* = 5000", *adjusted.Sequential[0].CI[1], 1.516462, 6)
	wide := growthbook(t, `{"statistic_type": "mean"}`, "relative", cuped, 1000).Sequential[0]
	printed(t, "sequence low, N* = 1000", *wide.CI[0], -0.5584405, 7)
	printed(t, "sequence high, N* = 1000", *wide.CI[1], 1.5651627, 7)

	rates := growthbook(t, `{"statistic_type": "mean", "main_metric_type": "binomial"}`, "relative",
		`{"n": 100, "main_sum": 49, "main_sum_squares": 49}, {"n": 100, "main_sum": 51, "main_sum_squares": 51}`, 5000).Bayesian[0]
	printed(t, "chance to win", *rates.ChanceToWin, 0.60918, 5)
	printed(t, "risk of the control", *rates.Risk[0], 0.0814, 4)
	printed(t, "risk of the treatment", *rates.Risk[1], 0.04058, 5)
	prior := growthbook(t, fmt.Sprintf(`{"statistic_type": "mean", "prior_proper": true, "prior_mean": 0.1, "prior_stddev": %.17g}`, math.Sqrt(0.1)), "relative",
		`{"n": 10, "main_sum": 100, "main_sum_squares": 1002.25}, {"n": 10, "main_sum": 105, "main_sum_squares": 1111.5}`, 5000).Bayesian[0]
	printed(t, "posterior mean", *prior.Expected, 0.05063, 5)
	printed(t, "posterior sd", prior.Uplift.SD, 0.03549, 5)
	printed(t, "chance to win with a prior", *prior.ChanceToWin, 0.92315, 5)
	quantile := growthbook(t, `{"statistic_type": "quantile_unit", "quantile_value": 0.9}`, "absolute", `
		{"n": 11054, "quantile": 7.157987489967789, "quantile_n": 11054, "quantile_nstar": 11054, "quantile_lower": 7.098780136176828, "quantile_upper": 7.217194843758751},
		{"n": 10861, "quantile": 7.694499927525767, "quantile_n": 10861, "quantile_nstar": 10861, "quantile_lower": 7.64180598628119, "quantile_upper": 7.747193868770344}`, 5000).Bayesian[0]
	printed(t, "quantile effect", *quantile.Expected, 0.5365124376, 9)
	printed(t, "quantile low", *quantile.CI[0], 0.4572559589, 9)
	printed(t, "quantile high", *quantile.CI[1], 0.6157689162, 9)
}

// confseq test/uniform_boundaries_unittest.cpp (its reference implementation in R): normal mixtures of both kinds at v = 100, and the Bernoulli sequences of
// its bernoulli_confidence_interval.
func TestConfseqPublished(t *testing.T) {
	s := Sequence{Alpha: 0.05, Tuning: 100}
	printed(t, "best_rho", 1/s.rho2(), 12.60056, 5)
	printed(t, "two-sided bound", 10*s.Multiplier(100), 30.35209, 5)
	e := math.Exp(-0.6510052) // log mixture at s = 10, v = 100, z = 1
	if got := s.P(1, 100); got != 1 {
		t.Errorf("P(1) = %v, want 1", got)
	}
	r := 100 * s.rho2()
	printed(t, "two-sided mixture", math.Exp(r/(2*(r+1))-0.5*math.Log1p(r)), e, 7)
	printed(t, "one-sided mixture", s.oneSided(1, 100), -0.06502391, 7)
	printed(t, "one-sided bound", 10*s.OneSidedMultiplier(100), 27.66071, 5)
	for _, c := range []struct {
		x, n      int64
		tuning    float64
		low, high float64
	}{{700, 1000, 100, 0.651629, 0.745949}, {15, 50, 50, 0.129556, 0.511896}} {
		low, high := BernoulliSequence{Alpha: 0.05, Tuning: c.tuning}.Interval(c.x, c.n)
		if math.Abs(low-c.low) > 1e-6 || math.Abs(high-c.high) > 1e-6 {
			t.Errorf("%d of %d = [%.7f, %.7f], want [%v, %v]", c.x, c.n, low, high, c.low, c.high)
		}
	}
}

// avlm 0.1.0 README: n = 100, 92 degrees of freedom, g* = 11.58 (printed to four digits), confint and p of a linear model's coefficients.
func TestAVLMPublished(t *testing.T) {
	const n, df, g = 100, 92, 11.58
	s := Sequence{Alpha: 0.05}
	s.Tuning = g * 5000 * s.rho2() // so that 1/ρ² is g
	near(t, "g", 1/s.rho2(), g, 1e-12)
	near(t, "p of the intercept", s.StudentP(5.776, n, df), 9.77e-6, 3e-3)
	near(t, "p of X3", s.StudentP(8.190, n, df), 8.07e-10, 3e-3)
	if p := s.StudentP(0.379, n, df); p != 1 {
		t.Errorf("p of X3:trt = %v, want 1", p)
	}
	half := s.StudentMultiplier(n, df) * 0.21566
	near(t, "low of trt", 2.32245-half, 1.6530529, 1e-4)
	near(t, "high of trt", 2.32245+half, 2.9918408, 1e-4)
}

// The t mixture is the normal one for many degrees of freedom, wider for few, and p is α on its edge.
func TestStudentSequence(t *testing.T) {
	s := Sequence{Alpha: 0.05, Tuning: 1000}
	for _, n := range []float64{50, 400, 3000, 1e6} {
		near(t, "many degrees", s.StudentMultiplier(n, 9e6), s.Multiplier(n), 1e-4)
		for _, df := range []float64{5, 48, 398, 1e5, 1e9} {
			m := s.StudentMultiplier(n, df)
			if m < s.Multiplier(n)*(1-1e-12) {
				t.Errorf("n %v, df %v: multiplier %v is below the normal one %v", n, df, m, s.Multiplier(n))
			}
			if !math.IsInf(m, 1) {
				near(t, "StudentP at the edge", s.StudentP(m, n, df), s.Alpha, 1e-9)
			} else if p := s.StudentP(1e150, n, df); p < s.Alpha {
				t.Errorf("n %v, df %v: no statistic is evidence, yet p = %v", n, df, p)
			}
		}
	}
}

// Laws of the beta-binomial sequence: p below α exactly when the interval leaves 0 out, mirrored when arms or outcomes are swapped, and sane without successes.
func TestBernoulliSequenceLaws(t *testing.T) {
	s := BernoulliSequence{Alpha: 0.05, Tuning: 200}
	for _, c := range [][4]int64{{0, 200, 9, 200}, {3, 300, 14, 280}, {60, 200, 25, 190}, {0, 20, 0, 30}, {20, 20, 4, 25}, {1, 5, 2, 5}} {
		p, low, high := s.Difference(c[0], c[1], c[2], c[3])
		q, mlow, mhigh := s.Difference(c[2], c[3], c[0], c[1])
		if math.Abs(p-q) > 1e-9 || math.Abs(low+mhigh) > 1e-6 || math.Abs(high+mlow) > 1e-6 {
			t.Errorf("%v: %v [%v, %v], swapped %v [%v, %v]", c, p, low, high, q, mlow, mhigh)
		}
		if (p < s.Alpha) != (low > 0 || high < 0) {
			t.Errorf("%v: p %v but interval [%v, %v]", c, p, low, high)
		}
		at := float64(c[0])/float64(c[1]) - float64(c[2])/float64(c[3])
		if low > at || high < at {
			t.Errorf("%v: [%v, %v] leaves out %v", c, low, high, at)
		}
	}
}

// reference statistics §5.5: Beta(1, 1) priors, 49 of 100 against 51 of 100: P(B > A) = .610770523 by the exact sum.
func TestRateBeliefPublished(t *testing.T) {
	b := RateBelief{Successes: 51, Units: 100, ControlSuccesses: 49, ControlUnits: 100}
	printed(t, "P(B > A)", b.ChanceToBeat(), 0.610770523, 9)
	printed(t, "P(A > B)", RateBelief{49, 100, 51, 100}.ChanceToBeat(), 1-0.610770523, 9)
	kept, shipped := b.ExpectedLoss()
	printed(t, "the losses differ by the means", kept-shipped, 52.0/102-50.0/102, 12)
}

// GrowthBook tests/test_midexperimentpower.py as printed in reference statistics §5.7: n = 500/500, Σ = 500/525, Σ² = 1500/1551.25, target 5 %: 25.457 times as
// many more units give power .80001. Its variance is the relative one at the treated mean.
func TestMidExperimentPower(t *testing.T) {
	sc, st := (1500-500.0)/499, (1551.25-525*525/500.0)/499
	v := st + sc*1.05*1.05
	s := Sizing{Baseline: 1, SD: math.Sqrt(v / 2), Alpha: 0.05, Power: 0.80001, Ratio: 1, Arms: 2, Inflation: 1}
	n, err := s.Units(0.05)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "scaling", n/500-1, 25.457, 2e-4)
}

// tea-tasting tests/metrics/test_mean.py (43d2e03), test_ratio_of_means_solve_power_effect_size and _n_obs: on its data 10,000 units of two equal arms detect
// 0.04537464375458489 with power 0.8, and 8,236 detect 0.05. The first gives the data's standard deviation, the second is the question.
func TestTeaTastingPower(t *testing.T) {
	const effect = 0.04537464375458489
	za, zb := NormalUpper(0.025), NormalUpper(0.2)
	sd := effect / (za + zb) * math.Sqrt((5000-za*za/4)/2)
	s := Sizing{SD: sd, Alpha: 0.05, Power: 0.8, Ratio: 1, Arms: 2, Inflation: 1}
	n, err := s.Units(0.05)
	if err != nil || 2*math.Ceil(n) != 8236 {
		t.Errorf("%v units an arm, %v; want 8,236 in both", n, err)
	}
	d, err := s.Effect(5000)
	if err != nil || math.Abs(d-effect) > 1e-9 {
		t.Errorf("5,000 units an arm detect %v, %v; want %v", d, err, effect)
	}
}

// A later look than the last planned one spends nothing, and a test that ends early by a closing look spends everything: 2.81 and 1.96 at 60 % of the plan
// (reference statistics §6.2).
func TestOverrunAndClosing(t *testing.T) {
	over := Design{Fraction: []float64{0.5, 1, 1.2}, Information: []float64{0.5, 1, 1.2}}
	bounds, err := over.Boundaries(0.05)
	if err != nil || bounds[2] != never {
		t.Errorf("after the last look: %v, %v; want no boundary", bounds, err)
	}
	open, err := Design{Fraction: []float64{0.6}, Information: []float64{0.6}}.Boundaries(0.05)
	if err != nil {
		t.Fatal(err)
	}
	printed(t, "one look at 60 %", 2*NormalSF(open[0]), 0.0076, 4)
	closed, err := Design{Fraction: []float64{1}, Information: []float64{0.6}}.Boundaries(0.05)
	if err != nil {
		t.Fatal(err)
	}
	printed(t, "a closing look at 60 %", closed[0], 1.96, 2)
}

// reference statistics §6.1: with counts alone as the clock of correlation, a variance per unit that rises fourfold gives 6.0 % false alarms and one that
// falls fourfold 4.0 %; with the realised variance 5 %.
func TestTwoClocks(t *testing.T) {
	const looks = 60
	for _, c := range []struct{ from, to, counts float64 }{{1, 4, 0.060}, {4, 1, 0.040}} {
		d := EqualLooks(looks, looks)
		sum := 0.0
		real := make([]float64, looks)
		for k := range real {
			sum += c.from + (c.to-c.from)*(float64(k)+0.5)/looks
			real[k] = sum
		}
		naive, err := d.Boundaries(0.05)
		if err != nil {
			t.Fatal(err)
		}
		d.Information = real
		right, err := d.Boundaries(0.05)
		if err != nil {
			t.Fatal(err)
		}
		any, _, _ := d.Crossing(naive, 0)
		if math.Abs(any-c.counts) > 0.003 {
			t.Errorf("variance %v → %v, counts as clock: %.4f, want %.3f", c.from, c.to, any, c.counts)
		}
		if any, _, _ = d.Crossing(right, 0); math.Abs(any-0.05) > 1e-7 {
			t.Errorf("variance %v → %v, realised variance: %.6f, want 0.05", c.from, c.to, any)
		}
	}
}

// GrowthBook's defect D2 is not ours: difference and lift never disagree, whatever the critical value.
func TestLiftAndDifferenceAgree(t *testing.T) {
	c, _ := Mean(fromSums(3407, 1396.87, 52377.9767))
	tr, _ := Mean(fromSums(3461, 2422.7, 134698.29))
	p, err := Welch(tr, c)
	if err != nil {
		t.Fatal(err)
	}
	for crit := 0.5; crit < 4; crit += 0.01 {
		low, high, err := p.Relative(crit)
		if err != nil {
			break
		}
		if (low > 0 || high < 0) != (math.Abs(p.T0()) > crit) {
			t.Errorf("at %v standard errors the lift is [%v, %v] and t is %v", crit, low, high, p.T0())
		}
	}
}
