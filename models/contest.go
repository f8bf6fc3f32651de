package models

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"perennial/models/eval"
)

// contestAlpha is shared by the twelve monthly contests of a year and, within one, by the candidates that were looked at: over a year
// without signal the champion stays in at least 95 % of shops.
const contestAlpha = 0.05 / 12

// Floors of a promotion: a challenger that ranks better must not be worse where it hurts.
const (
	floorUsers = 200  // segments of so many users are looked at
	floorLoss  = 0.03 // of AUC or normalised Gini in a segment
	floorECE   = 0.02 // of calibration error
)

// Verdict is a challenger's contest with the champion on the same users.
type Verdict struct {
	Metric     string  `json:"metric"` // auc or ngini
	Challenger float64 `json:"challenger"`
	Champion   float64 `json:"champion"`
	Gain       float64 `json:"gain"`
	GainLow    float64 `json:"gain_low"` // one-sided bound
	Against    string  `json:"against,omitempty"`
	Promote    bool    `json:"promote"`
	Reason     string  `json:"reason"`
}

// Contest judges two models on a cut that neither was fitted on. The challenger is promoted only when the lower bound of its paired gain,
// by bootstrap over users, is above 0, and when it keeps to the floors: for churn no loss of log loss and no more than a little of
// calibration, and in no large segment a worse ranking.
func Contest(target Target, challenger, champion Model, test *Labelled, seed uint64) (Verdict, error) {
	var v Verdict
	if err := test.check(target); err != nil {
		return v, err
	}
	n, f := len(test.Users), Untreated(&test.Frame, challenger, champion)
	a, b := make([]float64, n), make([]float64, n)
	if err := predict(challenger, f, a); err != nil {
		return v, err
	}
	if err := predict(champion, f, b); err != nil {
		return v, err
	}
	return contest(target, a, b, test, seed, 1)
}

// contest judges predictions; looked is how many challengers there were to choose this one from.
func contest(target Target, challenger, champion []float64, test *Labelled, seed uint64, looked int) (Verdict, error) {
	t := &trial{plan: TrainPlan{Target: target, Seed: seed}}
	a, b := &judged{p: challenger}, &judged{p: champion}
	v := Verdict{Metric: "auc"}
	if target == LTV {
		v.Metric = "ngini"
	}
	v.Challenger, v.Champion = merit(target, a, test.Y, test.Weights), merit(target, b, test.Y, test.Weights)
	if !finite([]float64{v.Challenger, v.Champion}) {
		return v, errors.New("the test cut has users of one kind only, so nothing can be compared")
	}
	gap := t.gap(a, b, test.Y, test.Weights)
	z := math.Sqrt2 * math.Erfinv(1-2*contestAlpha/float64(max(looked, 1)))
	v.Gain, v.GainLow = gap.mean, gap.mean-z*gap.se
	if !(v.GainLow > 0) {
		v.Reason = fmt.Sprintf("the gain in %s of %+.4f is not surely above 0 (lower bound %+.4f)", v.Metric, v.Gain, v.GainLow)
		return v, nil
	}
	if v.Reason = floors(target, challenger, champion, test, v); v.Reason != "" {
		return v, nil
	}
	v.Promote, v.Reason = true, fmt.Sprintf("the gain in %s of %+.4f is surely above 0 (lower bound %+.4f)", v.Metric, v.Gain, v.GainLow)
	return v, nil
}

// floors returns why a challenger that ranks better must not be promoted, or "".
func floors(target Target, a, b []float64, test *Labelled, v Verdict) string {
	if target == Churn {
		if la, lb := eval.LogLoss(a, test.Y, test.Weights), eval.LogLoss(b, test.Y, test.Weights); la > lb {
			return fmt.Sprintf("it ranks better (%s %+.4f) but its probabilities are worse: log loss %.4f, the champion has %.4f", v.Metric, v.Gain, la, lb)
		}
		if ea, eb := eval.ECE(a, test.Y), eval.ECE(b, test.Y); ea > eb+floorECE {
			return fmt.Sprintf("it ranks better (%s %+.4f) but is worse calibrated: error %.4f, the champion has %.4f", v.Metric, v.Gain, ea, eb)
		}
	}
	groups := segmentRows(&test.Frame)
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		rows := groups[name]
		if len(rows) < floorUsers {
			continue
		}
		y := pick(test.Y, rows)
		ma, mb := merit(target, &judged{p: pick(a, rows)}, y, nil), merit(target, &judged{p: pick(b, rows)}, y, nil)
		if finite([]float64{ma, mb}) && ma < mb-floorLoss {
			return fmt.Sprintf("it ranks better in all (%s %+.4f) but worse in the segment %s: %.4f, the champion has %.4f", v.Metric, v.Gain, name, ma, mb)
		}
	}
	return ""
}
