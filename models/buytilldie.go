package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"perennial/models/btyd"
	"perennial/models/eval"
)

// buyTillDie is a buy-till-you-die model behind Model: P(no purchase in the horizon) for churn, expected purchases × Gamma-Gamma spend for
// LTV. Its process needs no labels, so it serves a shop that is too young for any; where there are labels, they calibrate its level.
type buyTillDie struct {
	process btyd.Model
	spend   btyd.GammaGamma
	p       buyTillDieParams
}

type buyTillDieParams struct {
	Kind          string             `json:"kind"` // bgnbd, mbgnbd, pareto-nbd
	Target        Target             `json:"target"`
	TimeUnit      string             `json:"time_unit"`
	HorizonDays   int                `json:"horizon_days"`
	Process       map[string]float64 `json:"process"`
	Spend         map[string]float64 `json:"spend,omitempty"`
	LogLikelihood float64            `json:"log_likelihood"`
	Intercept     float64            `json:"intercept"` // Platt's line on the logit of P(no purchase)
	Slope         float64            `json:"slope"`
	Factor        float64            `json:"factor"`    // observed ÷ predicted total of the train cuts
	Reference     [4]float64         `json:"reference"` // medians of the features: reasons are told against them
}

// btydFeatures are the BTYD four of the catalog, in days and money.
var btydFeatures = []string{"frequency", "recency", "T", "monetary"}

// btydKinds are the parametric learners.
var btydKinds = []string{"mbgnbd", "pareto-nbd", "bgnbd"}

// newBuyTillDie fits one kind. A user who stands in several cuts counts once, at the newest. labelled says that y is known.
func newBuyTillDie(kind string, plan TrainPlan, labelled bool) fitter {
	return func(_ context.Context, s *stacked, _ uint64) (Model, error) {
		m := &buyTillDie{p: buyTillDieParams{Kind: kind, Target: plan.Target, TimeUnit: orWord(plan.TimeUnit, "week"), HorizonDays: plan.HorizonDays, Slope: 1, Factor: 1}}
		if plan.HorizonDays <= 0 {
			return nil, errors.New("a horizon in days is needed")
		}
		last := map[int]int{}
		for i, g := range s.groups {
			last[g] = i
		}
		cols, err := s.frame().columns(btydFeatures)
		if err != nil {
			return nil, err
		}
		var customers []btyd.Customer
		var spends []btyd.Spend
		for i := range s.groups {
			if last[s.groups[i]] != i {
				continue
			}
			c, spend := m.customer(cols, i)
			customers = append(customers, c)
			if spend.X >= 1 && spend.Mean > 0 {
				spends = append(spends, spend)
			}
		}
		if err := m.fit(customers, spends); err != nil {
			return nil, err
		}
		for k, col := range cols {
			known := slices.DeleteFunc(slices.Clone(col), math.IsNaN)
			slices.Sort(known)
			m.p.Reference[k] = orZero(eval.Quantile(known, 0.5))
		}
		if labelled {
			m.calibrate(s)
		}
		return m, nil
	}
}

// fit finds the parameters by maximum likelihood and refuses a degenerate optimum by name.
func (m *buyTillDie) fit(customers []btyd.Customer, spends []btyd.Spend) error {
	var fit btyd.Fit
	var err error
	switch m.p.Kind {
	case "pareto-nbd":
		m.process, fit, err = first(btyd.FitParetoNBD(customers))
	default:
		m.process, fit, err = first(btyd.FitBGNBD(customers, m.p.Kind == "mbgnbd"))
	}
	if errors.Is(err, btyd.ErrDegenerate) {
		return fmt.Errorf("%w: the data show no dropout, or no spread between customers, so that the parameters would mean nothing", err)
	}
	if err != nil {
		return err
	}
	m.p.Process, m.p.LogLikelihood = fit.Parameters, fit.LogLikelihood
	if m.p.Target != LTV {
		return nil
	}
	gg, spendFit, err := btyd.FitGammaGamma(spends)
	if err != nil {
		return fmt.Errorf("spend per purchase: %w", err)
	}
	m.spend, m.p.Spend = gg, spendFit.Parameters
	return nil
}

// first turns a concrete fitted process into the interface.
func first[M btyd.Model](m M, f btyd.Fit, err error) (btyd.Model, btyd.Fit, error) { return m, f, err }

// days is the time unit.
func (m *buyTillDie) days() float64 {
	if m.p.TimeUnit == "day" {
		return 1
	}
	return 7
}

