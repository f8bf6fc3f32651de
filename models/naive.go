package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"perennial/models/eval"
)

// naive is a rule of one feature that every card prints beside the models: what a spreadsheet could do.
// Churn: a logistic line through ln(1+x), which keeps the rule's ranking and gives it a calibrated probability.
// LTV: Scale·x, or Scale/(1+x) when Inverse, with the scale that makes the training total right.
type naive struct {
	Rule      string  `json:"rule"`
	Feature   string  `json:"feature"`
	Target    Target  `json:"target"`
	Intercept float64 `json:"intercept"`
	Slope     float64 `json:"slope"`
	Scale     float64 `json:"scale"`
	Inverse   bool    `json:"inverse"`
}

// naiveRules are the rules of both targets by name.
var naiveRules = []naive{
	{Rule: "recency", Feature: "recency_days", Inverse: true},
	{Rule: "past_revenue", Feature: "revenue_all"},
	{Rule: "orders_180d", Feature: "orders_180d"},
}

// fitNaive calibrates a rule. It errs when the frame lacks the feature or the labels are all equal.
func fitNaive(rule naive, target Target) fitter {
	return func(_ context.Context, s *stacked, _ uint64) (Model, error) {
		rule.Target = target
		f := s.frame()
		x := f.column(rule.Feature)
		if x == nil {
			return nil, fmt.Errorf("the catalog has no feature %q", rule.Feature)
		}
		if target == Churn {
			z := make([]float64, len(x))
			for i, v := range x {
				z[i] = signedLog(orZero(v))
			}
			var ok bool
			if rule.Intercept, rule.Slope, ok = eval.Platt(z, s.y, s.w); !ok {
				return nil, errOneClass
			}
			return &rule, nil
		}
		var got, want float64
		rule.Scale = 1
		for i, v := range x {
			got += s.weight(i) * rule.value(v)
			want += s.weight(i) * s.y[i]
		}
		if got <= 0 || want <= 0 {
			return nil, errors.New("nobody bought in the horizon")
		}
		rule.Scale = want / got
		return &rule, nil
	}
}

func orZero(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

func (m *naive) value(v float64) float64 {
	v = max(0, orZero(v))
	switch {
	case m.Target == Churn:
		return eval.Sigmoid(m.Intercept + m.Slope*signedLog(v))
	case m.Inverse:
		return m.Scale / (1 + v)
	}
	return m.Scale * v
}

func (m *naive) Learner() string { return m.Rule }

func (m *naive) Predict(f *Frame, dst []float64) error {
	cols, err := f.columns([]string{m.Feature})
	if err != nil {
		return err
	}
	if len(dst) != len(f.Users) {
		return fmt.Errorf("%d places for %d users", len(dst), len(f.Users))
	}
	for i, v := range cols[0] {
		dst[i] = m.value(v)
	}
	return nil
}

func (m *naive) contribute(f *Frame, dst []float64) error {
	cols, err := f.columns([]string{m.Feature})
	if err != nil {
		return err
	}
	sign := 1.0
	if m.Target == Churn && m.Slope < 0 || m.Target != Churn && m.Inverse {
		sign = -1
	}
	for j, name := range f.Names {
		if name == m.Feature {
			for i, v := range cols[0] {
				dst[i*len(f.Names)+j] += sign * signedLog(max(0, orZero(v)))
			}
		}
	}
	return nil
}

func (m *naive) importance() map[string]float64 { return map[string]float64{m.Feature: 1} }
func (m *naive) features() []string             { return []string{m.Feature} }

func (m *naive) Save() ([]byte, error) {
	params, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return encodeArtifact(header{"naive", m.Rule}, section{"params", params})
}

func readNaive(_ header, sections map[string][]byte, _ int) (Model, error) {
	var m naive
	if err := decodeJSON(sections["params"], &m); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrArtifact, err)
	}
	if !finite([]float64{m.Intercept, m.Slope, m.Scale}) || m.Feature == "" || m.Target != Churn && m.Target != LTV {
		return nil, fmt.Errorf("%w: a rule without a feature, a target or numbers", ErrArtifact)
	}
	return &m, nil
}
