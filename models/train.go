package models

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"perennial/models/eval"
)

// Train fits the line-up on the train cuts, judges every candidate and the naive rules on the test cut, and picks one: the simplest whose
// judgement is within one paired bootstrap standard error of the best. The chosen model is the one that was fitted on the train cuts
// only; nothing of it, calibration included, has seen the test cut. Without a test cut candidates are judged by users left out in turn
// (five folds by user over the train cuts) and the card has no metrics of its own.
//
// A learner that cannot be fitted is named with its reason in the card's notes; it is an error when none can. The same plan and rows
// give the same bytes. Train keeps nothing of the plan.
func Train(ctx context.Context, p TrainPlan) (*Trained, error) {
	if p.Target != Churn && p.Target != LTV {
		return nil, fmt.Errorf("target %q is neither churn nor ltv", p.Target)
	}
	candidates := find(p)
	if len(candidates) == 0 {
		return nil, fmt.Errorf("no learner %q for %s; there are %s", p.Learner, p.Target, strings.Join(Learners(p.Target), ", "))
	}
	s, err := stack(p.Target, p.Train)
	if err != nil {
		return nil, err
	}
	if p.Test != nil {
		if err := p.Test.check(p.Target); err != nil {
			return nil, err
		}
		for _, c := range p.Train {
			if c.AsOf >= p.Test.AsOf {
				return nil, fmt.Errorf("train cut %s is not before the test cut %s", c.AsOf, p.Test.AsOf)
			}
		}
	}
	t := &trial{plan: p, rows: s}
	if err := t.run(ctx, candidates); err != nil {
		return nil, err
	}
	return t.finish()
}

// trial is one call of Train.
type trial struct {
	plan  TrainPlan
	rows  *stacked
	notes []string
	tried []*judged // fitted candidates, in line-up order
	rules []*judged // fitted naive rules
}

// judged is a fitted learner with its predictions of the judging rows.
type judged struct {
	candidate
	model Model
	p     []float64
	marks marks
}

// truth is what candidates are judged by.
type truth struct {
	y       []float64
	recency []float64 // nil when the catalog has none
	w       []float64 // nil means all 1
}

func (t *trial) run(ctx context.Context, candidates []candidate) error {
	known := t.truth()
	for _, c := range candidates {
		if err := ctx.Err(); err != nil {
			return err
		}
		j, err := t.judge(ctx, c, known)
		if err != nil {
			t.notes = append(t.notes, fmt.Sprintf("%s was not fitted: %v", c.name, err))
			continue
		}
		t.tried = append(t.tried, j)
	}
	if len(t.tried) == 0 {
		return fmt.Errorf("no learner could be fitted on %d rows: %s", len(t.rows.y), strings.Join(t.notes, "; "))
	}
	if t.plan.Test == nil {
		return nil
	}
	for _, c := range rules(t.plan.Target) {
		if j, err := t.judge(ctx, c, known); err == nil {
			t.rules = append(t.rules, j)
		} else if !errors.Is(err, errOneClass) {
			t.notes = append(t.notes, fmt.Sprintf("rule %s: %v", c.name, err))
		}
	}
	return ctx.Err()
}

// fit fits a candidate, or averages two that this trial has fitted before.
func (t *trial) fit(ctx context.Context, c candidate) (Model, error) {
	m := &mean{learner: c.name, target: t.plan.Target}
	found := 0
	for k, name := range c.parts {
		for _, j := range t.tried {
			if name != "" && j.name == name {
				m.parts[k] = j.model
				found++
			}
		}
	}
	if found == 2 {
		return m, nil
	}
	return c.fit(ctx, t.rows, t.plan.Seed)
}

func (t *trial) truth() truth {
	if t.plan.Test != nil {
		return truth{t.plan.Test.Y, t.plan.Test.column("recency_days"), t.plan.Test.Weights}
	}
	return truth{t.rows.y, t.rows.frame().column("recency_days"), t.rows.w}
}

// trust says on how many users the chosen learner was judged and how far its calibration was off; a refit has it from its judgement.
func (t *trial) trust(chosen *judged) trust {
	v := trust{Rows: len(chosen.p)}
	switch b := t.plan.Backtest; {
	case t.plan.Target != Churn:
		return trust{}
	case t.plan.Test != nil:
		v.Shift = chosen.marks["ece"]
	case b != nil && b.Metrics["ece"] != nil:
		v = trust{Rows: b.Users, Shift: *b.Metrics["ece"]}
	}
	if math.IsNaN(v.Shift) {
		v.Shift = 0
	}
	return v
}

