package stats

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// fromSums is the summary of n, Σx, Σx² as floats.
func fromSums(n, sum, squares float64) Moments {
	m := sum / n
	return Moments{int64(n), []float64{m}, []float64{squares - n*m*m}}
}

// gbstats tests/frequentist/test_tests.py:55-98: n = 3407, Σ = 1396.87, Σ² = 52377.9767 against n = 3461, Σ = 2422.7, Σ² = 134698.29.
// The lift interval is Fieller's, computed independently for reference statistics §5.1.
func TestWelchAndFiellerPublished(t *testing.T) {
	c, err := Mean(fromSums(3407, 1396.87, 52377.9767))
	if err != nil {
		t.Fatal(err)
	}
	tr, err := Mean(fromSums(3461, 2422.7, 134698.29))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Welch(tr, c)
	if err != nil {
		t.Fatal(err)
	}
	crit := StudentUpper(0.025, p.DF)
	near(t, "p", StudentTwoSided(p.T0(), p.DF), 0.0201584, 1e-5)
	near(t, "low", p.Effect()-crit*p.SE(), 0.0453779, 1e-5)
	near(t, "high", p.Effect()+crit*p.SE(), 0.5346221, 1e-5)
	low, high, err := p.Relative(crit)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "Fieller low", low, 0.09406, 1e-4)
	near(t, "Fieller high", high, 1.70869, 1e-5)
}

// Hillstrom (MineThatData 2008), spend of Mens E-Mail against No E-Mail: the summaries and R's Welch test.
func TestWelchHillstrom(t *testing.T) {
	p, err := Welch(Estimate{21307, 1.4226165110996376, 315.0, 21306}, Estimate{21306, 0.6527894489814867, 133.0, 21305})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "effect", p.Effect(), 0.7698270621181509, 1e-12)
}

// Every edge d of Fieller's interval satisfies |m_T − (1+d)·m_C| = c·√(V_T + (1+d)²·V_C − 2(1+d)·Cov), for any control's sign.
func TestFiellerEdges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		p := Pair{T: Estimate{Mean: rng.NormFloat64() * 5, Var: rng.Float64()}, C: Estimate{Mean: 10 * (rng.Float64() - 0.5), Var: rng.Float64() / 4}}
		p.Cov = 0.3 * math.Sqrt(p.T.Var*p.C.Var)
		low, high, err := p.Relative(1.96)
		g := 1.96 * 1.96 * p.C.Var / (p.C.Mean * p.C.Mean)
		if (err != nil) != (g >= 1) {
			t.Fatalf("g = %v but error %v", g, err)
		}
		if err != nil {
			if !errors.Is(err, ErrControlNearZero) {
				t.Fatalf("error %v, want ErrControlNearZero", err)
			}
			continue
		}
		for _, d := range []float64{low, high} {
			r := 1 + d
			if p.C.Mean < 0 {
				r = 1 - d
			}
			got := math.Abs(p.T.Mean-r*p.C.Mean) / math.Sqrt(p.T.Var+r*r*p.C.Var-2*r*p.Cov)
			near(t, "edge", got, 1.96, 1e-7)
		}
		if low > high {
			t.Fatalf("interval [%v, %v] is turned round", low, high)
		}
	}
	negative := Pair{T: Estimate{Mean: -5, Var: 1e-6}, C: Estimate{Mean: -10, Var: 1e-6}}
	if low, high, err := negative.Relative(2); err != nil || low > 0.5 || high < 0.5 {
		t.Errorf("−10 → −5 = [%v, %v], %v; want about +0.5", low, high, err)
	}
}

