package experiments

import (
	"testing"

	"perennial/experiments/stats"
)

// BenchmarkThousandResults judges 1,000 metric × arm summaries at one look with a warm boundary table.
func BenchmarkThousandResults(b *testing.B) {
	look, err := stats.NewLook(stats.EqualLooks(14, 9), 0.05)
	if err != nil {
		b.Fatal(err)
	}
	for _, method := range []string{Fixed, GST, ConfSeq} {
		b.Run(method, func(b *testing.B) {
			j := judge{method: method, alpha: 0.05, look: look, seq: stats.Sequence{Alpha: 0.05}}
			pairs := make([]stats.Pair, 1000)
			for i := range pairs {
				n := int64(500 + 97*i)
				t := stats.Estimate{N: n, Mean: 10 + float64(i%7)/10, Var: 25 / float64(n), DF: float64(n - 1)}
				c := stats.Estimate{N: n + 3, Mean: 10, Var: 24 / float64(n), DF: float64(n + 2)}
				if pairs[i], err = stats.Welch(t, c); err != nil {
					b.Fatal(err)
				}
			}
			one := blank("m", KindMean, "v")
			for _, p := range pairs { // warm
				r := one
				j.fill(&r, p, nil)
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, p := range pairs {
					r := one
					j.fill(&r, p, nil)
				}
			}
		})
	}
}

// BenchmarkColdTable computes the boundary table of the last of 60 looks from nothing and asks it for p-values from one to far out.
func BenchmarkColdTable(b *testing.B) {
	for b.Loop() {
		look, err := stats.NewLook(stats.EqualLooks(60, 60), 0.05)
		if err != nil {
			b.Fatal(err)
		}
		for z := 0.0; z < 6; z += 0.25 {
			look.P(z)
		}
	}
}
