package eval_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"perennial/models/eval"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) != math.IsNaN(want) || math.Abs(got-want) > tolerance {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// TestRankMetrics has worked examples small enough to check by hand.
func TestRankMetrics(t *testing.T) {
	nan := math.NaN()
	for _, test := range []struct {
		name                string
		score, y            []float64
		auc, ap, lift, gini float64
	}{
		{"perfect", []float64{.9, .8, .2, .1}, []float64{1, 1, 0, 0}, 1, 1, 2, 0.375},
		{"reversed", []float64{.1, .2, .8, .9}, []float64{1, 1, 0, 0}, 0, (1./3 + 2./4) / 2, 0, -0.125},
		{"one wrong pair", []float64{.9, .5, .6, .1}, []float64{1, 1, 0, 0}, 0.75, (1 + 2./3) / 2, 1, 0.25},
		{"all tied", []float64{1, 1, 1, 1}, []float64{1, 0, 1, 0}, 0.5, 0.5, 1, 0.25},
		{"a tie across classes", []float64{.9, .5, .5, .1}, []float64{1, 1, 0, 0}, 0.875, 0.5 + 0.5*2./3, 2, 0.375},
		{"one class", []float64{.9, .1}, []float64{1, 1}, nan, 1, 1, 0.25},
		{"nothing", nil, nil, nan, nan, nan, nan},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := eval.Rank(test.score)
			near(t, "AUC", r.AUC(test.y, nil), test.auc, 1e-15)
			near(t, "AveragePrecision", r.AveragePrecision(test.y, nil), test.ap, 1e-15)
			near(t, "Lift(0.5)", r.Lift(test.y, nil, 0.5), test.lift, 1e-15)
			near(t, "Gini", r.Gini(test.y, nil), test.gini, 1e-15)
		})
	}
}

// TestWeightsAreCopies: a weight of k is the row k times, for every weighted metric.
func TestWeightsAreCopies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var p, y, w, p2, y2 []float64
	for range 60 {
		a, b, k := math.Round(rng.Float64()*20)/21+0.01, float64(rng.IntN(2)), rng.IntN(4)
		p, y, w = append(p, a), append(y, b), append(w, float64(k))
		for range k {
			p2, y2 = append(p2, a), append(y2, b)
		}
	}
	a, b := eval.Rank(p), eval.Rank(p2)
	near(t, "AUC", a.AUC(y, w), b.AUC(y2, nil), 1e-12)
	near(t, "AveragePrecision", a.AveragePrecision(y, w), b.AveragePrecision(y2, nil), 1e-12)
	near(t, "LogLoss", eval.LogLoss(p, y, w), eval.LogLoss(p2, y2, nil), 1e-12)
	near(t, "Brier", eval.Brier(p, y, w), eval.Brier(p2, y2, nil), 1e-12)
	near(t, "MAE", eval.MAE(p, y, w), eval.MAE(p2, y2, nil), 1e-12)
	near(t, "SumRatio", eval.SumRatio(p, y, w), eval.SumRatio(p2, y2, nil), 1e-12)
	a1, b1, ok1 := eval.Platt(p, y, w)
	a2, b2, ok2 := eval.Platt(p2, y2, nil)
	near(t, "Platt intercept", a1, a2, 1e-6)
	near(t, "Platt slope", b1, b2, 1e-6)
	if !ok1 || !ok2 {
		t.Error("Platt did not fit")
	}
}

// TestAUCIsPairs compares the sorted pass with the definition.
func TestAUCIsPairs(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 50 {
		n := 2 + rng.IntN(40)
		p, y := make([]float64, n), make([]float64, n)
		for i := range p {
			p[i], y[i] = float64(rng.IntN(8)), float64(rng.IntN(2))
		}
		var wins, pairs float64
		for i := range p {
			for j := range p {
				if y[i] == 1 && y[j] == 0 {
					pairs++
					if p[i] > p[j] {
						wins++
					} else if p[i] == p[j] {
						wins += 0.5
					}
				}
			}
		}
		want := math.NaN()
		if pairs > 0 {
			want = wins / pairs
		}
		near(t, "AUC", eval.Rank(p).AUC(y, nil), want, 1e-12)
	}
}

func TestSpearman(t *testing.T) {
	near(t, "monotone", eval.Spearman([]float64{1, 2, 3, 4}, []float64{1, 10, 100, 1000}), 1, 1e-15)
	near(t, "reversed", eval.Spearman([]float64{1, 2, 3}, []float64{3, 2, 1}), -1, 1e-15)
	// Mid-ranks 1 2.5 2.5 4 5 and 2 1 3.5 3.5 5: covariance 7.25, variances 9.5.
	near(t, "ties", eval.Spearman([]float64{1, 2, 2, 4, 5}, []float64{2, 1, 3, 3, 5}), 7.25/9.5, 1e-12)
	near(t, "constant", eval.Spearman([]float64{1, 1}, []float64{1, 2}), math.NaN(), 0)
}

