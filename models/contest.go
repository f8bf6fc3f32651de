package models

import (
	"errors"
	"fmt"

	"perennial/models/eval"
)

// contestZ is the one-sided normal bound for α = 0.05 shared by twelve monthly retrains: Φ⁻¹(1 − 0.05/12). Over a year without signal the
// champion stays in at least 95 % of shops.
const contestZ = 2.638

// Verdict is a challenger's contest with the champion on the same users.
type Verdict struct {
	Metric     string  `json:"metric"` // auc or ngini
	Challenger float64 `json:"challenger"`
	Champion   float64 `json:"champion"`
	Gain       float64 `json:"gain"`
	GainLow    float64 `json:"gain_low"` // one-sided bound at 0.05/12
	Promote    bool    `json:"promote"`
	Reason     string  `json:"reason"`
}

// Contest judges two models on a cut that neither was fitted on. The challenger is promoted only when the lower bound of its paired gain,
// by bootstrap over users, is above 0, and, for churn, when it does not lose log loss on the way.
func Contest(target Target, challenger, champion Model, test *Labelled, seed uint64) (Verdict, error) {
	var v Verdict
	if err := test.check(target); err != nil {
		return v, err
	}
	n := len(test.Users)
	a, b := make([]float64, n), make([]float64, n)
	if err := predict(challenger, &test.Frame, a); err != nil {
		return v, err
	}
	if err := predict(champion, &test.Frame, b); err != nil {
		return v, err
	}
	t := &trial{plan: TrainPlan{Target: target, Seed: seed}}
	ja, jb := &judged{p: a}, &judged{p: b}
	v.Metric = "auc"
	if target == LTV {
		v.Metric = "ngini"
	}
	v.Challenger, v.Champion = merit(target, ja, test.Y, nil), merit(target, jb, test.Y, nil)
	if !finite([]float64{v.Challenger, v.Champion}) {
		return v, errors.New("the test cut has users of one kind only, so nothing can be compared")
	}
	gap := t.gap(ja, jb, test.Y)
	v.Gain, v.GainLow = gap.mean, gap.mean-contestZ*gap.se
	switch {
	case !(v.GainLow > 0):
		v.Reason = fmt.Sprintf("the gain in %s of %+.4f is not surely above 0 (lower bound %+.4f)", v.Metric, v.Gain, v.GainLow)
	case target == Churn && eval.LogLoss(a, test.Y, nil) > eval.LogLoss(b, test.Y, nil):
		v.Reason = fmt.Sprintf("it ranks better (%s %+.4f) but its probabilities are worse: log loss %.4f, the champion has %.4f",
			v.Metric, v.Gain, eval.LogLoss(a, test.Y, nil), eval.LogLoss(b, test.Y, nil))
	default:
		v.Promote, v.Reason = true, fmt.Sprintf("the gain in %s of %+.4f is surely above 0 (lower bound %+.4f)", v.Metric, v.Gain, v.GainLow)
	}
	return v, nil
}
