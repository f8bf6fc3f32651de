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
	"strings"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat"
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

// The summary file of the CDNOW 1/10 sample, whose weeks are rounded to two digits: optimum of scipy 1.x on the same file, which lifetimes' tests
// confirm to three digits.
func TestCDNOWSummary(t *testing.T) {
	customers := cdnow(t)
	for _, c := range []fitted{
		{"bgnbd", map[string]float64{"r": .2425929, "alpha": 4.4135317, "a": .7928863, "b": 2.4257536}, -9582.42556},
		{"mbgnbd", map[string]float64{"r": .524838, "alpha": 6.1829922, "a": .8913561, "b": 1.6139994}, -9582.13268},
		{"pareto-nbd", nil, -9594.97393},
	} {
		c.check(t, customers)
	}
}

// The orders of the CDNOW 1/10 sample by day, calibrated to 1997-09-30: parameters and log-likelihoods of an independent fit (scipy L-BFGS-B on
// likelihoods of its own), the holdout of the 39 weeks after, and CLVTools' standard errors (tests/testthat/test_correctness_pnbd_nocovstaticcov.R).
func TestCDNOWByDay(t *testing.T) {
	customers, spends, later := cdnowDays(t)
	bg := fitted{"bgnbd", map[string]float64{"r": .242595, "alpha": 4.413602, "a": .792922, "b": 2.425907}, -9582.429207}
	pareto := fitted{"pareto-nbd", map[string]float64{"r": .553277, "alpha": 10.577684, "s": .606240, "beta": 11.668728}, -9594.976179}
	m, _ := bg.check(t, customers)
	fitted{"mbgnbd", map[string]float64{"r": .524843, "alpha": 6.183086, "a": .891359, "b": 1.614002}, -9582.135716}.check(t, customers)
	p, fit := pareto.check(t, customers)
	for name, want := range map[string]float64{"r": .0476264, "alpha": .8427222, "s": .1872594, "beta": 6.2105448} {
		near(t, "standard error of "+name, fit.StandardError[name], want, 2e-3)
	}
	g, _, err := FitGammaGamma(spends)
	if err != nil || len(spends) != 946 {
		t.Fatalf("gamma-gamma of %d repeat customers: %v", len(spends), err)
	}
	near(t, "p", g.P, 6.249573, 1e-4)
	near(t, "q", g.Q, 3.744224, 1e-4)
	near(t, "v", g.V, 15.443517, 1e-4)
	near(t, "mean spend", g.Mean(), 35.170372, 1e-5)

	for _, c := range []struct {
		m                   Model
		sum, mae, rmse, cor float64
	}{{m, 1653.4087, .785454, 1.60798, .62565}, {p, 1665.5132, .754523, 1.60285, .63022}} {
		var sum, actual, absolute, squares float64
		expected := make([]float64, len(customers))
		for i, v := range customers {
			expected[i] = c.m.Expected(v, 39)
			sum, actual = sum+expected[i], actual+later[i]
			absolute, squares = absolute+math.Abs(expected[i]-later[i]), squares+(expected[i]-later[i])*(expected[i]-later[i])
		}
		n := float64(len(customers))
		if actual != 1882 {
			t.Fatalf("%v repeat purchases in the holdout, want 1882", actual)
		}
		near(t, c.m.Name()+" holdout purchases", sum, c.sum, 1e-4)
		near(t, c.m.Name()+" holdout mean absolute error", absolute/n, c.mae, 1e-4)
		near(t, c.m.Name()+" holdout root mean squared error", math.Sqrt(squares/n), c.rmse, 1e-4)
		near(t, c.m.Name()+" holdout correlation", stat.Correlation(expected, later, nil), c.cor, 1e-4)
	}
}

// fitted is what a fit must find.
type fitted struct {
	model      string
	parameters map[string]float64
	ll         float64
}

func (f fitted) check(t *testing.T, customers []Customer) (Model, Fit) {
	t.Helper()
	var m Model
	var fit Fit
	var err error
	if f.model == "pareto-nbd" {
		m, fit, err = FitParetoNBD(customers)
	} else {
		m, fit, err = FitBGNBD(customers, f.model == "mbgnbd")
	}
	if err != nil {
		t.Fatalf("%s: %v", f.model, err)
	}
	for name, want := range f.parameters {
		near(t, f.model+" "+name, fit.Parameters[name], want, 1e-4)
	}
	if math.Abs(fit.LogLikelihood-f.ll) > 1e-4 {
		t.Errorf("%s: ln L = %v, want %v", f.model, fit.LogLikelihood, f.ll)
	}
	return m, fit
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
	} else if text := err.Error(); !strings.Contains(text, "r ") || !strings.Contains(text, ", alpha ") || strings.Contains(text, "map[") {
		t.Errorf("the message does not read: %s", text)
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
	rows := read(tb, "testdata/cdnow_rfm.csv.gz")
	customers := make([]Customer, 0, len(rows))
	for _, r := range rows {
		var err error
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

// cdnowDays returns, by customer, the history until 1997-09-30 and the days with orders in the 39 weeks after, and the repeat customers' spends.
// Days are whole; orders of one day are one purchase.
func cdnowDays(tb testing.TB) (customers []Customer, spends []Spend, later []float64) {
	tb.Helper()
	type purchase struct{ day, value float64 }
	histories, order := map[string][]purchase{}, []string{}
	cut := time.Date(1997, 9, 30, 0, 0, 0, 0, time.UTC)
	for _, r := range read(tb, "testdata/cdnow_sample.csv.gz") {
		at, err := time.Parse(time.DateOnly, r[2])
		if err != nil {
			tb.Fatal(err)
		}
		value, err := strconv.ParseFloat(r[4], 64)
		if err != nil {
			tb.Fatal(err)
		}
		h, day := histories[r[1]], at.Sub(cut).Hours()/24
		if n := len(h); n > 0 && h[n-1].day == day {
			h[n-1].value += value
		} else {
			if n == 0 {
				order = append(order, r[1])
			}
			h = append(h, purchase{day, value})
		}
		histories[r[1]] = h
	}
	for _, id := range order {
		h, c, after, total := histories[id], Customer{}, 0.0, 0.0
		for i, p := range h {
			switch {
			case p.day > 0:
				after++
			case i > 0:
				c.X, c.TX = c.X+1, (p.day-h[0].day)/7
				total += p.value
			}
		}
		c.T = -h[0].day / 7
		customers, later = append(customers, c), append(later, after)
		if c.X > 0 && total > 0 {
			spends = append(spends, Spend{X: c.X, Mean: total / c.X})
		}
	}
	return customers, spends, later
}

// read returns a gzipped CSV file's rows after its header.
func read(tb testing.TB, path string) [][]string {
	tb.Helper()
	f, err := os.Open(path)
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
	return rows[1:]
}
