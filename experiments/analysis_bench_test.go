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
			arms := make([][2]stats.Moments, 1000)
			for i := range arms {
				n := int64(500 + 97*i)
				arms[i][0] = stats.Summary{N: n, Mean: 10 + float64(i%7)/10, M2: 25 * float64(n-1)}.Of()
				arms[i][1] = stats.Summary{N: n + 3, Mean: 10, M2: 24 * float64(n+2)}.Of()
			}
			all := func() {
				for _, a := range arms {
					r := blank("m", KindMean, "v")
					p, err := compareMoments(a[0], a[1], KindMean)
					if j.fill(&r, p, err); err != nil || !r.PValue.Known() {
						b.Fatal(r, err)
					}
				}
			}
			all() // warm
			b.ReportAllocs()
			for b.Loop() {
				all()
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
