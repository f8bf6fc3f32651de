package eval

import (
	"cmp"
	"slices"
)

// Isotonic fits the rising function of x that is nearest to y in weighted squares (pool adjacent violators; Ayer et al. 1955) and returns
// one knot a pool: the mean of its x and of its y. Interpolate reads it. Probabilities at the ends stay half a row away from 0 and 1. Both
// slices are empty without rows.
func Isotonic(x, y, w []float64) (at, value []float64) {
	type pool struct{ x, y, w float64 }
	order := make([]int32, len(x))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(x[a], x[b]) })
	var pools []pool
	var total float64
	for k := 0; k < len(order); {
		var next pool
		for first := x[order[k]]; k < len(order) && x[order[k]] == first; k++ { // equal x are one point
			v := weight(w, order[k])
			next.x, next.y, next.w = next.x+v*first, next.y+v*y[order[k]], next.w+v
		}
		if next.w <= 0 {
			continue
		}
		total += next.w
		for n := len(pools); n > 0 && pools[n-1].y*next.w >= next.y*pools[n-1].w; n-- {
			last := pools[n-1]
			next.x, next.y, next.w = next.x+last.x, next.y+last.y, next.w+last.w
			pools = pools[:n-1]
		}
		pools = append(pools, next)
	}
	for _, p := range pools {
		at = append(at, p.x/p.w)
		value = append(value, min(max(p.y/p.w, 0.5/total), 1-0.5/total))
	}
	return at, value
}

// Interpolate reads a rising function by its knots: linear between them, constant outside. It needs at least one knot.
func Interpolate(at, value []float64, x float64) float64 {
	i, _ := slices.BinarySearch(at, x)
	switch {
	case i == 0:
		return value[0]
	case i == len(at):
		return value[len(at)-1]
	}
	return value[i-1] + (x-at[i-1])/(at[i]-at[i-1])*(value[i]-value[i-1])
}
