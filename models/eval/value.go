package eval

import "math"

// MAE returns the mean absolute error. NaN without rows.
func MAE(predicted, value, w []float64) float64 {
	var sum, all float64
	for i := range predicted {
		v := weight(w, int32(i))
		sum += v * math.Abs(predicted[i]-value[i])
		all += v
	}
	return ratio(sum, all)
}

// RMSE returns the root of the mean squared error. NaN without rows.
func RMSE(predicted, value []float64) float64 {
	var sum float64
	for i := range predicted {
		d := predicted[i] - value[i]
		sum += d * d
	}
	return math.Sqrt(ratio(sum, float64(len(predicted))))
}

// SumRatio returns Σpredicted ÷ Σvalue: 1 is calibrated in total. NaN when the values sum to 0.
func SumRatio(predicted, value, w []float64) float64 {
	var a, b float64
	for i := range predicted {
		v := weight(w, int32(i))
		a, b = a+v*predicted[i], b+v*value[i]
	}
	return ratio(a, b)
}

// DecileMAPE returns the mean over ten equal bins by prediction of |predicted − observed| ÷ observed, bins without value left out
// (Wang, Liu and Miao 2019). NaN when no bin has value.
func DecileMAPE(predicted, value []float64) float64 {
	var sum float64
	var n int
	for _, b := range Bins(predicted, value, 10) {
		if b.Observed > 0 {
			sum += math.Abs(b.Predicted-b.Observed) / b.Observed
			n++
		}
	}
	return ratio(sum, float64(n))
}

// Within returns the share of rows whose value is at most the bound. NaN without rows.
func Within(bound, value []float64) float64 {
	var n float64
	for i := range bound {
		if value[i] <= bound[i] {
			n++
		}
	}
	return ratio(n, float64(len(bound)))
}

// ProfitCurve returns, for each of bins equal parts of the rows taken best first, the profit of contacting everybody so far when a
// contact costs cost and a positive is worth gain: the money form of the gain chart.
func ProfitCurve(r *Ranking, y []float64, gain, cost float64, bins int) []float64 {
	curve := make([]float64, bins)
	var run float64
	next := 0
	for i, k := range r.order {
		run += y[k]*gain - cost
		for next < bins && i+1 >= (next+1)*len(r.order)/bins {
			curve[next] = run
			next++
		}
	}
	return curve
}
