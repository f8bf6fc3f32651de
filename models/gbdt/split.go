package gbdt

import (
	"cmp"
	"math"
	"slices"
)

// split is the best division of a leaf.
type split struct {
	gain        float64
	feature     int
	bin         uint8    // numeric: bins ≤ bin go left
	missingLeft bool     // where the missing go
	levels      levelSet // categorical: the levels that go left
	cat         bool
	left, right sums
	leftSum     packed
	outL, outR  float64 // leaf values, bounded by monotone constraints
}

// levelSet is a set of bins.
type levelSet [4]uint64

func (s *levelSet) put(b uint8)      { s[b>>6] |= 1 << (b & 63) }
func (s *levelSet) has(b uint8) bool { return s[b>>6]>>(b&63)&1 == 1 }

// sums are Σg and Σh of a leaf on the loss's own scale.
type sums struct{ g, h float64 }

// finder looks for the best split of one leaf.
type finder struct {
	p       *Params
	scale   scale
	total   packed
	rows    int
	low, up float64 // monotone bounds of the leaf's value
	best    split
	minHess float64
	perHess float64 // rows per unit of hessian: counts are estimated from hessians
}

func (f *finder) sums(x packed) sums {
	g, h := unpack(x)
	return sums{float64(g) / f.scale.g, float64(h) / f.scale.h}
}

// value is the leaf value that lowers the loss most, within the bounds.
func (f *finder) value(s sums) float64 {
	return min(max(-s.g/(s.h+f.p.Lambda+1e-300), f.low), f.up)
}

// score is the drop of loss by giving a leaf its value v, times two.
func (f *finder) score(s sums, v float64) float64 { return -(2*s.g*v + (s.h+f.p.Lambda)*v*v) }

// try judges one division and keeps it if it is the best so far.
func (f *finder) try(feature int, left, right packed, base float64, set func(*split)) {
	l, r := f.sums(left), f.sums(right)
	if l.h < f.minHess || r.h < f.minHess || l.h*f.perHess < float64(f.p.MinLeaf)-0.5 || r.h*f.perHess < float64(f.p.MinLeaf)-0.5 {
		return
	}
	outL, outR := f.value(l), f.value(r)
	if f.p.Monotone != nil && float64(f.p.Monotone[feature])*(outR-outL) < 0 {
		return
	}
	gain := f.score(l, outL) + f.score(r, outR) - base
	if gain <= f.best.gain {
		return
	}
	f.best = split{gain: gain, feature: feature, left: l, right: r, leftSum: left, outL: outL, outR: outR}
	set(&f.best)
}

// numeric scans the bins of one feature, with the missing on the right and, where there are any, on the left.
func (f *finder) numeric(feature int, h []packed, bins int, base float64) {
	lost := h[missing]
	var left packed
	for b := range bins {
		left += h[b]
		if b == bins-1 {
			if lost != 0 { // the known against the missing
				f.try(feature, left, f.total-left, base, func(s *split) { s.bin = uint8(b) })
			}
			break
		}
		if h[b] == 0 && b > 0 {
			continue // no new division
		}
		f.try(feature, left, f.total-left, base, func(s *split) { s.bin = uint8(b) })
		if lost != 0 {
			f.try(feature, left+lost, f.total-left-lost, base, func(s *split) { s.bin, s.missingLeft = uint8(b), true })
		}
	}
	if f.best.feature == feature && f.best.gain > 0 && lost == 0 {
		f.best.missingLeft = f.best.left.h > f.best.right.h // unseen missing follow the larger side
	}
}