// judge fits a candidate and predicts the test cut, or every train row by folds without its user when there is no test cut.
func (t *trial) judge(ctx context.Context, c candidate, known truth) (*judged, error) {
	j := &judged{candidate: c}
	var err error
	if j.model, err = t.fit(ctx, c); err != nil {
		return nil, err
	}
	switch {
	case t.plan.Test != nil:
		j.p = make([]float64, len(known.y))
		err = j.model.Predict(&t.plan.Test.Frame, j.p)
	case t.plan.Learner == "":
		j.p, err = outOfFold(ctx, t.rows, c.fit, t.plan.Seed, func(int) bool { return true })
	default: // a named refit needs no judgement
		return j, nil
	}
	if err != nil {
		return nil, err
	}
	if !finite(j.p) {
		return nil, errors.New("it predicts something that is not a number")
	}
	j.marks = judge(t.plan.Target, j.p, known)
	return j, nil
}

// choose picks the simplest candidate within one paired standard error of the best.
func (t *trial) choose() *judged {
	if len(t.tried) == 1 {
		return t.tried[0]
	}
	known := t.truth()
	best := slices.MaxFunc(t.tried, func(a, b *judged) int {
		return cmp.Or(cmp.Compare(merit(t.plan.Target, a, known.y, known.w), merit(t.plan.Target, b, known.y, known.w)), cmp.Compare(b.cost, a.cost))
	})
	chosen := best
	for _, j := range t.tried {
		if j.cost >= chosen.cost {
			continue
		}
		if gap := t.gap(best, j, known.y, known.w); gap.mean <= gap.se {
			chosen = j
		}
	}
	if chosen != best {
		t.notes = append(t.notes, fmt.Sprintf("%s is within one paired standard error of %s and simpler", chosen.name, best.name))
	}
	return chosen
}

// keep keeps the incumbent unless the chosen learner surely ranks better than it, the candidates that were looked at counted.
func (t *trial) keep(chosen *judged) (*judged, *Verdict, error) {
	if t.plan.Incumbent == "" || t.plan.Test == nil || chosen.name == t.plan.Incumbent {
		return chosen, nil, nil
	}
	at := slices.IndexFunc(t.tried, func(j *judged) bool { return j.name == t.plan.Incumbent })
	if at < 0 {
		t.notes = append(t.notes, fmt.Sprintf("the champion's learner %s could not be fitted, so %s takes its place", t.plan.Incumbent, chosen.name))
		return chosen, nil, nil
	}
	v, err := contest(t.plan.Target, chosen.p, t.tried[at].p, t.plan.Test, t.plan.Seed, len(t.tried)-1)
	if err != nil {
		return nil, nil, err
	}
	v.Against = t.plan.Incumbent
	if v.Promote && t.plan.Manual {
		v.Promote, v.Reason = false, v.Reason+"; promotion is by hand here"
	}
	if v.Promote {
		t.notes = append(t.notes, fmt.Sprintf("%s takes the place of %s: %s", chosen.name, t.plan.Incumbent, v.Reason))
		return chosen, &v, nil
	}
	t.notes = append(t.notes, fmt.Sprintf("%s stays; %s was better by what chance may give: %s", t.plan.Incumbent, chosen.name, v.Reason))
	return t.tried[at], &v, nil
}

