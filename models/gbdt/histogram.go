package gbdt

import (
	"math"
	"sync"
)

// wordFeatures is how many feature bins share one uint64 word of a row.
const wordFeatures = 8

// binned is a table of bins: words[w][i] holds the bins of features 8w … 8w+7 of row i, the lowest byte first.
type binned struct {
	rows     int
	features int
	words    [][]uint64
}

// newBinned bins a table.
func newBinned(d *Data, all []bins, threads int) *binned {
	b := &binned{rows: len(d.Y), features: len(d.Names), words: make([][]uint64, (len(d.Names)+wordFeatures-1)/wordFeatures)}
	parallel(len(b.words), threads, func(w int) {
		word, cells := make([]uint64, b.rows), make([]uint8, blockRows)
		for k := 0; k < wordFeatures && w*wordFeatures+k < b.features; k++ {
			j := w*wordFeatures + k
			for from := 0; from < b.rows; from += blockRows {
				some := cells[:min(blockRows, b.rows-from)]
				all[j].fill(some, d.Values[j][from:from+len(some)])
				for i, bin := range some {
					word[from+i] |= uint64(bin) << (8 * k)
				}
			}
		}
		b.words[w] = word
	})
	return b
}

// bin returns the bin of one cell.
func (b *binned) bin(row int32, feature int) uint8 {
	return uint8(b.words[feature/wordFeatures][row] >> (8 * (feature % wordFeatures)))
}

// packed is Σg in the high and Σh in the low 32 bits, as integers; sums of it are exact in any order.
type packed = int64

func unpack(x packed) (g int32, h uint32) { return int32(x >> 32), uint32(x) }

// histogram holds the packed sums of one leaf: 256 for each feature, eight features a block.
type histogram [][wordFeatures * 256]packed

// scale turns the gradients of one tree into integers: Σ|g| stays below 2³⁰ and Σh below 2³¹, so no half overflows.
type scale struct{ g, h float64 }

// newScale takes Σ|g| and Σh of n rows.
func newScale(sumG, sumH float64, rows int) scale {
	n := float64(rows)
	return scale{g: (1<<30 - n) / max(sumG, 1e-300), h: (1<<31 - n) / max(sumH, 1e-300)}
}

// roundShift added to a double of less than 2³¹ leaves its nearest integer, ties to even, in the low bits.
const roundShift = 3 << 51

func (s scale) pack(g, h float64) packed {
	a, b := math.Float64bits(g*s.g+roundShift), math.Float64bits(h*s.h+roundShift)
	return packed(a<<32) + packed(uint32(b))
}

// chunkRows is how many rows one goroutine works on at a time.
const chunkRows = 16384

// addAll8 adds rows in order to the histogram of eight features.
func addAll8(h *[wordFeatures * 256]packed, words []uint64, sums []packed) {
	sums = sums[:len(words)]
	for i, v := range words {
		s := sums[i]
		h[0*256+int(uint8(v))] += s
		h[1*256+int(uint8(v>>8))] += s
		h[2*256+int(uint8(v>>16))] += s
		h[3*256+int(uint8(v>>24))] += s
		h[4*256+int(uint8(v>>32))] += s
		h[5*256+int(uint8(v>>40))] += s
		h[6*256+int(uint8(v>>48))] += s
		h[7*256+int(uint8(v>>56))] += s
	}
}

// addAll4 is addAll8 for a word of at most four features.
func addAll4(h *[wordFeatures * 256]packed, words []uint64, sums []packed) {
	sums = sums[:len(words)]
	for i, v := range words {
		s := sums[i]
		h[0*256+int(uint8(v))] += s
		h[1*256+int(uint8(v>>8))] += s
		h[2*256+int(uint8(v>>16))] += s
		h[3*256+int(uint8(v>>24))] += s
	}
}

// add8 adds the rows at some places.
func add8(h *[wordFeatures * 256]packed, words []uint64, places []int32, sums []packed) {
	sums = sums[:len(words)]
	for _, r := range places {
		v, s := words[r], sums[r]
		h[0*256+int(uint8(v))] += s
		h[1*256+int(uint8(v>>8))] += s
		h[2*256+int(uint8(v>>16))] += s
		h[3*256+int(uint8(v>>24))] += s
		h[4*256+int(uint8(v>>32))] += s
		h[5*256+int(uint8(v>>40))] += s
		h[6*256+int(uint8(v>>48))] += s
		h[7*256+int(uint8(v>>56))] += s
	}
}

// add4 is add8 for a word of at most four features.
func add4(h *[wordFeatures * 256]packed, words []uint64, places []int32, sums []packed) {
	sums = sums[:len(words)]
	for _, r := range places {
		v, s := words[r], sums[r]
		h[0*256+int(uint8(v))] += s
		h[1*256+int(uint8(v>>8))] += s
		h[2*256+int(uint8(v>>16))] += s
		h[3*256+int(uint8(v>>24))] += s
	}
}

// subtract sets into to parent − child.
func subtract(into, parent, child histogram) {
	for w := range into {
		a, p, c := &into[w], &parent[w], &child[w]
		for k := range a {
			a[k] = p[k] - c[k]
		}
	}
}

// parallel runs f(0) … f(n−1) on at most threads goroutines.
func parallel(n, threads int, f func(int)) {
	if threads <= 1 || n < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	var wait sync.WaitGroup
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	for range min(threads, n) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := range next {
				f(i)
			}
		}()
	}
	wait.Wait()
}
