package eval

// Profit is the profit curve: after each of bins equal parts of the rows, best score first, what contacting them earns per row of all, when a
// contact costs cost and reaching a row of label 1 is worth one.
func (r *Ranking) Profit(y []float64, cost float64, bins int) []float64 {
	curve := make([]float64, bins)
	var run float64
	next := 0
	for i, k := range r.order {
		run += y[k] - cost
		for next < bins && i+1 >= (next+1)*len(r.order)/bins {
			curve[next] = run / float64(len(r.order))
			next++
		}
	}
	return curve
}