// finish writes the card and the artifact of the chosen model.
func (t *trial) finish() (*Trained, error) {
	chosen, verdict, err := t.keep(t.choose())
	if err != nil {
		return nil, err
	}
	p := t.plan
	card := Card{Schema: "perennial.card/1", Target: p.Target, Learner: chosen.name, Of: p.Of, HorizonDays: p.HorizonDays, RowsTrain: len(t.rows.y),
		Metrics: map[string]*float64{}, Baselines: map[string]map[string]float64{}, Candidates: map[string]map[string]float64{}, Calibration: []CalibrationBin{}, Backtest: p.Backtest, Contest: verdict, Notes: t.notes}
	for _, c := range p.Train {
		card.TrainAsOf = append(card.TrainAsOf, c.AsOf)
	}
	for _, j := range t.tried {
		card.Candidates[j.name] = j.marks.known()
	}
	if p.Test != nil {
		card.TestAsOf, card.RowsTest = p.Test.AsOf, len(p.Test.Y)
		known := t.truth()
		for _, j := range t.rules {
			card.Baselines[j.name] = j.marks.known()
		}
		card.Metrics = chosen.marks.pointers()
		intervals(p.Target, chosen.p, known, p.Seed, card.Metrics)
		if r, ok := chosen.model.(Ranger); ok && p.Target == LTV {
			coverage(r, &p.Test.Frame, known.y, card.Metrics)
		}
		card.Calibration = calibration(chosen.p, known.y)
		card.Segments = segments(p.Target, chosen.p, known.y, &p.Test.Frame)
		order := eval.Rank(chosen.p)
		card.Gain = order.Gain(known.y, 20)
		if p.Target == Churn {
			card.Profit = order.Profit(known.y, mean1(known.y), 20)
		}
		if !finite(card.Gain) {
			card.Gain = nil // nobody bought, or nobody left
		}
		card.Notes = append(card.Notes, remarks(p.Target, chosen, t.rules)...)
		if lo, hi := card.Metrics["calibration_low"], card.Metrics["calibration_high"]; lo != nil && hi != nil && (*lo > 1 || *hi < 1) {
			card.Notes = append(card.Notes, fmt.Sprintf("predicted ÷ spent is %.2f to %.2f with 95 %% confidence, not 1: what customers spend moved between the cuts, or they have grown older than any that were learned from; trust ranks and deciles, and see each tenth's own level above", *lo, *hi))
		}
	}
	if card.Calibrated, err = t.recalibrated(chosen.model); err != nil {
		return nil, err
	}
	cuts := p.Train
	if p.Test != nil {
		cuts = append(slices.Clone(cuts), p.Test)
	}
	for _, c := range cuts {
		switch {
		case c.Treated > 0:
			card.Notes = append(card.Notes, fmt.Sprintf("as of %s %d users met a promotion within the window: the untreated stand for them, weighted by one over their probability of being left alone", c.AsOf, c.Treated))
		case c.column(Contacted) != nil && mean1(c.column(Contacted)) > 0:
			card.Notes = append(card.Notes, fmt.Sprintf("as of %s %.1f %% of the users met a promotion within the window, some of them without a control: all are kept, with the contact as a feature that is none at scoring",
				c.AsOf, 100*mean1(c.column(Contacted))))
		}
	}
	if c, ok := chosen.model.(contributor); ok {
		card.Features = c.features()
		card.Importance = ordered(shares(c.importance()))
	}
	if d, ok := chosen.model.(interface{ parameters() json.RawMessage }); ok {
		card.Parameters = d.parameters()
	}
	kept, err := newChecked(chosen.model, &p.Train[len(p.Train)-1].Frame, t.trust(chosen))
	if err != nil {
		return nil, err
	}
	artifact, err := kept.Save()
	if err != nil {
		return nil, err
	}
	card.Version, err = versionOf(card, artifact)
	if err != nil {
		return nil, err
	}
	return &Trained{Model: kept, Artifact: artifact, Card: card, Reference: NewReference(card.Features, p.Train)}, nil
}

// recalibrated compares a churn refit's calibration on its newest cut with that of the model that was judged there.
func (t *trial) recalibrated(m Model) (*Recalibration, error) {
	b := t.plan.Backtest
	if b == nil || t.plan.Target != Churn || t.plan.Test != nil {
		return nil, nil
	}
	newest := t.plan.Train[len(t.plan.Train)-1]
	n, p := len(newest.Y), make([]float64, len(newest.Y))
	if h, ok := unwrap(m).(heldOuter); ok && len(h.heldOut()) == len(t.rows.y) { // cuts are stacked in their order
		copy(p, h.heldOut()[len(t.rows.y)-n:])
	} else if err := m.Predict(&newest.Frame, p); err != nil {
		return nil, err
	}
	line := eval.Recalibrate(p, newest.Y)
	return &Recalibration{AsOf: newest.AsOf, Before: CalibrationLine{b.Metrics["calibration_intercept"], b.Metrics["calibration_slope"], b.Metrics["prior_shift"]},
		After: CalibrationLine{number(line.Intercept), number(line.Slope), number(line.Shift)}}, nil
}

// versionOf derives a version from the target, the newest cut and the content: churn-2011-10-01-1f3a9c2e.
func versionOf(c Card, artifact []byte) (string, error) {
	doc, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write(artifact)
	h.Write(doc)
	date := c.TestAsOf
	if date == "" {
		date = slices.Max(c.TrainAsOf)
	}
	return fmt.Sprintf("%s-%s-%s", c.Target, date, hex.EncodeToString(h.Sum(nil)[:4])), nil
}

// ordered lists shares, largest first.
func ordered(m map[string]float64) []Importance {
	var out []Importance
	for name, v := range m {
		out = append(out, Importance{name, v})
	}
	slices.SortFunc(out, func(a, b Importance) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Feature, b.Feature))
	})
	return out
}
