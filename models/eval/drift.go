package eval

import (
	"math"
	"slices"
)

// PSIWarn and PSIAlarm are the customary bounds of the population stability index: below 0.1 stable, above 0.25 another population.
const (
	PSIWarn  = 0.1
	PSIAlarm = 0.25
)

// Histogram is a feature's training distribution: ten quantile bins and one for missing values, so that heavy-tailed money does not
// collapse into one bin as it does with equal widths.
type Histogram struct {
	Edges  []float64 `json:"edges"`  // upper bounds of all bins but the last, ascending and distinct; a value on an edge is below it
	Shares []float64 `json:"shares"` // len(Edges)+1 shares, then the share of missing values
}

// NewHistogram bins training values (NaN = missing) at their deciles. Equal deciles are merged.
func NewHistogram(values []float64) Histogram {
	known := make([]float64, 0, len(values))
	for _, v := range values {
		if !math.IsNaN(v) {
			known = append(known, v)
		}
	}
	slices.Sort(known)
	h := Histogram{Edges: []float64{}}
	for i := 1; i < 10 && len(known) > 0; i++ {
		e := known[(len(known)-1)*i/10]
		if e < known[len(known)-1] && (len(h.Edges) == 0 || e > h.Edges[len(h.Edges)-1]) {
			h.Edges = append(h.Edges, e)
		}
	}
	h.Shares = h.count(values)
	return h
}

// count returns the share of values in every bin, the missing ones last.
func (h Histogram) count(values []float64) []float64 {
	shares := make([]float64, len(h.Edges)+2)
	for _, v := range values {
		if math.IsNaN(v) {
			shares[len(shares)-1]++
			continue
		}
		i, _ := slices.BinarySearch(h.Edges, v)
		shares[i]++
	}
	for i := range shares {
		shares[i] /= max(1, float64(len(values)))
	}
	return shares
}

// PSI returns the population stability index Σ (q−p)·ln(q/p) of new values against the training shares; empty cells count as 1e-4.
// NaN without values or for a histogram that does not fit its own edges.
func (h Histogram) PSI(values []float64) float64 {
	if len(values) == 0 || len(h.Shares) != len(h.Edges)+2 {
		return math.NaN()
	}
	var sum float64
	for i, q := range h.count(values) {
		p := max(h.Shares[i], 1e-4)
		q = max(q, 1e-4)
		sum += (q - p) * math.Log(q/p)
	}
	return sum
}