// customer reads a row in the model's time unit. What cannot be is set to the nearest that can: recency within T, none without repeats.
func (m *buyTillDie) customer(cols [][]float64, i int) (btyd.Customer, btyd.Spend) {
	x := math.Floor(max(0, orZero(cols[0][i])))
	age := max(0, orZero(cols[2][i])) / m.days()
	c := btyd.Customer{X: min(x, 1e6), TX: min(max(0, orZero(cols[1][i])/m.days()), age), T: age}
	if c.X == 0 {
		c.TX = 0
	}
	return c, btyd.Spend{X: c.X, Mean: max(0, orZero(cols[3][i]))}
}

// calibrate fits the level to what happened: Platt's line for churn, one factor for money.
func (m *buyTillDie) calibrate(s *stacked) {
	p := make([]float64, len(s.y))
	if m.Predict(s.frame(), p) != nil {
		return
	}
	if m.p.Target == LTV {
		if r := eval.SumRatio(p, s.y, s.w); r > 0 {
			m.p.Factor = min(max(1/r, 0.25), 4)
		}
		return
	}
	for i := range p {
		p[i] = eval.Logit(p[i])
	}
	if a, b, ok := eval.Platt(p, s.y, s.w); ok && b > 0 {
		m.p.Intercept, m.p.Slope = a, b
	}
}

func (m *buyTillDie) Learner() string { return m.p.Kind }

func (m *buyTillDie) Predict(f *Frame, dst []float64) error {
	cols, err := f.columns(btydFeatures)
	if err != nil {
		return err
	}
	if len(dst) != len(f.Users) {
		return fmt.Errorf("%d places for %d users", len(dst), len(f.Users))
	}
	for i := range dst {
		c, s := m.customer(cols, i)
		dst[i] = m.value(c, s)
	}
	return nil
}

// horizon is the prediction's length in the model's time unit.
func (m *buyTillDie) horizon() float64 { return float64(m.p.HorizonDays) / m.days() }

func (m *buyTillDie) value(c btyd.Customer, s btyd.Spend) float64 {
	if m.p.Target == LTV {
		return m.p.Factor * m.process.Expected(c, m.horizon()) * m.money(s)
	}
	return eval.Sigmoid(m.p.Intercept + m.p.Slope*eval.Logit(m.process.NoPurchase(c, m.horizon())))
}

// money is the expected value of a purchase; a customer without a repeat is expected to spend what everybody does.
func (m *buyTillDie) money(s btyd.Spend) float64 {
	if !(s.X >= 1) || !(s.Mean > 0) {
		return m.spend.Mean()
	}
	return m.spend.Expected(s)
}

// Range takes the spend of those who buy as exponential with the mean that makes the expectation right, beside 0 with P(no purchase).
func (m *buyTillDie) Range(f *Frame) ([]Interval, error) {
	cols, err := f.columns(btydFeatures)
	if err != nil {
		return nil, err
	}
	if m.p.Target != LTV {
		return nil, fmt.Errorf("%s predicts no money here", m.p.Kind)
	}
	out := make([]Interval, len(f.Users))
	for i := range out {
		c, s := m.customer(cols, i)
		buys := 1 - m.process.NoPurchase(c, m.horizon())
		if !(buys > 0) {
			continue
		}
		mean := m.value(c, s) / buys
		quantile := func(q float64) float64 {
			if q = (q - (1 - buys)) / buys; q <= 0 {
				return 0
			}
			return -mean * math.Log1p(-q)
		}
		out[i] = Interval{quantile(0.1), quantile(0.9)}
	}
	return out, nil
}

// contribute tells each feature's part by setting it to the median of the training users and looking how far the prediction moves, on the
// logit scale for churn and the log scale for money.
func (m *buyTillDie) contribute(f *Frame, dst []float64) error {
	cols, err := f.columns(btydFeatures)
	if err != nil {
		return err
	}
	place := f.places(btydFeatures)
	scale := func(v float64) float64 {
		if m.p.Target == LTV {
			return math.Log(max(v, 1e-9))
		}
		return eval.Logit(v)
	}
	row := make([][]float64, len(cols))
	for k := range row {
		row[k] = make([]float64, 1)
	}
	for i := range f.Users {
		for k := range cols {
			row[k][0] = cols[k][i]
		}
		full := scale(m.value(m.customer(row, 0)))
		for k := range cols {
			row[k][0] = m.p.Reference[k]
			dst[i*len(f.Names)+place[k]] += full - scale(m.value(m.customer(row, 0)))
			row[k][0] = cols[k][i]
		}
	}
	return nil
}

