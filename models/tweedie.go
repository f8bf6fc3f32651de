package models

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"perennial/models/eval"
	"perennial/models/gbdt"
)

// tweedie predicts what a user will spend by one boosted model with Tweedie's loss: cheaper than two stages and nearly as good a ranker. Its
// total is made right, and its range read, from predictions of users that it had not seen.
type tweedie struct {
	boost *boost
	p     tweedieParams
}

// tweedieParams hold the spread by tenths of the prediction: what users of the tenth spent at most, in multiples of what was predicted.
type tweedieParams struct {
	Factor float64   `json:"factor"` // Σ observed ÷ Σ predicted
	Edges  []float64 `json:"edges"`  // upper predictions of the tenths but the last
	Low    []float64 `json:"low"`    // P10 of observed ÷ predicted by tenth
	High   []float64 `json:"high"`   // P90
}

// minTweedie is the fewest rows from which tenths have a spread.
const minTweedie = 300

func newTweedie(ctx context.Context, s *stacked, seed uint64) (Model, error) {
	if len(s.y) < minTweedie {
		return nil, fmt.Errorf("%d rows; %d are needed", len(s.y), minTweedie)
	}
	fitted, err := fitBoost(ctx, s, seed, gbdt.Tweedie, 1)
	if err != nil {
		return nil, err
	}
	m := &tweedie{boost: fitted.(*boost), p: tweedieParams{Factor: 1}}
	held := m.boost.held
	if r := eval.SumRatio(held, s.y, s.w); r > 0 {
		m.p.Factor = min(max(1/r, 0.5), 2)
	}
	order := make([]int, len(held))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(held[a], held[b]) })
	for k := range 10 {
		rows := order[len(order)*k/10 : len(order)*(k+1)/10]
		ratios := make([]float64, len(rows))
		for j, i := range rows {
			ratios[j] = s.y[i] / (m.p.Factor * max(held[i], 1e-9))
		}
		slices.Sort(ratios)
		m.p.Low, m.p.High = append(m.p.Low, eval.Quantile(ratios, 0.1)), append(m.p.High, eval.Quantile(ratios, 0.9))
		if k < 9 {
			m.p.Edges = append(m.p.Edges, m.p.Factor*held[rows[len(rows)-1]])
		}
	}
	return m, nil
}

func (m *tweedie) Learner() string { return "gbdt-tweedie" }

func (m *tweedie) Predict(f *Frame, dst []float64) error {
	if err := m.boost.Predict(f, dst); err != nil {
		return err
	}
	for i, v := range dst {
		dst[i] = m.p.Factor * v
	}
	return nil
}

// Range multiplies the prediction by the spread of its tenth.
func (m *tweedie) Range(f *Frame) ([]Interval, error) {
	p := make([]float64, len(f.Users))
	if err := m.Predict(f, p); err != nil {
		return nil, err
	}
	out := make([]Interval, len(p))
	for i, v := range p {
		k, _ := slices.BinarySearch(m.p.Edges, v)
		out[i] = Interval{v * m.p.Low[k], v * m.p.High[k]}
	}
	return out, nil
}

func (m *tweedie) contribute(f *Frame, dst []float64) error { return m.boost.contribute(f, dst) }
func (m *tweedie) importance() map[string]float64           { return m.boost.importance() }
func (m *tweedie) features() []string                       { return m.boost.features() }

func (m *tweedie) Save() ([]byte, error) {
	params, err := json.Marshal(m.p)
	if err != nil {
		return nil, err
	}
	inner, err := m.boost.Save()
	if err != nil {
		return nil, err
	}
	return encodeArtifact(header{"tweedie", m.Learner()}, section{"params", params}, section{"boost", inner})
}

func readTweedie(_ header, sections map[string][]byte, depth int) (Model, error) {
	m := &tweedie{}
	if err := decodeJSON(sections["params"], &m.p); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrArtifact, err)
	}
	if !finite([]float64{m.p.Factor}, m.p.Edges, m.p.Low, m.p.High) || len(m.p.Edges) != 9 || len(m.p.Low) != 10 || len(m.p.High) != 10 || !slices.IsSorted(m.p.Edges) ||
		m.p.Factor < 0 || math.Abs(m.p.Factor) > 1e6 {
		return nil, fmt.Errorf("%w: numbers of the spread", ErrArtifact)
	}
	inner, err := load(sections["boost"], depth+1)
	if err != nil {
		return nil, err
	}
	var ok bool
	if m.boost, ok = inner.(*boost); !ok {
		return nil, fmt.Errorf("%w: %v", ErrArtifact, errors.New("a tweedie model holds a boosted one"))
	}
	return m, nil
}
