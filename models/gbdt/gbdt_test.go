package gbdt

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// table makes a seeded table with informative, noisy, integer, categorical (the last column) and missing cells.
func table(n, features int, seed uint64, o Objective) *Data {
	rng := rand.New(rand.NewPCG(seed, 1))
	d := &Data{Values: make([][]float64, features), Y: make([]float64, n)}
	for j := range d.Values {
		d.Names = append(d.Names, string(rune('a'+j%26))+string(rune('0'+j/26)))
		d.Values[j] = make([]float64, n)
		for i := range d.Values[j] {
			switch {
			case j == features-1:
				d.Values[j][i] = float64(rng.IntN(12))
			case j%4 == 3:
				d.Values[j][i] = float64(rng.IntN(40))
			default:
				d.Values[j][i] = rng.NormFloat64()
			}
			if j%5 == 1 && rng.Float64() < 0.1 {
				d.Values[j][i] = math.NaN()
			}
		}
	}
	cell := func(j, i int) float64 {
		if v := d.Values[j][i]; !math.IsNaN(v) {
			return v
		}
		return 0.7
	}
	for i := range d.Y {
		s := 0.8*cell(0, i) + math.Abs(cell(1, i)) - 0.6*cell(0, i)*cell(2, i) + 0.03*cell(3, i)
		if int(cell(features-1, i))%3 == 0 {
			s += 0.9
		}
		s -= 1.5
		switch o {
		case Logistic:
			if rng.Float64() < sigmoid(s) {
				d.Y[i] = 1
			}
		case Poisson, Tweedie:
			d.Y[i] = float64(int(math.Exp(s/2) * rng.ExpFloat64()))
		case Gamma:
			d.Y[i] = math.Exp(s/2)*rng.ExpFloat64() + 1e-3
		default:
			d.Y[i] = s + rng.NormFloat64()
		}
	}
	return d
}

