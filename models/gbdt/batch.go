package gbdt

import (
	"fmt"
	"math/bits"
	"sync"
)

// Scoring a block of rows asks no tree which way to go. For each tree and each feature that it uses a table says, by the bin of the row, which
// leaves can still be reached; the tables' entries of a row, taken together by AND, leave one leaf. The look-ups do not wait for each
// other, as the steps of a walk do, and missing values and categorical levels are entries like any other (the idea of QuickScorer, Lucchese
// et al. 2015, with tables in place of its sorted thresholds).

// blockRows is how many rows are binned at a time: their bins and one tree's tables stay in the nearest cache.
const blockRows = 512

// maxTableBytes bounds the tables of one model; trees beyond it are walked.
const maxTableBytes = 64 << 20

// maskTables are made when the first batch is scored: a server that scores single rows needs none.
type maskTables struct {
	once  sync.Once
	trees []maskTree
}

// maskTree has either narrow tables, for at most 32 leaves, or wide ones for at most 64; without tables the tree is walked.
type maskTree struct {
	features []int32
	narrow   [][256]uint32
	wide     [][256]uint64
	values   []float64 // by leaf, from left to right
}

func newMaskTree(t *tree) maskTree {
	var m maskTree
	place := map[int32]int{}
	// under returns the leaves below a node as bits.
	var under func(at int) uint64
	under = func(at int) uint64 {
		n := &t.nodes[at]
		if n.leaf(at) {
			m.values = append(m.values, n.Value)
			return 1 << (len(m.values) - 1)
		}
		left, right := under(int(n.Left)), under(int(n.Right))
		k, ok := place[n.Feature]
		if !ok {
			k = len(m.features)
			place[n.Feature] = k
			m.features = append(m.features, n.Feature)
			m.wide = append(m.wide, [256]uint64{})
			for b := range m.wide[k] {
				m.wide[k][b] = ^uint64(0)
			}
		}
		for b := range m.wide[k] {
			if n.goesLeft(uint8(b)) {
				m.wide[k][b] &^= right
			} else {
				m.wide[k][b] &^= left
			}
		}
		return left | right
	}
	if under(0); len(m.features) == 0 {
		return maskTree{} // a single leaf
	}
	if len(m.values) > 32 {
		return m
	}
	m.narrow = make([][256]uint32, len(m.wide))
	for k := range m.wide {
		for b, mask := range m.wide[k] {
			m.narrow[k][b] = uint32(mask)
		}
	}
	m.wide = nil
	return m
}

// maskTrees makes the tables once.
func (m *Model) maskTrees() []maskTree {
	m.tables.once.Do(func() {
		m.tables.trees = make([]maskTree, len(m.trees))
		size := 0
		for i := range m.trees {
			if len(m.trees[i].nodes) < 128 && size < maxTableBytes {
				m.tables.trees[i] = newMaskTree(&m.trees[i])
				size += len(m.tables.trees[i].narrow)*1024 + len(m.tables.trees[i].wide)*2048
			}
		}
	})
	return m.tables.trees
}

// Predict fills dst[i] with the prediction of row i of a table by column; columns[j] is feature Names[j].
func (m *Model) Predict(columns [][]float64, dst []float64) error {
	if err := m.fits(columns, len(dst)); err != nil {
		return err
	}
	m.raw(columns, dst)
	for i, s := range dst {
		dst[i] = m.Params.Objective.Output(s)
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

// fewRows is how many rows are walked one by one: tables are asked for whole blocks.
const fewRows = 64

func (m *Model) raw(columns [][]float64, dst []float64) {
	if len(dst) <= fewRows {
		cells := make([]byte, 2*len(m.Names))
		for i := range dst {
			for j := range columns {
				m.put(cells, j, columns[j][i])
			}
			dst[i] = m.walk(cells)
		}
		return
	}
	trees := m.maskTrees()
	cells := make([][blockRows]uint8, len(m.Names))
	used := m.used()
	var narrow [blockRows]uint32
	var wide [blockRows]uint64
	for from := 0; from < len(dst); from += blockRows {
		n := min(blockRows, len(dst)-from)
		for _, j := range used {
			m.bins[j].fill(cells[j][:n], columns[j][from:from+n])
		}
		out := dst[from : from+n]
		for i := range out {
			out[i] = m.Base
		}
		for k := range trees {
			switch t := &trees[k]; {
			case t.narrow != nil:
				reach(&narrow, t.features, t.narrow, cells)
				for i, mask := range narrow[:n] {
					out[i] += t.values[bits.TrailingZeros32(mask)&31]
				}
			case t.wide != nil:
				reach(&wide, t.features, t.wide, cells)
				for i, mask := range wide[:n] {
					out[i] += t.values[bits.TrailingZeros64(mask)&63]
				}
			default:
				for i := range out {
					out[i] += m.trees[k].at(func(feature int) uint8 { return cells[feature][i] })
				}
			}
		}
	}
}

// used returns the features that some tree asks for.
func (m *Model) used() []int {
	seen, out := make([]bool, len(m.Names)), []int{}
	for i := range m.trees {
		for k := range m.trees[i].nodes {
			if n := &m.trees[i].nodes[k]; !n.leaf(k) {
				seen[n.Feature] = true
			}
		}
	}
	for j, ok := range seen {
		if ok {
			out = append(out, j)
		}
	}
	return out
}

// reach fills masks with the one leaf of each row. It always runs over a whole block, whose length the compiler knows: no index is checked.
func reach[T uint32 | uint64](masks *[blockRows]T, features []int32, tables [][256]T, cells [][blockRows]uint8) {
	for i := range masks {
		masks[i] = ^T(0)
	}
	k := 0
	for ; k+4 <= len(features); k += 4 {
		f, t := features[k:k+4], tables[k:k+4]
		and4(masks, &t[0], &t[1], &t[2], &t[3], &cells[f[0]], &cells[f[1]], &cells[f[2]], &cells[f[3]])
	}
	for ; k < len(features); k++ {
		t, column := &tables[k], &cells[features[k]]
		for i := range masks {
			masks[i] &= t[column[i]]
		}
	}
}

// and4 is a function of its own so that all its pointers stay in registers, and asks for nil before its loop, not in it.
//
//go:noinline
func and4[T uint32 | uint64](masks *[blockRows]T, a, b, c, d *[256]T, ca, cb, cc, cd *[blockRows]uint8) {
	_, _, _, _, _, _, _, _, _ = masks[0], a[0], b[0], c[0], d[0], ca[0], cb[0], cc[0], cd[0]
	for i := range masks {
		masks[i] &= a[ca[i]] & b[cb[i]] & c[cc[i]] & d[cd[i]]
	}
}
