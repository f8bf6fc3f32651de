package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"perennial/features"
	"perennial/models"
)

// nightBenchDay is the cut of the benchmark.
const nightBenchDay = "2025-09-01"

// BenchmarkNightScores scores a million users through the real command, in a process of its own: read the features, predict, calibrate, rank,
// explain, write and publish. Their features are drawn from those of a small simulated shop, row by row with noise, so that they hang together
// and miss as real ones do; the models are boosted ones of the size that such a shop gets. It prints wall and CPU seconds and peak memory.
func BenchmarkNightScores(b *testing.B) {
	users, learn := sizeFrom("PERENNIAL_BENCH_USERS", 1_000_000), sizeFrom("PERENNIAL_BENCH_TRAIN", 64_000)
	data := b.TempDir()
	million(b, data, users, learn)
	binary := filepath.Join(b.TempDir(), "perennial")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	b.ResetTimer()
	var said bytes.Buffer
	child := exec.Command(binary, "score", "--as-of", nightBenchDay, "--data", data)
	child.Stderr = &said
	start := time.Now()
	if err := child.Run(); err != nil { // once: a second run would find its scores published
		b.Fatalf("score: %v\n%s", err, said.String())
	}
	use := child.ProcessState.SysUsage().(*syscall.Rusage)
	fmt.Printf("night users=%d wall_s=%.2f cpu_s=%.2f peak_gb=%.3f\n", users, time.Since(start).Seconds(),
		(child.ProcessState.UserTime() + child.ProcessState.SystemTime()).Seconds(), float64(use.Maxrss)/(1<<20))
}

func sizeFrom(name string, size int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return size
}

// million publishes the features of so many users and registers models that were fitted on some of them.
func million(b *testing.B, data string, users, learn int) {
	config, err := loadConfig("")
	if err != nil {
		b.Fatal(err)
	}
	a := &App{Data: data, Config: config, Out: &bytes.Buffer{}, Err: os.Stderr}
	smallShop(b, data)
	w, err := openBench(b.Context(), a)
	if err != nil {
		b.Fatal(err)
	}
	defer w.close()
	asOf, err := features.ParseDay(nightBenchDay)
	if err != nil {
		b.Fatal(err)
	}
	_, template, err := buildFeatures(b.Context(), w.l, w.e, w.snap, asOf, nil)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(4, 4))
	for _, target := range []models.Target{models.Churn, models.LTV} {
		cut := &models.Labelled{Frame: *frameOf(resample(rng, template, learn, asOf))}
		cut.Y = outcomes(rng, target, &cut.Frame)
		learner := map[models.Target]string{models.Churn: "gbdt", models.LTV: "gbdt-two-stage"}[target]
		t, err := models.Train(b.Context(), models.TrainPlan{Target: target, HorizonDays: 60, Train: []*models.Labelled{cut}, Learner: learner, Seed: 1, Of: "revenue"})
		if err != nil {
			b.Fatal(err)
		}
		if err := saveModel(b.Context(), a, w.l, t, lineage{KnownUntil: nightBenchDay, By: "train"}); err != nil {
			b.Fatal(err)
		}
		if err := crown(b.Context(), w.l, target, t.Card.Version, "train", "benchmark"); err != nil {
			b.Fatal(err)
		}
	}
	publishFeatures(b, w, resample(rng, template, users, asOf))
}

// publishFeatures puts a table in the place of the cut's own features.
func publishFeatures(b *testing.B, w *bench, t *features.Table) {
	run, ok, err := w.l.FindRun(b.Context(), "features", t.AsOf, "")
	if err != nil || !ok {
		b.Fatal(err)
	}
	if err := w.e.WriteTable(b.Context(), t, filepath.Join(run.Dir, "features.parquet")); err != nil {
		b.Fatal(err)
	}
}

// smallShop imports the orders of 2,000 simulated customers.
func smallShop(b *testing.B, data string) {
	rng := rand.New(rand.NewPCG(7, 7))
	start := time.Date(2024, 9, 1, 0, 0, 0, 0, time.UTC)
	var text bytes.Buffer
	for u := range 2000 {
		rate, level := 0.005+0.03*rng.ExpFloat64(), 3+rng.NormFloat64()
		life, first := rng.ExpFloat64()*300, rng.Float64()*330
		for at, n := first, 0; at < 364 && (n == 0 || at < first+life); at, n = at+rng.ExpFloat64()/rate, n+1 {
			ts := start.Add(time.Duration(at * 24 * float64(time.Hour))).Truncate(time.Second)
			value := max(math.Round(100*math.Exp(level+0.4*rng.NormFloat64()))/100, 0.01)
			fmt.Fprintf(&text, "{\"event_id\":\"e%d-%d\",\"user_id\":\"u%04d\",\"event\":\"Order Completed\",\"ts\":%q,\"value\":%v,\"order_id\":\"o%d-%d\"}\n", u, n, u, ts.Format(time.RFC3339), value, u, n)
			fmt.Fprintf(&text, "{\"event_id\":\"s%d-%d\",\"user_id\":\"u%04d\",\"event\":\"Session Started\",\"ts\":%q}\n", u, n, u, ts.Add(-time.Hour).Format(time.RFC3339))
		}
	}
	file := filepath.Join(b.TempDir(), "events.ndjson")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	var out, said bytes.Buffer
	if code := run(b.Context(), []string{"import", "events", file, "--data", data}, &out, &said); code != 0 {
		b.Fatalf("import: exit %d\n%s", code, said.String())
	}
}

// resample draws rows of a table with noise on what is not a whole number.
func resample(rng *rand.Rand, t *features.Table, n int, asOf features.Day) *features.Table {
	out := &features.Table{AsOf: asOf, Users: make([]string, n)}
	rows := make([]int, n)
	for i := range rows {
		out.Users[i], rows[i] = fmt.Sprintf("user-%08d", i), rng.IntN(len(t.Users))
	}
	for _, c := range t.Columns {
		k := features.Column{Name: c.Name, Integer: c.Integer}
		if c.Texts != nil {
			k.Texts = make([]string, n)
			for i, r := range rows {
				k.Texts[i] = c.Texts[r]
			}
		} else {
			k.Numbers = make([]float64, n)
			for i, r := range rows {
				if k.Numbers[i] = c.Numbers[r]; !c.Integer {
					k.Numbers[i] *= math.Exp(0.2 * rng.NormFloat64())
				}
			}
		}
		out.Columns = append(out.Columns, k)
	}
	return out
}

// outcomes make labels that hang on several features.
func outcomes(rng *rand.Rand, target models.Target, f *models.Frame) []float64 {
	column := func(name string) []float64 { return f.Values[slices.Index(f.Names, name)] }
	recency, orders, revenue, tenure := column("recency_days"), column("orders_90d"), column("revenue_all"), column("tenure_days")
	y := make([]float64, len(f.Users))
	for i := range y {
		s := 0.02*recency[i] - 0.5*math.Log1p(orders[i]) - 0.1*math.Log1p(revenue[i]) + 0.3*math.Sin(tenure[i]/40)
		leaves := rng.Float64() < 1/(1+math.Exp(-s))
		switch {
		case target == models.Churn && leaves:
			y[i] = 1
		case target == models.LTV && !leaves:
			y[i] = math.Exp(3 + 0.3*math.Log1p(revenue[i]) + 0.7*rng.NormFloat64())
		}
	}
	return y
}
