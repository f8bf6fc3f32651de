package gbdt

// block holds the bins and packed gradients of some training rows side by side, in ascending order of the rows. A leaf far down a large tree
// has its rows scattered over the table, and a random read costs more than the sum it is for; so the smaller child of a split is copied into
// a block of its own, where it and what grows below it read memory in order.
type block struct {
	rows  []int32 // the training rows; nil for all of them
	words [][]uint64
	sums  []packed
}

// gatherRows is the size of a block that does not fit the cache next to a core, below which copying gains nothing.
const gatherRows = 32_768

// arena is the memory of one tree's blocks. A block holds at most half of the rows of the block that it came from, so two times the rows
// are nearly always enough; when they are not, leaves stay where they are.
type arena struct {
	block
	used int
}

func newArena(rows, words int) *arena {
	a := &arena{}
	if rows <= 2*gatherRows {
		return a
	}
	a.rows, a.sums, a.words = make([]int32, 2*rows), make([]packed, 2*rows), make([][]uint64, words)
	for w := range a.words {
		a.words[w] = make([]uint64, 2*rows)
	}
	return a
}

func (a *arena) reset() { a.used = 0 }

// take returns an empty block of n rows, or nil when there is no room.
func (a *arena) take(n int) *block {
	if a.used+n > len(a.rows) {
		return nil
	}
	from, to := a.used, a.used+n
	a.used = to
	b := &block{rows: a.rows[from:to], sums: a.sums[from:to], words: make([][]uint64, len(a.words))}
	for w := range b.words {
		b.words[w] = a.words[w][from:to]
	}
	return b
}

// gather copies a leaf's rows into a block of its own when the block that it shares is too large for the cache.
func (gr *grower) gather(l *leaf) {
	if len(l.in.sums) <= 2*gatherRows || l.dense || l.rows() < gr.p.MinLeaf*2 {
		return
	}
	b := gr.store.take(l.rows())
	if b == nil {
		return
	}
	at := gr.at[l.from:l.to]
	parts := 1
	if len(at) > chunkRows {
		parts = min(gr.p.Threads, len(at)/chunkRows)
	}
	parallel(parts, parts, func(p int) {
		from, to := len(at)*p/parts, len(at)*(p+1)/parts
		places := at[from:to]
		for w, words := range l.in.words {
			into := b.words[w][from:to]
			for i, place := range places {
				into[i] = words[place]
			}
		}
		into, rows := b.sums[from:to], b.rows[from:to]
		for i, place := range places {
			into[i] = l.in.sums[place]
		}
		if l.in.rows == nil {
			copy(rows, places)
			return
		}
		for i, place := range places {
			rows[i] = l.in.rows[place]
		}
	})
	l.in, l.dense = b, true
}

// build fills a histogram with the rows of a leaf.
func (gr *grower) build(into histogram, l *leaf) {
	at := gr.at[l.from:l.to]
	parts := 1
	if len(at) > 2*chunkRows {
		parts = min(gr.p.Threads, len(at)/chunkRows)
	}
	partial := make([]histogram, parts)
	for p := range partial {
		if partial[p] = into; p > 0 {
			partial[p] = gr.histogram()
		}
	}
	parallel(parts, parts, func(p int) {
		from, to := len(at)*p/parts, len(at)*(p+1)/parts
		clear(partial[p])
		for w, words := range l.in.words {
			h, wide := &partial[p][w], gr.table.features-w*wordFeatures > 4
			switch {
			case l.dense && wide:
				addAll8(h, words[from:to], l.in.sums[from:to])
			case l.dense:
				addAll4(h, words[from:to], l.in.sums[from:to])
			case wide:
				add8(h, words, at[from:to], l.in.sums)
			default:
				add4(h, words, at[from:to], l.in.sums)
			}
		}
	})
	for _, other := range partial[1:] {
		for w := range into {
			for k := range into[w] {
				into[w][k] += other[w][k]
			}
		}
		gr.free = append(gr.free, other)
	}
}
