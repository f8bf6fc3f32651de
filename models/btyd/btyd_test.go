package btyd

import (
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

var (
	bg  = BGNBD{R: .243, Alpha: 4.414, A: .793, B: 2.426}
	mbg = BGNBD{R: .525, Alpha: 6.183, A: .891, B: 1.614, Modified: true}
	pn  = ParetoNBD{.5534, 10.5802, .6061, 11.6562}
	gg  = GammaGamma{6.25, 3.74, 15.44}
)

func near(t *testing.T, what string, got, want, rel float64) {
	t.Helper()
	if !(math.Abs(got-want) <= rel*math.Abs(want)+1e-300) {
		t.Errorf("%s = %v, want %v (relative error %.1e, limit %.0e)", what, got, want, math.Abs(got/want-1), rel)
	}
}

// Point values against 50-digit mpmath; see testdata/SOURCE.md.
func TestPoints(t *testing.T) {
	type point struct {
		X, TX, T, LL, PAlive, CE39, DERT, M, E float64
	}
	var golden struct {
		BG, MBG, PN, GG []point
		E               []struct{ T, BG, MBG, PN float64 }
	}
	raw, err := os.ReadFile("testdata/points.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	for _, set := range []struct {
		m      Model
		points []point
	}{{bg, golden.BG}, {mbg, golden.MBG}, {pn, golden.PN}} {
		if len(set.points) < 9 {
			t.Fatalf("%s: %d points", set.m.Name(), len(set.points))
		}
		for _, p := range set.points {
			c := Customer{X: p.X, TX: p.TX, T: p.T}
			name := set.m.Name() + " x=" + strconv.FormatFloat(p.X, 'g', -1, 64)
			near(t, name+" ln L", set.m.LogLikelihood(c), p.LL, 1e-9)
			near(t, name+" P(alive)", set.m.Alive(c), p.PAlive, 1e-9)
			near(t, name+" E[Y(39)]", set.m.Expected(c, 39), p.CE39, 1e-9)
		}
	}
	for _, e := range golden.E {
		near(t, "bg E[X]", bg.ExpectedNew(e.T), e.BG, 1e-9)
		near(t, "mbg E[X]", mbg.ExpectedNew(e.T), e.MBG, 1e-9)
		near(t, "pn E[X]", pn.ExpectedNew(e.T), e.PN, 1e-9)
	}
	for _, p := range golden.GG {
		near(t, "gg ln L", gg.LogLikelihood(Spend{X: p.X, Mean: p.M}), p.LL, 1e-9)
		near(t, "gg E[M]", gg.Expected(Spend{X: p.X, Mean: p.M}), p.E, 1e-9)
	}
	// R package BTYD, walkthrough customer 1516.
	near(t, "DERT", pn.DERT(Customer{X: 26, TX: 30.86, T: 31}, .0027), 86.0303756154, 1e-6)
}

// CDNOW 1/10 sample from the summary file: optimum of scipy 1.x on the same file, which lifetimes' tests confirm to three digits.
func TestCDNOW(t *testing.T) {
	customers := cdnow(t)
	m, fit, err := FitBGNBD(customers, false)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "r", m.R, .2425929, 1e-4)
	near(t, "alpha", m.Alpha, 4.4135317, 1e-4)
	near(t, "a", m.A, .7928863, 1e-4)
	near(t, "b", m.B, 2.4257536, 1e-4)
	near(t, "LL", fit.LogLikelihood, -9582.42556, 1e-8)
	mm, fit, err := FitBGNBD(customers, true)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "mbg r", mm.R, .524838, 1e-4)
	near(t, "mbg alpha", mm.Alpha, 6.1829922, 1e-4)
	near(t, "mbg a", mm.A, .8913561, 1e-4)
	near(t, "mbg b", mm.B, 1.6139994, 1e-4)
	near(t, "mbg LL", fit.LogLikelihood, -9582.13268, 1e-8)
	p, fit, err := FitParetoNBD(customers)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "pareto LL", fit.LogLikelihood, -9594.97393, 1e-8)
	near(t, "pareto r", p.R, .5533, 1e-3)
	// Standard errors: CLVTools tests/testthat/test_correctness_pnbd_nocovstaticcov.R, from the day-level file.
	near(t, "se r", fit.StandardError["r"], .0476264, .02)
	near(t, "se s", fit.StandardError["s"], .1872594, .02)
}

// The likelihood that fits use, from tables, equals the plain one, and its gradient equals differences of it.
func TestFastLikelihoodIsThePlainOne(t *testing.T) {
	rows := []Customer{{0, 0, 38.86, 3}, {1, 3.71, 38.86, 1}, {26, 30.86, 31, 2}, {5, 1.5, 39, 1}}
	for _, m := range []BGNBD{bg, mbg} {
		var plain float64
		for _, c := range rows {
			plain += c.Weight * m.LogLikelihood(c)
		}
		g := make([]float64, 4)
		near(t, m.Name()+" ln L", m.likelihood(rows, 26, g), plain, 1e-13)
		for i, p := range []*float64{&m.R, &m.Alpha, &m.A, &m.B} {
			at, h := *p, 1e-5
			*p = at + h
			up := m.likelihood(rows, 26, nil)
			*p = at - h
			near(t, m.Name()+" gradient", g[i], (up-m.likelihood(rows, 26, nil))/(2*h), 1e-6)
			*p = at
		}
	}
}

