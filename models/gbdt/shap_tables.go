package gbdt

import (
	"math"
	"sync"
	"sync/atomic"
)

// For many rows the leaves of a tree are explained in groups: the leaves below one node. What a group adds to each feature depends on the row
// through few bits: whether the conditions above the node hold, one bit a feature, and the way to go at each node below it. A table by those
// bits holds the sum over the group's leaves, so a row pays one addition a feature of the group in place of one a condition of each leaf. The
// bits of all groups of a tree come from one look-up a feature that the tree uses.

// groupBits bounds the bits, and with them the table, of a group.
const groupBits = 9

// shapTables are made when a large batch is announced.
type shapTables struct {
	once  sync.Once
	trees []shapTree
	wide  []shapLeaf // leaves whose paths have more than groupBits features, explained one by one
	ready atomic.Bool
}

// shapTree is one tree: word w of a row is the OR of its features' entries, and holds the bits of some groups.
type shapTree struct {
	words [][]shapColumn // by word
	in    [][]shapGroup  // by word
}

type shapColumn struct {
	feature int32
	bits    [256]uint64
}

type shapGroup struct {
	shift, bits int
	features    []int32
	table       []*[1 << groupBits]float64 // by feature, then by bits
}

// maxShapBytes bounds the tables of one model; a model that would need more is explained leaf by leaf.
const maxShapBytes = 256 << 20

// Hasten makes the tables with which large batches are explained several times faster. It takes a fraction of a second, so it pays from some
// ten thousand rows on. It is safe for concurrent use; contributions before and after agree to rounding.
func (m *Model) Hasten() {
	m.fast.once.Do(func() {
		trees, wide, size := make([]shapTree, len(m.trees)), []shapLeaf(nil), 0
		for i := range m.trees {
			b := shapBuilder{e: m.explainer(), t: &m.trees[i]}
			b.cut(0, nil)
			if size += b.size; size > maxShapBytes {
				return
			}
			trees[i], wide = b.out, append(wide, b.wide...)
		}
		m.fast.trees, m.fast.wide = trees, wide
		m.fast.ready.Store(true)
	})
}

// shapBuilder cuts one tree into groups.
type shapBuilder struct {
	e    *explainer
	t    *tree
	out  shapTree
	used int // bits of the last word
	size int // bytes of the tables
	wide []shapLeaf
}

// inner returns how many inner nodes are at and below a node.
func (b *shapBuilder) inner(at int) int {
	n := &b.t.nodes[at]
	if n.leaf(at) {
		return 0
	}
	return 1 + b.inner(int(n.Left)) + b.inner(int(n.Right))
}

// cut makes one group of the leaves below a node when it has few enough bits, else groups of its children's.
func (b *shapBuilder) cut(at int, path []condition) {
	n := &b.t.nodes[at]
	if n.leaf(at) || len(path)+b.inner(at) <= groupBits {
		b.group(at, path)
		return
	}
	b.cut(int(n.Left), b.t.follow(at, true, path))
	b.cut(int(n.Right), b.t.follow(at, false, path))
}

// group adds the leaves below a node as one group: bit k says that the conditions on the k-th feature of the path hold, the bits after them the
// way at each inner node, in the order of their numbers.
func (b *shapBuilder) group(at int, path []condition) {
	nodes := b.nodesBelow(at)
	if len(path) > groupBits {
		b.wide = append(b.wide, shapLeaf{value: b.t.nodes[at].Value, conditions: path})
		return
	}
	g := shapGroup{bits: len(path) + len(nodes)}
	if len(b.out.words) == 0 || b.used+g.bits > 64 {
		b.out.words, b.out.in, b.used = append(b.out.words, nil), append(b.out.in, nil), 0
	}
	w := len(b.out.words) - 1
	g.shift, b.used = b.used, b.used+g.bits
	for k := range path {
		c := &path[k]
		column := b.column(w, c.feature)
		for bin := range column.bits {
			if c.holds(uint8(bin)) {
				column.bits[bin] |= 1 << (g.shift + k)
			}
		}
	}
	for k, node := range nodes {
		n := &b.t.nodes[node]
		column := b.column(w, n.Feature)
		for bin := range column.bits {
			if n.goesLeft(uint8(bin)) {
				column.bits[bin] |= 1 << (g.shift + len(path) + k)
			}
		}
	}
	b.fill(&g, at, path, nodes)
	b.out.in[w] = append(b.out.in[w], g)
}

func (b *shapBuilder) nodesBelow(at int) []int {
	n := &b.t.nodes[at]
	if n.leaf(at) {
		return nil
	}
	return append(append([]int{at}, b.nodesBelow(int(n.Left))...), b.nodesBelow(int(n.Right))...)
}

func (b *shapBuilder) column(w int, feature int32) *shapColumn {
	for i := range b.out.words[w] {
		if c := &b.out.words[w][i]; c.feature == feature {
			return c
		}
	}
	b.out.words[w] = append(b.out.words[w], shapColumn{feature: feature})
	return &b.out.words[w][len(b.out.words[w])-1]
}

