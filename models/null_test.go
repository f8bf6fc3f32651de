package models

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// nullRuns is how many shops the test below follows for a year; PERENNIAL_NULL_RUNS asks for more.
func nullRuns(t *testing.T) int {
	t.Helper()
	text := os.Getenv("PERENNIAL_NULL_RUNS")
	if text == "" {
		return 60
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("PERENNIAL_NULL_RUNS=%s", text)
	}
	return n
}

// TestNobodyIsPromotedWithoutSignal: every month a year long the best of five challengers meets the champion, and none knows anything that the
// others do not: each sees the same weak truth through a noise of its own. At most one shop in twenty may change its champion; the bound that
// fails is crossed by chance in fewer than one of ten thousand runs of the test.
func TestNobodyIsPromotedWithoutSignal(t *testing.T) {
	runs, promoted := nullRuns(t), 0
	const users, months, candidates = 400, 12, 5
	for shop := range runs {
		rng := rand.New(rand.NewPCG(uint64(shop), 77))
		changed := false
		for range months {
			test := &Labelled{Frame: Frame{AsOf: "2026-01-01", Users: make([]string, users)}, Y: make([]float64, users)}
			truth := make([]float64, users)
			for i := range test.Y {
				test.Users[i] = fmt.Sprint(i)
				if truth[i] = rng.NormFloat64(); rng.Float64() < 1/(1+math.Exp(-0.8*truth[i])) {
					test.Y[i] = 1
				}
			}
			predictions := make([][]float64, candidates+1)
			best := 0
			for k := range predictions {
				predictions[k] = make([]float64, users)
				for i, v := range truth {
					predictions[k][i] = 1 / (1 + math.Exp(-0.5*(v+rng.NormFloat64())))
				}
				if k > 0 && (best == 0 || merit(Churn, &judged{p: predictions[k]}, test.Y, nil) > merit(Churn, &judged{p: predictions[best]}, test.Y, nil)) {
					best = k
				}
			}
			v, err := contest(Churn, predictions[best], predictions[0], test, uint64(shop), candidates)
			if err != nil {
				t.Fatal(err)
			}
			changed = changed || v.Promote
		}
		if changed {
			promoted++
		}
	}
	p := 0.05
	limit := float64(runs)*p + 3.9*math.Sqrt(float64(runs)*p*(1-p))
	t.Logf("%d of %d shops changed their champion in a year", promoted, runs)
	if float64(promoted) > limit {
		t.Errorf("%d of %d shops changed their champion in a year without signal; more than %.1f", promoted, runs, limit)
	}
}

// A challenger that sees the truth more clearly is promoted, and one that also loses a segment is not.
func TestSignalIsPromoted(t *testing.T) {
	const users = 4000
	rng := rand.New(rand.NewPCG(3, 78))
	test := &Labelled{Frame: Frame{AsOf: "2026-01-01", Users: make([]string, users), Stage: make([]string, users)}, Y: make([]float64, users)}
	sharp, dull, uneven := make([]float64, users), make([]float64, users), make([]float64, users)
	for i := range test.Y {
		test.Users[i], test.Stage[i] = fmt.Sprint(i), []string{"active", "active", "active", "loyal"}[i%4]
		v := rng.NormFloat64()
		if rng.Float64() < 1/(1+math.Exp(-1.5*v)) {
			test.Y[i] = 1
		}
		noise := rng.NormFloat64()
		sharp[i], dull[i] = 1/(1+math.Exp(-1.5*v)), 1/(1+math.Exp(-0.7*(v+noise)))
		if uneven[i] = sharp[i]; i%4 == 3 {
			uneven[i] = 0.5 + 0.01*(rng.Float64()-0.5)
		}
	}
	if v, err := contest(Churn, sharp, dull, test, 1, 5); err != nil || !v.Promote {
		t.Errorf("a sure gain: %+v, %v", v, err)
	}
	if v, err := contest(Churn, uneven, dull, test, 1, 5); err != nil || v.Promote || !(v.GainLow > 0) {
		t.Errorf("a gain that loses a segment: %+v, %v", v, err)
	}
}
