package stats

import (
	"math"
	"testing"
)

// tea-tasting docstring of adjust_fdr / adjust_fwer: p = .118, .0211, .0213, .00218.
func TestMultiplePublished(t *testing.T) {
	p := []float64{0.118, 0.0211, 0.0213, 0.00218}
	for name, c := range map[string]struct{ got, want []float64 }{
		"Holm": {Holm(p), []float64{0.118, 0.0633, 0.0633, 0.00872}},
		"BH":   {BenjaminiHochberg(p), []float64{0.118, 0.0284, 0.0284, 0.00872}},
	} {
		for i := range c.want {
			near(t, name, c.got[i], c.want[i], 1e-9)
		}
	}
	withNaN := Holm([]float64{0.01, math.NaN(), 0.04})
	if withNaN[0] != 0.02 || !math.IsNaN(withNaN[1]) || withNaN[2] != 0.04 {
		t.Errorf("Holm with a missing p = %v, want [0.02 NaN 0.04]", withNaN)
	}
}

// 5000/4950 at 50/50 and GrowthBook's defect D5, an arm of weight 0: reference statistics §5.4 and §2.10.
func TestSRMPublished(t *testing.T) {
	x, df, p, err := SRM([]int64{5000, 4950}, []float64{0.5, 0.5})
	if err != nil || df != 1 {
		t.Fatal(df, err)
	}
	near(t, "chi2", x, 0.25126, 1e-4)
	near(t, "p", p, 0.6162, 1e-4)
	_, df, p, _ = SRM([]int64{5100, 4900, 0}, []float64{0.5, 0.5, 0})
	if df != 1 {
		t.Errorf("an arm of weight 0 counts as a degree of freedom: df %v", df)
	}
	near(t, "D5", p, 0.0455, 1e-3)
	if _, _, _, err := SRM([]int64{5}, []float64{1}); err != ErrTooFew {
		t.Errorf("one arm: %v, want ErrTooFew", err)
	}
}

// ssrm test_ssrm_test.py: p0 = (.4, .4, .2), Dirichlet (1, 1, 1).
func TestSequentialSRMPublished(t *testing.T) {
	for _, c := range []struct {
		counts []int64
		want   float64
	}{{[]int64{20, 17, 9}, -2.950560785}, {[]int64{60, 63, 32}, -4.183813982}} {
		near(t, "log Bayes factor", LogBayesSRM(c.counts, []float64{0.4, 0.4, 0.2}, []float64{1, 1, 1}), c.want, 1e-9)
	}
}

// p at the boundary is α, two-sided; the one-sided limit is narrower than the two-sided one and its p inverts it.
func TestSequenceDuality(t *testing.T) {
	for _, s := range []Sequence{{0.05, 1000}, {0.01, 50000}, {0.05, 0}} {
		for _, n := range []float64{10, 500, 6868, 1e6} {
			near(t, "P(multiplier)", s.P(s.Multiplier(n), n), s.Alpha, 1e-9)
			one := s.OneSidedMultiplier(n)
			if n >= 500 && one >= s.Multiplier(n) {
				t.Errorf("one-sided multiplier %v is not below %v", one, s.Multiplier(n))
			}
			near(t, "OneSidedP", s.OneSidedP(one, n), s.Alpha, 1e-9)
		}
	}
	if got := (Sequence{Alpha: 0.05}).P(0, 100); got != 1 {
		t.Errorf("P(0) = %v, want 1", got)
	}
}

// E max(0, N(.1, .05)): reference statistics §5.5; the far tail against its integral by mpmath.
func TestExpectedLoss(t *testing.T) {
	keep, ship := ExpectedLoss(0.1, 0.05)
	near(t, "E max(δ, 0)", keep, 0.1004245351308, 1e-11)
	near(t, "difference is the mean", keep-ship, 0.1, 1e-12)
	_, far := ExpectedLoss(13, 1)
	near(t, "far tail", far, 4.651403759196791e-40, 1e-6)
	_, by12 := ExpectedLoss(12.0001, 1)
	_, below := ExpectedLoss(11.9999, 1)
	near(t, "both sides of the switch", by12, below, 3e-3)
}

// Feit & Berman 2019: N = 100,000, mean response .68, σ = .03 give n* = 2,284.
func TestTestAndRollPublished(t *testing.T) {
	if got := math.Round(TestAndRoll(100000, math.Sqrt(0.68*0.32), 0.03)); got != 2284 {
		t.Errorf("n* = %v, want 2284", got)
	}
}

// statsmodels 0.14 TTestIndPower: 393.41, 63.77 and 234.46 per arm; the effect of that size comes back.
func TestSizingPublished(t *testing.T) {
	for _, c := range []struct{ sd, d, power, want float64 }{{50, 10, 0.8, 393.41}, {20, 10, 0.8, 63.77}, {50, 15, 0.9, 234.46}} {
		s := Sizing{Baseline: 100, SD: c.sd, Alpha: 0.05, Power: c.power, Ratio: 1, Arms: 2, Inflation: 1}
		n, err := s.Units(c.d)
		if err != nil || math.Abs(n-c.want) > 0.03 {
			t.Errorf("sd %v, effect %v: n = %v, %v, want %v", c.sd, c.d, n, err, c.want)
		}
		d, err := s.Effect(n)
		if err != nil || math.Abs(d-c.d) > 1e-6 {
			t.Errorf("effect of %v units = %v, %v, want %v", n, d, err, c.d)
		}
	}
	if _, err := (Sizing{Proportion: true, Baseline: 0.9, Alpha: 0.05, Power: 0.8, Ratio: 1, Arms: 2, Inflation: 1}).Units(0.45); err != ErrDesign {
		t.Errorf("a rate above 1: %v, want ErrDesign", err)
	}
}

// Equal effects have no heterogeneity beyond chance, a planted trend is found, shrinkage pulls towards the mean.
func TestHeterogeneity(t *testing.T) {
	v := []float64{1, 1, 1, 1}
	q, df, p, err := Heterogeneity([]float64{1, 2, 3, 4}, v)
	if err != nil || q != 5 || df != 3 {
		t.Fatal(q, df, err)
	}
	near(t, "p", p, Chi2SF(5, 3), 1e-15)
	slope, se, tp, err := Trend([]float64{1, 2, 3, 4}, []float64{1, 2, 3, 4}, v)
	if err != nil || math.Abs(slope-1) > 1e-12 {
		t.Fatal(slope, err)
	}
	near(t, "slope's se", se, 1/math.Sqrt(5), 1e-12)
	near(t, "slope's p", tp, 2*NormalSF(math.Sqrt(5)), 1e-12)
	shrunk, tau2, err := Shrink([]float64{1, 2, 3, 4}, v)
	if err != nil || tau2 <= 0 || shrunk[0] <= 1 || shrunk[3] >= 4 {
		t.Errorf("Shrink = %v, τ² %v, %v", shrunk, tau2, err)
	}
}
