package gbdt

import "math"

// leaf is a leaf of a tree that is growing: at[from:to] of the grower are the places of its rows in a block, in ascending order.
type leaf struct {
	in        *block
	from, to  int
	dense     bool // its rows are the whole block, in order: at is not read
	total     packed
	low, up   float64 // monotone bounds of the value
	depth     int
	hist      histogram
	best      split
	node      int // in tree.nodes
	candidate bool
}

func (l *leaf) rows() int { return l.to - l.from }

// grower holds what growing one tree after another reuses.
type grower struct {
	p      Params
	data   *Data
	bins   []bins
	table  *binned
	g, h   []float64
	root   block
	at     []int32
	move   []int32
	leafOf []uint16 // by training row, when a tree is grown
	store  *arena
	free   []histogram
	leaves []leaf
}

func newGrower(train *Data, p Params) *grower {
	n := len(train.Y)
	gr := &grower{p: p, data: train, bins: make([]bins, len(train.Names)), g: make([]float64, n), h: make([]float64, n), at: make([]int32, n),
		move: make([]int32, n), leafOf: make([]uint16, n)}
	parallel(len(gr.bins), p.Threads, func(j int) {
		gr.bins[j] = newBins(train.Values[j], p.MaxBins, p.Categorical != nil && p.Categorical[j])
	})
	gr.table = newBinned(train, gr.bins, p.Threads)
	gr.root = block{words: gr.table.words, sums: make([]packed, n)}
	gr.store = newArena(n, len(gr.table.words))
	return gr
}

func (gr *grower) histogram() histogram {
	if n := len(gr.free); n > 0 {
		h := gr.free[n-1]
		gr.free = gr.free[:n-1]
		return h
	}
	return make(histogram, len(gr.table.words))
}

// grow grows one tree, adds its outputs to score and returns it, or nil when no split gains anything.
func (gr *grower) grow(score []float64) *tree {
	sc := gr.gradients(score)
	t := &tree{}
	gr.store.reset()
	root := leaf{in: &gr.root, to: len(score), dense: true, low: math.Inf(-1), up: math.Inf(1), hist: gr.histogram()}
	gr.build(root.hist, &root)
	for _, x := range root.hist[0][:256] { // every row is in some bin of the first feature
		root.total += x
	}
	root.node = t.add()
	gr.leaves = append(gr.leaves[:0], root)
	gr.look(&gr.leaves[0], sc)
	for len(gr.leaves) < gr.p.Leaves {
		pick := -1
		for i := range gr.leaves {
			if l := &gr.leaves[i]; l.candidate && (pick < 0 || l.best.gain > gr.leaves[pick].best.gain) {
				pick = i
			}
		}
		if pick < 0 {
			break
		}
		gr.divide(t, pick, sc)
	}
	for i := range gr.leaves {
		if h := gr.leaves[i].hist; h != nil {
			gr.free = append(gr.free, h)
			gr.leaves[i].hist = nil
		}
	}
	if len(gr.leaves) == 1 {
		return nil
	}
	gr.settle(t, score)
	return t
}

// gradients fills g, h and their packed sums, and returns the scale of the packing. Partial sums are of fixed chunks, so the scale does not
// depend on threads.
func (gr *grower) gradients(score []float64) scale {
	n := len(score)
	chunks := (n + chunkRows - 1) / chunkRows
	partial := make([][2]float64, chunks)
	parallel(chunks, gr.p.Threads, func(c int) {
		from, to := c*chunkRows, min((c+1)*chunkRows, n)
		gr.p.gradients(gr.data, score, gr.g, gr.h, from, to)
		for i := from; i < to; i++ {
			partial[c][0] += math.Abs(gr.g[i])
			partial[c][1] += gr.h[i]
		}
	})
	var all [2]float64
	for _, p := range partial {
		all[0], all[1] = all[0]+p[0], all[1]+p[1]
	}
	sc := newScale(all[0], all[1], n)
	parallel(chunks, gr.p.Threads, func(c int) {
		from, to := c*chunkRows, min((c+1)*chunkRows, n)
		g, h, sums := gr.g[from:to], gr.h[from:to], gr.root.sums[from:to]
		for i := range sums {
			sums[i] = sc.pack(g[i], h[i])
		}
	})
	return sc
}

// look finds the best split of a leaf.
func (gr *grower) look(l *leaf, sc scale) {
	l.candidate = false
	if gr.p.MaxDepth > 0 && l.depth >= gr.p.MaxDepth || l.rows() < 2*max(gr.p.MinLeaf, 1) || l.depth >= maxDepth {
		return
	}
	f := finder{p: &gr.p, scale: sc, total: l.total, rows: l.rows(), low: l.low, up: l.up, minHess: gr.p.MinHessian}
	l.best = f.find(l.hist, gr.bins)
	l.candidate = l.best.feature >= 0 && l.best.gain > 1e-12
}

