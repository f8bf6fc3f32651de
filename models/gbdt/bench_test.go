package gbdt

import (
	"crypto/sha256"
	"fmt"
	"testing"
)

// reseal gives changed bytes a right checksum, so that the reader behind it is fuzzed, too.
func reseal(raw []byte) []byte {
	if len(raw) < sha256.Size {
		return raw
	}
	body := append([]byte(nil), raw[:len(raw)-sha256.Size]...)
	sum := sha256.Sum256(body)
	return append(body, sum[:]...)
}

func benchParams() Params {
	return Params{Objective: Logistic, Trees: 100, Leaves: 31, LearningRate: 0.1, MinLeaf: 20}
}

func BenchmarkFit(b *testing.B) {
	for _, n := range []int{10_000, 50_000, 200_000} {
		d := table(n, 20, 42, Logistic)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				fit(b, d, benchParams())
			}
		})
	}
}

func BenchmarkPredict(b *testing.B) {
	m, d := fit(b, table(20_000, 20, 42, Logistic), benchParams()), table(100_000, 20, 43, Logistic)
	out := make([]float64, len(d.Y))
	b.Run("batch", func(b *testing.B) {
		for b.Loop() {
			if err := m.Predict(d.Values, out); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(out))*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
	row := make([]float64, 20)
	for j := range row {
		row[j] = d.Values[j][7]
	}
	b.Run("row", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.PredictRow(row)
		}
	})
	phi := make([][]float64, 10_000)
	columns := make([][]float64, 20)
	for i := range phi {
		phi[i] = make([]float64, 20)
	}
	for j := range columns {
		columns[j] = d.Values[j][:len(phi)]
	}
	b.Run("shap", func(b *testing.B) {
		for b.Loop() {
			if err := m.Contributions(columns, phi); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(phi))*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
}
