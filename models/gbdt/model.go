package gbdt

import "math"

// Model is a fitted ensemble. It is immutable and safe for concurrent use.
type Model struct {
	Params Params
	Names  []string // the features, in the order of every row
	Base   float64  // raw score before the first tree
	Rows   int      // training rows

	bins   []bins
	trees  []tree
	flat   []flatTree
	shap   explainer
	tables maskTables
	fast   shapTables
}

// Trees returns how many trees the model has.
func (m *Model) Trees() int { return len(m.trees) }

// flatTree is a tree as the fast walk wants it: one word a node, leaves that lead to themselves, and a fixed number of steps.
//
//	bits  0–15 left, 16–31 right, 32–39 bin, 40–55 column
//
// A row has two copies of its bins: missing as 255 in the first, which lies right of every threshold, and as 0 in the second. The side of
// the missing is thus a choice of column, and a step has no branch.
type flatTree struct {
	nodes  []uint64
	values []float64
	depth  int
	plain  *tree // set when the tree has categorical nodes: it is walked step by step
}

// compile makes the fast forms.
func (m *Model) compile() {
	m.flat = make([]flatTree, len(m.trees))
	for i := range m.trees {
		t := &m.trees[i]
		f := flatTree{nodes: make([]uint64, len(t.nodes)), values: make([]float64, len(t.nodes)), depth: t.depth()}
		for k := range t.nodes {
			n := &t.nodes[k]
			f.values[k] = n.Value
			column, bin := uint64(n.Feature), uint64(n.Bin)
			if n.leaf(k) {
				column, bin = 0, 255
			} else if n.MissingLeft {
				column += uint64(len(m.Names))
			}
			if n.Cat && !n.leaf(k) {
				f.plain = t
			}
			f.nodes[k] = uint64(n.Left) | uint64(n.Right)<<16 | bin<<32 | column<<40
		}
		m.flat[i] = f
	}
}

// maxConditions bounds the conditions of all paths from a root to a leaf, of which an explanation needs a copy (48 bytes each).
const maxConditions = 8 << 20

// conditions returns how many conditions the paths of all leaves have together.
func (m *Model) conditions() int {
	total, depths := 0, []int(nil)
	for i := range m.trees {
		nodes := m.trees[i].nodes
		depths = append(depths[:0], make([]int, len(nodes))...)
		for k := range nodes {
			if n := &nodes[k]; n.leaf(k) {
				total += depths[k]
			} else {
				depths[n.Left], depths[n.Right] = depths[k]+1, depths[k]+1
			}
		}
	}
	return total
}

// step follows one node for one row.
func step(n uint64, row []byte) uint64 {
	right := uint64(int64(uint64(uint8(n>>32))-uint64(row[uint16(n>>40)])) >> 63)
	return (n ^ (n^n>>16)&right) & 0xffff
}

// PredictRow returns the prediction of one row of len(Names) values. It does not allocate for up to 128 features.
func (m *Model) PredictRow(row []float64) float64 {
	if len(row) != len(m.Names) {
		return math.NaN()
	}
	var small [256]byte
	cells := small[:]
	if f := len(m.Names); 2*f > len(small) {
		cells = make([]byte, 2*f)
	}
	cells = cells[:2*len(m.Names)]
	for j := range m.bins {
		m.put(cells, j, row[j])
	}
	return m.Params.Objective.Output(m.walk(cells))
}

// put sets feature j of both copies.
func (m *Model) put(cells []byte, j int, v float64) {
	b := m.bins[j].of(v)
	cells[j], cells[len(m.Names)+j] = b, b
	if b == missing {
		cells[len(m.Names)+j] = 0
	}
}

// walk returns the raw score of a row, given the two copies of its bins.
func (m *Model) walk(cells []byte) float64 {
	s := m.Base
	for i := range m.flat {
		t := &m.flat[i]
		if t.plain != nil {
			s += t.plain.atCells(cells)
			continue
		}
		var at uint64
		for range t.depth {
			at = step(t.nodes[at], cells)
		}
		s += t.values[at]
	}
	return s
}

// atCells is at for the first copy of a row's bins.
func (t *tree) atCells(cells []byte) float64 {
	i := 0
	for {
		n := &t.nodes[i]
		switch {
		case n.leaf(i):
			return n.Value
		case n.goesLeft(cells[n.Feature]):
			i = int(n.Left)
		default:
			i = int(n.Right)
		}
	}
}

// Importance returns each feature's share of the total gain; they sum to 1 unless there is no split.
func (m *Model) Importance() []float64 {
	share, total := make([]float64, len(m.Names)), 0.0
	for i := range m.trees {
		for k := range m.trees[i].nodes {
			if n := &m.trees[i].nodes[k]; !n.leaf(k) {
				share[n.Feature] += n.Gain
				total += n.Gain
			}
		}
	}
	for j := range share {
		if total > 0 {
			share[j] /= total
		}
	}
	return share
}
