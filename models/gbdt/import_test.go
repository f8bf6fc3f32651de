package gbdt

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Predictions and contributions of imported files against LightGBM 4.7.0 and XGBoost 3.2.0 themselves (testdata/make_peers.py).
func TestImportedModelsPredictAsTheirMakers(t *testing.T) {
	var peers struct {
		Rows     [][]*float64
		Lightgbm struct {
			P             []float64
			Contributions [][]float64
		}
		Xgboost struct {
			P             []float64
			Contributions [][]float64
		}
	}
	if err := json.Unmarshal(file(t, "peers.json"), &peers); err != nil {
		t.Fatal(err)
	}
	columns := make([][]float64, 6)
	for _, row := range peers.Rows {
		for j, v := range row {
			if v == nil {
				columns[j] = append(columns[j], math.NaN())
			} else {
				columns[j] = append(columns[j], *v)
			}
		}
	}
	for _, c := range []struct {
		file   string
		p      []float64
		phi    [][]float64
		within float64
	}{{"lightgbm.txt", peers.Lightgbm.P, peers.Lightgbm.Contributions, 1e-9}, {"xgboost.json", peers.Xgboost.P, peers.Xgboost.Contributions, 2e-6}} {
		m, err := Import(file(t, c.file))
		if err != nil {
			t.Fatalf("%s: %v", c.file, err)
		}
		p, phi := make([]float64, len(peers.Rows)), make([][]float64, len(peers.Rows))
		for i := range phi {
			phi[i] = make([]float64, 6)
		}
		if err := m.Predict(columns, p); err != nil {
			t.Fatal(err)
		}
		if err := m.Contributions(columns, phi); err != nil {
			t.Fatal(err)
		}
		for i := range p {
			if math.Abs(p[i]-c.p[i]) > c.within {
				t.Errorf("%s row %d: %v, its maker says %v", c.file, i, p[i], c.p[i])
			}
			for j := range 6 {
				if math.Abs(phi[i][j]-c.phi[i][j]) > 20*c.within {
					t.Errorf("%s row %d contribution %d: %v, its maker says %v", c.file, i, j, phi[i][j], c.phi[i][j])
				}
			}
		}
		raw, err := m.Save()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Load(raw); err != nil {
			t.Errorf("%s: what was imported and saved does not load: %v", c.file, err)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	light, boost := string(file(t, "lightgbm.txt")), string(file(t, "xgboost.json"))
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"empty":        {"", ErrCorrupt},
		"binary":       {"\x00binf", ErrCorrupt},
		"old":          {strings.Replace(light, "version=v4", "version=v1", 1), ErrUnsupported},
		"classes":      {strings.Replace(light, "num_tree_per_iteration=1", "num_tree_per_iteration=3", 1), ErrUnsupported},
		"cut list":     {strings.Replace(light, "left_child=", "left_child=1 ", 1), ErrCorrupt},
		"loop":         {strings.Replace(light, "left_child=", "left_child=0 ", 1), ErrCorrupt},
		"dart":         {strings.Replace(boost, `"gbtree"`, `"dart"`, 1), ErrUnsupported},
		"objective":    {strings.Replace(boost, `"binary:logistic"`, `"rank:ndcg"`, 1), ErrUnsupported},
		"cut JSON":     {boost[:len(boost)/2], ErrCorrupt},
		"no such node": {`{"learner":{"gradient_booster":{"name":"gbtree","model":{"trees":[{"left_children":[5],"right_children":[6],"split_indices":[0],"split_conditions":[1],"default_left":[0],"sum_hessian":[1]}]}},"learner_model_param":{"base_score":"0.5","num_feature":"1"},"objective":{"name":"binary:logistic"}}}`, ErrUnsupported},
		"itself":       {`{"learner":{"gradient_booster":{"name":"gbtree","model":{"trees":[{"left_children":[0],"right_children":[0],"split_indices":[0],"split_conditions":[1],"default_left":[0],"sum_hessian":[1]}]}},"learner_model_param":{"base_score":"0.5","num_feature":"1"},"objective":{"name":"binary:logistic"}}}`, ErrUnsupported},
	} {
		if _, err := Import([]byte(c.text)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func file(tb testing.TB, name string) []byte {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// TestImportedObjectives: every objective that is served, in files of several versions of both libraries (testdata/make_objectives.py), predicts what
// its maker predicts, missing and unseen values too.
func TestImportedObjectives(t *testing.T) {
	var golden struct {
		Rows   [][]*float64
		Models []struct {
			Name, File string
			P          []float64
		}
	}
	if err := json.Unmarshal(file(t, "objectives.json"), &golden); err != nil {
		t.Fatal(err)
	}
	columns := make([][]float64, 5)
	for _, row := range golden.Rows {
		for j, v := range row {
			if v == nil {
				columns[j] = append(columns[j], math.NaN())
			} else {
				columns[j] = append(columns[j], *v)
			}
		}
	}
	if len(golden.Models) < 39 {
		t.Fatalf("%d models", len(golden.Models))
	}
	for _, c := range golden.Models {
		m, err := Import([]byte(c.File))
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		p := make([]float64, len(golden.Rows))
		if err := m.Predict(columns, p); err != nil {
			t.Fatal(err)
		}
		for i := range p {
			if math.Abs(p[i]-c.P[i]) > 1e-6*(1+math.Abs(c.P[i])) {
				t.Errorf("%s row %d: %v, its maker says %v", c.Name, i, p[i], c.P[i])
				break
			}
		}
	}
}
