package models

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// column returns the values of a feature, or nil.
func (f *Frame) column(name string) []float64 {
	if j := slices.Index(f.Names, name); j >= 0 {
		return f.Values[j]
	}
	return nil
}

// columns returns the values of features in the order of names; a missing feature is an error that says the next step.
func (f *Frame) columns(names []string) ([][]float64, error) {
	cols := make([][]float64, len(names))
	for k, name := range names {
		if cols[k] = f.column(name); cols[k] == nil {
			return nil, fmt.Errorf("feature %q is not in the frame of %s: build the features with the catalog that the model was trained on, or train again", name, f.AsOf)
		}
	}
	return cols, nil
}

// Slice returns rows [lo, hi) of the frame; it shares its memory.
func (f *Frame) Slice(lo, hi int) *Frame {
	s := &Frame{AsOf: f.AsOf, Users: f.Users[lo:hi], Names: f.Names, Values: make([][]float64, len(f.Values))}
	for j := range f.Values {
		s.Values[j] = f.Values[j][lo:hi]
	}
	if f.Stage != nil {
		s.Stage = f.Stage[lo:hi]
	}
	return s
}

// rows returns some rows of the frame, sharing its memory when they follow each other.
func (f *Frame) rows(at []int32) *Frame {
	first, last := int(at[0]), int(at[len(at)-1])
	if last-first+1 == len(at) {
		return f.Slice(first, last+1)
	}
	s := &Frame{AsOf: f.AsOf, Users: make([]string, len(at)), Names: f.Names, Values: make([][]float64, len(f.Values))}
	for k, i := range at {
		s.Users[k] = f.Users[i]
	}
	for j, col := range f.Values {
		s.Values[j] = make([]float64, len(at))
		for k, i := range at {
			s.Values[j][k] = col[i]
		}
	}
	if f.Stage != nil {
		s.Stage = make([]string, len(at))
		for k, i := range at {
			s.Stage[k] = f.Stage[i]
		}
	}
	return s
}

// check refuses a frame whose parts do not fit.
func (f *Frame) check() error {
	if len(f.Values) != len(f.Names) {
		return fmt.Errorf("frame of %s: %d columns for %d names", f.AsOf, len(f.Values), len(f.Names))
	}
	for j, col := range f.Values {
		if len(col) != len(f.Users) {
			return fmt.Errorf("frame of %s: column %s has %d rows, want %d", f.AsOf, f.Names[j], len(col), len(f.Users))
		}
	}
	if f.Stage != nil && len(f.Stage) != len(f.Users) {
		return fmt.Errorf("frame of %s: %d stages for %d users", f.AsOf, len(f.Stage), len(f.Users))
	}
	return nil
}

// check refuses labels that do not fit the frame or the target.
func (l *Labelled) check(target Target) error {
	if err := l.Frame.check(); err != nil {
		return err
	}
	if len(l.Y) != len(l.Users) || l.Weights != nil && len(l.Weights) != len(l.Users) {
		return fmt.Errorf("frame of %s: %d labels and %d weights for %d users", l.AsOf, len(l.Y), len(l.Weights), len(l.Users))
	}
	if len(l.Users) == 0 {
		return fmt.Errorf("frame of %s has no users: import orders from before that date first", l.AsOf)
	}
	for i, y := range l.Y {
		if math.IsNaN(y) || y < 0 || math.IsInf(y, 0) || target == Churn && y != 0 && y != 1 {
			return fmt.Errorf("frame of %s: label %v is not possible for %s", l.AsOf, y, target)
		}
		if l.Weights != nil && !(l.Weights[i] >= 0 && l.Weights[i] < 1e12) {
			return fmt.Errorf("frame of %s: weight %v is not possible", l.AsOf, l.Weights[i])
		}
	}
	return nil
}

// stacked is the rows of all train cuts under each other. groups numbers users: rows of one user share a number across cuts, so that
// folds and bags never see her on both sides.
type stacked struct {
	names  []string
	values [][]float64
	y, w   []float64 // w nil means all 1
	groups []int
	users  int
}

// stack joins the cuts on the features that all of them have.
func stack(target Target, cuts []*Labelled) (*stacked, error) {
	if len(cuts) == 0 {
		return nil, errors.New("no train cut")
	}
	weighted := false
	for _, c := range cuts {
		if err := c.check(target); err != nil {
			return nil, err
		}
		weighted = weighted || c.Weights != nil
	}
	s := &stacked{}
	for _, name := range cuts[0].Names {
		var col []float64
		for _, c := range cuts {
			v := c.column(name)
			if v == nil {
				col = nil
				break
			}
			col = append(col, v...)
		}
		if col != nil {
			s.names, s.values = append(s.names, name), append(s.values, col)
		}
	}
	number := map[string]int{}
	for _, c := range cuts {
		for i, u := range c.Users {
			g, ok := number[u]
			if !ok {
				g = len(number)
				number[u] = g
			}
			s.groups = append(s.groups, g)
			s.y = append(s.y, c.Y[i])
			if weighted && c.Weights != nil {
				s.w = append(s.w, c.Weights[i])
			} else if weighted {
				s.w = append(s.w, 1)
			}
		}
	}
	s.users = len(number)
	if len(s.names) == 0 {
		return nil, errors.New("the train cuts share no feature")
	}
	return s, nil
}

// frame returns the stacked rows as a frame without users.
func (s *stacked) frame() *Frame {
	return &Frame{Users: make([]string, len(s.y)), Names: s.names, Values: s.values}
}

// subset returns the rows for which keep holds, with another label.
func (s *stacked) subset(y []float64, keep func(i int) bool) *stacked {
	t := &stacked{names: s.names, values: make([][]float64, len(s.values)), users: s.users}
	for i := range s.y {
		if !keep(i) {
			continue
		}
		t.y, t.groups = append(t.y, y[i]), append(t.groups, s.groups[i])
		if s.w != nil {
			t.w = append(t.w, s.w[i])
		}
	}
	for j, col := range s.values {
		t.values[j] = make([]float64, 0, len(t.y))
		for i, v := range col {
			if keep(i) {
				t.values[j] = append(t.values[j], v)
			}
		}
	}
	return t
}

// fold returns which of k folds a group belongs to: a fixed mixing of its number and the seed.
func fold(group int, seed uint64, k int) int {
	x := uint64(group)*0x9e3779b97f4a7c15 + seed
	x ^= x >> 31
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 29
	return int(x % uint64(k))
}
