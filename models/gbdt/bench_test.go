package gbdt

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
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
	return Params{Objective: Logistic, Trees: 100, Leaves: 31, LearningRate: 0.1, MinLeaf: 1, MinHessian: 1, Lambda: 1}
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

// BenchmarkPeers fits and scores the tables that testdata/bench_peers.py laid out, for the comparison with other boosters.
func BenchmarkPeers(b *testing.B) {
	folder := os.Getenv("PERENNIAL_BENCH_TABLES")
	if folder == "" {
		folder = b.TempDir()
		layOut(b, folder)
	}
	var shape struct{ Rows, Later, Features int }
	raw, err := os.ReadFile(filepath.Join(folder, "shape.json"))
	if err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(raw, &shape); err != nil {
		b.Fatal(err)
	}
	d := &Data{Values: columns(b, filepath.Join(folder, "x"), shape.Rows), Y: columns(b, filepath.Join(folder, "y"), shape.Rows)[0]}
	for j := range shape.Features {
		d.Names = append(d.Names, fmt.Sprint("f", j))
	}
	later := columns(b, filepath.Join(folder, "u"), shape.Later)
	p := benchParams()
	p.Threads, _ = strconv.Atoi(os.Getenv("PERENNIAL_BENCH_THREADS"))
	out := make([]float64, shape.Later)
	for b.Loop() {
		at, began := cpuSeconds(b), time.Now()
		m := fit(b, d, p)
		fitted, wall := cpuSeconds(b), time.Since(began).Seconds()
		if err := m.Predict(later, out); err != nil {
			b.Fatal(err)
		}
		predicted := cpuSeconds(b)
		explained := explain(b, m, later)
		said := cpuSeconds(b)
		row := make([]float64, len(d.Names))
		for j := range row {
			row[j] = later[j][7]
		}
		const times = 20_000
		for range times {
			out[0] += 0 * m.PredictRow(row)
		}
		single := (cpuSeconds(b) - said) / times * 1e9
		allocs := testing.AllocsPerRun(100, func() { m.PredictRow(row) })
		fmt.Printf("peers fit_s=%.4f wall_s=%.4f predict_s=%.4f shap_rows_s=%.0f row_ns=%.0f row_allocs=%.0f\n", fitted-at, wall, predicted-fitted, float64(explained)/(said-predicted), single, allocs)
	}
	if err := os.WriteFile(filepath.Join(folder, "p"), floats(out), 0o600); err != nil {
		b.Fatal(err)
	}
}

// explain explains at most 100,000 rows, the making of the tables included, and returns how many.
func explain(b *testing.B, m *Model, later [][]float64) int {
	n := min(len(later[0]), 100_000)
	part, phi, cells := make([][]float64, len(later)), make([][]float64, n), make([]float64, n*len(later))
	for j := range later {
		part[j] = later[j][:n]
	}
	for i := range phi {
		phi[i] = cells[i*len(later) : (i+1)*len(later)]
	}
	m.Hasten()
	if err := m.Contributions(part, phi); err != nil {
		b.Fatal(err)
	}
	return n
}

// layOut writes small tables of our own, so that the benchmark runs without the script, too.
func layOut(b *testing.B, folder string) {
	train, later := table(5000, 20, 1, Logistic), table(5000, 20, 2, Logistic)
	for name, raw := range map[string][]byte{"x": floats(slices.Concat(train.Values...)), "y": floats(train.Y), "u": floats(slices.Concat(later.Values...)),
		"shape.json": []byte(`{"rows":5000,"later":5000,"features":20}`)} {
		if err := os.WriteFile(filepath.Join(folder, name), raw, 0o600); err != nil {
			b.Fatal(err)
		}
	}
}

func columns(b *testing.B, path string, rows int) [][]float64 {
	raw, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	var out [][]float64
	for ; len(raw) > 0; raw = raw[8*rows:] {
		column := make([]float64, rows)
		for i := range column {
			column[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		out = append(out, column)
	}
	return out
}

func floats(values []float64) []byte {
	raw := make([]byte, 0, 8*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(v))
	}
	return raw
}

func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
