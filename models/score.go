package models

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// probabilityMargin keeps a published risk strictly within 0 and 1: nobody is certain to leave.
const probabilityMargin = 1e-6

// reasonsKept is how many reasons a score row carries.
const reasonsKept = 3

// bandHigh and bandMedium are the percentiles of churn risk from which a user is in the band.
const (
	bandHigh   = 0.8
	bandMedium = 0.5
)

// ScoreFrame applies a churn and an LTV model (either may be nil) to every user of a frame; see ScoreAll.
func ScoreFrame(f *Frame, churn, ltv Model) ([]Score, error) {
	all := make([]Score, 0, len(f.Users))
	err := ScoreAll(f, churn, ltv, ScoreOptions{}, func(part []Score) error {
		all = append(all, part...)
		return nil
	})
	return all, err
}

// ScoreOptions say which rows are made; ranks and deciles are always those of all users.
type ScoreOptions struct {
	From int                    // the rows before this one are there already
	Keep func(user string) bool // nil keeps everybody
}

// ScoreAll applies a churn and an LTV model (either may be nil) to every user of a frame and hands the scores to emit in parts, in the
// frame's order and one at a time, so that a million users need no memory for a million explanations. Deciles are tenths of the frame by rank, 10 the
// highest, equal scores in the frame's order; ltv is never negative and its interval is widened to hold it. Reasons are the churn model's,
// or the LTV model's when there is no churn model. The scores do not depend on how many processors there are.
func ScoreAll(f *Frame, churn, ltv Model, o ScoreOptions, emit func(part []Score) error) error {
	if err := f.check(); err != nil {
		return err
	}
	if len(f.Users) == 0 {
		return nil
	}
	risk, err := newRanked(f, churn, Churn)
	if err != nil {
		return err
	}
	value, err := newRanked(f, ltv, LTV)
	if err != nil {
		return err
	}
	model, target := churn, Churn
	if model == nil {
		model, target = ltv, LTV
	}
	rows := make([]int32, 0, max(0, len(f.Users)-o.From))
	for i := o.From; i < len(f.Users); i++ {
		if o.Keep == nil || o.Keep(f.Users[i]) {
			rows = append(rows, int32(i))
		}
	}
	if len(f.Users) >= hastenRows {
		hasten(model)
	}
	// Parts are handed on while the next ones are made: what is done with them is the work of one processor.
	made, failed := make(chan []Score, runtime.GOMAXPROCS(0)), make(chan error, 1)
	var stop atomic.Bool
	go func() {
		var err error
		for part := range made {
			if err == nil {
				err = emit(part)
				stop.Store(err != nil)
			}
		}
		failed <- err
	}()
	one := func(rows []int32) ([]Score, error) {
		return scorePart(f, rows, risk, value, churn, ltv, model, target)
	}
	err = inOrder(rows, one, made, &stop)
	close(made)
	return errors.Join(err, <-failed)
}

// inOrder makes parts of explainRows rows on all processors and hands them on in the order of the rows, until an error or stop.
func inOrder(rows []int32, part func(rows []int32) ([]Score, error), made chan<- []Score, stop *atomic.Bool) error {
	n, workers := len(rows), runtime.GOMAXPROCS(0)
	parts, errs := make([][]Score, workers), make([]error, workers)
	for lo := 0; lo < n && !stop.Load(); lo += workers * explainRows {
		var wait sync.WaitGroup
		for k := range workers {
			from, to := min(lo+k*explainRows, n), min(lo+(k+1)*explainRows, n)
			wait.Go(func() { parts[k], errs[k] = part(rows[from:to]) })
		}
		wait.Wait()
		for k, part := range parts {
			if errs[k] != nil {
				return errs[k]
			}
			if len(part) > 0 {
				made <- part
			}
		}
	}
	return nil
}

// hastenRows is how many users make it worth while to prepare a model's explanations.
const hastenRows = 20_000

// hasten prepares the boosted models within a model for many explanations.
func hasten(m Model) {
	switch m := unwrap(m).(type) {
	case *boost:
		m.trees.Hasten()
	case *tweedie:
		hasten(m.boost)
	case *mean:
		hasten(m.parts[0])
		hasten(m.parts[1])
	case *twoStage:
		hasten(m.buy)
		hasten(m.spend)
	}
}

