package warehouse

import (
	"math/bits"
)

// days are days of a user in ascending order and what was counted on each, a slice a tile column. The slices have room for more.
type days struct {
	n       int
	day     []int32
	known   []int32 // of tiles as they are read
	columns [][]int64
}

// more gives n further days room and returns the place of the first of them.
func (d *days) more(n int) (at int) {
	at = d.n
	if d.n += n; d.n > len(d.day) {
		room := 2*d.n + 32
		d.day, d.known = append(make([]int32, 0, room), d.day...)[:room], append(make([]int32, 0, room), d.known...)[:room]
		for i, column := range d.columns {
			d.columns[i] = append(make([]int64, 0, room), column...)[:room]
		}
	}
	return at
}

// history is the days of a user with running totals of them: entry i of each is of the first i days.
type history struct {
	*days
	totals [][]int64 // by tile column: its sum, its least or its greatest value so far
	wide   []bool    // by tile column: its sums may leave 64 bits, so the totals are of no use
	counts [][]int32 // by sweep.presence: days with something
	groups []sequence
}

// sequence is the days of a history on which a group counts something.
type sequence struct {
	seen    []int32 // how many of them are among the first i days
	at      []int32 // their places
	squares []int64 // by number of them: Σ gap²
	longest []int32 // and the longest gap
}

func newHistory(s *sweep) *history {
	return &history{totals: make([][]int64, len(s.p.tiles)), wide: make([]bool, len(s.p.tiles)), counts: make([][]int32, len(s.presence)), groups: make([]sequence, len(s.p.groups))}
}

// sized is a slice of a length, which keeps its memory.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, 2*n)
	}
	return s[:n]
}

// set computes the running totals of some days.
func (h *history) set(s *sweep, d *days) {
	h.days = d
	n := d.n
	for i := range h.totals {
		total := sized(h.totals[i], n+1)
		h.totals[i] = total
		from := d.columns[i][:n]
		acc := s.absent[i]
		total[0] = acc
		switch acc {
		case noLeast:
			for k, x := range from {
				acc = min(acc, x)
				total[k+1] = acc
			}
		case noGreatest:
			for k, x := range from {
				acc = max(acc, x)
				total[k+1] = acc
			}
		default:
			size := uint64(0)
			for k, x := range from {
				acc += x
				size |= uint64(x ^ x>>63)
				total[k+1] = acc
			}
			h.wide[i] = bits.Len64(size)+bits.Len(uint(n)) > 62
		}
	}
	for i, c := range s.presence {
		count := sized(h.counts[i], n+1)
		h.counts[i] = count
		acc := int32(0)
		count[0] = 0
		for k, x := range d.columns[c][:n] {
			if x > 0 {
				acc++
			}
			count[k+1] = acc
		}
	}
	for i, c := range s.counts {
		g := &h.groups[i]
		g.seen, g.at = sized(g.seen, n+1), g.at[:0]
		g.squares, g.longest = append(g.squares[:0], 0), append(g.longest[:0], 0)
		g.seen[0] = 0
		for k, x := range d.columns[c][:n] {
			if x > 0 {
				squares, longest := int64(0), int32(0)
				if m := len(g.at); m > 0 {
					gap := d.day[k] - d.day[g.at[m-1]]
					squares, longest = g.squares[m]+int64(gap)*int64(gap), max(g.longest[m], gap)
				}
				g.at = append(g.at, int32(k))
				g.squares, g.longest = append(g.squares, squares), append(g.longest, longest)
			}
			g.seen[k+1] = int32(len(g.at))
		}
	}
}

// counted are the values of a text column in the order of their days.
type counted struct {
	day, known []int32
	value      []int32 // number of the value among those of the user
	n          []int64
	values     int // how many she has

	numbers map[string]int32 // of values of all users
	own     []ownNumber      // by that number
}

// ownNumber is the number of a value among those of a user, if she has it.
type ownNumber struct{ user, number int32 }

// number is the number of a value among those of the user.
func (c *counted) number(value string, user int32) int32 {
	i, ok := c.numbers[value]
	if !ok {
		i = int32(len(c.own))
		c.numbers[string([]byte(value))] = i
		c.own = append(c.own, ownNumber{user: -1})
	}
	o := &c.own[i]
	if o.user != user {
		*o = ownNumber{user, int32(c.values)}
		c.values++
	}
	return o.number
}

// clear forgets the values of a user, and their texts when they have become many.
func (c *counted) clear() {
	c.day, c.known, c.value, c.n, c.values = c.day[:0], c.known[:0], c.value[:0], c.n[:0], 0
	if len(c.own) > 1<<16 {
		clear(c.numbers)
		c.own = c.own[:0]
	}
}

// read is what a group says of the first n days of a history.
func (g *sequence) read(c *baseColumn, h *history, n int) (x int64, present bool) {
	m := g.seen[n]
	least := int32(1)
	if c.read == readPreviousDay || c.read == readSquares || c.read == readLongest {
		least = 2
	}
	if m < least {
		return 0, false
	}
	switch c.read {
	case readFirstDay:
		x = int64(h.day[g.at[0]])
	case readLastDay:
		x = int64(h.day[g.at[m-1]])
	case readPreviousDay:
		x = int64(h.day[g.at[m-2]])
	case readFirstSum:
		x = h.columns[c.first][g.at[0]]
	case readSquares:
		x = g.squares[m]
	case readLongest:
		x = int64(g.longest[m])
	}
	return x, true
}

// firstFrom is the place of the first day from a day on.
func firstFrom(day []int32, from int32) int {
	lo, hi := 0, len(day)
	for lo < hi {
		if m := int(uint(lo+hi) >> 1); day[m] < from {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// sumOf is an exact sum; ok is false where it does not fit into 64 bits.
func sumOf(list []int64) (sum int64, ok bool) {
	var hi, lo uint64
	for _, x := range list {
		var carry uint64
		lo, carry = bits.Add64(lo, uint64(x), 0)
		hi, _ = bits.Add64(hi, uint64(x>>63), carry)
	}
	return int64(lo), int64(hi) == int64(lo)>>63
}
