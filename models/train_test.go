package models_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"perennial/models"
	"perennial/models/modeltest"
)

func TestContract(t *testing.T) {
	for _, target := range []models.Target{models.Churn, models.LTV} {
		for _, learner := range models.Learners(target) {
			t.Run(string(target)+"/"+learner, func(t *testing.T) {
				t.Parallel()
				modeltest.Run(t, target, learner)
			})
		}
	}
}

// TestTrainCard fits the whole line-up on a stationary shop: the card must be JSON, print the naive rules beside the models, and be
// calibrated where nothing has shifted.
func TestTrainCard(t *testing.T) {
	for _, target := range []models.Target{models.Churn, models.LTV} {
		t.Run(string(target), func(t *testing.T) {
			t.Parallel()
			rows, learner := 2500, ""
			if target == models.LTV {
				rows, learner = 8000, "linear-two-stage" // the total of heavy-tailed spend has a relative standard error of about 4 % here
			}
			plan := models.TrainPlan{Target: target, HorizonDays: 60, Seed: 1, Of: "revenue", Learner: learner,
				Train: []*models.Labelled{modeltest.World(10, rows, target, "2026-01-01")}, Test: modeltest.World(20, rows, target, "2026-03-02")}
			got, err := models.Train(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			c := got.Card
			if _, err := json.Marshal(c); err != nil {
				t.Fatalf("card: %v", err)
			}
			if !strings.HasPrefix(c.Version, string(target)+"-2026-03-02-") || len(c.Version) != len(string(target))+20 {
				t.Errorf("version %q, want %s-2026-03-02-XXXXXXXX", c.Version, target)
			}
			if c.RowsTrain != rows || c.RowsTest != rows || len(c.Calibration) != 10 || len(c.Features) == 0 || len(c.Importance) == 0 {
				t.Errorf("card %+v lacks rows, calibration, features or importance", c)
			}
			for _, rule := range []string{"recency", "past_revenue"} {
				if len(c.Baselines[rule]) == 0 {
					t.Errorf("baseline %s is not on the card", rule)
				}
			}
			if target == models.Churn {
				if a := *c.Metrics["auc"]; a < c.Baselines["recency"]["auc"] || a < *c.Metrics["auc_low"] || a > *c.Metrics["auc_high"] {
					t.Errorf("AUC %v, recency %v, interval %v..%v", a, c.Baselines["recency"]["auc"], *c.Metrics["auc_low"], *c.Metrics["auc_high"])
				}
				if e := *c.Metrics["ece"]; e > 0.04 {
					t.Errorf("calibration error %v in a stationary shop, want <= 0.04", e)
				}
				return
			}
			if p := *c.Metrics["p90_coverage"]; p < 0.87 || p > 0.93 {
				t.Errorf("P(y <= P90) = %v in a stationary shop, want 0.87..0.93", p)
			}
			if b := *c.Metrics["calibration"]; b < 0.9 || b > 1.1 {
				t.Errorf("sum of predictions is %v of the truth", b)
			}
		})
	}
}

// TestRefit fits without a test cut: a choice among learners by folds over users, and no metrics of its own.
func TestRefit(t *testing.T) {
	cuts := []*models.Labelled{modeltest.World(1, 800, models.Churn, "2026-01-01"), modeltest.World(1, 800, models.Churn, "2026-02-01")}
	got, err := models.Train(t.Context(), models.TrainPlan{Target: models.Churn, HorizonDays: 60, Seed: 1, Train: cuts})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Card.Metrics) != 0 || got.Card.TestAsOf != "" || !strings.HasPrefix(got.Card.Version, "churn-2026-02-01-") {
		t.Errorf("card of a refit: metrics %v, test %q, version %s", got.Card.Metrics, got.Card.TestAsOf, got.Card.Version)
	}
}

