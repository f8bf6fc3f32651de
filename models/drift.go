package models

import "perennial/models/eval"

// Reference is what the training users looked like: a histogram per feature that the model reads.
type Reference map[string]eval.Histogram

// NewReference bins the features of the train cuts.
func NewReference(features []string, cuts []*Labelled) Reference {
	ref := Reference{}
	for _, name := range features {
		var all []float64
		for _, c := range cuts {
			all = append(all, c.column(name)...)
		}
		ref[name] = eval.NewHistogram(all)
	}
	return ref
}

// Drift returns the population stability index of every feature of the reference on a frame: below eval.PSIWarn stable, above
// eval.PSIAlarm another population. Features that the frame lacks, or that cannot be compared, are left out.
func (r Reference) Drift(f *Frame) map[string]float64 {
	out := map[string]float64{}
	for name, h := range r {
		if col := f.column(name); col != nil {
			if v := h.PSI(col); v == v {
				out[name] = v
			}
		}
	}
	return out
}
