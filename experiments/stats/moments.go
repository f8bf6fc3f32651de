package stats

import (
	"math"
	"math/big"
)

// Moments is n, the means and the centred second moments of several values of the same units: the metric first, then a ratio's
// denominator, then covariates. Moments of disjoint units merge, so days, segments and strata add up.
type Moments struct {
	N    int64
	Mean []float64 // K means
	M2   []float64 // K×K, row by row: Σ(xᵢ − meanᵢ)(xⱼ − meanⱼ)
}

// Of returns the moments of a Summary.
func (s Summary) Of() Moments { return Moments{s.N, []float64{s.Mean}, []float64{s.M2}} }

// Summary returns value i alone.
func (m Moments) Summary(i int) Summary { return Summary{m.N, m.Mean[i], m.M2[i*len(m.Mean)+i]} }

// Merge returns the moments of the units of both; either may be empty (Chan, Golub & LeVeque 1979).
func (m Moments) Merge(o Moments) Moments {
	if m.N == 0 {
		return o
	}
	if o.N == 0 {
		return m
	}
	k := len(m.Mean)
	out := Moments{m.N + o.N, make([]float64, k), make([]float64, k*k)}
	na, nb := float64(m.N), float64(o.N)
	n := na + nb
	for i := range k {
		out.Mean[i] = m.Mean[i] + (o.Mean[i]-m.Mean[i])*nb/n
		for j := range k {
			out.M2[i*k+j] = m.M2[i*k+j] + o.M2[i*k+j] + (o.Mean[i]-m.Mean[i])*(o.Mean[j]-m.Mean[j])*(na*nb/n)
		}
	}
	return out
}

// MomentsOf returns the moments of columns of equal length; row r is one unit. Two passes with compensated sums, so the result keeps its
// digits whatever the scale. No columns or no rows give N = 0.
func MomentsOf(columns ...[]float64) Moments {
	k := len(columns)
	m := Moments{Mean: make([]float64, k), M2: make([]float64, k*k)}
	if k == 0 || len(columns[0]) == 0 {
		return m
	}
	m.N = int64(len(columns[0]))
	n := float64(m.N)
	for i, col := range columns {
		m.Mean[i] = fsum(len(col), func(r int) float64 { return col[r] }) / n
	}
	rest := make([]float64, k) // what rounding the mean left over: Σ(x − mean), nearly 0
	for i, col := range columns {
		rest[i] = fsum(len(col), func(r int) float64 { return col[r] - m.Mean[i] })
	}
	for i, a := range columns {
		for j := i; j < k; j++ {
			b := columns[j]
			s := fsum(len(a), func(r int) float64 { return (a[r] - m.Mean[i]) * (b[r] - m.Mean[j]) })
			m.M2[i*k+j] = s - rest[i]*rest[j]/n
			m.M2[j*k+i] = m.M2[i*k+j]
		}
	}
	return m
}

// fsum adds n terms with Neumaier's compensation.
func fsum(n int, term func(int) float64) float64 {
	sum, low := 0.0, 0.0
	for i := range n {
		x := term(i)
		t := sum + x
		if math.Abs(sum) >= math.Abs(x) {
			low += (sum - t) + x
		} else {
			low += (x - t) + sum
		}
		sum = t
	}
	return sum + low
}

// MomentsFromSums returns the moments of n units from exact integer sums: x[i] = Σxᵢ, and xx the upper triangle of Σxᵢxⱼ row by row.
// unit[i] is the size of one integer step of value i (10⁻⁶ for micros, 1 for counts). The centring n·Σxy − Σx·Σy is done in
// integers, so nothing cancels. It errs with ErrMissingVariance when a sum is nil or no data can have these sums.
func MomentsFromSums(n int64, x, xx []*big.Int, unit []float64) (Moments, error) {
	k := len(x)
	m := Moments{N: n, Mean: make([]float64, k), M2: make([]float64, k*k)}
	if n <= 0 {
		m.N = 0
		return m, nil
	}
	if len(xx) != k*(k+1)/2 || len(unit) != k {
		return m, ErrMissingVariance
	}
	bigN, at := big.NewInt(n), 0
	for i := range k {
		if x[i] == nil {
			return m, ErrMissingVariance
		}
		m.Mean[i] = ratio(x[i], bigN) * unit[i]
		for j := i; j < k; j++ {
			if xx[at] == nil || x[j] == nil {
				return m, ErrMissingVariance
			}
			centred := new(big.Int).Mul(bigN, xx[at])
			centred.Sub(centred, new(big.Int).Mul(x[i], x[j]))
			if i == j && centred.Sign() < 0 {
				return m, ErrMissingVariance
			}
			m.M2[i*k+j] = ratio(centred, bigN) * unit[i] * unit[j]
			m.M2[j*k+i] = m.M2[i*k+j]
			at++
		}
	}
	return m, nil
}

// ratio returns a/b correctly rounded.
func ratio(a, b *big.Int) float64 {
	f, _ := new(big.Rat).SetFrac(a, b).Float64()
	return f
}

// FromSums returns a Summary from exact integer sums; see MomentsFromSums.
func FromSums(n int64, x, xx *big.Int, unit float64) (Summary, error) {
	m, err := MomentsFromSums(n, []*big.Int{x}, []*big.Int{xx}, []float64{unit})
	if err != nil || m.N == 0 {
		return Summary{N: m.N}, err
	}
	return m.Summary(0), nil
}

// combine returns the moments of linear combinations of the values: row r of w (of length K) gives value r. Means are combined, too.
func (m Moments) combine(w [][]float64) Moments {
	k, q := len(m.Mean), len(w)
	out := Moments{m.N, make([]float64, q), make([]float64, q*q)}
	for a := range q {
		for i := range k {
			out.Mean[a] += w[a][i] * m.Mean[i]
		}
		for b := range q {
			s := 0.0
			for i := range k {
				if w[a][i] == 0 {
					continue
				}
				for j := range k {
					s += w[a][i] * w[b][j] * m.M2[i*k+j]
				}
			}
			out.M2[a*q+b] = s
		}
	}
	return out
}

// add takes one more unit, its values in row (Welford's update for means and co-moments).
func (m *Moments) add(row []float64) {
	k := len(row)
	if m.N == 0 {
		m.Mean, m.M2 = make([]float64, k), make([]float64, k*k)
	}
	m.N++
	f := (float64(m.N) - 1) / float64(m.N)
	for i := range k {
		di := row[i] - m.Mean[i]
		for j := i; j < k; j++ {
			m.M2[i*k+j] += di * (row[j] - m.Mean[j]) * f
			m.M2[j*k+i] = m.M2[i*k+j]
		}
	}
	for i := range k {
		m.Mean[i] += (row[i] - m.Mean[i]) / float64(m.N)
	}
}
