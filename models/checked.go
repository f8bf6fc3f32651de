package models

import (
	"encoding/json"
	"fmt"
	"math"
)

// checked is a registered model: it carries a few training rows with the predictions that they had, recomputed at every load, so that a
// file read by a program that means something else by it is refused instead of scoring wrongly.
type checked struct {
	Model
	rows checkRows
}

type checkRows struct {
	Names  []string     `json:"names"`
	Values [][]*float64 `json:"values"` // by feature; null where missing
	Want   []float64    `json:"want"`
	Trust  *trust       `json:"trust,omitempty"`
}

// checkTolerance is relative: another processor may fuse a multiply and an add.
const checkTolerance = 1e-9

// newChecked keeps at most eight rows of a frame, evenly spaced, and how far the model may be believed.
func newChecked(m Model, f *Frame, t trust) (*checked, error) {
	c := &checked{Model: m, rows: checkRows{Names: f.Names, Values: make([][]*float64, len(f.Names))}}
	if t.Rows > 0 {
		c.rows.Trust = &t
	}
	step := max(1, len(f.Users)/8)
	for i := 0; i < len(f.Users) && len(c.rows.Want) < 8; i += step {
		for j := range f.Names {
			var cell *float64
			if v := f.Values[j][i]; !math.IsNaN(v) {
				cell = &v
			}
			c.rows.Values[j] = append(c.rows.Values[j], cell)
		}
		c.rows.Want = append(c.rows.Want, 0)
	}
	return c, m.Predict(c.frame(), c.rows.Want)
}

func (c *checked) frame() *Frame {
	f := &Frame{Users: make([]string, len(c.rows.Want)), Names: c.rows.Names, Values: make([][]float64, len(c.rows.Names))}
	for j, col := range c.rows.Values {
		f.Values[j] = make([]float64, len(col))
		for i, cell := range col {
			if f.Values[j][i] = math.NaN(); cell != nil {
				f.Values[j][i] = *cell
			}
		}
	}
	return f
}

func (c *checked) Save() ([]byte, error) {
	inner, err := c.Model.Save()
	if err != nil {
		return nil, err
	}
	rows, err := json.Marshal(c.rows)
	if err != nil {
		return nil, err
	}
	return encodeArtifact(header{"checked", c.Learner()}, section{"rows", rows}, section{"model", inner})
}

func readChecked(_ header, sections map[string][]byte, depth int) (Model, error) {
	c := &checked{}
	if err := decodeJSON(sections["rows"], &c.rows); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrArtifact, err)
	}
	if len(c.rows.Values) != len(c.rows.Names) || len(c.rows.Want) > 1000 || c.rows.Trust != nil && (c.rows.Trust.Rows < 0 || !(c.rows.Trust.Shift >= 0 && c.rows.Trust.Shift <= 1)) {
		return nil, fmt.Errorf("%w: check rows", ErrArtifact)
	}
	for _, col := range c.rows.Values {
		if len(col) != len(c.rows.Want) {
			return nil, fmt.Errorf("%w: check rows", ErrArtifact)
		}
	}
	var err error
	if c.Model, err = load(sections["model"], depth+1); err != nil {
		return nil, err
	}
	got := make([]float64, len(c.rows.Want))
	if err := c.Predict(c.frame(), got); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrArtifact, err)
	}
	for i, want := range c.rows.Want {
		if math.IsNaN(got[i]) || math.Abs(got[i]-want) > checkTolerance*(1+math.Abs(want)) {
			return nil, fmt.Errorf("%w: check row %d gives %v, it gave %v when it was trained", ErrArtifact, i, got[i], want)
		}
	}
	return c, nil
}

// unwrap returns the model inside a registered one.
func unwrap(m Model) Model {
	if c, ok := m.(*checked); ok {
		return c.Model
	}
	return m
}
