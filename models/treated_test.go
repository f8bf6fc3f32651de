package models_test

import (
	"fmt"
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

// TestTreatedUsersDoNotTeachSafety: a model of guarded labels predicts what happens without coupons, a model of raw ones calls the riskiest safe. A
// model of labels that no coupon touched is off by at most 0.022 among the riskier half, so 0.04 leaves the guard hardly more than chance.
func TestTreatedUsersDoNotTeachSafety(t *testing.T) {
	const most = 0.04
	for _, learner := range []string{"logit", "gbdt"} {
		for seed := range uint64(3) {
			name := fmt.Sprintf("%s, world %d", learner, seed+1)
			fresh := modeltest.World(100+seed, 6000, models.Churn, "2026-03-02")
			bias := func(l *models.Labelled) float64 {
				got, err := models.Train(t.Context(), models.TrainPlan{Target: models.Churn, HorizonDays: 60, Seed: 1, Learner: learner, Train: []*models.Labelled{l}})
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
			raw, _, _ := coupons(seed+1, 6000, true)
			if b := bias(raw); b > -0.4 {
				t.Fatalf("%s, raw labels: bias %.3f among the treated kind; the world has no contamination to guard against", name, b)
			}
			weighted, contacts, _ := coupons(seed+1, 6000, true)
			if treated, ok := weighted.Guard(contacts); !ok || treated < 1000 || len(weighted.Users) != 6000-treated {
				t.Fatalf("%s: treated %d, weighted %v, %d users left", name, treated, ok, len(weighted.Users))
			}
			if b := bias(weighted); math.Abs(b) > most {
				t.Errorf("%s, with the controls weighted by 1/P: bias %.3f", name, b)
			}
			kept, contacts, _ := coupons(seed+1, 6000, false)
			if _, ok := kept.Guard(contacts); ok || len(kept.Users) != 6000 || kept.Names[len(kept.Names)-1] != models.Contacted {
				t.Fatalf("%s: without a control everybody is kept, with treatment as a feature: %v", name, kept.Names)
			}
			if b := bias(kept); math.Abs(b) > most {
				t.Errorf("%s, with treatment as a feature: bias %.3f", name, b)
			}
		}
	}
}

// The weights make the mean of the untreated that of everybody; a cut without treatment stays as it is.
func TestGuardKeepsThePopulation(t *testing.T) {
	raw, _, _ := coupons(1, 6000, true)
	weighted, contacts, _ := coupons(1, 6000, true)
	weighted.Guard(contacts)
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
	if n, ok := raw.Guard(make([]models.Contact, 6000)); n != 0 || !ok || len(raw.Users) != 6000 {
		t.Error("a cut without treatment is changed")
	}
}