// fill computes the group's table. The leaf masks that a row's bits mean come from walking down with them.
func (b *shapBuilder) fill(g *shapGroup, at int, path []condition, nodes []int) {
	place := map[int32]int{}
	add := func(f int32) {
		if _, ok := place[f]; !ok {
			place[f] = len(g.features)
			g.features = append(g.features, f)
			g.table = append(g.table, new([1 << groupBits]float64))
			b.size += 8 << groupBits
		}
	}
	bit := map[int]int{}
	for _, c := range path {
		add(c.feature)
	}
	for k, node := range nodes {
		add(b.t.nodes[node].Feature)
		bit[node] = len(path) + k
	}
	// below visits the leaves with the conditions of their paths and, for each condition, the bits that it asks for.
	type asked struct{ all, set uint64 } // the condition holds when bits&all == set
	var below func(at int, conditions []condition, asks []asked)
	below = func(at int, conditions []condition, asks []asked) {
		n := &b.t.nodes[at]
		if !n.leaf(at) {
			for _, left := range []bool{true, false} {
				child := n.Right
				if left {
					child = n.Left
				}
				next := b.t.follow(at, left, conditions)
				more := append([]asked(nil), asks...)
				if len(next) > len(more) {
					more = append(more, asked{})
				}
				for k := range next {
					if next[k].feature == n.Feature {
						more[k].all |= 1 << bit[at]
						if left {
							more[k].set |= 1 << bit[at]
						}
					}
				}
				below(int(child), next, more)
			}
			return
		}
		l := shapLeaf{value: n.Value, conditions: conditions}
		size := 1 << len(conditions)
		phi := make([]float64, len(conditions)*size)
		for mask := range size {
			b.e.contributions(&l, uint64(mask), phi[mask*len(conditions):])
		}
		for bits := range uint64(1) << g.bits {
			mask := 0
			for k, a := range asks {
				if bits&a.all == a.set {
					mask |= 1 << k
				}
			}
			for k, c := range conditions {
				g.table[place[c.feature]][bits] += phi[mask*len(conditions)+k]
			}
		}
	}
	first := make([]asked, len(path))
	for k := range first {
		first[k] = asked{1 << k, 1 << k}
	}
	below(at, path, first)
}

// follow returns the conditions of a path that goes on to a child.
func (t *tree) follow(at int, left bool, path []condition) []condition {
	n := &t.nodes[at]
	next := append([]condition(nil), path...)
	k := -1
	for i := range next {
		if next[i].feature == n.Feature {
			k = i
		}
	}
	if k < 0 {
		all := levelSet{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}
		next = append(next, condition{feature: n.Feature, hi: 254, missing: true, cat: n.Cat, levels: all, r: 1})
		k = len(next) - 1
	}
	c := &next[k]
	child := n.Right
	if left {
		child = n.Left
	}
	if n.Cover > 0 {
		c.r *= t.nodes[child].Cover / n.Cover
	}
	c.missing = c.missing && n.MissingLeft == left
	switch {
	case n.Cat && left:
		for i := range c.levels {
			c.levels[i] &= n.Levels[i]
		}
	case n.Cat:
		for i := range c.levels {
			c.levels[i] &^= n.Levels[i]
		}
	case left:
		c.hi = min(c.hi, n.Bin)
	default:
		if n.Bin == 254 {
			c.lo, c.hi = 255, 0 // nothing known is above the last bin
		} else {
			c.lo = max(c.lo, n.Bin+1)
		}
	}
	return next
}

// fastRows is how many rows the tables explain at a time: their bins, bits and sums stay in the nearest caches.
const fastRows = 512

// fastBlock adds every group's contributions for the n ≤ fastRows rows from the given one of the scratch.
func (m *Model) fastBlock(s *scratch, from, n int) {
	var word [fastRows]uint64
	var index [fastRows]uint16
	for i := range m.fast.trees {
		t := &m.fast.trees[i]
		for w, columns := range t.words {
			clear(word[:])
			for c := range columns {
				or(word[:n], &columns[c].bits, s.cells[columns[c].feature][from:])
			}
			for k := range t.in[w] {
				g := &t.in[w][k]
				at, low := index[:n], uint64(1)<<g.bits-1
				for r := range at {
					at[r] = uint16(word[r] >> g.shift & low)
				}
				for j, f := range g.features {
					spread(s.phi[f][from:from+n], g.table[j], at)
				}
			}
		}
	}
}

// or, like spread, is a function of its own so that all that its loop needs stays in registers.
//
//go:noinline
func or(bits []uint64, column *[256]uint64, cells []uint8) {
	cells = cells[:len(bits)]
	_ = column[0]
	for r := range bits {
		bits[r] |= column[cells[r]]
	}
}

// spread adds each row's entry of a table.
//
//go:noinline
func spread(phi []float64, table *[1 << groupBits]float64, at []uint16) {
	at = at[:len(phi)]
	_ = table[0]
	for r := range phi {
		phi[r] += table[at[r]&(1<<groupBits-1)]
	}
}
