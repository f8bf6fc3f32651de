package experiments

import (
	"cmp"
	"math"
	"slices"
)

// Allocate lays variants out for the first time (CONTRACT §5): at full coverage variant i owns the slot [bound(i), bound(i+1)) with
// bound(i) = floor(100000 × cumulative weight share + ½); at coverage c it owns the first c × width buckets of its slot, rounded half up. Weights are relative
// and not negative, their sum is positive, coverage is within 0..1. A variant without buckets has no range.
func Allocate(variants []Variant, coverage float64) []Range {
	var ranges []Range
	for i, s := range slots(variants) {
		if width := share(s.End-s.Start, coverage); width > 0 {
			ranges = append(ranges, Range{variants[i].Key, s.Start, s.Start + width})
		}
	}
	return ranges
}

// Reallocate changes an allocation to new weights or another coverage and moves the fewest buckets: every variant keeps what it has up to its new
// width, gives back from its highest bucket down, and takes first the free buckets of its own slot, then any free bucket from the lowest up. An
// allocation made by Allocate that only changes its coverage becomes exactly Allocate's; a raised coverage only adds units.
//
// Without any weight (explicit ranges need none) the widths keep their proportions.
func Reallocate(old []Range, variants []Variant, coverage float64) []Range {
	if weight(variants) == 0 {
		variants = weighByWidth(old, variants)
	}
	slot := slots(variants)
	owner := make([]int16, Buckets) // 0 = free, i+1 = variants[i]
	have := make([]int, len(variants))
	for _, r := range old {
		i := slices.IndexFunc(variants, func(v Variant) bool { return v.Key == r.Variant })
		if i < 0 {
			continue
		}
		for b := r.Start; b < r.End; b++ {
			owner[b] = int16(i + 1)
		}
		have[i] += r.End - r.Start
	}
	want := make([]int, len(variants))
	for i, s := range slot {
		want[i] = share(s.End-s.Start, coverage)
	}
	for b := Buckets - 1; b >= 0; b-- {
		if i := int(owner[b]) - 1; i >= 0 && have[i] > want[i] {
			owner[b], have[i] = 0, have[i]-1
		}
	}
	take := func(i, from, to int) {
		for b := from; b < to && have[i] < want[i]; b++ {
			if owner[b] == 0 {
				owner[b], have[i] = int16(i+1), have[i]+1
			}
		}
	}
	for i, s := range slot {
		take(i, s.Start, s.End)
	}
	for i := range variants {
		take(i, 0, Buckets)
	}
	var ranges []Range
	for b := 0; b < Buckets; {
		end := b + 1
		for end < Buckets && owner[end] == owner[b] {
			end++
		}
		if owner[b] > 0 {
			ranges = append(ranges, Range{variants[owner[b]-1].Key, b, end})
		}
		b = end
	}
	return ranges
}

// Ramp changes the coverage alone. Where the allocation's widths are not those of the weights (somebody gave explicit ranges) the widths
// keep their own proportions, so that nobody who is in has to move.
func Ramp(old []Range, variants []Variant, oldCoverage, coverage float64) []Range {
	have := widths(old, variants)
	byWeight := true
	for i, s := range slots(variants) {
		byWeight = byWeight && have[i] == share(s.End-s.Start, oldCoverage)
	}
	if !byWeight && Covered(old) > 0 {
		variants = weighByWidth(old, variants)
	}
	return Reallocate(old, variants, coverage)
}

// explore lays the even split of the exploration slice out, or changes it and moves the fewest. Retired variants, those without weight, have no part in it.
func explore(old []Range, variants []Variant, allocation []Range, coverage float64) []Range {
	if weight(variants) == 0 {
		variants = weighByWidth(allocation, variants)
	}
	even := slices.Clone(variants)
	for i := range even {
		even[i].Weight = min(1, math.Ceil(even[i].Weight))
	}
	if len(old) == 0 {
		return Allocate(even, coverage)
	}
	return Reallocate(old, even, coverage)
}