func TestTrainRefuses(t *testing.T) {
	good := modeltest.World(1, 200, models.Churn, "2026-01-01")
	late := modeltest.World(2, 200, models.Churn, "2025-12-01")
	same := modeltest.World(1, 200, models.Churn, "2026-01-01")
	for i := range same.Y {
		same.Y[i] = 1
	}
	odd := modeltest.World(1, 200, models.Churn, "2026-01-01")
	odd.Y[3] = 0.5
	short := modeltest.World(1, 200, models.Churn, "2026-01-01")
	short.Values[2] = short.Values[2][:10]
	for _, test := range []struct {
		name, want string
		plan       models.TrainPlan
	}{
		{"target", "neither", models.TrainPlan{Target: "spend"}},
		{"learner", "no learner", models.TrainPlan{Target: models.Churn, Learner: "oracle", Train: []*models.Labelled{good}}},
		{"no cut", "no train cut", models.TrainPlan{Target: models.Churn}},
		{"test before train", "not before", models.TrainPlan{Target: models.Churn, Train: []*models.Labelled{good}, Test: late}},
		{"one class", "all labels are equal", models.TrainPlan{Target: models.Churn, Train: []*models.Labelled{same}}},
		{"half a label", "not possible", models.TrainPlan{Target: models.Churn, Train: []*models.Labelled{odd}}},
		{"ragged", "rows, want", models.TrainPlan{Target: models.Churn, Train: []*models.Labelled{short}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := models.Train(t.Context(), test.plan); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Train = %v, want an error with %q", err, test.want)
			}
		})
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := models.Train(stopped, models.TrainPlan{Target: models.Churn, Train: []*models.Labelled{good}}); err == nil {
		t.Error("Train goes on after its context ended")
	}
}

func TestScoreFrame(t *testing.T) {
	train := func(target models.Target) models.Model {
		got, err := models.Train(t.Context(), models.TrainPlan{Target: target, HorizonDays: 60, Seed: 1, Learner: map[models.Target]string{models.Churn: "logit", models.LTV: "linear-two-stage"}[target],
			Train: []*models.Labelled{modeltest.World(1, 1000, target, "2026-01-01")}})
		if err != nil {
			t.Fatal(err)
		}
		return got.Model
	}
	f := &modeltest.World(3, 1000, models.Churn, "2026-03-02").Frame
	f.Stage = make([]string, len(f.Users))
	for i := range f.Stage {
		f.Stage[i] = "active"
	}
	scores, err := models.ScoreFrame(f, train(models.Churn), train(models.LTV))
	if err != nil {
		t.Fatal(err)
	}
	count := map[int]int{}
	for i, s := range scores {
		if s.User != f.Users[i] || s.Stage != "active" {
			t.Fatalf("row %d is %s %s", i, s.User, s.Stage)
		}
		if !(s.ChurnRisk > 0 && s.ChurnRisk < 1) || !(s.LTVLow <= s.LTV && s.LTV <= s.LTVHigh && s.LTVLow >= 0) {
			t.Fatalf("row %d: %+v", i, s)
		}
		if len(s.Reasons) == 0 || s.Reasons[0].ZH == "" || s.Reasons[0].EN == "" {
			t.Fatalf("row %d has no reasons: %+v", i, s)
		}
		count[s.LTVDecile]++
	}
	for d := 1; d <= 10; d++ {
		if count[d] != 100 {
			t.Errorf("decile %d has %d users, want 100", d, count[d])
		}
	}
	without, err := models.ScoreFrame(f, nil, nil)
	if err != nil || !math.IsNaN(without[0].ChurnRisk) || without[0].ChurnDecile != 0 || !math.IsNaN(without[0].LTV) {
		t.Errorf("without models: %+v, %v", without[0], err)
	}
	none, err := models.ScoreFrame(&models.Frame{Names: f.Names, Values: make([][]float64, len(f.Names))}, train(models.Churn), nil)
	if err != nil || len(none) != 0 {
		t.Errorf("no users: %v, %v", none, err)
	}
}

