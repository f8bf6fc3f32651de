package models_test

import (
	"math"
	"testing"

	"perennial/models"
	"perennial/models/modeltest"
)

// The two parts of a change make the whole, the moves make the features' part, and each part is zero when its cause is.
func TestWhy(t *testing.T) {
	fit := func(target models.Target, seed uint64) models.Model {
		got, err := models.Train(t.Context(), models.TrainPlan{Target: target, HorizonDays: 60, Seed: 1, Learner: map[models.Target]string{models.Churn: "mean", models.LTV: "gbdt-two-stage"}[target],
			Train: []*models.Labelled{modeltest.World(seed, 900, target, "2026-01-01")}})
		if err != nil {
			t.Fatal(err)
		}
		return got.Model
	}
	f := &modeltest.World(3, 60, models.Churn, "2026-03-02").Frame
	for _, target := range []models.Target{models.Churn, models.LTV} {
		old, young := fit(target, 1), fit(target, 2)
		for i := range 20 {
			a, b := f.Slice(i, i+1), f.Slice(i+20, i+21)
			c, err := models.Why(target, a, b, old, young)
			if err != nil {
				t.Fatal(err)
			}
			var moves float64
			for _, m := range c.Moves {
				moves += m.Effect
			}
			size := 1e-9 * (1 + math.Abs(c.After) + math.Abs(c.Before))
			if math.Abs(c.FeaturesPart+c.ModelPart-(c.After-c.Before)) > size || math.Abs(moves-c.FeaturesPart) > size {
				t.Fatalf("%s user %d: %v + %v is not %v − %v, moves make %v", target, i, c.FeaturesPart, c.ModelPart, c.After, c.Before, moves)
			}
			if same, err := models.Why(target, a, a, old, young); err != nil || same.FeaturesPart != 0 || len(same.Moves) != 0 {
				t.Fatalf("%s: same features, yet %+v, %v", target, same, err)
			}
			if same, err := models.Why(target, a, b, old, old); err != nil || math.Abs(same.ModelPart) > size {
				t.Fatalf("%s: same model, yet %v, %v", target, same.ModelPart, err)
			}
		}
	}
}
