package btyd

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
)

// Fit is how a maximum-likelihood fit ended.
type Fit struct {
	Parameters    map[string]float64
	StandardError map[string]float64 // NaN where the Hessian is not negative definite
	LogLikelihood float64
	Evaluations   int
}

// FitBGNBD fits BG/NBD, or MBG/NBD when modified, by maximum likelihood. It errs with ErrDegenerate when a parameter runs away.
func FitBGNBD(customers []Customer, modified bool) (BGNBD, Fit, error) {
	if err := check(customers); err != nil {
		return BGNBD{}, Fit{}, err
	}
	rows, scale, total := condense(customers)
	of := func(p []float64) BGNBD { return BGNBD{R: p[0], Alpha: p[1], A: p[2], B: p[3], Modified: modified} }
	maxX := 0
	for _, c := range rows {
		maxX = max(maxX, int(c.X))
	}
	value := func(p, g []float64) float64 { return of(p).likelihood(rows, maxX, g) }
	fit, err := maximise(value, []string{"r", "alpha", "a", "b"}, []float64{0.5, 0.2, 0.8, 2}, []float64{1, scale, 1, 1}, total, runaway)
	fit.LogLikelihood -= repeats(rows) * math.Log(scale)
	p := fit.Parameters
	return BGNBD{R: p["r"], Alpha: p["alpha"], A: p["a"], B: p["b"], Modified: modified}, fit, err
}

// FitParetoNBD fits Pareto/NBD by maximum likelihood. It errs with ErrDegenerate when a parameter runs away.
func FitParetoNBD(customers []Customer) (ParetoNBD, Fit, error) {
	if err := check(customers); err != nil {
		return ParetoNBD{}, Fit{}, err
	}
	rows, scale, total := condense(customers)
	plain := func(p []float64) float64 {
		m, sum := ParetoNBD{p[0], p[1], p[2], p[3]}, 0.0
		for _, c := range rows {
			sum += c.Weight * m.LogLikelihood(c)
		}
		return sum
	}
	value := func(p, g []float64) float64 {
		for i := range g {
			h := 1e-5 * p[i]
			up, down := slices.Clone(p), slices.Clone(p)
			up[i], down[i] = p[i]+h, p[i]-h
			g[i] += (plain(up) - plain(down)) / (2 * h)
		}
		return plain(p)
	}
	fit, err := maximise(value, []string{"r", "alpha", "s", "beta"}, []float64{0.5, 0.3, 0.5, 0.3}, []float64{1, scale, 1, scale}, total, paretoRunaway)
	fit.LogLikelihood -= repeats(rows) * math.Log(scale)
	p := fit.Parameters
	return ParetoNBD{p["r"], p["alpha"], p["s"], p["beta"]}, fit, err
}

// condense scales time so that the oldest customer has T = 1 and merges customers with equal histories.
func condense(customers []Customer) (rows []Customer, scale, total float64) {
	for _, c := range customers {
		scale = max(scale, c.T)
	}
	if scale == 0 {
		scale = 1
	}
	rows = make([]Customer, len(customers))
	for i, c := range customers {
		rows[i] = Customer{c.X, c.TX / scale, c.T / scale, c.weight()}
		total += rows[i].Weight
	}
	sort.Slice(rows, func(i, j int) bool {
		a, b := rows[i], rows[j]
		if a.X != b.X {
			return a.X < b.X
		}
		if a.TX != b.TX {
			return a.TX < b.TX
		}
		return a.T < b.T
	})
	merged := rows[:0]
	for _, c := range rows {
		if n := len(merged); n > 0 && merged[n-1].X == c.X && merged[n-1].TX == c.TX && merged[n-1].T == c.T {
			merged[n-1].Weight += c.Weight
			continue
		}
		merged = append(merged, c)
	}
	return merged, scale, total
}

// repeats is Σ weight·x: scaling time by s changes the log-likelihood by −Σx·ln s.
func repeats(rows []Customer) float64 {
	var sum float64
	for _, c := range rows {
		sum += c.Weight * c.X
	}
	return sum
}

// A parameter beyond these, with the oldest customer's T as the unit of time, has run away: customers do not differ in it. Pareto/NBD is
// stopped earlier because its series take thousands of terms out there, and a fit that means nothing should not take minutes.
const (
	runaway       = 1e4
	paretoRunaway = 30
)

// stopper ends a search that has converged or in which a parameter has run away.
type stopper struct {
	optimize.FunctionConverge
	limit float64 // of the logarithms
	ran   bool
}

