package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"perennial/models/eval"
	"perennial/models/golearn"
)

// forest is golearn's trees with Platt's line through the logit of their out-of-bag leaf frequencies. A user is in or out of a bag as
// a whole, so the line never sees a tree judge its own users.
type forest struct {
	learner          string
	trees            *golearn.Forest
	intercept, slope float64
	held             []float64 // after a fit: calibrated out-of-bag predictions of the training rows
}

type forestParams struct {
	Names     []string  `json:"names"`
	Fill      []float64 `json:"fill"`
	Intercept float64   `json:"intercept"`
	Slope     float64   `json:"slope"`
}

// newForest grows the golearn forest of 51 trees.
func newForest(ctx context.Context, s *stacked, seed uint64) (Model, error) {
	return growForest(ctx, s, "golearn-forest", golearn.Options{Seed: seed})
}

// newRules grows one readable golearn tree of depth four.
func newRules(ctx context.Context, s *stacked, seed uint64) (Model, error) {
	return growForest(ctx, s, "golearn-rules", golearn.Options{Trees: 1, Depth: 4, MinLeaf: max(20, min(len(s.y), 4000)/25), Seed: seed})
}

func growForest(ctx context.Context, s *stacked, name string, o golearn.Options) (Model, error) {
	trees, oob, err := golearn.Fit(ctx, s.names, s.values, s.y, s.groups, o)
	if errors.Is(err, golearn.ErrOneClass) {
		return nil, errOneClass
	}
	if err != nil {
		return nil, err
	}
	m := &forest{learner: name, trees: trees, slope: 1}
	var z, y, w []float64
	for i, p := range oob {
		if p == p {
			z, y, w = append(z, eval.Logit(p)), append(y, s.y[i]), append(w, s.weight(i))
		}
	}
	if len(z) >= 100 {
		if a, b, ok := eval.Platt(z, y, w); ok && b > 0 {
			m.intercept, m.slope = a, b
		}
	}
	m.held = make([]float64, len(s.y))
	if err := m.Predict(s.frame(), m.held); err != nil {
		return nil, err
	}
	for i, p := range oob {
		if p == p { // a row that is in every bag keeps the forest's own word
			m.held[i] = eval.Sigmoid(m.intercept + m.slope*eval.Logit(p))
		}
	}
	return m, nil
}

func (m *forest) heldOut() []float64 { return m.held }

func (m *forest) Learner() string { return m.learner }

func (m *forest) Predict(f *Frame, dst []float64) error {
	cols, err := f.columns(m.trees.Names)
	if err != nil {
		return err
	}
	if len(dst) != len(f.Users) {
		return fmt.Errorf("%d places for %d users", len(dst), len(f.Users))
	}
	m.trees.Predict(cols, dst)
	for i, p := range dst {
		dst[i] = eval.Sigmoid(m.intercept + m.slope*eval.Logit(p))
	}
	return nil
}

func (m *forest) contribute(f *Frame, dst []float64) error {
	cols, err := f.columns(m.trees.Names)
	if err != nil {
		return err
	}
	row, moved := make([]float64, len(cols)), make([]float64, len(cols))
	place := make([]int, len(cols))
	for k, name := range m.trees.Names {
		for j := range f.Names {
			if f.Names[j] == name {
				place[k] = j
			}
		}
	}
	for i := range f.Users {
		clear(moved)
		m.trees.Contribute(cols, i, row, moved)
		for k, v := range moved {
			dst[i*len(f.Names)+place[k]] += v
		}
	}
	return nil
}

func (m *forest) importance() map[string]float64 {
	out := map[string]float64{}
	for j, v := range m.trees.Importance() {
		out[m.trees.Names[j]] = v
	}
	return out
}

func (m *forest) features() []string { return m.trees.Names }

// parameters are the rules of a readable tree; a forest has none that anybody reads.
func (m *forest) parameters() json.RawMessage {
	if len(m.trees.Trees) != 1 {
		return nil
	}
	raw, _ := json.Marshal(map[string]any{"rules": m.trees.Rules()}) // finite numbers and texts: it cannot fail
	return raw
}

func (m *forest) Save() ([]byte, error) {
	params, err := json.Marshal(forestParams{m.trees.Names, m.trees.Fill, m.intercept, m.slope})
	if err != nil {
		return nil, err
	}
	return encodeArtifact(header{"forest", m.learner}, section{"params", params}, section{"trees", m.trees.Marshal()})
}

func readForest(h header, sections map[string][]byte, _ int) (Model, error) {
	var p forestParams
	if err := decodeJSON(sections["params"], &p); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrArtifact, err)
	}
	if !finite(p.Fill, []float64{p.Intercept, p.Slope}) {
		return nil, fmt.Errorf("%w: numbers", ErrArtifact)
	}
	trees, err := golearn.Unmarshal(sections["trees"], p.Names, p.Fill)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrArtifact, err)
	}
	return &forest{learner: h.Learner, trees: trees, intercept: p.Intercept, slope: p.Slope}, nil
}
