package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"perennial/models/eval"
)

// twoStage predicts what a user will spend as P(buy) × E[spend | buy]. The spend stage predicts the logarithm; the mean of its
// exponentiated residuals brings it back to money (Duan 1983, the smearing estimate), and Factor makes the total right. All three come
// from out-of-fold predictions, folds by user.
type twoStage struct {
	learner    string
	buy, spend Model
	p          twoStageParams
}

type twoStageParams struct {
	Smear     float64   `json:"smear"`     // mean of exp(residual)
	Factor    float64   `json:"factor"`    // Σ observed ÷ Σ predicted, out of fold
	Residuals []float64 `json:"residuals"` // 101 quantiles of the log residuals of buyers
	Cap       float64   `json:"cap"`       // largest believable log spend: the training maximum plus one
}

// minBuyers is the fewest buyers from which a spend stage is fitted.
const minBuyers = 30

// newTwoStage returns a fitter that joins a probability learner and a regression learner.
func newTwoStage(name string, probability, regression fitter) fitter {
	return func(ctx context.Context, s *stacked, seed uint64) (Model, error) {
		bought, logged := make([]float64, len(s.y)), make([]float64, len(s.y))
		buyers, top := 0, 0.0
		for i, y := range s.y {
			if y > 0 {
				bought[i], logged[i] = 1, math.Log(y)
				buyers++
				top = max(top, logged[i])
			}
		}
		if buyers < minBuyers {
			return nil, fmt.Errorf("%d users spent in the horizon; %d are needed", buyers, minBuyers)
		}
		all := s.subset(bought, func(int) bool { return true })
		isBuyer := func(i int) bool { return s.y[i] > 0 }
		m := &twoStage{learner: name, p: twoStageParams{Smear: 1, Factor: 1, Cap: top + 1}}
		p, err := m.stage(ctx, all, probability, seed, &m.buy, func(int) bool { return true })
		if err != nil {
			return nil, fmt.Errorf("buy stage: %w", err)
		}
		mu, err := m.stage(ctx, s.subset(logged, func(int) bool { return true }), regression, seed, &m.spend, isBuyer)
		if err != nil {
			return nil, fmt.Errorf("spend stage: %w", err)
		}
		m.calibrate(s, p, mu)
		return m, nil
	}
}

// heldOuter is a model that has kept, since its fit, predictions of its training rows that were made without their users.
type heldOuter interface{ heldOut() []float64 }

// stage fits one stage on the rows for which use holds and returns predictions of all rows, each made without its user: those that the
// learner made for itself while it was fitted, else by folds.
func (m *twoStage) stage(ctx context.Context, s *stacked, fit fitter, seed uint64, into *Model, use func(i int) bool) ([]float64, error) {
	var err error
	if *into, err = fit(ctx, s.subset(s.y, use), seed); err != nil {
		return nil, err
	}
	h, ok := (*into).(heldOuter)
	if !ok {
		return outOfFold(ctx, s, fit, seed, use)
	}
	dst := make([]float64, len(s.y)) // a row that was not used was not seen
	if err := (*into).Predict(s.frame(), dst); err != nil {
		return nil, err
	}
	next := 0
	for i := range dst {
		if use(i) {
			dst[i] = h.heldOut()[next]
			next++
		}
	}
	return dst, nil
}

// calibrate sets smear, residual quantiles and factor from out-of-fold predictions.
func (m *twoStage) calibrate(s *stacked, p, mu []float64) {
	var residuals []float64
	var sum, all float64
	for i, y := range s.y {
		if y > 0 {
			r := math.Log(y) - mu[i]
			residuals = append(residuals, r)
			// One whale must not set everybody's level: residuals beyond e³ times the prediction count as e³.
			sum += s.weight(i) * math.Exp(min(r, 3))
			all += s.weight(i)
		}
	}
	m.p.Smear = sum / all
	slices.Sort(residuals)
	for q := range 101 {
		m.p.Residuals = append(m.p.Residuals, eval.Quantile(residuals, float64(q)/100))
	}
	var got, want float64
	for i, y := range s.y {
		got += s.weight(i) * m.value(p[i], mu[i])
		want += s.weight(i) * y
	}
	if got > 0 && want > 0 {
		m.p.Factor = min(max(want/got, 0.5), 2)
	}
}

func (m *twoStage) value(p, mu float64) float64 {
	return m.p.Factor * p * m.p.Smear * math.Exp(min(mu, m.p.Cap))
}

