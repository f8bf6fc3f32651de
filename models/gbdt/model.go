package gbdt

import (
	"fmt"
	"math"
)

// Model is a fitted ensemble. It is immutable and safe for concurrent use.
type Model struct {
	Params Params
	Names  []string // the features, in the order of every row
	Base   float64  // raw score before the first tree
	Rows   int      // training rows

	bins  []bins
	trees []tree
	flat  []flatTree
	shap  *explainer
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
	m.shap = newExplainer(m)
}

// step follows one node for one row.
func step(n uint64, row []byte) uint64 {
	right := uint64(int64(uint64(uint8(n>>32))-uint64(row[uint16(n>>40)])) >> 63)
	return (n ^ (n^n>>16)&right) & 0xffff
}

// blockRows is how many rows are binned at a time.
const blockRows = 256

// Predict fills dst[i] with the prediction of row i of a table by column; columns[j] is feature Names[j].
func (m *Model) Predict(columns [][]float64, dst []float64) error {
	if err := m.fits(columns, len(dst)); err != nil {
		return err
	}
	m.raw(columns, dst)
	for i, s := range dst {
		dst[i] = m.Params.Objective.output(s)
	}
	return nil
}

// Raw fills dst with raw scores, before the link.
func (m *Model) Raw(columns [][]float64, dst []float64) error {
	if err := m.fits(columns, len(dst)); err != nil {
		return err
	}
	m.raw(columns, dst)
	return nil
}

func (m *Model) fits(columns [][]float64, rows int) error {
	if len(columns) != len(m.Names) {
		return fmt.Errorf("%d columns, the model has %d features", len(columns), len(m.Names))
	}
	for j, c := range columns {
		if len(c) != rows {
			return fmt.Errorf("feature %s has %d rows, want %d", m.Names[j], len(c), rows)
		}
	}
	return nil
}

func (m *Model) raw(columns [][]float64, dst []float64) {
	stride := 2 * len(m.Names)
	block := make([]byte, blockRows*stride)
	for from := 0; from < len(dst); from += blockRows {
		n := min(blockRows, len(dst)-from)
		m.fill(columns, from, n, block)
		out := dst[from : from+n]
		for i := range out {
			out[i] = m.Base
		}
		for t := range m.flat {
			m.flat[t].add(block, stride, out)
		}
	}
}

// fill bins n rows into block, both copies.
func (m *Model) fill(columns [][]float64, from, n int, block []byte) {
	f := len(m.Names)
	for j := range m.bins {
		b := &m.bins[j]
		for i, v := range columns[j][from : from+n] {
			bin := b.of(v)
			block[i*2*f+j], block[i*2*f+f+j] = bin, bin
			if bin == missing {
				block[i*2*f+f+j] = 0
			}
		}
	}
}

// add adds the tree's output for each row of a block: eight rows side by side, so that their loads overlap.
func (t *flatTree) add(block []byte, stride int, out []float64) {
	if t.plain != nil {
		for i := range out {
			row := block[i*stride:][:stride]
			out[i] += t.plain.at(func(feature int) uint8 { return row[feature] })
		}
		return
	}
	i, nodes := 0, t.nodes
	for ; i+8 <= len(out); i += 8 {
		r0, r1, r2, r3 := block[i*stride:][:stride], block[(i+1)*stride:][:stride], block[(i+2)*stride:][:stride], block[(i+3)*stride:][:stride]
		r4, r5, r6, r7 := block[(i+4)*stride:][:stride], block[(i+5)*stride:][:stride], block[(i+6)*stride:][:stride], block[(i+7)*stride:][:stride]
		var a0, a1, a2, a3, a4, a5, a6, a7 uint64
		for range t.depth {
			a0, a1, a2, a3 = step(nodes[a0], r0), step(nodes[a1], r1), step(nodes[a2], r2), step(nodes[a3], r3)
			a4, a5, a6, a7 = step(nodes[a4], r4), step(nodes[a5], r5), step(nodes[a6], r6), step(nodes[a7], r7)
		}
		out[i] += t.values[a0]
		out[i+1] += t.values[a1]
		out[i+2] += t.values[a2]
		out[i+3] += t.values[a3]
		out[i+4] += t.values[a4]
		out[i+5] += t.values[a5]
		out[i+6] += t.values[a6]
		out[i+7] += t.values[a7]
	}
	for ; i < len(out); i++ {
		row := block[i*stride:][:stride]
		var at uint64
		for range t.depth {
			at = step(nodes[at], row)
		}
		out[i] += t.values[at]
	}
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
	f := len(m.Names)
	cells = cells[:2*f]
	for j := range m.bins {
		b := m.bins[j].of(row[j])
		cells[j], cells[f+j] = b, b
		if b == missing {
			cells[f+j] = 0
		}
	}
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
	return m.Params.Objective.output(s)
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