// The churn score is the probability of no purchase: it must agree with simulated customers, and P(alive) must not be used for it.
func TestNoPurchaseIsCalibrated(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const n, horizon = 40_000, 20.0
	for _, m := range []Model{BGNBD{R: .8, Alpha: 6, A: .7, B: 2.5}, ParetoNBD{.9, 7, .7, 9}} {
		var predicted, silent, expected, bought float64
		for range n {
			c, later := draw(rng, m, horizon)
			predicted += m.NoPurchase(c, horizon)
			expected += m.Expected(c, horizon)
			bought += later
			if later == 0 {
				silent++
			}
		}
		if z := (predicted - silent) / math.Sqrt(n*.25); math.Abs(z) > 4 {
			t.Errorf("%s: predicted %0.f silent customers, %0.f were (z %.1f)", m.Name(), predicted, silent, z)
		}
		near(t, m.Name()+" purchases", expected, bought, .05)
	}
}

// A fit recovers the parameters of the world that made the data, within four standard errors.
func TestFitRecovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	truth := BGNBD{R: .6, Alpha: 5, A: .8, B: 2.2}
	customers := make([]Customer, 6000)
	for i := range customers {
		customers[i], _ = draw(rng, truth, 1)
	}
	_, fit, err := FitBGNBD(customers, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range truth.Parameters() {
		if se := fit.StandardError[name]; !(math.Abs(fit.Parameters[name]-want) < 4*se) {
			t.Errorf("%s = %v ± %v, the world has %v", name, fit.Parameters[name], se, want)
		}
	}
}

// Customers who never drop out: a and b have no optimum, and the fit must say so.
func TestDegenerateIsSaid(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	customers := make([]Customer, 2000)
	for i := range customers {
		x, tx, at := 0.0, 0.0, 0.0
		for {
			if at += rng.ExpFloat64() * 2; at > 30 {
				break
			}
			x, tx = x+1, at
		}
		customers[i] = Customer{X: x, TX: tx, T: 30}
	}
	if m, _, err := FitBGNBD(customers, false); !errors.Is(err, ErrDegenerate) {
		t.Errorf("fit without dropout: %+v, %v, want ErrDegenerate", m, err)
	}
}

func TestBadHistoriesAreRefused(t *testing.T) {
	for _, c := range []Customer{{X: -1, T: 3}, {X: 1, TX: 4, T: 3}, {X: 1.5, TX: 1, T: 3}, {X: math.NaN(), T: 3}, {X: 0, TX: 1, T: 2}} {
		if _, _, err := FitBGNBD([]Customer{c}, false); err == nil {
			t.Errorf("%+v was taken for a history", c)
		}
	}
}

// draw simulates one customer of a world: her history until a random age and her purchases in the horizon after it.
func draw(rng *rand.Rand, m Model, horizon float64) (Customer, float64) {
	T := 20 + 20*rng.Float64()
	var rate, drop, death float64
	death = math.Inf(1)
	switch w := m.(type) {
	case BGNBD:
		rate = gamma(rng, w.R) / w.Alpha
		a, b := gamma(rng, w.A), gamma(rng, w.B)
		drop = a / (a + b)
	case ParetoNBD:
		rate = gamma(rng, w.R) / w.Alpha
		death = rng.ExpFloat64() / (gamma(rng, w.S) / w.Beta)
	}
	c, at, later := Customer{T: T}, 0.0, 0.0
	for {
		if at += rng.ExpFloat64() / rate; at > T+horizon || at > death {
			return c, later
		}
		if at <= T {
			c.X, c.TX = c.X+1, at
		} else {
			later++
		}
		if rng.Float64() < drop {
			return c, later
		}
	}
}

// gamma draws Gamma(shape, 1) (Marsaglia and Tsang 2000).
func gamma(rng *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return gamma(rng, shape+1) * math.Pow(rng.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	for {
		x := rng.NormFloat64()
		if v := math.Pow(1+x/math.Sqrt(9*d), 3); v > 0 && math.Log(rng.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

func cdnow(tb testing.TB) []Customer {
	tb.Helper()
	f, err := os.Open("testdata/cdnow_rfm.csv.gz")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		tb.Fatal(err)
	}
	customers := make([]Customer, 0, len(rows)-1)
	for _, r := range rows[1:] {
		var v [3]float64
		for i := range v {
			if v[i], err = strconv.ParseFloat(r[len(r)-3+i], 64); err != nil {
				tb.Fatal(err)
			}
		}
		customers = append(customers, Customer{X: v[0], TX: v[1], T: v[2]})
	}
	return customers
}

// BenchmarkFitMillion fits a million customers of whom no two are alike.
func BenchmarkFitMillion(b *testing.B) {
	rng := rand.New(rand.NewPCG(9, 9))
	customers := make([]Customer, 1_000_000)
	for i := range customers {
		customers[i], _ = draw(rng, mbg, 20+60*rng.Float64())
	}
	for b.Loop() {
		if _, _, err := FitBGNBD(customers, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFitCDNOW(b *testing.B) {
	customers := cdnow(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := FitBGNBD(customers, false); err != nil {
			b.Fatal(err)
		}
	}
}
