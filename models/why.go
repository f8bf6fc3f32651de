package models

import (
	"cmp"
	"errors"
	"math"
	"slices"
)

// Change answers why a score moved between two cuts. It splits the move in two: what the user's features did, and what another model says of
// the same features. Which of the two happened first does not matter: each is the mean over both orders.
type Change struct {
	Target       Target   `json:"target"`
	Before       float64  `json:"before"`
	After        float64  `json:"after"`
	FeaturesPart float64  `json:"features_part"` // of after − before
	ModelPart    float64  `json:"model_part"`    // the rest
	Moves        []Move   `json:"moves"`         // by feature, largest first; their effects sum to features_part
	Reasons      []Reason `json:"reasons"`       // of the newer score
}

// Move is what one feature's change did. Null is a missing value.
type Move struct {
	Feature string   `json:"feature"`
	Before  *float64 `json:"before"`
	After   *float64 `json:"after"`
	Effect  float64  `json:"effect"`
	ZH      string   `json:"zh"`
	EN      string   `json:"en"`
}

// Why compares one user's row before and after, each with the model that scored it then. The frames have one row.
func Why(target Target, before, after *Frame, old, young Model) (Change, error) {
	c := Change{Target: target, Moves: []Move{}, Reasons: []Reason{}}
	if len(before.Users) != 1 || len(after.Users) != 1 {
		return c, errors.New("why compares one user with herself")
	}
	at := func(m Model, f *Frame) (float64, error) {
		var v [1]float64
		err := predict(m, f, v[:])
		return v[0], err
	}
	var values [4]float64 // model × features, the old ones first
	for k, m := range []Model{old, young} {
		for i, f := range []*Frame{before, after} {
			v, err := at(m, f)
			if err != nil {
				return c, err
			}
			if target == LTV {
				v = max(0, v)
			}
			values[2*k+i] = v
		}
	}
	c.Before, c.After = values[0], values[3]
	c.FeaturesPart = ((values[1] - values[0]) + (values[3] - values[2])) / 2
	c.ModelPart = c.After - c.Before - c.FeaturesPart
	if err := c.moves(before, after, old, young); err != nil && !errors.Is(err, errNoReasons) {
		return c, err
	}
	reasons, err := Explain(young, after, reasonsKept, target)
	if err == nil {
		c.Reasons = reasons[0]
	} else if !errors.Is(err, errNoReasons) {
		return c, err
	}
	return c, nil
}

// moves shares the features' part by how far each feature's contribution moved on the models' own scale.
func (c *Change) moves(before, after *Frame, old, young Model) error {
	moved := map[string]float64{}
	var total float64
	for _, m := range []Model{old, young} {
		k, ok := unwrap(m).(contributor)
		if !ok {
			return errNoReasons
		}
		for i, f := range []*Frame{before, after} {
			part, sign := make([]float64, len(f.Names)), float64(i)-0.5
			if err := k.contribute(f, part); err != nil {
				return err
			}
			for j, v := range part {
				moved[f.Names[j]] += sign * v
			}
		}
	}
	names := make([]string, 0, len(moved))
	for name := range moved {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		total += moved[name]
	}
	scale := 0.0
	if math.Abs(total) > 1e-12 {
		scale = c.FeaturesPart / total
	}
	for _, name := range names {
		if moved[name] == 0 {
			continue
		}
		m := Move{Feature: name, Before: cellOf(before, name), After: cellOf(after, name), Effect: moved[name] * scale}
		w := describe(name)
		m.ZH = w.zh + " " + plain(orNaN(m.Before), "缺失") + " → " + plain(orNaN(m.After), "缺失")
		m.EN = w.en + ": " + plain(orNaN(m.Before), "missing") + " → " + plain(orNaN(m.After), "missing")
		c.Moves = append(c.Moves, m)
	}
	slices.SortStableFunc(c.Moves, func(a, b Move) int { return cmp.Compare(math.Abs(b.Effect), math.Abs(a.Effect)) })
	return nil
}

func cellOf(f *Frame, name string) *float64 {
	col := f.column(name)
	if col == nil {
		return nil
	}
	return number(col[0])
}

func orNaN(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}
