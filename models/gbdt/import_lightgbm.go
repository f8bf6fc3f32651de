package gbdt

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// importLightGBM reads LightGBM's text format: a header of key=value lines, then one block a tree.
func importLightGBM(raw []byte) (*Model, error) {
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(make([]byte, 1<<16), maxImport)
	header, blocks := map[string]string{}, []map[string]string{}
	in := header
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if line == "end of trees" {
			break
		}
		key, value, ok := strings.Cut(line, "=")
		switch {
		case ok && key == "Tree":
			in = map[string]string{}
			blocks = append(blocks, in)
		case ok:
			in[key] = value
		case line == "average_output":
			return nil, fmt.Errorf("%w: a random forest (average_output)", ErrUnsupported)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if v := header["version"]; v != "v2" && v != "v3" && v != "v4" {
		return nil, fmt.Errorf("%w: LightGBM version %q, want v2, v3 or v4", ErrUnsupported, v)
	}
	if n := header["num_tree_per_iteration"]; n != "1" {
		return nil, fmt.Errorf("%w: %s trees an iteration (several classes)", ErrUnsupported, n)
	}
	o, err := lightGBMObjective(header["objective"])
	if err != nil {
		return nil, err
	}
	var forest []foreign
	for i, block := range blocks {
		t, err := lightGBMTree(block)
		if err != nil {
			return nil, fmt.Errorf("tree %d: %w", i, err)
		}
		forest = append(forest, t)
	}
	return assemble(strings.Fields(header["feature_names"]), o, 0, forest)
}

func lightGBMObjective(text string) (Objective, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return "", fmt.Errorf("%w: no objective", ErrUnsupported)
	}
	for _, w := range words[1:] {
		if s, ok := strings.CutPrefix(w, "sigmoid:"); ok && s != "1" {
			return "", fmt.Errorf("%w: sigmoid %s", ErrUnsupported, s)
		}
	}
	o, ok := map[string]Objective{"binary": Logistic, "cross_entropy": Logistic, "regression": L2, "regression_l1": L2, "huber": L2,
		"quantile": Quantile, "poisson": Poisson, "gamma": Gamma, "tweedie": Tweedie}[words[0]]
	if !ok || strings.Contains(text, "sqrt") {
		return "", fmt.Errorf("%w: objective %q", ErrUnsupported, text)
	}
	return o, nil
}

// maxSetWords bounds what one tree's categorical splits read; nodes may share a set.
const maxSetWords = 4 << 20

// lightGBMTree reads one block. Inner nodes come first; a negative child is the leaf of its complement.
func lightGBMTree(b map[string]string) (foreign, error) {
	r := blockReader{b: b}
	leaves := r.ints("num_leaves", 1)[0]
	if r.err != nil {
		return foreign{}, r.err
	}
	if leaves < 1 || leaves > maxLeaves {
		return foreign{}, fmt.Errorf("%w: %d leaves", ErrUnsupported, leaves)
	}
	if b["is_linear"] == "1" {
		return foreign{}, fmt.Errorf("%w: linear leaves", ErrUnsupported)
	}
	inner := leaves - 1
	values := r.floats("leaf_value", leaves)
	if inner == 0 || r.err != nil {
		return foreign{nodes: []foreignNode{{leaf: true, value: values[0]}}}, r.err
	}
	features, thresholds, kinds := r.ints("split_feature", inner), r.floats("threshold", inner), r.ints("decision_type", inner)
	lefts, rights := r.ints("left_child", inner), r.ints("right_child", inner)
	leafCount, innerCount := r.floats("leaf_count", leaves), r.floats("internal_count", inner)
	var bounds, sets []int
	if cats := r.ints("num_cat", 1)[0]; r.err == nil && cats > 0 && cats <= inner {
		bounds = r.ints("cat_boundaries", cats+1)
		sets = r.ints("cat_threshold", -1)
	}
	if r.err != nil {
		return foreign{}, r.err
	}
	t := foreign{nodes: make([]foreignNode, inner+leaves)}
	child := func(c int) int {
		if c < 0 {
			return inner + ^c
		}
		return c
	}
	read := 0
	for i := range inner {
		n := foreignNode{feature: features[i], edge: thresholds[i], cover: innerCount[i], left: child(lefts[i]), right: child(rights[i])}
		switch kind := kinds[i]; {
		case kind&1 == 1:
			n.cat, n.edge = true, 0
			k := int(thresholds[i])
			if k < 0 || k+1 >= len(bounds) || bounds[k] < 0 || bounds[k] > bounds[k+1] || bounds[k+1] > len(sets) {
				return foreign{}, fmt.Errorf("%w: categorical split %d", ErrCorrupt, i)
			}
			if read += bounds[k+1] - bounds[k]; read > maxSetWords {
				return foreign{}, fmt.Errorf("%w: categorical splits of more than %d words in one tree", ErrUnsupported, maxSetWords)
			}
			for w, word := range sets[bounds[k]:bounds[k+1]] {
				for bit := range 32 {
					if word>>bit&1 == 1 {
						n.levels = append(n.levels, float64(w*32+bit))
					}
				}
				if len(n.levels) > 255 {
					return foreign{}, fmt.Errorf("%w: a categorical split of more than 255 levels", ErrUnsupported)
				}
			}
		case kind>>2&3 == 1:
			return foreign{}, fmt.Errorf("%w: zero_as_missing", ErrUnsupported)
		case kind>>2&3 == 2:
			n.missingLeft = kind&2 != 0
		default: // no missing at training: NaN counts as 0
			n.missingLeft = n.edge >= 0
		}
		t.nodes[i] = n
	}
	for i := range leaves {
		t.nodes[inner+i] = foreignNode{leaf: true, value: values[i], cover: leafCount[i]}
	}
	return t, nil
}

// blockReader reads lists of numbers and remembers the first fault.
type blockReader struct {
	b   map[string]string
	err error
}

// words returns the words of a key; want −1 takes any number of them.
func (r *blockReader) words(key string, want int) []string {
	words := strings.Fields(r.b[key])
	if r.err == nil && want >= 0 && len(words) != want {
		r.err = fmt.Errorf("%w: %s has %d values, want %d", ErrCorrupt, key, len(words), want)
	}
	return words
}

func (r *blockReader) ints(key string, want int) []int {
	words := r.words(key, want)
	out := make([]int, max(len(words), want))
	for i, w := range words {
		v, err := strconv.ParseInt(w, 10, 64)
		if err != nil && r.err == nil {
			r.err = fmt.Errorf("%w: %s holds %.20q", ErrCorrupt, key, w)
		}
		out[i] = int(v)
	}
	return out
}

func (r *blockReader) floats(key string, want int) []float64 {
	words := r.words(key, want)
	out := make([]float64, max(len(words), want))
	for i, w := range words {
		v, err := strconv.ParseFloat(w, 64)
		if err != nil && r.err == nil {
			r.err = fmt.Errorf("%w: %s holds %.20q", ErrCorrupt, key, w)
		}
		out[i] = v
	}
	return out
}
