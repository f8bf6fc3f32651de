package gbdt

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// xgboostFile is the part of XGBoost's JSON that predictions depend on.
type xgboostFile struct {
	Learner struct {
		FeatureNames    []string `json:"feature_names"`
		GradientBooster struct {
			Name  string `json:"name"`
			Model struct {
				Trees []xgboostTree `json:"trees"`
			} `json:"model"`
		} `json:"gradient_booster"`
		Parameters struct {
			BaseScore  string `json:"base_score"`
			NumFeature string `json:"num_feature"`
			NumClass   string `json:"num_class"`
			NumTarget  string `json:"num_target"`
		} `json:"learner_model_param"`
		Objective struct {
			Name string `json:"name"`
		} `json:"objective"`
	} `json:"learner"`
}

type xgboostTree struct {
	Left      []int     `json:"left_children"`
	Right     []int     `json:"right_children"`
	Feature   []int     `json:"split_indices"`
	Condition []float64 `json:"split_conditions"`
	Default   []flagBit `json:"default_left"`
	Type      []int     `json:"split_type"`
	Hessian   []float64 `json:"sum_hessian"`
}

// flagBit reads 0, 1, true and false: versions differ.
type flagBit bool

// UnmarshalJSON accepts numbers and booleans.
func (f *flagBit) UnmarshalJSON(raw []byte) error {
	switch string(raw) {
	case "0", "false":
		*f = false
	case "1", "true":
		*f = true
	default:
		return fmt.Errorf("%.20q is not a flag", raw)
	}
	return nil
}

// importXGBoost reads what Booster.save_model wrote as JSON.
func importXGBoost(raw []byte) (*Model, error) {
	var f xgboostFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("%w: XGBoost JSON: %v", ErrCorrupt, err)
	}
	l := &f.Learner
	if l.GradientBooster.Name != "gbtree" {
		return nil, fmt.Errorf("%w: booster %q, want gbtree", ErrUnsupported, l.GradientBooster.Name)
	}
	if c := l.Parameters.NumClass; c != "" && c != "0" && c != "1" {
		return nil, fmt.Errorf("%w: %s classes", ErrUnsupported, c)
	}
	if t := l.Parameters.NumTarget; t != "" && t != "1" {
		return nil, fmt.Errorf("%w: %s targets", ErrUnsupported, t)
	}
	o, ok := map[string]Objective{"binary:logistic": Logistic, "reg:logistic": Logistic, "reg:squarederror": L2, "reg:absoluteerror": L2,
		"count:poisson": Poisson, "reg:gamma": Gamma, "reg:tweedie": Tweedie, "reg:quantileerror": Quantile}[l.Objective.Name]
	if !ok {
		return nil, fmt.Errorf("%w: objective %q", ErrUnsupported, l.Objective.Name)
	}
	base, err := strconv.ParseFloat(strings.Trim(l.Parameters.BaseScore, "[]"), 64)
	if err != nil {
		return nil, fmt.Errorf("%w: base_score %.40q", ErrCorrupt, l.Parameters.BaseScore)
	}
	switch o {
	case Logistic:
		base = math.Log(base) - math.Log1p(-base)
	case Poisson, Gamma, Tweedie:
		base = math.Log(base)
	}
	if math.IsNaN(base) || math.IsInf(base, 0) {
		return nil, fmt.Errorf("%w: base_score %s is out of range for %s", ErrCorrupt, l.Parameters.BaseScore, l.Objective.Name)
	}
	names := l.FeatureNames
	if len(names) == 0 {
		n, err := strconv.Atoi(l.Parameters.NumFeature)
		if err != nil || n < 1 || n > maxFeatures {
			return nil, fmt.Errorf("%w: num_feature %.40q", ErrCorrupt, l.Parameters.NumFeature)
		}
		for j := range n {
			names = append(names, "f"+strconv.Itoa(j))
		}
	}
	var forest []foreign
	for i := range l.GradientBooster.Model.Trees {
		t, err := l.GradientBooster.Model.Trees[i].foreign()
		if err != nil {
			return nil, fmt.Errorf("tree %d: %w", i, err)
		}
		forest = append(forest, t)
	}
	return assemble(names, o, base, forest)
}

// foreign turns one tree. XGBoost compares in single precision and sends value < condition to the left.
func (x *xgboostTree) foreign() (foreign, error) {
	n := len(x.Left)
	if n == 0 || n > 2*maxLeaves || len(x.Right) != n || len(x.Feature) != n || len(x.Condition) != n || len(x.Default) != n || len(x.Hessian) != n {
		return foreign{}, fmt.Errorf("%w: lists of %d nodes", ErrCorrupt, n)
	}
	t := foreign{nodes: make([]foreignNode, n)}
	for i := range n {
		if x.Left[i] < 0 {
			t.nodes[i] = foreignNode{leaf: true, value: x.Condition[i], cover: x.Hessian[i]}
			continue
		}
		t.nodes[i] = foreignNode{feature: x.Feature[i], edge: below(float32(x.Condition[i])), missingLeft: bool(x.Default[i]), cover: x.Hessian[i], left: x.Left[i], right: x.Right[i]}
		if i < len(x.Type) && x.Type[i] == 1 {
			return foreign{}, fmt.Errorf("%w: categorical splits of XGBoost; encode the levels as numbers", ErrUnsupported)
		}
	}
	return t, nil
}

// below returns the largest float64 that, rounded to single precision, is less than t.
func below(t float32) float64 {
	middle := (float64(math.Nextafter32(t, float32(math.Inf(-1)))) + float64(t)) / 2
	if float32(middle) < t {
		return middle
	}
	return math.Nextafter(middle, math.Inf(-1))
}
