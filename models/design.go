package models

import (
	"errors"
	"math"
)

// term is one standardised input of a linear model: the signed log1p of a feature, or whether it is missing.
type term struct {
	Feature string  `json:"feature"`
	Missing bool    `json:"missing,omitempty"`
	Mean    float64 `json:"mean"`
	SD      float64 `json:"sd"`
}

// design turns features into a standardised matrix. A missing value counts as the training mean, and a feature that misses between 1 %
// and 99 % of the time has a second term that says so. Constant features are left out.
type design struct {
	Terms []term `json:"terms"`
}

// signedLog tames money and counts: sign(v)·ln(1+|v|).
func signedLog(v float64) float64 {
	if v < 0 {
		return -math.Log1p(-v)
	}
	return math.Log1p(v)
}

// newDesign measures the features on the training rows.
func newDesign(s *stacked) (*design, error) {
	d := &design{}
	for j, name := range s.names {
		var n, sum, missing, all float64
		for i, v := range s.values[j] {
			w := s.weight(i)
			all += w
			if math.IsNaN(v) {
				missing += w
				continue
			}
			n += w
			sum += w * signedLog(v)
		}
		if n > 0 {
			mean, ss := sum/n, 0.0
			for i, v := range s.values[j] {
				if !math.IsNaN(v) {
					e := signedLog(v) - mean
					ss += s.weight(i) * e * e
				}
			}
			if sd := math.Sqrt(ss / n); sd > 1e-9 {
				d.Terms = append(d.Terms, term{Feature: name, Mean: mean, SD: sd})
			}
		}
		if p := missing / all; p > 0.01 && p < 0.99 {
			d.Terms = append(d.Terms, term{Feature: name, Missing: true, Mean: p, SD: math.Sqrt(p * (1 - p))})
		}
	}
	if len(d.Terms) == 0 {
		return nil, errors.New("every feature is constant")
	}
	return d, nil
}

func (s *stacked) weight(i int) float64 {
	if s.w == nil {
		return 1
	}
	return s.w[i]
}

// features returns the distinct features that the terms read.
func (d *design) features() []string {
	var names []string
	for k, t := range d.Terms {
		if k == 0 || d.Terms[k-1].Feature != t.Feature {
			names = append(names, t.Feature)
		}
	}
	return names
}

// matrix returns the standardised rows of a frame, row-major.
func (d *design) matrix(f *Frame) ([]float64, error) {
	n, p := len(f.Users), len(d.Terms)
	x := make([]float64, n*p)
	for k, t := range d.Terms {
		cols, err := f.columns([]string{t.Feature})
		if err != nil {
			return nil, err
		}
		for i, v := range cols[0] {
			x[i*p+k] = t.value(v)
		}
	}
	return x, nil
}

// value standardises one number.
func (t term) value(v float64) float64 {
	switch {
	case t.Missing && math.IsNaN(v):
		return (1 - t.Mean) / t.SD
	case t.Missing:
		return -t.Mean / t.SD
	case math.IsNaN(v):
		return 0
	}
	return (signedLog(v) - t.Mean) / t.SD
}

// check refuses terms that would divide by zero.
func (d *design) check() error {
	for _, t := range d.Terms {
		if !finite([]float64{t.Mean, t.SD}) || t.SD <= 0 {
			return errors.New("a term has no spread")
		}
	}
	if len(d.Terms) == 0 || len(d.Terms) > 100_000 {
		return errors.New("no terms")
	}
	return nil
}
