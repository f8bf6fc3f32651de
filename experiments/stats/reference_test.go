package stats

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// reference is one row of testdata/reference.json: what a library that is not ours answers. testdata/reference.py made it and names the versions.
type reference struct {
	Function string    `json:"function"`
	Args     []float64 `json:"args"`
	Want     []float64 `json:"want"`
}

// answers maps a function of the reference to ours and the relative tolerance. Tails of mpmath are exact; quadrature and root finding of scipy and
// statsmodels carry up to 1e-6 themselves; ours of sizes is Guenther's correction, theirs the noncentral t.
var answers = map[string]struct {
	rel float64
	f   func(a []float64) []float64
}{
	"NormalSF":         {2e-12, func(a []float64) []float64 { return []float64{NormalSF(a[0])} }},
	"StudentTwoSided":  {2e-12, func(a []float64) []float64 { return []float64{StudentTwoSided(a[0], a[1])} }},
	"Chi2SF":           {2e-12, func(a []float64) []float64 { return []float64{Chi2SF(a[0], a[1])} }},
	"FSF":              {1e-11, func(a []float64) []float64 { return []float64{BetaInc(a[2]/2, a[1]/2, a[2]/(a[2]+a[1]*a[0]))} }},
	"BetaInc":          {1e-11, func(a []float64) []float64 { return []float64{BetaInc(a[0], a[1], a[2])} }},
	"ConditionalPower": {1e-10, func(a []float64) []float64 { return []float64{ConditionalPower(a[0], a[1], a[2], a[3])} }},
	"Welch": {1e-10, func(a []float64) []float64 {
		arm := func(n, mean, variance float64) Estimate { return Estimate{int64(n), mean, variance / n, n - 1} }
		p, _ := Welch(arm(a[3], a[4], a[5]), arm(a[0], a[1], a[2]))
		half := StudentUpper(0.025, p.DF) * p.SE()
		return []float64{p.T0(), p.DF, StudentTwoSided(p.T0(), p.DF), p.Effect() - half, p.Effect() + half}
	}},
	"MiettinenNurminen": {1e-6, func(a []float64) []float64 {
		p, low, high := MiettinenNurminen(int64(a[0]), int64(a[1]), int64(a[2]), int64(a[3]), 0.05)
		return []float64{p, low, high}
	}},
	"RateBelief": {1e-8, func(a []float64) []float64 {
		b := RateBelief{int64(a[0]), int64(a[1]), int64(a[2]), int64(a[3])}
		kept, shipped := b.ExpectedLoss()
		return []float64{b.ChanceToBeat(), kept, shipped}
	}},
	"Heterogeneity": {1e-10, func(a []float64) []float64 {
		effects, variances := a[:len(a)/2], a[len(a)/2:]
		q, df, p, _ := Heterogeneity(effects, variances)
		_, tau2, _ := Shrink(effects, variances)
		return []float64{q, df, p, tau2}
	}},
	"Adjust": {1e-10, func(a []float64) []float64 {
		n, k, rest := [2]int{int(a[0]), int(a[1])}, int(a[2]), a[3:]
		var arms [2]Moments
		y, z := rest[:n[0]+n[1]], rest[n[0]+n[1]:]
		for arm := range 2 {
			for range n[arm] {
				arms[arm].add(append([]float64{y[0]}, z[:k]...))
				y, z = y[1:], z[k:]
			}
		}
		p, _ := Adjust(arms[1], arms[0], false)
		return []float64{p.Effect(), p.SE()}
	}},
	"Sizing": {3e-4, func(a []float64) []float64 {
		n, _ := Sizing{Baseline: 100, SD: a[0], Alpha: 0.05, Power: a[2], Ratio: 1, Arms: 2, Inflation: 1}.Units(a[1])
		return []float64{n}
	}},
	"BernoulliDifference": {1e-8, func(a []float64) []float64 {
		p, _, _ := BernoulliSequence{Alpha: 0.05, Tuning: a[4]}.Difference(int64(a[0]), int64(a[1]), int64(a[2]), int64(a[3]))
		return []float64{p}
	}},
}

func TestReference(t *testing.T) {
	raw, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Source string      `json:"source"`
		Rows   []reference `json:"rows"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, r := range file.Rows {
		seen[r.Function]++
		a, ok := answers[r.Function]
		if !ok {
			t.Fatalf("nothing answers %s", r.Function)
		}
		for i, got := range a.f(r.Args) {
			if math.IsNaN(got) || math.Abs(got-r.Want[i]) > a.rel*math.Abs(r.Want[i]) {
				t.Errorf("%s%v[%d] = %.17g, want %.17g (%s)", r.Function, r.Args, i, got, r.Want[i], file.Source)
			}
		}
	}
	for name := range answers {
		if seen[name] < 2 {
			t.Errorf("%s has %d reference rows", name, seen[name])
		}
	}
}