func TestDeciles(t *testing.T) {
	values := make([]float64, 100)
	for i := range values {
		values[i] = float64(i / 3) // ties
	}
	got := models.Deciles(values)
	for i := 95; i < 100; i++ {
		if got[i] != 10 {
			t.Errorf("value %v of the highest 5 %% is in decile %d", values[i], got[i])
		}
	}
	if one := models.Deciles([]float64{5}); one[0] != 1 {
		t.Errorf("a single user is in decile %d, want 1", one[0])
	}
}

func FuzzLoad(f *testing.F) {
	got, err := models.Train(f.Context(), models.TrainPlan{Target: models.LTV, HorizonDays: 60, Seed: 1, Learner: "linear-two-stage",
		Train: []*models.Labelled{modeltest.World(1, 400, models.LTV, "2026-01-01")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(got.Artifact)
	f.Add([]byte("PRNL"))
	frame := &modeltest.World(1, 5, models.LTV, "2026-01-01").Frame
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := models.Load(raw)
		if err != nil {
			return
		}
		_ = m.Predict(frame, make([]float64, 5)) // may refuse, must not crash
		if saved, err := m.Save(); err == nil && len(saved) == 0 {
			t.Error("Save gives nothing")
		}
	})
}

func TestSameCardTwice(t *testing.T) {
	cut := modeltest.World(1, 600, models.Churn, "2026-01-01")
	var last []byte
	for range 2 {
		got, err := models.Train(t.Context(), models.TrainPlan{Target: models.Churn, HorizonDays: 60, Seed: 3, Train: []*models.Labelled{cut}, Test: modeltest.World(2, 600, models.Churn, "2026-03-02")})
		if err != nil {
			t.Fatal(err)
		}
		doc, err := json.Marshal(got.Card)
		if err != nil {
			t.Fatal(err)
		}
		if last != nil && !bytes.Equal(last, doc) {
			t.Errorf("two cards of one plan differ")
		}
		last = doc
	}
}

// A refit's card shows what the newest cut has changed: the base rate moved, the judged model is off, and the refit less.
func TestRefitShowsBothCalibrations(t *testing.T) {
	old, moved := modeltest.World(1, 3000, models.Churn, "2026-01-01"), modeltest.World(2, 3000, models.Churn, "2026-03-02")
	for i := range moved.Y {
		if i%3 == 0 {
			moved.Y[i] = 0
		}
	}
	for _, learner := range []string{"logit", "gbdt"} {
		plan := models.TrainPlan{Target: models.Churn, HorizonDays: 60, Seed: 1, Learner: learner, Train: []*models.Labelled{old}, Test: moved}
		judged, err := models.Train(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		plan.Train, plan.Test = []*models.Labelled{old, moved}, nil
		plan.Backtest = &models.Backtest{Version: judged.Card.Version, TestAsOf: judged.Card.TestAsOf, Users: judged.Card.RowsTest, Metrics: judged.Card.Metrics}
		refit, err := models.Train(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		r := refit.Card.Calibrated
		if judged.Card.Calibrated != nil || r == nil || r.AsOf != "2026-03-02" {
			t.Fatalf("%s: recalibrated %+v", learner, r)
		}
		if before, after := *r.Before.PriorShift, *r.After.PriorShift; before < 0.15 || after > 0.7*before || after < 0.2*before {
			t.Errorf("%s: predicted − observed %.3f before, %.3f after; half of its rows are of the old rate", learner, before, after)
		}
		if *r.Before.Intercept > -0.3 || *r.After.Intercept < *r.Before.Intercept+0.2 {
			t.Errorf("%s: intercept %.3f before, %.3f after", learner, *r.Before.Intercept, *r.After.Intercept)
		}
		if text := refit.Card.Markdown(); !strings.Contains(text, "| the judged model | ") || !strings.Contains(text, "| this refit | ") {
			t.Errorf("%s: the card does not show them:\n%s", learner, text)
		}
	}
}