func fit(t testing.TB, d *Data, p Params) *Model {
	t.Helper()
	m, err := Fit(context.Background(), d, nil, p)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func predict(t testing.TB, m *Model, d *Data) []float64 {
	t.Helper()
	out := make([]float64, len(d.Y))
	if err := m.Predict(d.Values, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func params(o Objective) Params {
	return Params{Objective: o, Trees: 40, Leaves: 15, LearningRate: 0.1, MinLeaf: 20}
}

func categoricalLast(n int) []bool {
	c := make([]bool, n)
	c[n-1] = true
	return c
}

// Every objective lowers its own loss on data that it has not seen, against the best constant.
func TestEveryObjectiveLearns(t *testing.T) {
	for _, o := range []Objective{Logistic, L2, Poisson, Gamma, Tweedie, Quantile} {
		t.Run(string(o), func(t *testing.T) {
			train, later := table(4000, 8, 1, o), table(4000, 8, 2, o)
			p := params(o)
			p.Categorical = categoricalLast(8)
			m := fit(t, train, p)
			raw, constant := make([]float64, len(later.Y)), make([]float64, len(later.Y))
			if err := m.Raw(later.Values, raw); err != nil {
				t.Fatal(err)
			}
			for i := range constant {
				constant[i] = m.Base
			}
			got, base := m.Params.loss(later, raw), m.Params.loss(later, constant)
			if !(got < base-0.02*math.Abs(base)) {
				t.Errorf("loss %v, the constant has %v", got, base)
			}
		})
	}
}

// The bytes of a model do not depend on the number of threads, nor on a second run.
func TestSameBytesForAnyThreads(t *testing.T) {
	d := table(60_000, 11, 3, Logistic)
	var want []byte
	for _, threads := range []int{1, 2, 4, 1} {
		p := params(Logistic)
		p.Trees, p.Threads = 8, threads
		raw, err := fit(t, d, p).Save()
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = raw
		}
		if !bytes.Equal(raw, want) {
			t.Fatalf("threads %d: other bytes", threads)
		}
	}
}

// The batch walk, the single row and the plain walk agree, after a save and a load too.
func TestFastWalksArePlainWalks(t *testing.T) {
	for _, cat := range []bool{false, true} {
		d := table(3001, 9, 4, Logistic)
		p := params(Logistic)
		if cat {
			p.Categorical = categoricalLast(9)
		}
		m := fit(t, d, p)
		raw, err := m.Save()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load(raw)
		if err != nil {
			t.Fatal(err)
		}
		fast, loaded := predict(t, m, d), predict(t, again, d)
		row := make([]float64, 9)
		for i := range d.Y {
			for j := range row {
				row[j] = d.Values[j][i]
			}
			s := m.Base
			for k := range m.trees {
				s += m.trees[k].at(func(f int) uint8 { return m.bins[f].of(row[f]) })
			}
			if want := sigmoid(s); fast[i] != want || loaded[i] != want || m.PredictRow(row) != want {
				t.Fatalf("categorical %v row %d: batch %v, loaded %v, single %v, plain %v", cat, i, fast[i], loaded[i], m.PredictRow(row), want)
			}
		}
	}
}

// Contributions sum to the raw score, and equal the Shapley values by definition (all subsets, path-dependent expectation).
func TestContributionsAreShapleyValues(t *testing.T) {
	d := table(2000, 6, 5, L2)
	p := params(L2)
	p.Trees, p.Leaves, p.Categorical = 6, 12, categoricalLast(6)
	m := fit(t, d, p)
	raw := make([]float64, len(d.Y))
	if err := m.Raw(d.Values, raw); err != nil {
		t.Fatal(err)
	}
	phi := make([][]float64, len(d.Y))
	for i := range phi {
		phi[i] = make([]float64, 6)
	}
	if err := m.Contributions(d.Values, phi); err != nil {
		t.Fatal(err)
	}
	m.Hasten()
	fast := make([][]float64, len(d.Y))
	for i := range fast {
		fast[i] = make([]float64, 6)
	}
	if err := m.Contributions(d.Values, fast); err != nil {
		t.Fatal(err)
	}
	for i := range phi {
		for j := range 6 {
			if math.Abs(fast[i][j]-phi[i][j]) > 1e-12 {
				t.Fatalf("row %d feature %d: %v by tables, %v leaf by leaf", i, j, fast[i][j], phi[i][j])
			}
		}
		sum := m.Expected()
		for _, v := range phi[i] {
			sum += v
		}
		if math.Abs(sum-raw[i]) > 1e-9 {
			t.Fatalf("row %d: contributions sum to %v, the score is %v", i, sum, raw[i])
		}
		if i >= 50 {
			continue
		}
		cells := make([]uint8, 6)
		for j := range cells {
			cells[j] = m.bins[j].of(d.Values[j][i])
		}
		for j := range 6 {
			var want float64
			for set := range 1 << 6 {
				if set>>j&1 == 0 {
					size := 0
					for k := range 6 {
						size += set >> k & 1
					}
					weight := factorial(size) * factorial(5-size) / factorial(6)
					want += weight * (m.given(cells, set|1<<j) - m.given(cells, set))
				}
			}
			if math.Abs(phi[i][j]-want) > 1e-9 {
				t.Fatalf("row %d feature %d: %v, by definition %v", i, j, phi[i][j], want)
			}
		}
	}
}

// Tables and leaves agree for deep trees over many features, whose paths are longer than a group's bits.
func TestTablesExplainDeepTrees(t *testing.T) {
	d := table(6000, 26, 21, Logistic)
	p := params(Logistic)
	p.Trees, p.Leaves, p.MinLeaf, p.Categorical = 8, 120, 3, categoricalLast(26)
	m := fit(t, d, p)
	explain := func() [][]float64 {
		phi := make([][]float64, len(d.Y))
		for i := range phi {
			phi[i] = make([]float64, 26)
		}
		if err := m.Contributions(d.Values, phi); err != nil {
			t.Fatal(err)
		}
		return phi
	}
	leaves := explain()
	m.Hasten()
	if len(m.fast.wide) == 0 {
		t.Error("no path was longer than a group's bits: the test proves nothing about them")
	}
	for i, row := range explain() {
		for j, v := range row {
			if math.Abs(v-leaves[i][j]) > 1e-12 {
				t.Fatalf("row %d feature %d: %v by tables, %v leaf by leaf", i, j, v, leaves[i][j])
			}
		}
	}
}

// given is the expectation of the raw score when only the features of a set are known, by the cover of each branch.
func (m *Model) given(cells []uint8, set int) float64 {
	sum := m.Base
	for i := range m.trees {
		t := &m.trees[i]
		var walk func(at int) float64
		walk = func(at int) float64 {
			n := &t.nodes[at]
			switch {
			case n.leaf(at):
				return n.Value
			case set>>n.Feature&1 == 0:
				l, r := &t.nodes[n.Left], &t.nodes[n.Right]
				return (l.Cover*walk(int(n.Left)) + r.Cover*walk(int(n.Right))) / n.Cover
			case n.goesLeft(cells[n.Feature]):
				return walk(int(n.Left))
			}
			return walk(int(n.Right))
		}
		sum += walk(0)
	}
	return sum
}

func factorial(n int) float64 {
	f := 1.0
	for i := 2; i <= n; i++ {
		f *= float64(i)
	}
	return f
}

// A monotone feature never moves the prediction the wrong way, whatever the other features are.
func TestMonotone(t *testing.T) {
	d := table(5000, 6, 6, L2)
	p := params(L2)
	p.Monotone = []int8{1, -1, 0, 0, 0, 0}
	m := fit(t, d, p)
	row := make([]float64, 6)
	for i := range 300 {
		for j := range row {
			row[j] = d.Values[j][i]
		}
		for j, direction := range []float64{1, -1} {
			keep, last := row[j], math.Inf(-1)
			for v := -3.0; v <= 3; v += 0.05 {
				row[j] = direction * v
				got := m.PredictRow(row)
				if got < last-1e-12 {
					t.Fatalf("row %d feature %d: %v after %v", i, j, got, last)
				}
				last = got
			}
			row[j] = keep
		}
	}
}

// With and without the fast split finder the model is the same: a free Monotone slice uses the plain one.
func TestFastFinderIsPlainFinder(t *testing.T) {
	d := table(4000, 8, 7, Logistic)
	p := params(Logistic)
	fast := predict(t, fit(t, d, p), d)
	p.Monotone = make([]int8, 8)
	plain := predict(t, fit(t, d, p), d)
	for i := range fast {
		if math.Abs(fast[i]-plain[i]) > 1e-9 {
			t.Fatalf("row %d: %v, plain %v", i, fast[i], plain[i])
		}
	}
}

func TestEarlyStoppingKeepsTheBestTrees(t *testing.T) {
	train, later := table(1500, 8, 8, Logistic), table(1500, 8, 9, Logistic)
	p := params(Logistic)
	p.Trees, p.LearningRate, p.Patience, p.Leaves = 400, 0.3, 15, 31
	m, err := Fit(context.Background(), train, later, p)
	if err != nil {
		t.Fatal(err)
	}
	if m.Trees() == 0 || m.Trees() > 300 {
		t.Errorf("%d trees were kept", m.Trees())
	}
	p.Patience = 0
	raw := make([]float64, len(later.Y))
	stopped := func(m *Model) float64 {
		if err := m.Raw(later.Values, raw); err != nil {
			t.Fatal(err)
		}
		return m.Params.loss(later, raw)
	}
	if all := fit(t, train, p); stopped(m) >= stopped(all) {
		t.Errorf("later loss %v with stopping, %v without", stopped(m), stopped(all))
	}
}

// A row of weight 2 is two rows.
func TestWeightsAreCopies(t *testing.T) {
	d := table(1000, 5, 10, L2)
	for _, column := range d.Values {
		for i := range column {
			column[i] = math.Round(column[i]*10) / 10 // so few values that both tables have the same bins
		}
	}
	twice := &Data{Names: d.Names, Values: make([][]float64, 5)}
	d.Weights = make([]float64, 1000)
	for i := range d.Y {
		d.Weights[i] = float64(1 + i%2)
		for range 1 + i%2 {
			for j := range d.Values {
				twice.Values[j] = append(twice.Values[j], d.Values[j][i])
			}
			twice.Y = append(twice.Y, d.Y[i])
		}
	}
	p := Params{Objective: L2, Trees: 10, Leaves: 6, LearningRate: 0.2, MinHessian: 40.5}
	a, b := predict(t, fit(t, d, p), d), predict(t, fit(t, twice, p), d)
	var worst float64
	for i := range a {
		worst = max(worst, math.Abs(a[i]-b[i]))
	}
	if worst > 1e-9 {
		t.Errorf("predictions differ by up to %v", worst)
	}
}

func TestRefusals(t *testing.T) {
	good := table(100, 4, 11, Logistic)
	for name, change := range map[string]func(*Data, *Params){
		"no rows":           func(d *Data, p *Params) { *d = Data{Names: d.Names, Values: [][]float64{{}, {}, {}, {}}} },
		"ragged":            func(d *Data, p *Params) { d.Values[1] = d.Values[1][:5] },
		"target 2":          func(d *Data, p *Params) { d.Y[3] = 2 },
		"target NaN":        func(d *Data, p *Params) { d.Y[3] = math.NaN() },
		"negative weight":   func(d *Data, p *Params) { d.Weights = make([]float64, 100); d.Weights[0] = -1 },
		"unknown objective": func(d *Data, p *Params) { p.Objective = "hinge" },
		"one leaf":          func(d *Data, p *Params) { p.Leaves = 1 },
		"power":             func(d *Data, p *Params) { p.Objective, p.Power = Tweedie, 2.5 },
		"patience alone":    func(d *Data, p *Params) { p.Patience = 3 },
	} {
		d, p := table(100, 4, 11, Logistic), params(Logistic)
		change(d, &p)
		if _, err := Fit(context.Background(), d, nil, p); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if m := fit(t, good, params(Logistic)); m.Predict(good.Values[:2], make([]float64, 100)) == nil {
		t.Error("two columns for four features were accepted")
	}
	// Nothing to learn, and everything missing: the constant.
	flat := &Data{Names: []string{"x"}, Values: [][]float64{{math.NaN(), math.NaN()}}, Y: []float64{0, 1}}
	if got := predict(t, fit(t, flat, params(Logistic)), flat); got[0] != 0.5 {
		t.Errorf("a table without information predicts %v", got)
	}
}

func TestEdgesAreEqualCounts(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 1))
	values := make([]float64, 50_000)
	for i := range values {
		values[i] = rng.ExpFloat64()
		if i%3 == 0 {
			values[i] = 0 // a third of all: a bin of its own
		}
	}
	b := newBins(values, 255, false)
	counts := make([]int, 256)
	for _, v := range values {
		counts[b.of(v)]++
	}
	if counts[0] != (len(values)+2)/3 {
		t.Errorf("bin 0 holds %d, the zeros are %d", counts[0], (len(values)+2)/3)
	}
	for k := 1; k < b.count(); k++ {
		if counts[k] < 80 || counts[k] > 200 {
			t.Errorf("bin %d holds %d of %d", k, counts[k], len(values))
		}
	}
	if b.count() < 250 {
		t.Errorf("%d bins", b.count())
	}
}

// A row's score does not depend on the rows beside it: walked, in part of a block, and over several.
func TestScoresDoNotDependOnTheBatch(t *testing.T) {
	d := table(1100, 9, 31, Logistic)
	p := params(Logistic)
	p.Trees, p.Leaves, p.Categorical = 20, 40, categoricalLast(9)
	m := fit(t, d, p)
	all := make([]float64, len(d.Y))
	if err := m.Raw(d.Values, all); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, fewRows, fewRows + 1, blockRows, blockRows + 1} {
		some, part := make([]float64, n), make([][]float64, len(d.Values))
		for j := range part {
			part[j] = d.Values[j][:n]
		}
		if err := m.Raw(part, some); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(some, all[:n]) {
			t.Errorf("%d rows score otherwise than among %d", n, len(all))
		}
	}
}