// numericFree is numeric for a leaf whose value has no bounds: the same divisions by the same rule, on the integer sums themselves, with one
// division an edge that improves. In units of the integers a gain is larger by scale.g²/scale.h.
func (f *finder) numericFree(feature int, h []packed, bins int) {
	lost := h[missing]
	totalG, totalH := unpack(f.total)
	G, H := float64(totalG), float64(totalH)
	lambda := f.p.Lambda * f.scale.h
	least := max(f.minHess*f.scale.h, (float64(f.p.MinLeaf)-0.5)*H/float64(f.rows))
	unit := f.scale.h / (f.scale.g * f.scale.g)
	base := G * G / (H + lambda)
	best, at, missingLeft := f.best.gain/unit+base, -1, false
	sign := 0.0 // of a monotone constraint: the leaf values are −g/h
	if f.p.Monotone != nil {
		sign = float64(f.p.Monotone[feature])
	}
	var left, bestLeft packed
	h = h[:256]
	for b := range bins {
		x := h[b&255]
		if x == 0 {
			continue
		}
		left += x
		if b == bins-1 && lost == 0 {
			break
		}
		lg, lh := unpack(left)
		gl, hl := float64(lg), float64(lh)
		if gr, hr := G-gl, H-hl; hl >= least && hr >= least {
			hl, hr := hl+lambda, hr+lambda
			if gain := gl*gl*hr + gr*gr*hl; gain > best*(hl*hr) && sign*(gl*hr-gr*hl) >= 0 {
				best, at, missingLeft, bestLeft = gain/(hl*hr), b, false, left
			}
		}
		if lost == 0 || b == bins-1 {
			continue
		}
		lg, lh = unpack(left + lost)
		gl, hl = float64(lg), float64(lh)
		if gr, hr := G-gl, H-hl; hl >= least && hr >= least {
			hl, hr := hl+lambda, hr+lambda
			if gain := gl*gl*hr + gr*gr*hl; gain > best*(hl*hr) && sign*(gl*hr-gr*hl) >= 0 {
				best, at, missingLeft, bestLeft = gain/(hl*hr), b, true, left+lost
			}
		}
	}
	if at < 0 {
		return
	}
	l, r := f.sums(bestLeft), f.sums(f.total-bestLeft)
	if lost == 0 {
		missingLeft = l.h > r.h // unseen missing follow the larger side
	}
	f.best = split{gain: (best - base) * unit, feature: feature, bin: uint8(at), missingLeft: missingLeft, left: l, right: r, leftSum: bestLeft, outL: f.value(l), outR: f.value(r)}
}

// categorical tries single levels when there are at most four, else sorts them by Σg/(Σh + 10) and scans from both ends (Fisher 1958;
// smoothing and bounds as in LightGBM). Missing and rare levels go right.
func (f *finder) categorical(feature int, h []packed, bins int, base float64) {
	type level struct {
		bin  uint8
		sum  packed
		rate float64
	}
	const smooth, largest = 10, 32
	levels := make([]level, 0, bins)
	for b := range bins {
		if s := f.sums(h[b]); s.h*f.perHess >= smooth {
			levels = append(levels, level{uint8(b), h[b], s.g / (s.h + smooth)})
		}
	}
	if len(levels) <= 4 {
		for _, l := range levels {
			f.try(feature, l.sum, f.total-l.sum, base, func(s *split) { s.cat = true; s.levels.put(l.bin) })
		}
		return
	}
	slices.SortStableFunc(levels, func(a, b level) int { return cmp.Compare(a.rate, b.rate) })
	for range 2 {
		var left packed
		for i, l := range levels[:min(len(levels)-1, largest)] {
			left += l.sum
			f.try(feature, left, f.total-left, base, func(s *split) {
				s.cat = true
				for _, k := range levels[:i+1] {
					s.levels.put(k.bin)
				}
			})
		}
		slices.Reverse(levels)
	}
}

// find returns the best split of a leaf, or one without gain.
func (f *finder) find(h histogram, all []bins) split {
	f.best = split{feature: -1}
	total := f.sums(f.total)
	base := f.score(total, f.value(total))
	f.perHess = float64(f.rows) / math.Max(total.h, 1e-300)
	for j := range all {
		at := h[j/wordFeatures][j%wordFeatures*256:][:256]
		if all[j].Cat {
			f.categorical(j, at, all[j].count(), base)
		} else if math.IsInf(f.low, -1) && math.IsInf(f.up, 1) {
			f.numericFree(j, at, all[j].count())
		} else {
			f.numeric(j, at, all[j].count(), base)
		}
	}
	return f.best
}
