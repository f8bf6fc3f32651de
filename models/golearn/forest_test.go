package golearn_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"perennial/models/eval"
	"perennial/models/golearn"
)

// shop makes rows whose label depends on two of four features, with missing values in one.
func shop(seed uint64, n int) (names []string, columns [][]float64, y []float64, groups []int) {
	rng := rand.New(rand.NewPCG(seed, 9))
	names = []string{"a", "b", "c", "d"}
	columns = make([][]float64, 4)
	for i := range n {
		row := []float64{rng.NormFloat64(), rng.ExpFloat64(), rng.NormFloat64(), float64(rng.IntN(3))}
		p := eval.Sigmoid(1.5*row[0] - row[1])
		if i%7 == 0 {
			row[1] = math.NaN()
		}
		for j := range row {
			columns[j] = append(columns[j], row[j])
		}
		if rng.Float64() < p {
			y = append(y, 1)
		} else {
			y = append(y, 0)
		}
		groups = append(groups, i/2)
	}
	return names, columns, y, groups
}

func TestFit(t *testing.T) {
	names, columns, y, groups := shop(1, 1200)
	one, oob, err := golearn.Fit(t.Context(), names, columns, y, groups, golearn.Options{Seed: 5, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := golearn.Fit(t.Context(), names, columns, y, groups, golearn.Options{Seed: 5, Threads: 3})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Marshal(), two.Marshal()) {
		t.Error("the forest depends on the number of threads")
	}
	other, _, err := golearn.Fit(t.Context(), names, columns, y, groups, golearn.Options{Seed: 6})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(one.Marshal(), other.Marshal()) {
		t.Error("another seed gives the same forest")
	}
	_, fresh, want, _ := shop(2, 2000)
	p := make([]float64, len(want))
	one.Predict(fresh, p)
	if auc := eval.Rank(p).AUC(want, nil); auc < 0.75 {
		t.Errorf("AUC on new rows = %v, want >= 0.75 (the truth has about 0.80)", auc)
	}
	if loss := eval.LogLoss(p, want, nil); loss > 0.58 {
		t.Errorf("log loss on new rows = %v, want <= 0.58", loss)
	}
	// Out of bag judges honestly: about as well as on new rows, and worse than in the bag.
	var q, seen []float64
	for i, v := range oob {
		if !math.IsNaN(v) {
			q, seen = append(q, v), append(seen, y[i])
		}
	}
	in := make([]float64, len(y))
	one.Predict(columns, in)
	if a, b := eval.Rank(q).AUC(seen, nil), eval.Rank(in).AUC(y, nil); !(a < b) || len(q) < len(y)*9/10 {
		t.Errorf("out of bag AUC %v of %d rows, in the bag %v", a, len(q), b)
	}
}

// TestContribute: the moves of a row and the mean of the roots add up to its prediction.
func TestContribute(t *testing.T) {
	names, columns, y, groups := shop(1, 800)
	f, _, err := golearn.Fit(t.Context(), names, columns, y, groups, golearn.Options{Seed: 1, Trees: 11})
	if err != nil {
		t.Fatal(err)
	}
	p := make([]float64, len(y))
	f.Predict(columns, p)
	var base float64
	for _, tree := range f.Trees {
		base += tree[0].P / float64(len(f.Trees))
	}
	for i := range 50 {
		row, moved := make([]float64, 4), make([]float64, 4)
		f.Contribute(columns, i, row, moved)
		if sum := base + moved[0] + moved[1] + moved[2] + moved[3]; math.Abs(sum-p[i]) > 1e-12 {
			t.Fatalf("row %d: base and moves give %v, prediction is %v", i, sum, p[i])
		}
	}
}

func TestOneClass(t *testing.T) {
	_, _, err := golearn.Fit(t.Context(), []string{"a"}, [][]float64{{1, 2}}, []float64{1, 1}, nil, golearn.Options{})
	if !errors.Is(err, golearn.ErrOneClass) {
		t.Errorf("Fit = %v, want ErrOneClass", err)
	}
}

func TestUnmarshal(t *testing.T) {
	names, columns, y, groups := shop(1, 400)
	f, _, err := golearn.Fit(t.Context(), names, columns, y, groups, golearn.Options{Seed: 1, Trees: 3})
	if err != nil {
		t.Fatal(err)
	}
	raw := f.Marshal()
	back, err := golearn.Unmarshal(raw, f.Names, f.Fill)
	if err != nil || !bytes.Equal(back.Marshal(), raw) {
		t.Fatalf("round trip: %v", err)
	}
	for cut := range raw {
		if _, err := golearn.Unmarshal(raw[:cut], f.Names, f.Fill); err == nil {
			t.Fatalf("%d of %d bytes are read", cut, len(raw))
		}
	}
	if _, err := golearn.Unmarshal(raw, names[:1], f.Fill[:1]); err == nil {
		t.Error("a tree that needs an absent feature is read")
	}
	loop := bytes.Clone(raw)
	loop[8+4] = 0 // the root's left child is the root
	loop[8+5] = 0
	if _, err := golearn.Unmarshal(loop, f.Names, f.Fill); err == nil {
		t.Error("a tree with a loop is read")
	}
}

func FuzzUnmarshal(f *testing.F) {
	names, columns, y, groups := shop(1, 200)
	forest, _, err := golearn.Fit(f.Context(), names, columns, y, groups, golearn.Options{Seed: 1, Trees: 2})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(forest.Marshal())
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := golearn.Unmarshal(raw, forest.Names, forest.Fill)
		if err != nil {
			return
		}
		p := make([]float64, 200)
		m.Predict(columns, p)
		for _, v := range p {
			if !(v >= 0 && v <= 1) {
				t.Fatalf("prediction %v", v)
			}
		}
	})
}

// Every row meets the conditions of one rule alone, and that rule's share is its prediction.
func TestRulesAreTheTree(t *testing.T) {
	f := &golearn.Forest{Names: []string{"recency", "spend"}, Fill: []float64{-1, -1}, Trees: [][]golearn.Node{{
		{Feature: 0, Left: 1, Right: 2, Threshold: 30, P: 0.5}, {Feature: 1, Left: 3, Right: 4, Threshold: 0, P: 0.3}, {Feature: -1, P: 0.9},
		{Feature: -1, P: 0.6}, {Feature: 0, Left: 5, Right: 6, Threshold: 10, P: 0.2}, {Feature: -1, P: 0.1}, {Feature: -1, P: 0.25}}}}
	want := []golearn.Rule{
		{If: []string{"recency > 30"}, P: 0.9},
		{If: []string{"recency ≤ 30 or missing", "spend ≤ 0 or missing"}, P: 0.6},
		{If: []string{"10 < recency ≤ 30", "spend > 0"}, P: 0.25},
		{If: []string{"recency ≤ 10 or missing", "spend > 0"}, P: 0.1},
	}
	got := f.Rules()
	if len(got) != len(want) {
		t.Fatalf("%d rules, want %d: %v", len(got), len(want), got)
	}
	for i := range want {
		if got[i].P != want[i].P || !slices.Equal(got[i].If, want[i].If) {
			t.Errorf("rule %d = %v, want %v", i, got[i], want[i])
		}
	}
}
