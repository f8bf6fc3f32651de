package stats

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The quantile from six order statistics is the quantile from all values.
func TestQuantileAtEqualsQuantile(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 300 {
		x := make([]float64, 1+rng.IntN(60))
		for i := range x {
			x[i] = float64(rng.IntN(40))
		}
		slices.Sort(x)
		q := 0.02 + 0.96*rng.Float64()
		asked := QuantileRanks(int64(len(x)), q)
		want, wantErr := Quantile(x, q)
		got, err := QuantileAt(int64(len(x)), q, func(r int64) float64 {
			if !slices.Contains(asked, r) {
				t.Fatalf("rank %d of %d was not among %v", r, len(x), asked)
			}
			return x[r-1]
		})
		if err != wantErr || got != want {
			t.Fatalf("QuantileAt(%d, %v) = %+v, %v, want %+v, %v", len(x), q, got, err, want, wantErr)
		}
	}
}