// scorePart makes the score rows of some users.
func scorePart(f *Frame, rows []int32, risk, value *ranked, churn, ltv, model Model, target Target) ([]Score, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	nan := math.NaN()
	part := f.rows(rows)
	scores := make([]Score, len(rows))
	for i, u := range part.Users {
		s := Score{Row: int(rows[i]), User: u, ChurnRisk: nan, ChurnLow: nan, ChurnHigh: nan, ChurnPercentile: nan, ChurnStagePercentile: nan,
			LTV: nan, LTVLow: nan, LTVHigh: nan, LTVPercentile: nan, LTVStagePercentile: nan, Reasons: []Reason{}}
		if part.Stage != nil {
			s.Stage = part.Stage[i]
		}
		if row := int(rows[i]); risk != nil {
			s.ChurnRisk = min(max(risk.values[row], probabilityMargin), 1-probabilityMargin)
			s.ChurnLow, s.ChurnHigh = trustOf(churn).interval(s.ChurnRisk)
			s.ChurnDecile, s.ChurnPercentile, s.ChurnStagePercentile = risk.decile(row), risk.percentile(row), risk.stage[row]
			s.Band = band(s.ChurnPercentile)
		}
		if row := int(rows[i]); value != nil {
			s.LTV = value.values[row]
			s.LTVLow, s.LTVHigh = s.LTV, s.LTV
			s.LTVDecile, s.LTVPercentile, s.LTVStagePercentile = value.decile(row), value.percentile(row), value.stage[row]
		}
		scores[i] = s
	}
	if r, ok := unwrap(ltv).(Ranger); ok && value != nil {
		ranges, err := r.Range(part)
		if err != nil {
			return nil, err
		}
		for i, g := range ranges {
			scores[i].LTVLow, scores[i].LTVHigh = max(0, min(g.Low, scores[i].LTV)), max(g.High, scores[i].LTV)
		}
	}
	if model == nil {
		return scores, nil
	}
	reasons, err := Explain(model, part, reasonsKept, target)
	if errors.Is(err, errNoReasons) {
		return scores, nil
	}
	for i := range reasons {
		scores[i].Reasons = reasons[i]
	}
	return scores, err
}

func band(percentile float64) string {
	switch {
	case percentile > bandHigh:
		return "high"
	case percentile > bandMedium:
		return "medium"
	}
	return "low"
}

// ranked is one model's predictions of all users with their places.
type ranked struct {
	values []float64
	rank   []int32   // 0 for the lowest; equal values keep the frame's order
	stage  []float64 // percentile among the users of the same stage
}

// newRanked predicts and ranks; it is nil without a model.
func newRanked(f *Frame, m Model, target Target) (*ranked, error) {
	if m == nil {
		return nil, nil
	}
	r := &ranked{values: make([]float64, len(f.Users)), rank: make([]int32, len(f.Users)), stage: make([]float64, len(f.Users))}
	if err := predictAll(m, f, r.values); err != nil {
		return nil, err
	}
	for i, v := range r.values {
		if target == LTV {
			r.values[i] = max(0, v)
		}
	}
	order := make([]int32, len(r.values))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(r.values[a], r.values[b]) })
	size, seen := map[string]int{}, map[string]int{}
	for i := range f.Users {
		size[stageAt(f, i)]++
	}
	for rank, i := range order {
		stage := stageAt(f, int(i))
		seen[stage]++
		r.rank[i], r.stage[i] = int32(rank), float64(seen[stage])/float64(size[stage])
	}
	return r, nil
}

func stageAt(f *Frame, i int) string {
	if f.Stage == nil {
		return ""
	}
	return f.Stage[i]
}

func (r *ranked) decile(i int) int { return int(r.rank[i])*10/len(r.rank) + 1 }

// percentile is the share of users who are ranked no higher.
func (r *ranked) percentile(i int) float64 { return float64(r.rank[i]+1) / float64(len(r.rank)) }

// predictAll predicts slices of a frame on all processors: a model's prediction of a user does not depend on the others.
func predictAll(m Model, f *Frame, dst []float64) error {
	workers := max(1, min(runtime.GOMAXPROCS(0), len(dst)/explainRows))
	errs := make([]error, workers)
	var wait sync.WaitGroup
	for k := range workers {
		lo, hi := len(dst)*k/workers, len(dst)*(k+1)/workers
		wait.Go(func() { errs[k] = predict(m, f.Slice(lo, hi), dst[lo:hi]) })
	}
	wait.Wait()
	return errors.Join(errs...)
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