// outOfFold predicts every row by a model that was fitted without its user, over five folds. fit sees only the rows for which use holds.
func outOfFold(ctx context.Context, s *stacked, fit fitter, seed uint64, use func(i int) bool) ([]float64, error) {
	const folds = 5
	dst := make([]float64, len(s.y))
	for k := range folds {
		var kept int
		train := s.subset(s.y, func(i int) bool {
			ok := use(i) && fold(s.groups[i], seed, folds) != k
			if ok {
				kept++
			}
			return ok
		})
		if kept == 0 {
			return nil, errors.New("too few users for five folds")
		}
		m, err := fit(ctx, train, seed)
		if err != nil {
			return nil, err
		}
		in := func(i int) bool { return fold(s.groups[i], seed, folds) == k }
		held := s.subset(s.y, in)
		part := make([]float64, len(held.y))
		if err := m.Predict(held.frame(), part); err != nil {
			return nil, err
		}
		next := 0
		for i := range dst {
			if in(i) {
				dst[i] = part[next]
				next++
			}
		}
	}
	return dst, nil
}

func (m *twoStage) Learner() string { return m.learner }

func (m *twoStage) stages(f *Frame) (p, mu []float64, err error) {
	p, mu = make([]float64, len(f.Users)), make([]float64, len(f.Users))
	if err := m.buy.Predict(f, p); err != nil {
		return nil, nil, err
	}
	return p, mu, m.spend.Predict(f, mu)
}

func (m *twoStage) Predict(f *Frame, dst []float64) error {
	if len(dst) != len(f.Users) {
		return fmt.Errorf("%d places for %d users", len(dst), len(f.Users))
	}
	p, mu, err := m.stages(f)
	if err != nil {
		return err
	}
	for i := range dst {
		dst[i] = m.value(p[i], mu[i])
	}
	return nil
}

// Range returns the predictive P10 and P90 of what each user will spend: a mixture of 0 with probability 1−P(buy) and of the spend with
// its residual quantiles. It may leave out the mean; ScoreFrame widens it.
func (m *twoStage) Range(f *Frame) ([]Interval, error) {
	p, mu, err := m.stages(f)
	if err != nil {
		return nil, err
	}
	out := make([]Interval, len(p))
	for i := range out {
		out[i] = Interval{m.quantile(p[i], mu[i], 0.1), m.quantile(p[i], mu[i], 0.9)}
	}
	return out, nil
}

func (m *twoStage) quantile(p, mu, q float64) float64 {
	if q <= 1-p || p <= 0 {
		return 0
	}
	return math.Exp(min(mu, m.p.Cap) + eval.Quantile(m.p.Residuals, (q-(1-p))/p))
}

// contribute works on the scale of ln E[spend]: d ln P(buy) = (1−p)·d logit, plus the spend stage as it is.
func (m *twoStage) contribute(f *Frame, dst []float64) error {
	buy, ok := m.buy.(contributor)
	spend, also := m.spend.(contributor)
	if !ok || !also {
		return errNoReasons
	}
	p := make([]float64, len(f.Users))
	if err := m.buy.Predict(f, p); err != nil {
		return err
	}
	part := make([]float64, len(dst))
	if err := buy.contribute(f, part); err != nil {
		return err
	}
	for i := range p {
		for j := range f.Names {
			dst[i*len(f.Names)+j] += (1 - p[i]) * part[i*len(f.Names)+j]
		}
	}
	return spend.contribute(f, dst)
}

func (m *twoStage) importance() map[string]float64 {
	out := map[string]float64{}
	for _, part := range []Model{m.buy, m.spend} {
		if c, ok := part.(contributor); ok {
			for name, v := range shares(c.importance()) {
				out[name] += v / 2
			}
		}
	}
	return out
}

func (m *twoStage) features() []string {
	var names []string
	for _, part := range []Model{m.buy, m.spend} {
		if c, ok := part.(contributor); ok {
			names = union(names, c.features())
		}
	}
	return names
}

func (m *twoStage) Save() ([]byte, error) {
	params, err := json.Marshal(m.p)
	if err != nil {
		return nil, err
	}
	buy, err := m.buy.Save()
	if err != nil {
		return nil, err
	}
	spend, err := m.spend.Save()
	if err != nil {
		return nil, err
	}
	return encodeArtifact(header{"twostage", m.learner}, section{"params", params}, section{"buy", buy}, section{"spend", spend})
}

func readTwoStage(h header, sections map[string][]byte, depth int) (Model, error) {
	m := &twoStage{learner: h.Learner}
	if err := decodeJSON(sections["params"], &m.p); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrArtifact, err)
	}
	if !finite(m.p.Residuals, []float64{m.p.Smear, m.p.Factor, m.p.Cap}) || len(m.p.Residuals) != 101 || !slices.IsSorted(m.p.Residuals) || m.p.Smear < 0 || m.p.Factor < 0 {
		return nil, fmt.Errorf("%w: numbers of the two stages", ErrArtifact)
	}
	var err error
	if m.buy, err = load(sections["buy"], depth+1); err != nil {
		return nil, err
	}
	m.spend, err = load(sections["spend"], depth+1)
	return m, err
}