func TestNGiniAndShare(t *testing.T) {
	value := []float64{0, 0, 10, 30, 60}
	near(t, "perfect", eval.Rank(value).NGini(value, nil), 1, 1e-15)
	r := eval.Rank([]float64{5, 4, 3, 2, 1})
	near(t, "TopShare", r.TopShare(value, nil, 0.4), 0, 0)
	near(t, "TopShare of the best", eval.Rank(value).TopShare(value, nil, 0.2), 0.6, 1e-15)
	near(t, "no value", r.NGini(make([]float64, 5), nil), math.NaN(), 0)
	gain := eval.Rank(value).Gain(value, 5)
	near(t, "Gain[1]", gain[1], 0.9, 1e-15)
	near(t, "Gain[4]", gain[4], 1, 1e-15)
}

func TestCalibration(t *testing.T) {
	p, y := make([]float64, 1000), make([]float64, 1000)
	for i := range p {
		p[i] = 0.2
		if i%5 == 0 {
			y[i] = 1
		}
	}
	near(t, "ECE of the truth", eval.ECE(p, y), 0, 1e-12)
	for i := range p {
		p[i] = 0.5
	}
	near(t, "ECE of a coin", eval.ECE(p, y), 0.3, 1e-12)
	near(t, "log loss of a coin", eval.LogLoss(p, y, nil), math.Ln2, 1e-12)
	near(t, "Brier of a coin", eval.Brier(p, y, nil), 0.25, 1e-12)
	near(t, "certain and wrong", eval.LogLoss([]float64{0}, []float64{1}, nil), -math.Log(1e-15), 1e-9)
	rng := rand.New(rand.NewPCG(3, 3))
	for i := range p {
		p[i] = rng.Float64()
		y[i] = 0
		if rng.Float64() < eval.Sigmoid(-0.5+0.5*eval.Logit(p[i])) {
			y[i] = 1
		}
	}
	line := eval.Recalibrate(p, y)
	near(t, "intercept", line.Intercept, -0.5, 0.25)
	near(t, "slope", line.Slope, 0.5, 0.15)
	if _, _, ok := eval.Platt([]float64{1, 1, 1}, []float64{0, 1, 1}, nil); ok {
		t.Error("Platt fits a constant")
	}
	if _, _, ok := eval.Platt([]float64{1, 2, 3}, []float64{1, 1, 1}, nil); ok {
		t.Error("Platt fits one class")
	}
}

// TestBootstrap: the standard error of a mean is s/√n, the interval holds it, and a seed is a promise.
func TestBootstrap(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	x := make([]float64, 400)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	mean := func(w []float64) float64 {
		var s, n float64
		for i, v := range w {
			s, n = s+v*x[i], n+v
		}
		return s / n
	}
	b := eval.Bootstrap(len(x), 400, 1, mean)
	near(t, "SE", b.SE, 0.05, 0.008)
	near(t, "width", b.High-b.Low, 2*1.96*0.05, 0.04)
	if again := eval.Bootstrap(len(x), 400, 1, mean); again != b {
		t.Errorf("same seed: %v and %v", b, again)
	}
	if none := eval.Bootstrap(3, 10, 1, func([]float64) float64 { return math.NaN() }); !math.IsNaN(none.SE) {
		t.Errorf("undefined metric: %v", none)
	}
}

func TestPSI(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	draw := func(shift float64) []float64 {
		out := make([]float64, 5000)
		for i := range out {
			out[i] = math.Exp(rng.NormFloat64() + shift)
		}
		return out
	}
	h := eval.NewHistogram(draw(0))
	if same := h.PSI(draw(0)); same > eval.PSIWarn/2 {
		t.Errorf("PSI of the same population = %v", same)
	}
	if moved := h.PSI(draw(1)); moved < eval.PSIAlarm {
		t.Errorf("PSI of a population one standard deviation away = %v, want an alarm", moved)
	}
	gone := draw(0)
	for i := range gone[:2500] {
		gone[i] = math.NaN()
	}
	if lost := h.PSI(gone); lost < eval.PSIAlarm {
		t.Errorf("PSI when half is missing = %v, want an alarm", lost)
	}
	near(t, "no values", h.PSI(nil), math.NaN(), 0)
	constant := eval.NewHistogram([]float64{0, 0, 0, 0})
	near(t, "constant", constant.PSI([]float64{0, 0}), 0, 1e-12)
}

func TestProfitCurve(t *testing.T) {
	r := eval.Rank([]float64{4, 3, 2, 1})
	got := eval.ProfitCurve(r, []float64{1, 1, 0, 0}, 10, 3, 4)
	for i, want := range []float64{7, 14, 11, 8} {
		near(t, "profit", got[i], want, 1e-12)
	}
}

func BenchmarkAUC(b *testing.B) {
	rng := rand.New(rand.NewPCG(6, 6))
	p, y := make([]float64, 100_000), make([]float64, 100_000)
	for i := range p {
		p[i], y[i] = rng.Float64(), float64(rng.IntN(2))
	}
	r := eval.Rank(p)
	b.ReportAllocs()
	for b.Loop() {
		r.AUC(y, nil)
	}
}
