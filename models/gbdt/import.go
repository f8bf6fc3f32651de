package gbdt

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrUnsupported is wrapped by Import for files that are sound but use what we cannot serve faithfully.
var ErrUnsupported = errors.New("unsupported model")

// maxImport bounds the size of an imported file.
const maxImport = 256 << 20

// Import reads a model that LightGBM (text, versions v2 to v4) or XGBoost (JSON) saved. Predictions agree with theirs to their own
// single precision; contributions are Shapley values on their covers. Hostile bytes give an error.
func Import(raw []byte) (*Model, error) {
	head := bytes.TrimLeft(raw[:min(len(raw), 256)], " \t\r\n")
	switch {
	case len(raw) > maxImport:
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrUnsupported, maxImport)
	case bytes.HasPrefix(head, []byte("tree")):
		return importLightGBM(raw)
	case bytes.HasPrefix(head, []byte("{")):
		return importXGBoost(raw)
	}
	return nil, fmt.Errorf("%w: neither a LightGBM text file nor an XGBoost JSON file", ErrCorrupt)
}

// foreign is a tree as its file has it: thresholds on values, children by index.
type foreign struct {
	nodes []foreignNode
}

type foreignNode struct {
	leaf        bool
	value       float64 // of a leaf
	cover       float64
	feature     int
	edge        float64 // values ≤ edge go left
	missingLeft bool
	cat         bool
	levels      []float64 // categorical: the levels that go left
	left, right int
}

// assemble turns foreign trees into a model: the thresholds of a feature become its bin edges, so nothing is rounded.
func assemble(names []string, o Objective, base float64, forest []foreign) (*Model, error) {
	if len(names) == 0 || len(names) > maxFeatures {
		return nil, fmt.Errorf("%w: %d features", ErrUnsupported, len(names))
	}
	m := &Model{Params: Params{Objective: o, Trees: max(len(forest), 1), Leaves: maxLeaves, LearningRate: 1, Power: 1.5, Alpha: 0.5, MaxBins: 255}, Names: names, Base: base, bins: make([]bins, len(names))}
	used := make([]bool, len(names))
	for _, t := range forest {
		for i := range t.nodes {
			n := &t.nodes[i]
			if n.leaf {
				if math.IsNaN(n.value) || math.IsInf(n.value, 0) {
					return nil, fmt.Errorf("%w: a leaf's value is not a number", ErrCorrupt)
				}
				continue
			}
			if n.feature < 0 || n.feature >= len(names) {
				return nil, fmt.Errorf("%w: feature %d of %d", ErrCorrupt, n.feature, len(names))
			}
			b := &m.bins[n.feature]
			if used[n.feature] && b.Cat != n.cat {
				return nil, fmt.Errorf("%w: feature %s is both numeric and categorical", ErrUnsupported, names[n.feature])
			}
			used[n.feature], b.Cat = true, n.cat
			if n.cat {
				if b.Levels = append(b.Levels, n.levels...); len(b.Levels) > 1<<16 {
					slices.Sort(b.Levels)
					b.Levels = slices.Clip(slices.Compact(b.Levels))
				}
			} else if math.IsNaN(n.edge) {
				return nil, fmt.Errorf("%w: a threshold is not a number", ErrCorrupt)
			} else {
				b.Edges = append(b.Edges, n.edge)
			}
		}
	}
	for j := range m.bins {
		b := &m.bins[j]
		slices.Sort(b.Edges)
		slices.Sort(b.Levels)
		b.Edges, b.Levels = slices.Compact(b.Edges), slices.Compact(b.Levels)
		if len(b.Edges) > 254 || len(b.Levels) > 255 {
			return nil, fmt.Errorf("%w: feature %s has more than 254 thresholds; train it with max_bin ≤ 254", ErrUnsupported, names[j])
		}
		b.index()
	}
	for k, t := range forest {
		out := tree{}
		if err := m.graft(&out, t, 0, out.add(), 0); err != nil {
			return nil, fmt.Errorf("tree %d: %w", k, err)
		}
		m.trees = append(m.trees, out)
	}
	if len(m.trees) > 0 {
		m.Rows = int(m.trees[0].nodes[0].Cover)
	}
	if m.conditions() > maxConditions {
		return nil, fmt.Errorf("%w: %d trees so deep that their explanations would not fit into memory", ErrUnsupported, len(m.trees))
	}
	m.compile()
	return m, nil
}

// graft copies the foreign node from to the node at, and what hangs below it.
func (m *Model) graft(t *tree, f foreign, from, at, depth int) error {
	if from < 0 || from >= len(f.nodes) || depth > maxDepth || len(t.nodes) > 2*maxLeaves {
		return fmt.Errorf("%w: node %d at depth %d, %d nodes", ErrUnsupported, from, depth, len(t.nodes))
	}
	n := &f.nodes[from]
	if n.leaf {
		t.nodes[at].Value, t.nodes[at].Cover = n.value, max(n.cover, 0)
		return nil
	}
	b := &m.bins[n.feature]
	s := split{feature: n.feature, missingLeft: n.missingLeft, cat: n.cat}
	if n.cat {
		for _, v := range n.levels {
			s.levels.put(b.of(v))
		}
	} else {
		i, _ := slices.BinarySearch(b.Edges, n.edge)
		s.bin = uint8(i)
	}
	left, right := t.split(at, &s)
	t.nodes[at].Cover = max(n.cover, 0)
	if err := m.graft(t, f, n.left, left, depth+1); err != nil {
		return err
	}
	return m.graft(t, f, n.right, right, depth+1)
}