// Converged implements optimize.Converger.
func (s *stopper) Converged(l *optimize.Location) optimize.Status {
	for _, u := range l.X {
		if u > s.limit {
			s.ran = true
			return optimize.Success
		}
	}
	return s.FunctionConverge.Converged(l)
}

// maximise finds the maximum of a log-likelihood over positive parameters, on their logarithms, by BFGS. value adds the gradient to g
// when g is not nil. unit turns each parameter back into the caller's unit; total is the number of customers; a parameter beyond limit has
// run away.
func maximise(value func(p, g []float64) float64, names []string, start, unit []float64, total, limit float64) (Fit, error) {
	evaluations := 0
	at := func(u, g []float64) float64 {
		evaluations++
		p := make([]float64, len(u))
		for i := range u {
			p[i] = math.Exp(min(max(u[i], -40), 40))
		}
		if g != nil {
			clear(g)
		}
		v := value(p, g)
		for i := range g {
			g[i] *= -p[i] / total
		}
		if math.IsNaN(v) {
			return math.Inf(1)
		}
		return -v / total
	}
	u := make([]float64, len(start))
	for i, s := range start {
		u[i] = math.Log(s)
	}
	// The line search asks for value and gradient of one point separately; both cost little more than one.
	last, lastGrad, lastValue := make([]float64, len(u)), make([]float64, len(u)), math.NaN()
	both := func(u []float64) float64 {
		if math.IsNaN(lastValue) || !slices.Equal(u, last) {
			copy(last, u)
			lastValue = at(u, lastGrad)
		}
		return lastValue
	}
	problem := optimize.Problem{Func: both, Grad: func(g, u []float64) { both(u); copy(g, lastGrad) }}
	stop := &stopper{FunctionConverge: optimize.FunctionConverge{Absolute: 1e-15, Iterations: 20}, limit: math.Log(limit)}
	result, err := optimize.Minimize(problem, u, &optimize.Settings{GradientThreshold: 1e-9, MajorIterations: 500, Converger: stop}, &optimize.BFGS{})
	if result == nil {
		return Fit{}, fmt.Errorf("maximum likelihood: %w", err)
	}
	fit := Fit{Parameters: map[string]float64{}, StandardError: map[string]float64{}, LogLikelihood: -result.F * total, Evaluations: evaluations}
	degenerate := math.IsInf(result.F, 0) || stop.ran
	errs := slices.Repeat([]float64{math.NaN()}, len(result.X))
	if !stop.ran { // they cost as much as eight more evaluations, and would mean nothing
		errs = standardErrors(at, result.X, total)
	}
	for i, name := range names {
		p := math.Exp(result.X[i])
		fit.Parameters[name] = p * unit[i]
		fit.StandardError[name] = errs[i] * p * unit[i]
		if p > limit || p < 1e-6 || !(errs[i] < 50) {
			degenerate = true
		}
	}
	if degenerate {
		said := make([]string, len(names))
		for i, name := range names {
			said[i] = fmt.Sprintf("%s %.4g", name, fit.Parameters[name])
		}
		return fit, fmt.Errorf("%w: the search ended at %s", ErrDegenerate, strings.Join(said, ", "))
	}
	return fit, nil
}

// standardErrors returns the standard errors of the log-parameters: the root of the diagonal of the inverse Hessian, by differences of the
// gradient. They are NaN where the Hessian is not positive definite.
func standardErrors(at func(u, g []float64) float64, u []float64, total float64) []float64 {
	n := len(u)
	h := mat.NewSymDense(n, nil)
	rows := make([][]float64, n)
	for i := range n {
		up, down, gu, gd := slices.Clone(u), slices.Clone(u), make([]float64, n), make([]float64, n)
		up[i] += 1e-4
		down[i] -= 1e-4
		at(up, gu)
		at(down, gd)
		rows[i] = make([]float64, n)
		for j := range n {
			rows[i][j] = (gu[j] - gd[j]) / 2e-4 * total
		}
	}
	out := make([]float64, n)
	for i := range n {
		out[i] = math.NaN()
		for j := i; j < n; j++ {
			h.SetSym(i, j, (rows[i][j]+rows[j][i])/2)
		}
	}
	var chol mat.Cholesky
	if !chol.Factorize(h) {
		return out
	}
	var inverse mat.SymDense
	if chol.InverseTo(&inverse) != nil {
		return out
	}
	for i := range n {
		out[i] = math.Sqrt(inverse.At(i, i))
	}
	return out
}