// Shares is the probability of each variant among the enrolled, the exploration slice included: its units are split evenly, all others by the allocation.
func (d *Definition) Shares() []float64 {
	out := make([]float64, len(d.Variants))
	total := 0.0
	add := func(allocation []Range, part float64) {
		for i, w := range widths(allocation, d.Variants) {
			out[i] += part * float64(w)
			total += part * float64(w)
		}
	}
	explored := 0.0
	if d.Exploration != nil {
		explored = d.Exploration.Share
		add(d.Exploration.Allocation, explored)
	}
	add(d.Allocation, 1-explored)
	if total == 0 {
		for i, v := range d.Variants {
			out[i], total = v.Weight, total+v.Weight
		}
	}
	for i := range out {
		if total > 0 {
			out[i] /= total
		}
	}
	return out
}

// weighByWidth returns the variants with the widths that they own as weights.
func weighByWidth(ranges []Range, variants []Variant) []Variant {
	variants = slices.Clone(variants)
	for i, n := range widths(ranges, variants) {
		variants[i].Weight = float64(n)
	}
	return variants
}

func weight(variants []Variant) float64 {
	total := 0.0
	for _, v := range variants {
		total += v.Weight
	}
	return total
}

// Covered returns how many buckets an allocation owns.
func Covered(ranges []Range) int {
	n := 0
	for _, r := range ranges {
		n += r.End - r.Start
	}
	return n
}

// slots returns the ranges at full coverage, one for each variant in declared order; a variant of weight 0 has an empty one, and so has each when
// all weights are 0.
func slots(variants []Variant) []Range {
	total, sum, from := weight(variants), 0.0, 0
	out := make([]Range, len(variants))
	if total == 0 {
		return out
	}
	for i, v := range variants {
		sum += v.Weight
		to := int(math.Floor(Buckets*(sum/total) + 0.5))
		out[i] = Range{v.Key, from, to}
		from = to
	}
	return out
}

// share is coverage × width, rounded half up.
func share(width int, coverage float64) int {
	return int(math.Floor(coverage*float64(width) + 0.5))
}

func widths(ranges []Range, variants []Variant) []int {
	out := make([]int, len(variants))
	for _, r := range ranges {
		if i := slices.IndexFunc(variants, func(v Variant) bool { return v.Key == r.Variant }); i >= 0 {
			out[i] += r.End - r.Start
		}
	}
	return out
}

// TakeFree draws n free buckets of a layer for an experiment, from the lowest up, and returns the layer's new ranges; ok is false when fewer are free.
// What the experiment already owns counts: a larger share only adds, a smaller one gives back from the highest bucket down.
func TakeFree(layer []LayerRange, experiment string, n int) (ranges []LayerRange, ok bool) {
	taken := make([]bool, Buckets)
	mine := make([]bool, Buckets)
	have := 0
	for _, r := range layer {
		for b := r.Start; b < r.End; b++ {
			taken[b] = true
			if r.Experiment == experiment {
				mine[b], have = true, have+1
			}
		}
		if r.Experiment != experiment {
			ranges = append(ranges, r)
		}
	}
	for b := Buckets - 1; b >= 0 && have > n; b-- {
		if mine[b] {
			mine[b], have = false, have-1
		}
	}
	for b := 0; b < Buckets && have < n; b++ {
		if !taken[b] {
			mine[b], have = true, have+1
		}
	}
	if have < n {
		return layer, false
	}
	for b := 0; b < Buckets; b++ {
		if !mine[b] {
			continue
		}
		end := b
		for end < Buckets && mine[end] {
			end++
		}
		ranges = append(ranges, LayerRange{experiment, b, end})
		b = end
	}
	slices.SortFunc(ranges, func(a, b LayerRange) int { return cmp.Compare(a.Start, b.Start) })
	return ranges, true
}

// HoldoutShare is the allocation of a holdout that was given as a share: the lowest buckets, so that a larger share only adds units.
func HoldoutShare(fraction float64) []HoldoutRange {
	if n := share(Buckets, fraction); n > 0 {
		return []HoldoutRange{{0, n}}
	}
	return nil
}