// TestBinsAreThoseOfAPlainSearch holds the search without branches against the definition.
func TestBinsAreThoseOfAPlainSearch(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for n := range 256 {
		numbers := []float64{math.Copysign(0, -1), 0, math.Inf(1), math.Inf(-1), math.NaN(), math.Copysign(math.NaN(), -1), math.MaxFloat64, -math.MaxFloat64, 5e-324}
		var kept []float64
		for range n {
			v := math.Round(rng.NormFloat64()*50) * math.Exp(rng.NormFloat64())
			kept = append(kept, v)
			numbers = append(numbers, v, math.Nextafter(v, 1e9), math.Nextafter(v, -1e9), -v)
		}
		slices.Sort(kept)
		kept = slices.Compact(kept)
		edges, levels := bins{Edges: kept[:min(len(kept), 254)]}, bins{Levels: slices.Clone(kept), Cat: true}
		rng.Shuffle(len(kept), func(i, j int) { levels.Levels[i], levels.Levels[j] = levels.Levels[j], levels.Levels[i] })
		for _, b := range []*bins{&edges, &levels} {
			b.index()
			got := make([]uint8, len(numbers))
			b.fill(got, numbers)
			for i, v := range numbers {
				want := uint8(missing)
				switch {
				case math.IsNaN(v):
				case !b.Cat:
					want = 0
					for _, e := range b.Edges {
						if e < v {
							want++
						}
					}
				default:
					if k := slices.Index(b.Levels, v); k >= 0 {
						want = uint8(k)
					}
				}
				if got[i] != want || b.of(v) != want {
					t.Fatalf("%d keys, categorical %v, %v: fill %d, of %d, want %d", n, b.Cat, v, got[i], b.of(v), want)
				}
			}
		}
	}
}
