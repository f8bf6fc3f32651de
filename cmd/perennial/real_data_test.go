package main

import (
	"path/filepath"
	"testing"

	"perennial/models"
)

// TestTrainsOnRealData holds the line-up's choice on real shops to the best learner that was tried and to the marks of scikit-learn 1.9 on the same
// cuts (Online Retail: logistic regression AUC 0.7396; CDNOW sample: 0.7898, recency alone 0.7843).
func TestTrainsOnRealData(t *testing.T) {
	for _, shop := range []struct {
		name, file, preset  string
		train, test, days   string
		auc, behind, loss   float64
		recency, ece, nGini float64
	}{
		{"online retail", "demo/online_retail.csv.gz", "online-retail", "2011-07-01", "2011-10-01", "60d", 0.735, 0.005, 0.62, 0.6715, 0.12, 0.01},
		{"cdnow", "../../models/btyd/testdata/cdnow_sample.csv.gz", "cdnow", "1997-07-01", "1997-10-01", "90d", 0.775, 0.01, 0.38, 0.7843, 0.05, 0.02},
	} {
		t.Run(shop.name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			command(t, 0, "import", "events", shop.file, "--preset", shop.preset, "--data", data)
			train := func(target string) models.Card {
				return decoded[models.Card](t, "train", target, "--train-as-of", shop.train, "--test-as-of", shop.test, "--horizon", shop.days, "--json", "--data", data)
			}
			churn, ltv := train("churn"), train("ltv")
			best := func(c models.Card, mark string) (name string, value float64) {
				for candidate, marks := range c.Candidates {
					if v := marks[mark]; v > value {
						name, value = candidate, v
					}
				}
				return name, value
			}
			auc, loss, ece := *churn.Metrics["auc"], *churn.Metrics["log_loss"], *churn.Metrics["ece"]
			name, value := best(churn, "auc")
			t.Logf("%s: AUC %.4f (%s %.4f), log loss %.4f, calibration error %.4f", churn.Learner, auc, name, value, loss, ece)
			if auc < shop.auc || auc < value-shop.behind || loss > shop.loss || ece > shop.ece {
				t.Errorf("%s has AUC %.4f, log loss %.4f and calibration error %.4f; %s has AUC %.4f", churn.Learner, auc, loss, ece, name, value)
			}
			if got := churn.Baselines["recency"]["auc"]; got < shop.recency-0.002 || got > shop.recency+0.002 {
				t.Errorf("recency alone has AUC %.4f, want %.4f", got, shop.recency)
			}
			if churn.Metrics["auc_recency_90"] == nil || churn.Metrics["ece_recency_90"] == nil || ltv.Baselines["past_revenue"]["top_decile_share"] == 0 {
				t.Error("a card leaves out what recent users and past revenue show")
			}
			gini := *ltv.Metrics["ngini"]
			name, value = best(ltv, "ngini")
			t.Logf("%s: nGini %.4f (%s %.4f), predicted ÷ spent %.3f", ltv.Learner, gini, name, value, *ltv.Metrics["calibration"])
			if gini < value-shop.nGini || len(ltv.Calibration) != 10 {
				t.Errorf("%s has nGini %.4f, %s %.4f; %d tenths on the card", ltv.Learner, gini, name, value, len(ltv.Calibration))
			}
		})
	}
}
