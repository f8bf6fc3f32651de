package models

import (
	"context"
	"encoding/json"
	"fmt"

	"perennial/models/gbdt"
)

// boost is gradient boosting behind Model. Its number of trees is found by folds over users, its probabilities go through a calibrator
// fitted on the same left-out users, and its reasons are exact Shapley values on the raw score.
type boost struct {
	learner string
	trees   *gbdt.Model
	p       calibrator
	held    []float64 // after a fit: predictions of the training rows by models that had not seen their users
}

// boostFolds is how many groups of users are left out in turn to find the number of trees.
const boostFolds = 3

// boostPatience is how many trees may bring nothing before boosting stops.
const boostPatience = 20

// newBoost fits P(churn).
func newBoost(ctx context.Context, s *stacked, seed uint64) (Model, error) {
	return fitBoost(ctx, s, seed, gbdt.Logistic, -1)
}

// newBuyBoost fits P(buy).
func newBuyBoost(ctx context.Context, s *stacked, seed uint64) (Model, error) {
	return fitBoost(ctx, s, seed, gbdt.Logistic, 1)
}

// newSpendBoost fits the logarithm of the spend of buyers.
func newSpendBoost(ctx context.Context, s *stacked, seed uint64) (Model, error) {
	return fitBoost(ctx, s, seed, gbdt.L2, 1)
}

// fitBoost sizes by the number of rows, stops by users left out, and keeps the declared signs as monotone constraints.
func fitBoost(ctx context.Context, s *stacked, seed uint64, objective gbdt.Objective, polarity float64) (Model, error) {
	p := gbdt.Auto(objective, len(s.y))
	p.Threads = 2
	p.Monotone = make([]int8, len(s.names))
	for j, name := range s.names {
		p.Monotone[j] = int8(polarity * signs[name])
	}
	if objective == gbdt.Logistic && oneClass(s.y) {
		return nil, errOneClass
	}
	held := make([]float64, len(s.y)) // raw scores of left-out users
	total := 0
	for k := range boostFolds {
		in := func(i int) bool { return fold(s.groups[i], seed^0x67626474, boostFolds) == k }
		train, rest := s.subset(s.y, func(i int) bool { return !in(i) }), s.subset(s.y, in)
		if len(train.y) == 0 || len(rest.y) == 0 || objective == gbdt.Logistic && oneClass(train.y) {
			return nil, fmt.Errorf("%d rows are too few for folds", len(s.y))
		}
		q := p
		q.Patience, q.Trees = boostPatience, 400
		m, err := gbdt.Fit(ctx, train.table(), rest.table(), q)
		if err != nil {
			return nil, err
		}
		total += m.Trees()
		raw := make([]float64, len(rest.y))
		if err := m.Raw(rest.values, raw); err != nil {
			return nil, err
		}
		next := 0
		for i := range held {
			if in(i) {
				held[i] = raw[next]
				next++
			}
		}
	}
	p.Trees = max(1, (total+boostFolds/2)/boostFolds)
	m, err := gbdt.Fit(ctx, s.table(), nil, p)
	if err != nil {
		return nil, err
	}
	b := &boost{learner: "gbdt", trees: m, p: calibrator{Slope: 1}}
	if objective == gbdt.Logistic {
		b.p = newCalibrator(held, s.y, s.w, s.groups, seed)
		for i, z := range held {
			held[i] = b.p.probability(z)
		}
	} else {
		for i, z := range held {
			held[i] = objective.Output(z)
		}
	}
	b.held = held
	return b, nil
}

func oneClass(y []float64) bool {
	for _, v := range y {
		if v != y[0] {
			return false
		}
	}
	return true
}

// table hands the rows to gbdt; it shares their memory.
func (s *stacked) table() *gbdt.Data {
	return &gbdt.Data{Names: s.names, Values: s.values, Y: s.y, Weights: s.w}
}

func (m *boost) Learner() string { return m.learner }

func (m *boost) heldOut() []float64 { return m.held }

func (m *boost) Predict(f *Frame, dst []float64) error {
	cols, err := f.columns(m.trees.Names)
	if err != nil {
		return err
	}
	if len(dst) != len(f.Users) {
		return fmt.Errorf("%d places for %d users", len(dst), len(f.Users))
	}
	if m.trees.Params.Objective != gbdt.Logistic {
		return m.trees.Predict(cols, dst)
	}
	if err := m.trees.Raw(cols, dst); err != nil {
		return err
	}
	for i, z := range dst {
		dst[i] = m.p.probability(z)
	}
	return nil
}

func (m *boost) contribute(f *Frame, dst []float64) error {
	cols, err := f.columns(m.trees.Names)
	if err != nil {
		return err
	}
	width := len(m.trees.Names)
	cells := make([]float64, len(f.Users)*width)
	phi := make([][]float64, len(f.Users))
	for i := range phi {
		phi[i] = cells[i*width : (i+1)*width]
	}
	if err := m.trees.Contributions(cols, phi); err != nil {
		return err
	}
	place := f.places(m.trees.Names)
	for i, row := range phi {
		for k, v := range row {
			dst[i*len(f.Names)+place[k]] += m.p.Slope * v
		}
	}
	return nil
}

// places returns where names stand in the frame, which has them all.
func (f *Frame) places(names []string) []int {
	at := make(map[string]int, len(f.Names))
	for j, name := range f.Names {
		at[name] = j
	}
	place := make([]int, len(names))
	for k, name := range names {
		place[k] = at[name]
	}
	return place
}

func (m *boost) importance() map[string]float64 {
	out := map[string]float64{}
	for j, v := range m.trees.Importance() {
		out[m.trees.Names[j]] = v
	}
	return out
}

func (m *boost) features() []string { return m.trees.Names }

func (m *boost) Save() ([]byte, error) {
	params, err := json.Marshal(m.p)
	if err != nil {
		return nil, err
	}
	trees, err := m.trees.Save()
	if err != nil {
		return nil, err
	}
	return encodeArtifact(header{"boost", m.learner}, section{"params", params}, section{"trees", trees})
}

func readBoost(h header, sections map[string][]byte, _ int) (Model, error) {
	m := &boost{learner: h.Learner}
	if err := decodeJSON(sections["params"], &m.p); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrArtifact, err)
	}
	if !m.p.sound() {
		return nil, fmt.Errorf("%w: numbers", ErrArtifact)
	}
	var err error
	if m.trees, err = gbdt.Load(sections["trees"]); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrArtifact, err)
	}
	return m, nil
}
