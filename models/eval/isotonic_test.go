package eval

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Hand-worked pools: scikit-learn 1.9.1, IsotonicRegression().fit_transform([1, 2, 3, 4, 5], [1, 3, 2, 4, 3.5]) gives 1, 2.5, 2.5, 3.75, 3.75.
func TestIsotonicPools(t *testing.T) {
	x, y := []float64{1, 2, 3, 4, 5}, []float64{0.1, 0.3, 0.2, 0.4, 0.35}
	at, value := Isotonic(x, y, nil)
	for i, want := range []struct{ at, value float64 }{{1, 0.1}, {2.5, 0.25}, {4.5, 0.375}} {
		if len(at) != 3 || at[i] != want.at || math.Abs(value[i]-want.value) > 1e-15 {
			t.Fatalf("Isotonic = %v %v, want %v in place %d", at, value, want, i)
		}
	}
	if got := Interpolate(at, value, 3.5); math.Abs(got-0.3125) > 1e-15 {
		t.Errorf("Interpolate(3.5) = %v, want 0.3125", got)
	}
	if Interpolate(at, value, -9) != value[0] || Interpolate(at, value, 9) != value[2] {
		t.Error("it is not constant outside its knots")
	}
}

// The curve finds a shape that no line has, and its knots rise.
func TestIsotonicFindsTheCurve(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	truth := func(x float64) float64 { return 0.1 + 0.5*math.Round(x*2)/2*0.9 }
	x, y := make([]float64, 40_000), make([]float64, 40_000)
	for i := range x {
		if x[i] = rng.Float64(); rng.Float64() < truth(x[i]) {
			y[i] = 1
		}
	}
	at, value := Isotonic(x, y, nil)
	if !slices.IsSorted(at) || !slices.IsSorted(value) {
		t.Fatal("the knots do not rise")
	}
	for _, v := range []float64{0.1, 0.5, 0.9} {
		if got := Interpolate(at, value, v); math.Abs(got-truth(v)) > 0.03 {
			t.Errorf("at %v it is %v, want %v", v, got, truth(v))
		}
	}
}

func TestProfit(t *testing.T) {
	curve := Rank([]float64{4, 3, 2, 1}).Profit([]float64{1, 1, 0, 0}, 0.5, 4)
	for i, want := range []float64{0.125, 0.25, 0.125, 0} {
		if curve[i] != want {
			t.Errorf("Profit = %v, want %v in place %d", curve, want, i)
		}
	}
}