// PostHog products/experiments/stats/tests/test_frequentist.py, ratio metric: lift 0.041333.
func TestRatioPublished(t *testing.T) {
	ratio := func(n, m, mm, d, dd, md float64) Estimate {
		e, err := Ratio(Moments{int64(n), []float64{m / n, d / n}, []float64{mm - m*m/n, md - m*d/n, md - m*d/n, dd - d*d/n}})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	// The means decide the lift; squares and products only the variance.
	c := ratio(1966, 94605.79858780127, 10463129.505392816, 936, 936, 94605.79858780127)
	tr := ratio(2034, 99673.9364269569, 11298745.182728939, 947, 947, 99673.9364269569)
	near(t, "lift", tr.Mean/c.Mean-1, 0.041333, 1e-4)
	if _, err := Ratio(Moments{2, []float64{1, 0}, make([]float64, 4)}); !errors.Is(err, ErrControlNearZero) {
		t.Errorf("ratio over nothing: %v, want ErrControlNearZero", err)
	}
}

// Merging parts equals the whole, in any order; integer sums give the same summary.
func TestMomentsLaws(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var x, y []float64
	sx, sy, sxx, sxy, syy := new(big.Int), new(big.Int), new(big.Int), new(big.Int), new(big.Int)
	for range 1000 {
		a, b := int64(rng.IntN(1e9)), int64(rng.IntN(50))
		x, y = append(x, float64(a)*1e-6), append(y, float64(b))
		A, B := big.NewInt(a), big.NewInt(b)
		sx.Add(sx, A)
		sy.Add(sy, B)
		sxx.Add(sxx, new(big.Int).Mul(A, A))
		sxy.Add(sxy, new(big.Int).Mul(A, B))
		syy.Add(syy, new(big.Int).Mul(B, B))
	}
	whole := MomentsOf(x, y)
	a, b, c := MomentsOf(x[:10], y[:10]), MomentsOf(x[10:400], y[10:400]), MomentsOf(x[400:], y[400:])
	sums, err := MomentsFromSums(1000, []*big.Int{sx, sy}, []*big.Int{sxx, sxy, syy}, []float64{1e-6, 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]Moments{"(a+b)+c": a.Merge(b).Merge(c), "a+(b+c)": a.Merge(b.Merge(c)), "c+a+b": c.Merge(a).Merge(b), "sums": sums, "with empty": whole.Merge(Moments{})} {
		if got.N != whole.N {
			t.Errorf("%s: N %d, want %d", name, got.N, whole.N)
		}
		for i := range whole.Mean {
			near(t, name+" mean", got.Mean[i], whole.Mean[i], 1e-13)
		}
		for i := range whole.M2 {
			near(t, name+" M2", got.M2[i], whole.M2[i], 1e-10)
		}
	}
	if _, err := FromSums(3, big.NewInt(9), big.NewInt(1), 1); !errors.Is(err, ErrMissingVariance) {
		t.Errorf("impossible sums: %v, want ErrMissingVariance", err)
	}
	if _, err := FromSums(3, big.NewInt(9), nil, 1); !errors.Is(err, ErrMissingVariance) {
		t.Errorf("no squares: %v, want ErrMissingVariance", err)
	}
}

// A large offset costs no digits.
func TestMomentsCancellation(t *testing.T) {
	x := []float64{1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16}
	if m := MomentsOf(x); m.M2[0] != 90 {
		t.Errorf("M2 = %v, want 90", m.M2[0])
	}
}

// Regression on one covariate is the formula worked out by hand; a dependent or constant covariate changes nothing; adjustment never costs more than
// half a per cent, unequal arms included.
func TestAdjust(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	draw := func(n int, slope, lift float64) (y, x []float64) {
		for range n {
			v := rng.NormFloat64()
			x = append(x, v)
			y = append(y, lift+slope*v+rng.NormFloat64())
		}
		return y, x
	}
	yt, xt := draw(900, 2, 0.3)
	yc, xc := draw(100, -1, 0)
	plain, err := Adjust(MomentsOf(yt, xt), MomentsOf(yc, xc), false)
	if err != nil {
		t.Fatal(err)
	}
	all := MomentsOf(append(append([]float64{}, xt...), xc...))
	hand := func(y, x []float64) (mean, rss float64) {
		m := MomentsOf(y, x)
		b := m.M2[1] / m.M2[3]
		return m.Mean[0] - b*(m.Mean[1]-all.Mean[0]), m.M2[0] - b*m.M2[1]
	}
	mt, rt := hand(yt, xt)
	mc, rc := hand(yc, xc)
	near(t, "effect", plain.Effect(), mt-mc, 1e-12)
	residual := rt/898/900 + rc/98/100
	if v := plain.SE() * plain.SE(); v < residual {
		t.Errorf("variance %v is below that of the residuals %v", v, residual)
	}
	twice := make([]float64, len(xt))
	for i, v := range xt {
		twice[i] = 2*v + 1
	}
	twiceC := make([]float64, len(xc))
	for i, v := range xc {
		twiceC[i] = 2*v + 1
	}
	same, err := Adjust(MomentsOf(yt, xt, twice), MomentsOf(yc, xc, twiceC), false)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "dependent covariate", same.SE(), plain.SE(), 1e-12)
	for _, n := range [][2]int{{900, 100}, {500, 500}, {100, 900}} {
		for _, slope := range []float64{0, 0.02, 1} {
			yt, xt := draw(n[0], slope, 0)
			yc, xc := draw(n[1], slope, 0)
			te, _ := Mean(MomentsOf(yt))
			ce, _ := Mean(MomentsOf(yc))
			raw, _ := Welch(te, ce)
			adjusted, err := Adjust(MomentsOf(yt, xt), MomentsOf(yc, xc), false)
			if err != nil || adjusted.SE() > 1.01*raw.SE() {
				t.Errorf("%v slope %v: se %v adjusted, %v raw, %v", n, slope, adjusted.SE(), raw.SE(), err)
			}
		}
	}
	if _, err := Adjust(MomentsOf(yt[:3], xt[:3]), MomentsOf(yc, xc), false); !errors.Is(err, ErrTooFew) {
		t.Errorf("three units: %v, want ErrTooFew", err)
	}
}

// A change of weights from 10/90 to 50/50 while the base rate moves from 5 to 8 per cent fakes no lift: reference statistics §6.7 (+23.5 % when pooled).
func TestStratifiedFakesNoLift(t *testing.T) {
	arm := func(n, x float64) Estimate {
		e, err := Mean(fromSums(n, x, x))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	first, _ := Welch(arm(1000, 50), arm(9000, 450))
	second, _ := Welch(arm(5000, 400), arm(5000, 400))
	p, err := Stratified([]Stratum{{first, 0.5}, {second, 0.5}})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(p.Effect()) > 1e-15 {
		t.Errorf("effect %v, want 0", p.Effect())
	}
	pooled, _ := Welch(arm(6000, 450), arm(14000, 850))
	if lift := pooled.Effect() / pooled.C.Mean; math.Abs(lift-0.235) > 0.001 {
		t.Errorf("pooled lift %v, want 0.235: the trap is gone", lift)
	}
}

func TestQuantile(t *testing.T) {
	sorted := make([]float64, 1001)
	for i := range sorted {
		sorted[i] = float64(i)
	}
	e, err := Quantile(sorted, 0.9)
	if err != nil || e.Mean != 900 {
		t.Fatalf("Quantile = %v, %v, want 900", e, err)
	}
	near(t, "se", math.Sqrt(e.Var), 1000*math.Sqrt(0.09/1001), 0.01)
	if _, err := Quantile(sorted[:20], 0.9); !errors.Is(err, ErrTooFew) {
		t.Errorf("twenty values: %v, want ErrTooFew", err)
	}
	if got := PooledCap([]float64{5, 1, 3}, 0.5); got != 3 {
		t.Errorf("PooledCap = %v, want 3", got)
	}
}

func TestWelchErrors(t *testing.T) {
	one := Estimate{N: 1}
	flat := Estimate{N: 10, Mean: 7, DF: 9}
	if _, err := Welch(one, flat); !errors.Is(err, ErrTooFew) {
		t.Errorf("one unit: %v", err)
	}
	if _, err := Welch(flat, flat); !errors.Is(err, ErrZeroVariance) {
		t.Errorf("nothing varies: %v", err)
	}
	if _, err := Mean(Moments{N: 1, Mean: []float64{1}, M2: []float64{0}}); !errors.Is(err, ErrTooFew) {
		t.Errorf("Mean of one: %v", err)
	}
}
