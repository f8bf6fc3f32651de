package gbdt

import (
	"context"
	"errors"
	"math"
	"slices"
)

// leaf is a leaf of a tree that is growing: rows[from:to] of the grower, its sums and its best split.
type leaf struct {
	from, to  int
	total     packed
	low, up   float64
	depth     int
	hist      histogram
	best      split
	node      int // in tree.nodes
	candidate bool
}

// grower holds what growing one tree after another reuses.
type grower struct {
	p      Params
	data   *Data
	bins   []bins
	table  *binned
	g, h   []float64
	rows   []int32
	sums   []packed // sums[i] belongs to rows[i]
	moveR  []int32
	moveS  []packed
	free   []histogram
	leaves []leaf
}

func (gr *grower) histogram() histogram {
	if n := len(gr.free); n > 0 {
		h := gr.free[n-1]
		gr.free = gr.free[:n-1]
		return h
	}
	return make(histogram, len(gr.table.words))
}

// Fit boosts trees on train. With Patience set, valid is the later data on which it stops; valid may be nil otherwise.
func Fit(ctx context.Context, train, valid *Data, p Params) (*Model, error) {
	p, err := p.check(len(train.Names))
	if err != nil {
		return nil, err
	}
	if err := train.check(p.Objective); err != nil {
		return nil, err
	}
	if p.Patience > 0 {
		if valid == nil {
			return nil, errors.New("patience needs a validation set")
		}
		if err := valid.check(p.Objective); err != nil {
			return nil, err
		}
		if !slices.Equal(valid.Names, train.Names) {
			return nil, errors.New("the validation set has other features")
		}
	}
	n := len(train.Y)
	gr := &grower{p: p, data: train, bins: make([]bins, len(train.Names)), g: make([]float64, n), h: make([]float64, n),
		rows: make([]int32, n), sums: make([]packed, n), moveR: make([]int32, n), moveS: make([]packed, n)}
	parallel(len(gr.bins), p.Threads, func(j int) {
		gr.bins[j] = newBins(train.Values[j], p.MaxBins, p.Categorical != nil && p.Categorical[j])
	})
	gr.table = newBinned(train, gr.bins, p.Threads)
	m := &Model{Params: p, Names: slices.Clone(train.Names), bins: gr.bins, Base: p.start(train), Rows: n}
	score := make([]float64, n)
	for i := range score {
		score[i] = m.Base
	}
	stop := newStopper(m, valid, p)
	for len(m.trees) < p.Trees {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t := gr.grow(score)
		if t == nil {
			break
		}
		m.trees = append(m.trees, *t)
		if stop.done() {
			break
		}
	}
	stop.trim()
	m.compile()
	return m, nil
}

