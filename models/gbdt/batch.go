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

func (m *Model) raw(columns [][]float64, dst []float64) {
	trees := m.maskTrees()
	cells := make([]uint8, len(m.Names)*blockRows)
	used := m.used()
	var narrow [blockRows]uint32
	var wide [blockRows]uint64
	for from := 0; from < len(dst); from += blockRows {
		n := min(blockRows, len(dst)-from)
		for _, j := range used {
			b, into := &m.bins[j], cells[j*blockRows:][:n]
			for i, v := range columns[j][from : from+n] {
				into[i] = b.of(v)
			}
		}
		out := dst[from : from+n]
		for i := range out {
			out[i] = m.Base
		}
		for k := range trees {
			switch t := &trees[k]; {
			case t.narrow != nil:
				reach(narrow[:n], t.features, t.narrow, cells)
				for i, mask := range narrow[:n] {
					out[i] += t.values[bits.TrailingZeros32(mask)&31]
				}
			case t.wide != nil:
				reach(wide[:n], t.features, t.wide, cells)
				for i, mask := range wide[:n] {
					out[i] += t.values[bits.TrailingZeros64(mask)&63]
				}
			default:
				for i := range out {
					out[i] += m.trees[k].at(func(feature int) uint8 { return cells[feature*blockRows+i] })
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

// reach fills masks with the one leaf of each row.
func reach[T uint32 | uint64](masks []T, features []int32, tables [][256]T, cells []uint8) {
	column := func(k int) []uint8 { return cells[int(features[k])*blockRows:][:len(masks)] }
	k := 0
	if len(features) >= 2 {
		a, b, ca, cb := &tables[0], &tables[1], column(0), column(1)
		for i := range masks {
			masks[i] = a[ca[i]] & b[cb[i]]
		}
		k = 2
	} else {
		a, ca := &tables[0], column(0)
		for i := range masks {
			masks[i] = a[ca[i]]
		}
		k = 1
	}
	for ; k+4 <= len(features); k += 4 {
		a, b, c, d := &tables[k], &tables[k+1], &tables[k+2], &tables[k+3]
		ca, cb, cc, cd := column(k), column(k+1), column(k+2), column(k+3)
		for i := range masks {
			masks[i] &= a[ca[i]] & b[cb[i]] & c[cc[i]] & d[cd[i]]
		}
	}
	for ; k+2 <= len(features); k += 2 {
		a, b, ca, cb := &tables[k], &tables[k+1], column(k), column(k+1)
		for i := range masks {
			masks[i] &= a[ca[i]] & b[cb[i]]
		}
	}
	if k < len(features) {
		a, ca := &tables[k], column(k)
		for i := range masks {
			masks[i] &= a[ca[i]]
		}
	}
}
