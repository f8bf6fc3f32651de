package models

import (
	"context"
	"errors"
	"fmt"

	"perennial/models/gbdt"
)

// Imported wraps a model that LightGBM or XGBoost saved, so that it is served, explained and registered like our own. Its features must
// have the names of the catalog. Its predictions are taken as they are, so it should be calibrated where it was trained; for churn they must
// be probabilities.
func Imported(target Target, raw []byte) (Model, error) {
	trees, err := gbdt.Import(raw)
	if err != nil {
		return nil, err
	}
	if probability := trees.Params.Objective == gbdt.Logistic; probability != (target == Churn) {
		return nil, fmt.Errorf("%w: objective %s for %s: churn needs a probability, ltv an amount", gbdt.ErrUnsupported, trees.Params.Objective, target)
	}
	return &boost{learner: "imported", trees: trees, p: calibrator{Slope: 1}}, nil
}

// Adopt makes a card and an artifact for a model that was fitted elsewhere. With a test cut it is judged there like any candidate, beside the
// naive rules; without one the card has no metrics. sample gives the check rows and, as nobody knows the training users, the reference of drift.
func Adopt(p TrainPlan, m Model, sample *Frame) (*Trained, error) {
	if len(sample.Users) == 0 {
		return nil, errors.New("there is nobody to try it on: import orders first")
	}
	p.Train = []*Labelled{{Frame: *sample}}
	t := &trial{plan: p, rows: &stacked{}}
	j := &judged{candidate: candidate{name: m.Learner()}, model: m, p: make([]float64, len(sample.Users))}
	if err := predict(m, sample, j.p); err != nil {
		return nil, err
	}
	if p.Test == nil {
		j.p = nil
	} else {
		if err := p.Test.check(p.Target); err != nil {
			return nil, err
		}
		known := t.truth()
		j.marks = judge(p.Target, j.p, known)
		rows, err := stack(p.Target, []*Labelled{p.Test})
		if err != nil {
			return nil, err
		}
		for _, c := range rules(p.Target) { // their level is of this very cut, which only flatters them; their ranking needs none
			if r, err := (&trial{plan: p, rows: rows}).judge(context.Background(), c, known); err == nil {
				t.rules = append(t.rules, r)
			}
		}
		t.notes = append(t.notes, "the naive rules beside it have their level from the test cut itself")
	}
	t.tried = []*judged{j}
	return t.finish()
}
