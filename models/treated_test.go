package models_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"perennial/models"
	"perennial/models/modeltest"
)

// coupons gives coupons to nine of ten users of the riskier half and makes most of them buy: what a campaign by score does. The second result
// is what would have happened without.
func coupons(seed uint64, n int, control bool) (*models.Labelled, []models.Contact, []float64) {
	l := modeltest.World(seed, n, models.Churn, "2026-01-01")
	truth := append([]float64(nil), l.Y...)
	recency := l.Values[4]
	rng := rand.New(rand.NewPCG(seed, 11))
	contacts := make([]models.Contact, n)
	for i := range contacts {
		contacts[i].PUntreated = 1
		if recency[i] < 60 {
			continue
		}
		contacts[i].PUntreated = 0.1
		if !control {
			contacts[i].PUntreated = 0
		}
		if rng.Float64() < 0.9 {
			contacts[i].Treated = true
			if rng.Float64() < 0.7 {
				l.Y[i] = 0
			}
		}
	}
	return l, contacts, truth
}

// TestTreatedUsersDoNotTeachSafety: a model of guarded labels predicts what happens without coupons, a model of raw ones calls the riskiest safe.
func TestTreatedUsersDoNotTeachSafety(t *testing.T) {
	fresh := modeltest.World(9, 4000, models.Churn, "2026-03-02")
	bias := func(l *models.Labelled) float64 {
		got, err := models.Train(t.Context(), models.TrainPlan{Target: models.Churn, HorizonDays: 60, Seed: 1, Learner: "logit", Train: []*models.Labelled{l}})
		if err != nil {
			t.Fatal(err)
		}
		f := models.Untreated(&fresh.Frame, got.Model)
		p := make([]float64, len(f.Users))
		if err := got.Model.Predict(f, p); err != nil {
			t.Fatal(err)
		}
		var sum, rows float64
		for i, v := range p {
			if fresh.Values[4][i] >= 60 {
				sum, rows = sum+v-fresh.Y[i], rows+1
			}
		}
		return sum / rows
	}
	raw, contacts, _ := coupons(1, 6000, true)
	if b := bias(raw); b > -0.2 {
		t.Fatalf("raw labels: bias %.3f among the treated kind; the world has no contamination to guard against", b)
	}
	weighted, contacts2, _ := coupons(1, 6000, true)
	if treated, ok := weighted.Guard(contacts2); !ok || treated < 1000 || len(weighted.Users) != 6000-treated {
		t.Fatalf("treated %d, weighted %v, %d users left", treated, ok, len(weighted.Users))
	}
	if b := bias(weighted); math.Abs(b) > 0.06 {
		t.Errorf("with the controls weighted by 1/P: bias %.3f", b)
	}
	kept, contacts3, _ := coupons(1, 6000, false)
	if _, ok := kept.Guard(contacts3); ok || len(kept.Users) != 6000 || kept.Names[len(kept.Names)-1] != models.Contacted {
		t.Fatalf("without a control everybody is kept, with treatment as a feature: %v", kept.Names)
	}
	if b := bias(kept); math.Abs(b) > 0.2 { // a line has one effect of treatment for everybody; the raw labels are off by more than half
		t.Errorf("with treatment as a feature: bias %.3f", b)
	}
	// Dropping the treated without weights leaves the same rows; the weights make their mean that of everybody.
	var sum, all float64
	for i, w := range weighted.Weights {
		sum, all = sum+w*weighted.Values[4][i], all+w
	}
	var mean float64
	for _, v := range raw.Values[4] {
		mean += v / 6000
	}
	if got := sum / all; math.Abs(got-mean) > 0.05*mean {
		t.Errorf("weighted mean of recency %.1f, of everybody %.1f", got, mean)
	}
	if n, ok := raw.Guard(make([]models.Contact, 6000)); n != 0 || !ok || len(raw.Users) != 6000 || len(contacts) != 6000 {
		t.Error("a cut without treatment is changed")
	}
}
