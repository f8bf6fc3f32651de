package stats

import "sort"

// Holm returns p-values adjusted so that rejecting those below α makes any false rejection at most α likely (Holm 1979). NaN stays NaN
// and does not count. The input is not changed.
func Holm(p []float64) []float64 {
	order, out := sortedP(p)
	running := 0.0
	for i, at := range order {
		running = max(running, min(1, p[at]*float64(len(order)-i)))
		out[at] = running
	}
	return out
}

// BenjaminiHochberg returns p-values adjusted so that rejecting those below α keeps the false discovery rate at α (1995).
func BenjaminiHochberg(p []float64) []float64 {
	order, out := sortedP(p)
	running := 1.0
	for i := len(order) - 1; i >= 0; i-- {
		at := order[i]
		running = min(running, p[at]*float64(len(order))/float64(i+1))
		out[at] = running
	}
	return out
}

func sortedP(p []float64) (order []int, out []float64) {
	out = append([]float64(nil), p...)
	for i, v := range p {
		if v == v {
			order = append(order, i)
		}
	}
	sort.SliceStable(order, func(a, b int) bool { return p[order[a]] < p[order[b]] })
	return order, out
}
