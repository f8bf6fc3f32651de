package models_test

import (
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"perennial/models"
	"perennial/models/modeltest"
)

// noSignalRuns is how many shops the test below follows for a year; PERENNIAL_NO_SIGNAL_RUNS asks for more.
func noSignalRuns(t *testing.T) int {
	text := os.Getenv("PERENNIAL_NO_SIGNAL_RUNS")
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("PERENNIAL_NO_SIGNAL_RUNS=%s", text)
	}
	return n
}

// TestRetrainsWithoutSignalPromoteNobody follows shops in which leaving is a coin's toss. Every month the whole line-up is fitted on one cut and judged
// on the next, as a night does, with the learner of the month before as incumbent. At most one shop in twenty may change its learner within twelve
// retrains: 5 of 200 did (0.025 ± 0.011, PERENNIAL_NO_SIGNAL_RUNS=200, three minutes). The bound that fails is crossed by chance in fewer than one of ten thousand runs of the test.
func TestRetrainsWithoutSignalPromoteNobody(t *testing.T) {
	const users, retrains, most = 150, 12, 0.05
	runs, changed := noSignalRuns(t), 0
	cut := func(shop, month int) *models.Labelled {
		asOf := "2026-" + strconv.Itoa(101 + month)[1:] + "-01"
		if month >= 12 {
			asOf = "2027-" + strconv.Itoa(101 + month - 12)[1:] + "-01"
		}
		l := modeltest.World(uint64(100*shop+month), users, models.Churn, asOf)
		rng := rand.New(rand.NewPCG(uint64(shop), uint64(month)))
		for i := range l.Y {
			l.Y[i] = float64(rng.IntN(2))
		}
		return l
	}
	for shop := range runs {
		incumbent, before := "", cut(shop, 0)
		for month := range retrains + 1 { // the first chooses the learner that the others meet
			test := cut(shop, month+1)
			got, err := models.Train(t.Context(), models.TrainPlan{Target: models.Churn, HorizonDays: 30, Seed: 1, Train: []*models.Labelled{before}, Test: test, Incumbent: incumbent})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Card.Candidates) < 5 {
				t.Fatalf("%d candidates: %v", len(got.Card.Candidates), got.Card.Notes)
			}
			if incumbent != "" && got.Card.Learner != incumbent {
				changed++
				break
			}
			incumbent, before = got.Card.Learner, test
		}
	}
	n := float64(runs)
	share := float64(changed) / n
	t.Logf("%d of %d shops changed their learner in a year: %.3f ± %.3f", changed, runs, share, math.Sqrt(max(share*(1-share), 1/n)/n))
	if limit := n*most + 3.9*math.Sqrt(n*most*(1-most)); float64(changed) > limit {
		t.Errorf("%d of %d shops changed their learner in a year without signal; more than %.1f", changed, runs, limit)
	}
}