// divide splits a leaf in two: the left child keeps its place in the list, the right one is appended.
func (gr *grower) divide(t *tree, pick int, sc scale) {
	parent := gr.leaves[pick]
	s := parent.best
	middle := gr.partition(&parent, &s)
	left := leaf{in: parent.in, from: parent.from, to: middle, depth: parent.depth + 1, low: parent.low, up: parent.up, total: s.leftSum}
	right := leaf{in: parent.in, from: middle, to: parent.to, depth: parent.depth + 1, low: parent.low, up: parent.up, total: parent.total - s.leftSum}
	if gr.p.Monotone != nil {
		half := (s.outL + s.outR) / 2
		switch gr.p.Monotone[s.feature] {
		case 1:
			left.up, right.low = half, half
		case -1:
			left.low, right.up = half, half
		}
	}
	left.node, right.node = t.split(parent.node, &s)
	small, large := &left, &right
	if left.rows() > right.rows() {
		small, large = &right, &left
	}
	if len(gr.leaves)+1 < gr.p.Leaves { // the children may be divided again
		small.hist = gr.histogram()
		gr.gather(small)
		gr.build(small.hist, small)
		subtract(parent.hist, parent.hist, small.hist)
		large.hist = parent.hist
		if sparse := len(large.in.sums) / 4; large.rows() < sparse {
			gr.gather(large)
		}
		gr.look(small, sc)
		gr.look(large, sc)
	} else {
		gr.free = append(gr.free, parent.hist)
	}
	gr.leaves[pick] = left
	gr.leaves = append(gr.leaves, right)
}

// partition moves the places of the rows that go left to the front, both sides keeping their order, and returns where the right side begins.
func (gr *grower) partition(l *leaf, s *split) int {
	words, shift := l.in.words[s.feature/wordFeatures], 8*(s.feature%wordFeatures)
	var goesLeft [256]int // 1 or 0: a counter moves without a branch
	for b := range goesLeft {
		if s.goesLeft(uint8(b)) {
			goesLeft[b] = 1
		}
	}
	at := gr.at[l.from:l.to]
	move := gr.move[:len(at)]
	kept, gone := 0, 0
	// Both writes happen; only one counter moves. at[kept] is never ahead of the place that is read.
	if l.dense {
		for i, word := range words[:len(at)] {
			move[gone], at[kept] = int32(i), int32(i)
			left := goesLeft[uint8(word>>shift)]
			kept += left
			gone += 1 - left
		}
	} else {
		for _, place := range at {
			move[gone], at[kept] = place, place
			left := goesLeft[uint8(words[place]>>shift)]
			kept += left
			gone += 1 - left
		}
	}
	copy(at[kept:], move[:gone])
	return l.from + kept
}

func (s *split) goesLeft(b uint8) bool {
	switch {
	case b == missing:
		return s.missingLeft && !s.cat
	case s.cat:
		return s.levels.has(b)
	}
	return b <= s.bin
}

// settle computes every leaf's value from the exact gradients of its rows, in row order within fixed chunks, and adds it to their scores.
func (gr *grower) settle(t *tree, score []float64) {
	parallel(len(gr.leaves), gr.p.Threads, func(k int) {
		l := &gr.leaves[k]
		switch at, rows := gr.at[l.from:l.to], l.in.rows; {
		case l.dense:
			for _, r := range rows {
				gr.leafOf[r] = uint16(k)
			}
		case rows == nil:
			for _, place := range at {
				gr.leafOf[place] = uint16(k)
			}
		default:
			for _, place := range at {
				gr.leafOf[rows[place]] = uint16(k)
			}
		}
	})
	n := len(score)
	chunks := (n + chunkRows - 1) / chunkRows
	values := make([]float64, len(gr.leaves))
	if gr.p.Objective == Quantile {
		rest := make([][]float64, len(gr.leaves))
		for r, k := range gr.leafOf {
			rest[k] = append(rest[k], gr.data.Y[r]-score[r])
		}
		for k := range values {
			values[k] = quantile(rest[k], gr.p.Alpha)
		}
	} else {
		partial := make([][]sums, chunks)
		parallel(chunks, gr.p.Threads, func(c int) {
			all := make([]sums, len(gr.leaves))
			for r := c * chunkRows; r < min((c+1)*chunkRows, n); r++ {
				s := &all[gr.leafOf[r]]
				s.g, s.h = s.g+gr.g[r], s.h+gr.h[r]
			}
			partial[c] = all
		})
		for k := range values {
			var s sums
			for _, part := range partial {
				s.g, s.h = s.g+part[k].g, s.h+part[k].h
			}
			values[k] = -s.g / (s.h + gr.p.Lambda + 1e-300)
		}
	}
	for k := range gr.leaves {
		l := &gr.leaves[k]
		values[k] = min(max(values[k], l.low), l.up) * gr.p.LearningRate
		t.settle(l.node, values[k], float64(l.rows()))
	}
	parallel(chunks, gr.p.Threads, func(c int) {
		from, to := c*chunkRows, min((c+1)*chunkRows, n)
		part, leafOf := score[from:to], gr.leafOf[from:to]
		for i := range part {
			part[i] += values[leafOf[i]]
		}
	})
	t.cover()
}