// grow grows one tree, adds its outputs to score and returns it, or nil when no split gains anything.
func (gr *grower) grow(score []float64) *tree {
	gr.p.gradients(gr.data, score, gr.g, gr.h)
	sc := newScale(gr.g, gr.h)
	for i := range gr.rows {
		gr.rows[i], gr.sums[i] = int32(i), sc.pack(gr.g[i], gr.h[i])
	}
	t := &tree{}
	root := leaf{to: len(gr.rows), low: math.Inf(-1), up: math.Inf(1), hist: gr.histogram()}
	gr.table.build(root.hist, gr.rows, gr.sums, gr.p.Threads, gr.histogram2())
	for _, s := range gr.sums {
		root.total += s
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

// histogram2 hands out histograms to the goroutines of one build; they are few and dropped afterwards.
func (gr *grower) histogram2() func() histogram {
	return func() histogram { return make(histogram, len(gr.table.words)) }
}

// look finds the best split of a leaf.
func (gr *grower) look(l *leaf, sc scale) {
	l.candidate = false
	if gr.p.MaxDepth > 0 && l.depth >= gr.p.MaxDepth || l.to-l.from < 2*max(gr.p.MinLeaf, 1) || l.depth >= maxDepth {
		return
	}
	f := finder{p: &gr.p, scale: sc, total: l.total, rows: l.to - l.from, low: l.low, up: l.up, minHess: gr.p.MinHessian}
	l.best = f.find(l.hist, gr.bins)
	l.candidate = l.best.feature >= 0 && l.best.gain > 1e-12
}

// divide splits a leaf in two: the left child keeps its place in the list, the right one is appended.
func (gr *grower) divide(t *tree, at int, sc scale) {
	parent := gr.leaves[at]
	s := parent.best
	middle := gr.partition(parent.from, parent.to, &s)
	left := leaf{from: parent.from, to: middle, depth: parent.depth + 1, low: parent.low, up: parent.up}
	right := leaf{from: middle, to: parent.to, depth: parent.depth + 1, low: parent.low, up: parent.up}
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
	for _, x := range gr.sums[left.from:left.to] {
		left.total += x
	}
	right.total = parent.total - left.total
	small, large := &left, &right
	if left.to-left.from > right.to-right.from {
		small, large = &right, &left
	}
	if len(gr.leaves)+1 < gr.p.Leaves { // the children may be divided again
		small.hist = gr.histogram()
		gr.table.build(small.hist, gr.rows[small.from:small.to], gr.sums[small.from:small.to], gr.p.Threads, gr.histogram2())
		subtract(parent.hist, parent.hist, small.hist)
		large.hist = parent.hist
		gr.look(small, sc)
		gr.look(large, sc)
	} else {
		gr.free = append(gr.free, parent.hist)
	}
	gr.leaves[at] = left
	gr.leaves = append(gr.leaves, right)
}

// partition moves the rows that go left to the front, both sides keeping their order, and returns where the right side begins.
func (gr *grower) partition(from, to int, s *split) int {
	words, shift := gr.table.words[s.feature/wordFeatures], 8*(s.feature%wordFeatures)
	var goesLeft [256]int // 1 or 0: a counter moves without a branch
	for b := range goesLeft {
		if s.goesLeft(uint8(b)) {
			goesLeft[b] = 1
		}
	}
	rows, sums := gr.rows[from:to], gr.sums[from:to]
	moveR, moveS := gr.moveR[:len(rows)], gr.moveS[:len(rows)]
	l, r := 0, 0
	for i, row := range rows {
		x := sums[i]
		// Both writes happen; only one counter moves. rows[l] is never ahead of i.
		moveR[r], moveS[r] = row, x
		rows[l], sums[l] = row, x
		left := goesLeft[uint8(words[row]>>shift)]
		l += left
		r += 1 - left
	}
	copy(rows[l:], moveR[:r])
	copy(sums[l:], moveS[:r])
	return from + l
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

// settle computes every leaf's value from the exact gradients of its rows, in row order, and adds it to their scores.
func (gr *grower) settle(t *tree, score []float64) {
	for i := range gr.leaves {
		l := &gr.leaves[i]
		rows := gr.rows[l.from:l.to]
		var value, weight float64
		if gr.p.Objective == Quantile {
			rest := make([]float64, len(rows))
			for k, r := range rows {
				rest[k] = gr.data.Y[r] - score[r]
			}
			value = quantile(rest, gr.p.Alpha)
			weight = float64(len(rows))
		} else {
			var g, h float64
			for _, r := range rows {
				g, h = g+gr.g[r], h+gr.h[r]
			}
			value, weight = -g/(h+gr.p.Lambda+1e-300), h
		}
		value = min(max(value, l.low), l.up) * gr.p.LearningRate
		t.settle(l.node, value, float64(len(rows)), weight)
		for _, r := range rows {
			score[r] += value
		}
	}
	t.cover()
}

// stopper watches the loss on later data.
type stopper struct {
	m        *Model
	valid    *Data
	table    *binned
	score    []float64
	best     float64
	keep     int
	patience int
}

func newStopper(m *Model, valid *Data, p Params) *stopper {
	s := &stopper{m: m, patience: p.Patience}
	if p.Patience == 0 {
		return s
	}
	s.valid, s.table, s.score = valid, newBinned(valid, m.bins, p.Threads), make([]float64, len(valid.Y))
	for i := range s.score {
		s.score[i] = m.Base
	}
	s.best = p.loss(valid, s.score)
	return s
}

// done judges the newest tree and reports whether to stop.
func (s *stopper) done() bool {
	if s.patience == 0 {
		return false
	}
	t := &s.m.trees[len(s.m.trees)-1]
	for i := range s.score {
		s.score[i] += t.at(func(feature int) uint8 { return s.table.bin(int32(i), feature) })
	}
	if l := s.m.Params.loss(s.valid, s.score); l < s.best {
		s.best, s.keep = l, len(s.m.trees)
	}
	return len(s.m.trees)-s.keep >= s.patience
}

// trim drops the trees after the best one.
func (s *stopper) trim() {
	if s.patience > 0 {
		s.m.trees = s.m.trees[:s.keep]
	}
}