// importance is even over the features that the target uses: the process is parametric and has no split or coefficient per feature.
func (m *buyTillDie) importance() map[string]float64 {
	out := map[string]float64{}
	for _, name := range m.features() {
		out[name] = 1
	}
	return out
}

func (m *buyTillDie) features() []string {
	if m.p.Target == LTV {
		return btydFeatures
	}
	return btydFeatures[:3]
}

// parameters is the card's `parameters` (CONTRACT §4).
func (m *buyTillDie) parameters() json.RawMessage {
	doc := map[string]any{"time_unit": m.p.TimeUnit, "log_likelihood": m.p.LogLikelihood}
	for k, v := range m.p.Process {
		doc[k] = v
	}
	if m.p.Spend != nil {
		doc["gamma_gamma"] = m.p.Spend
	}
	raw, err := json.Marshal(doc)
	if err != nil { // a parameter that is not a number: the fit would have been refused
		return nil
	}
	return raw
}

func (m *buyTillDie) Save() ([]byte, error) {
	params, err := json.Marshal(m.p)
	if err != nil {
		return nil, err
	}
	return encodeArtifact(header{"btyd", m.p.Kind}, section{"params", params})
}

func readBuyTillDie(_ header, sections map[string][]byte, _ int) (Model, error) {
	m := &buyTillDie{}
	if err := decodeJSON(sections["params"], &m.p); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrArtifact, err)
	}
	p := m.p.Process
	numbers := []float64{m.p.Intercept, m.p.Slope, m.p.Factor}
	for _, v := range m.p.Reference {
		numbers = append(numbers, v)
	}
	names := []string{"r", "alpha", "a", "b"}
	if m.p.Kind == "pareto-nbd" {
		names = []string{"r", "alpha", "s", "beta"}
	}
	for _, name := range names {
		if v := p[name]; !(v > 0) || v > 1e9 {
			return nil, fmt.Errorf("%w: parameter %s is %v", ErrArtifact, name, v)
		}
	}
	if !finite(numbers) || m.p.HorizonDays <= 0 || m.p.HorizonDays > 10_000 || m.p.Target != Churn && m.p.Target != LTV {
		return nil, fmt.Errorf("%w: parameters", ErrArtifact)
	}
	switch m.p.Kind {
	case "pareto-nbd":
		m.process = btyd.ParetoNBD{R: p["r"], Alpha: p["alpha"], S: p["s"], Beta: p["beta"]}
	case "bgnbd", "mbgnbd":
		m.process = btyd.BGNBD{R: p["r"], Alpha: p["alpha"], A: p["a"], B: p["b"], Modified: m.p.Kind == "mbgnbd"}
	default:
		return nil, fmt.Errorf("%w: kind %q", ErrArtifact, m.p.Kind)
	}
	if m.p.Target == LTV {
		g := btyd.GammaGamma{P: m.p.Spend["p"], Q: m.p.Spend["q"], V: m.p.Spend["v"]}
		if !(g.P > 0 && g.Q > 1 && g.V > 0) || !finite([]float64{g.P, g.Q, g.V}) {
			return nil, fmt.Errorf("%w: spend parameters", ErrArtifact)
		}
		m.spend = g
	}
	return m, nil
}

// TrainUnlabelled fits the first parametric learner that is not degenerate to a frame whose future is not known: the model of a shop that
// is too young for labels. Its card has no metrics, because nothing has judged it yet.
func TrainUnlabelled(ctx context.Context, plan TrainPlan, f *Frame) (*Trained, error) {
	l := &Labelled{Frame: *f, Y: make([]float64, len(f.Users))}
	plan.Train, plan.Test = []*Labelled{l}, nil
	s, err := stack(plan.Target, plan.Train)
	if err != nil {
		return nil, err
	}
	t := &trial{plan: plan, rows: s}
	for _, kind := range btydKinds {
		m, err := newBuyTillDie(kind, plan, false)(ctx, s, plan.Seed)
		if err != nil {
			t.notes = append(t.notes, fmt.Sprintf("%s was not fitted: %v", kind, err))
			continue
		}
		t.notes = append(t.notes, "fitted to the history alone: no label window is over yet, so nothing has judged this model")
		t.tried = []*judged{{candidate: candidate{name: kind}, model: m}}
		return t.finish()
	}
	return nil, fmt.Errorf("no parametric model fits: %v", t.notes)
}
