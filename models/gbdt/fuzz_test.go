package gbdt

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// Seeds are as small as files can be: a fuzzer's rate is set by the bytes that it turns over.
const (
	smallLightGBM = `tree
version=v4
num_class=1
num_tree_per_iteration=1
max_feature_idx=1
objective=binary sigmoid:1
feature_names=a b

Tree=0
num_leaves=3
num_cat=1
split_feature=0 1
threshold=0.5 0
decision_type=10 1
left_child=-1 -2
right_child=1 -3
leaf_value=0.1 -0.2 0.3
leaf_count=5 3 2
internal_count=10 5
cat_boundaries=0 1
cat_threshold=6

end of trees
`
	smallXGBoost = `{"learner":{"gradient_booster":{"name":"gbtree","model":{"trees":[{"left_children":[1,-1,-1],"right_children":[2,-1,-1],"split_indices":[0,0,0],` +
		`"split_conditions":[0.5,0.1,-0.2],"default_left":[1,0,0],"sum_hessian":[3,1,2]}]}},"learner_model_param":{"base_score":"5E-1","num_feature":"2"},"objective":{"name":"binary:logistic"}}}`
)

func FuzzImportLightGBM(f *testing.F) {
	f.Add([]byte(smallLightGBM))
	f.Add([]byte(strings.Replace(smallLightGBM, "v4", "v2", 1)))
	fuzzImport(f)
}

func FuzzImportXGBoost(f *testing.F) {
	f.Add([]byte(smallXGBoost))
	fuzzImport(f)
}

// fuzzImport: what is read can be asked, explained, saved and read again with the same answer.
func fuzzImport(f *testing.F) {
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := Import(raw); err == nil {
			exercise(t, m)
		}
	})
}

// FuzzLoad seals each input anew, so that the reader behind the checksum is reached.
func FuzzLoad(f *testing.F) {
	d := table(60, 4, 13, Logistic)
	p := params(Logistic)
	p.Trees, p.Leaves, p.MinLeaf, p.MaxBins, p.Categorical = 2, 4, 5, 6, categoricalLast(4)
	raw, err := fit(f, d, p).Save()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := Load(raw); err == nil {
			return // its checksum is right: the next line reads it, too
		}
		if m, err := Load(reseal(raw)); err == nil {
			exercise(t, m)
		}
	})
}

func exercise(t *testing.T, m *Model) {
	row := make([]float64, len(m.Names))
	for j := range row {
		row[j] = []float64{1, math.NaN(), -3, 99}[j%4]
	}
	said := m.PredictRow(row)
	columns := make([][]float64, len(row))
	for j := range row {
		columns[j] = row[j : j+1]
	}
	if err := m.Contributions(columns, [][]float64{make([]float64, len(row))}); err != nil {
		t.Fatal(err)
	}
	saved, err := m.Save()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Load(saved)
	if err != nil {
		t.Fatalf("what was saved does not load: %v", err)
	}
	if got := again.PredictRow(row); math.Float64bits(got) != math.Float64bits(said) && !(got != got && said != said) {
		t.Fatalf("saved and loaded it says %v, before %v", got, said)
	}
}

// Small files that ask for much memory are refused before it is taken.
func TestSmallFilesCannotAskForMuchMemory(t *testing.T) {
	// 1,500 nodes of one tree share one set of 32 × 400 levels.
	const nodes = 1500
	list := func(n int, of func(i int) string) string {
		words := make([]string, n)
		for i := range words {
			words[i] = of(i)
		}
		return strings.Join(words, " ")
	}
	same := func(word string) func(int) string { return func(int) string { return word } }
	text := fmt.Sprintf("tree\nversion=v4\nnum_tree_per_iteration=1\nobjective=binary\nfeature_names=a\nTree=0\nnum_leaves=%d\nnum_cat=1\nsplit_feature=%s\nthreshold=%s\n"+
		"decision_type=%s\nleft_child=%s\nright_child=%s\nleaf_value=%s\nleaf_count=%s\ninternal_count=%s\ncat_boundaries=0 400\ncat_threshold=%s\n", nodes+1,
		list(nodes, same("0")), list(nodes, same("0")), list(nodes, same("1")), list(nodes, func(i int) string { return fmt.Sprint(-i - 1) }),
		list(nodes, func(i int) string { return fmt.Sprint(min(i+1, nodes-1)) }), list(nodes+1, same("0")), list(nodes+1, same("1")), list(nodes, same("1")), list(400, same("4294967295")))
	if _, err := Import([]byte(text)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("shared sets of many levels: %v, want %v", err, ErrUnsupported)
	}
	// Sixty-four long chains of nodes: each leaf's path is copied for its explanation.
	deep := tree{nodes: []node{{}}}
	at := []int{0}
	for depth := range 60 {
		var next []int
		for _, k := range at {
			left, right := deep.split(k, &split{feature: 0, bin: uint8(depth)})
			if next = append(next, left); len(at) < 64 {
				next = append(next, right)
			}
		}
		at = next
	}
	m := &Model{Params: params(Logistic), Names: []string{"a"}, bins: []bins{{Edges: []float64{0}}}}
	for range 100 {
		m.trees = append(m.trees, deep)
	}
	raw, err := m.Save()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(raw); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "memory") {
		t.Errorf("a model of %d conditions: %v, want %v", m.conditions(), err, ErrCorrupt)
	}
}
