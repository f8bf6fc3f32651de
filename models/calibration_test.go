package models_test

import (
	"math"
	"testing"

	"perennial/models"
	"perennial/models/modeltest"
)

// TestCalibratedInAStationaryShop: in at least nine of ten equal bins the observed share lies within the 95 % interval of what was predicted. The
// training set is large against the test set, so that the interval is the test's own.
func TestCalibratedInAStationaryShop(t *testing.T) {
	train, test := modeltest.World(10, 16_000, models.Churn, "2026-01-01"), modeltest.World(20, 3000, models.Churn, "2026-03-02")
	for _, learner := range []string{"logit", "gbdt", "mean"} {
		t.Run(learner, func(t *testing.T) {
			t.Parallel()
			got, err := models.Train(t.Context(), models.TrainPlan{Target: models.Churn, HorizonDays: 60, Seed: 1, Learner: learner, Train: []*models.Labelled{train}, Test: test})
			if err != nil {
				t.Fatal(err)
			}
			within := 0
			for _, b := range got.Card.Calibration {
				if math.Abs(b.Observed-b.Predicted) <= 1.96*math.Sqrt(b.Predicted*(1-b.Predicted)/float64(b.N)) {
					within++
				}
			}
			if within < 9 {
				t.Errorf("%d of 10 bins are within their intervals: %+v", within, got.Card.Calibration)
			}
		})
	}
}
