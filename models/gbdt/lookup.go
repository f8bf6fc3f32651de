package gbdt

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// key maps numbers to integers of the same order, and −0 to what 0 has. A comparison of integers gives a borrow to count with where one of
// doubles gives a branch, and in a binary search every branch is a coin toss.
func key(v float64) uint64 {
	k := math.Float64bits(v + 0)
	return k ^ (uint64(int64(k)>>63) | 1<<63)
}

// index makes the keys that of and fill search.
func (b *bins) index() {
	values := b.Edges
	if b.Cat {
		values = b.Levels
	}
	if len(values) == 0 {
		b.keys = nil
		return
	}
	places := make([]int, len(values))
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(x, y int) int { return cmp.Compare(key(values[x]), key(values[y])) })
	b.keys, b.top = new([256]uint64), 1<<(bits.Len(uint(len(values)))-1)
	for i := range b.keys {
		if b.keys[i] = math.MaxUint64; i < len(values) {
			b.keys[i], b.order[i] = key(values[places[i]]), uint8(places[i])
		}
	}
}

// of returns the bin of a value.
func (b *bins) of(v float64) uint8 {
	if b.keys == nil {
		return b.bin(0, v)
	}
	k, at := key(v), uint64(0)
	for half := b.top; half > 0; half >>= 1 {
		_, less := bits.Sub64(b.keys[uint8(at+half-1)], k, 0)
		at += half & -less
	}
	return b.bin(at, v)
}

// bin is the bin of a value that is above so many keys.
func (b *bins) bin(above uint64, v float64) uint8 {
	switch {
	case v != v:
		return missing
	case !b.Cat:
		return uint8(above)
	case b.keys != nil && b.keys[uint8(above)] == key(v):
		return b.order[uint8(above)]
	}
	return missing
}

// fill sets into[i] to the bin of values[i]. Four searches go side by side: none waits for another's loads.
func (b *bins) fill(into []uint8, values []float64) {
	into = into[:len(values)]
	i := 0
	if keys := b.keys; keys != nil {
		for ; i+4 <= len(values); i += 4 {
			v, out := values[i:i+4:i+4], into[i:i+4:i+4]
			k0, k1, k2, k3 := key(v[0]), key(v[1]), key(v[2]), key(v[3])
			var a0, a1, a2, a3 uint64
			for half := b.top; half > 0; half >>= 1 {
				_, l0 := bits.Sub64(keys[uint8(a0+half-1)], k0, 0)
				_, l1 := bits.Sub64(keys[uint8(a1+half-1)], k1, 0)
				_, l2 := bits.Sub64(keys[uint8(a2+half-1)], k2, 0)
				_, l3 := bits.Sub64(keys[uint8(a3+half-1)], k3, 0)
				a0, a1, a2, a3 = a0+half&-l0, a1+half&-l1, a2+half&-l2, a3+half&-l3
			}
			out[0], out[1], out[2], out[3] = b.bin(a0, v[0]), b.bin(a1, v[1]), b.bin(a2, v[2]), b.bin(a3, v[3])
		}
	}
	for ; i < len(values); i++ {
		into[i] = b.of(values[i])
	}
}
