package models

import (
	"context"
	"fmt"

	"perennial/models/eval"
)

// mean averages two models: probabilities on the logit scale, money as it is.
type mean struct {
	learner string
	target  Target
	parts   [2]Model
}

// newMean fits two learners and averages them.
func newMean(name string, target Target, a, b fitter) fitter {
	return func(ctx context.Context, s *stacked, seed uint64) (Model, error) {
		m := &mean{learner: name, target: target}
		for k, fit := range []fitter{a, b} {
			part, err := fit(ctx, s, seed)
			if err != nil {
				return nil, err
			}
			m.parts[k] = part
		}
		return m, nil
	}
}

func (m *mean) Learner() string { return m.learner }

func (m *mean) Predict(f *Frame, dst []float64) error {
	other := make([]float64, len(dst))
	if err := m.parts[0].Predict(f, dst); err != nil {
		return err
	}
	if err := m.parts[1].Predict(f, other); err != nil {
		return err
	}
	for i := range dst {
		if m.target == Churn {
			dst[i] = eval.Sigmoid((eval.Logit(dst[i]) + eval.Logit(other[i])) / 2)
		} else {
			dst[i] = (dst[i] + other[i]) / 2
		}
	}
	return nil
}

// Range averages the bounds of the parts that know their spread.
func (m *mean) Range(f *Frame) ([]Interval, error) {
	var out []Interval
	for _, part := range m.parts {
		r, ok := part.(Ranger)
		if !ok {
			return nil, fmt.Errorf("%s knows no range", part.Learner())
		}
		next, err := r.Range(f)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = next
			continue
		}
		for i := range out {
			out[i].Low, out[i].High = (out[i].Low+next[i].Low)/2, (out[i].High+next[i].High)/2
		}
	}
	return out, nil
}

func (m *mean) contribute(f *Frame, dst []float64) error {
	for _, part := range m.parts {
		c, ok := part.(contributor)
		if !ok {
			return errNoReasons
		}
		if err := c.contribute(f, dst); err != nil {
			return err
		}
	}
	return nil
}

func (m *mean) importance() map[string]float64 {
	out := map[string]float64{}
	for _, part := range m.parts {
		if c, ok := part.(contributor); ok {
			for name, v := range shares(c.importance()) {
				out[name] += v / 2
			}
		}
	}
	return out
}

func (m *mean) features() []string {
	var names []string
	for _, part := range m.parts {
		if c, ok := part.(contributor); ok {
			names = union(names, c.features())
		}
	}
	return names
}

func (m *mean) Save() ([]byte, error) {
	a, err := m.parts[0].Save()
	if err != nil {
		return nil, err
	}
	b, err := m.parts[1].Save()
	if err != nil {
		return nil, err
	}
	return encodeArtifact(header{"mean", m.learner}, section{"target", []byte(m.target)}, section{"a", a}, section{"b", b})
}

func readMean(h header, sections map[string][]byte, depth int) (Model, error) {
	m := &mean{learner: h.Learner, target: Target(sections["target"])}
	if m.target != Churn && m.target != LTV {
		return nil, fmt.Errorf("%w: target %q", ErrArtifact, sections["target"])
	}
	var err error
	if m.parts[0], err = load(sections["a"], depth+1); err != nil {
		return nil, err
	}
	m.parts[1], err = load(sections["b"], depth+1)
	return m, err
}
