package models

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// probabilityMargin keeps a published risk strictly within 0 and 1: nobody is certain to leave.
const probabilityMargin = 1e-6

// reasonsKept is how many reasons a score row carries.
const reasonsKept = 3

// ScoreFrame applies a churn and an LTV model (either may be nil) to every user of a frame. Deciles are tenths of the frame by rank, 10 the
// highest, equal scores in the frame's order; ltv is never negative and its interval is widened to hold it. Reasons are the churn model's,
// or the LTV model's when there is no churn model.
func ScoreFrame(f *Frame, churn, ltv Model) ([]Score, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	n := len(f.Users)
	scores := make([]Score, n)
	nan := math.NaN()
	for i, u := range f.Users {
		scores[i] = Score{User: u, ChurnRisk: nan, LTV: nan, LTVLow: nan, LTVHigh: nan, Reasons: []Reason{}}
		if f.Stage != nil {
			scores[i].Stage = f.Stage[i]
		}
	}
	values := make([]float64, n)
	if churn != nil && n > 0 {
		if err := predict(churn, f, values); err != nil {
			return nil, err
		}
		for i, d := range Deciles(values) {
			scores[i].ChurnRisk, scores[i].ChurnDecile = min(max(values[i], probabilityMargin), 1-probabilityMargin), d
		}
	}
	if ltv != nil && n > 0 {
		if err := predict(ltv, f, values); err != nil {
			return nil, err
		}
		for i := range values {
			values[i] = max(0, values[i])
		}
		for i, d := range Deciles(values) {
			scores[i].LTV, scores[i].LTVDecile = values[i], d
			scores[i].LTVLow, scores[i].LTVHigh = values[i], values[i]
		}
		if r, ok := unwrap(ltv).(Ranger); ok {
			ranges, err := r.Range(f)
			if err != nil {
				return nil, err
			}
			for i, g := range ranges {
				scores[i].LTVLow, scores[i].LTVHigh = max(0, min(g.Low, values[i])), max(g.High, values[i])
			}
		}
	}
	model, target := churn, Churn
	if model == nil {
		model, target = ltv, LTV
	}
	if model == nil || n == 0 {
		return scores, nil
	}
	reasons, err := Explain(model, f, reasonsKept, target)
	if errors.Is(err, errNoReasons) {
		return scores, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range scores {
		scores[i].Reasons = reasons[i]
	}
	return scores, nil
}

// predict refuses to publish what is not a number.
func predict(m Model, f *Frame, dst []float64) error {
	if err := m.Predict(f, dst); err != nil {
		return fmt.Errorf("score with %s: %w", m.Learner(), err)
	}
	for i, v := range dst {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("score with %s: row %d is %v", m.Learner(), i, v)
		}
	}
	return nil
}

// Deciles returns 1..10 by rank of values, 10 the highest tenth; equal values keep their order, the later one higher.
func Deciles(values []float64) []int {
	order := make([]int32, len(values))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(values[a], values[b]) })
	out := make([]int, len(values))
	for rank, i := range order {
		out[i] = rank*10/len(values) + 1
	}
	return out
}
