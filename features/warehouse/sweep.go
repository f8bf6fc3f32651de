package warehouse

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"perennial/features"
)

// A sweep is the relation base of a compiled query, computed from tiles without a join: a user's days pass once, in order, and every cut reads its windows
// off running totals of them. Its rows are those of query.relations, bit for bit.

// What stands for NULL in a tile column: amounts lie within ±9·10¹⁸ (features.MicrosOf) and times far below.
const (
	noLeast    = math.MaxInt64 // of the columns whose least value is wanted
	noGreatest = math.MinInt64 // and of those whose greatest is
)

// reading is how a column of base is read off a user's history.
type reading uint8

const (
	readSum reading = iota
	readMin
	readMax
	readDays
	readDistinct
	readTop
	readFirstDay
	readLastDay
	readPreviousDay
	readFirstSum
	readSquares
	readLongest
)

// baseColumn is a measure in its window.
type baseColumn struct {
	read   reading
	of     int // the tile column, the group or the values that it is read off
	window int // of sweep.windows; of the values' own windows for distinct and top
	first  int // the tile column of readFirstSum
}

// nullable tells whether a user may have no value.
func (c *baseColumn) nullable() bool {
	return c.read != readSum && c.read != readDays && c.read != readDistinct && c.read != readTop
}

// sweep is a catalog at some cuts.
type sweep struct {
	p        *program
	cuts     []features.Day // ascending
	micros   []int64        // the instant of each
	columns  []baseColumn
	windows  [][2]int // days and offset of the columns that are read off tiles
	presence []int    // tile columns whose days are counted
	absent   []int64  // by tile column: what a NULL is kept as
	counts   []int    // by group: the tile column that says on which days something was counted
}

// newSweep lays out the columns of base, in the order of query.relations.
func newSweep(p *program, shop features.Shop, cuts []features.Day) *sweep {
	s := &sweep{p: p, cuts: slices.Sorted(slices.Values(cuts))}
	for _, c := range s.cuts {
		s.micros = append(s.micros, shop.Midnight(c).UnixMicro())
	}
	tile := func(base, cond, field string) int { return p.index[base+"|"+cond+"|"+field] }
	place := func(list *[]int, x int) int {
		if i := slices.Index(*list, x); i >= 0 {
			return i
		}
		*list = append(*list, x)
		return len(*list) - 1
	}
	for i := range p.tiles {
		s.absent = append(s.absent, p.tiles[i].absent())
	}
	for _, g := range p.groups {
		s.counts = append(s.counts, slices.IndexFunc(p.tiles, func(t tileColumn) bool { return t.name == g.count }))
	}
	for i := range p.catalog.Features {
		f := &p.catalog.Features[i]
		m := f.Measure
		if m == nil {
			continue
		}
		cond := condition(m)
		if m.Agg.Valued() {
			v := slices.IndexFunc(p.values, func(v valued) bool { return v.cond == cond && v.field == m.Field })
			c := baseColumn{read: readDistinct, of: v, window: slices.Index(p.values[v].windows, [2]int{f.Days, f.Offset})}
			if m.Agg == features.AggTop {
				c.read = readTop
			}
			s.columns = append(s.columns, c)
			continue
		}
		if m.Agg.Ordered() {
			name := p.group(cond).name
			c := baseColumn{of: slices.IndexFunc(p.groups, func(g group) bool { return g.name == name })}
			switch m.Agg {
			case features.AggFirstDay:
				c.read = readFirstDay
			case features.AggLastDay:
				c.read = readLastDay
			case features.AggPreviousDay:
				c.read = readPreviousDay
			case features.AggFirstDaySum:
				c.read, c.first = readFirstSum, tile("sum", cond, m.Field)
			case features.AggGapSquares:
				c.read = readSquares
			case features.AggLongestGap:
				c.read = readLongest
			}
			s.columns = append(s.columns, c)
			continue
		}
		w := [2]int{f.Days, f.Offset}
		c := baseColumn{window: slices.Index(s.windows, w)}
		if c.window < 0 {
			c.window = len(s.windows)
			s.windows = append(s.windows, w)
		}
		switch m.Agg {
		case features.AggDays:
			c.read, c.of = readDays, place(&s.presence, tile("count", cond, ""))
		case features.AggMin, features.AggFirstTime:
			c.read, c.of = readMin, tile(baseOf(m.Agg), cond, m.Field)
		case features.AggMax, features.AggLastTime:
			c.read, c.of = readMax, tile(baseOf(m.Agg), cond, m.Field)
		default:
			c.read, c.of = readSum, tile(baseOf(m.Agg), cond, m.Field)
		}
		s.columns = append(s.columns, c)
	}
	return s
}

// reach is the day from which on a tile column is looked at.
func (s *sweep) reach() []features.Day {
	from := make([]features.Day, len(s.p.tiles))
	for i := range from {
		from[i] = math.MaxInt32
	}
	at := func(tile int, days int, offset int) {
		day := features.Day(math.MinInt32)
		if days > 0 {
			day = s.cuts[0] - features.Day(days+offset)
		}
		from[tile] = min(from[tile], day)
	}
	for _, c := range s.columns {
		switch c.read {
		case readSum, readMin, readMax:
			at(c.of, s.windows[c.window][0], s.windows[c.window][1])
		case readDays:
			at(s.presence[c.of], s.windows[c.window][0], s.windows[c.window][1])
		case readFirstSum:
			at(c.first, 0, 0)
		}
	}
	for _, c := range s.counts {
		at(c, 0, 0)
	}
	return from
}

// absent is what a NULL of the column is kept as.
func (t *tileColumn) absent() int64 {
	switch t.base {
	case "min", "first":
		return noLeast
	case "max", "last":
		return noGreatest
	}
	return 0
}

// merged is the column of two tiles of one user and day; ok is false where a sum leaves 64 bits.
func (t *tileColumn) merged(a, b int64) (sum int64, ok bool) {
	switch t.base {
	case "min", "first":
		return min(a, b), true
	case "max", "last":
		return max(a, b), true
	}
	sum = a + b
	return sum, (sum > a) == (b > 0)
}

// person is a user's tiles and values as they are read, and what is made of them.
type person struct {
	s      *sweep
	id     string
	number int32 // of the user among those of the sweep
	raw    days
	values []counted

	place        []int32  // of the tiles of raw among the days that they are merged into; -1 of those left out
	merged, then days     // days of one tile each: of all that is known at the last cut, and at one cut
	all, past    *history // of merged (or raw), and of then
	bounds       [][2]int
	tops         [][][2]int64 // by values and window: distinct and top
	sums         []int64
}

func newPerson(s *sweep) *person {
	p := &person{s: s, all: newHistory(s), past: newHistory(s), bounds: make([][2]int, len(s.windows)), values: make([]counted, len(s.p.values)), tops: make([][][2]int64, len(s.p.values))}
	for _, d := range []*days{&p.raw, &p.merged, &p.then} {
		d.columns = make([][]int64, len(s.p.tiles))
	}
	for i := range p.values {
		p.values[i].numbers = map[string]int32{}
		p.tops[i] = make([][2]int64, len(s.p.values[i].windows))
	}
	return p
}

// begin forgets the user before.
func (p *person) begin(id string) {
	p.id = strings.Clone(id)
	p.number++
	p.raw.n = 0
	for i := range p.values {
		p.values[i].clear()
	}
}

// collapse merges the tiles of a day that were known before a cut into one.
func (p *person) collapse(into *days, cut int32) error {
	into.n = 0
	into.more(p.raw.n)
	p.place = sized(p.place, p.raw.n)
	n := int32(0)
	for k, day := range p.raw.day[:p.raw.n] {
		switch {
		case day >= cut || p.raw.known[k] >= cut:
			p.place[k] = -1
			continue
		case n == 0 || into.day[n-1] != day:
			into.day[n] = day
			n++
		}
		p.place[k] = n - 1
	}
	into.n = int(n)
	for i := range into.columns {
		t, from, to, next := &p.s.p.tiles[i], p.raw.columns[i], into.columns[i], int32(0)
		for k, place := range p.place {
			switch {
			case place < 0:
			case place == next:
				to[place] = from[k]
				next++
			default:
				sum, ok := t.merged(to[place], from[k])
				if !ok {
					return errWide
				}
				to[place] = sum
			}
		}
	}
	return nil
}

// errWide is what SQL answers with an error too.
var errWide = fmt.Errorf("a sum of a user's amounts does not fit into 64 bits")

// emit writes the rows of the user, one for every cut before which she has a tile.
func (p *person) emit(out *baseRows) error {
	days, late, again := &p.raw, false, false
	for k, day := range p.raw.day[:p.raw.n] {
		late = late || p.raw.known[k] > day
		again = again || k > 0 && p.raw.day[k-1] == day
	}
	if again {
		if err := p.collapse(&p.merged, math.MaxInt32); err != nil {
			return err
		}
		days = &p.merged
	}
	p.all.set(p.s, days)
	n := 0
	for i, c := range p.s.cuts {
		cut := int32(c)
		for n < days.n && days.day[n] < cut {
			n++
		}
		h, rows := p.all, n
		if late && p.pending(cut) {
			if err := p.collapse(&p.then, cut); err != nil {
				return err
			}
			p.past.set(p.s, &p.then)
			h, rows = p.past, p.then.n
		}
		if rows == 0 {
			continue
		}
		p.count(cut)
		if err := p.row(out, i, h, rows); err != nil {
			return err
		}
	}
	return nil
}

// pending tells whether a tile of a day before the cut was not known by then.
func (p *person) pending(cut int32) bool {
	for k, day := range p.raw.day[:p.raw.n] {
		if day < cut && p.raw.known[k] >= cut {
			return true
		}
	}
	return false
}

// count counts the values in their windows at a cut.
func (p *person) count(cut int32) {
	for i := range p.values {
		v := &p.values[i]
		for w, window := range p.s.p.values[i].windows {
			if len(v.day) == 0 {
				p.tops[i][w] = [2]int64{}
				continue
			}
			from, to := span32(cut, window)
			p.sums = sized(p.sums, v.values)
			clear(p.sums)
			for k, day := range v.day {
				if day >= from && day < to && v.known[k] < cut {
					p.sums[v.value[k]] += v.n[k]
				}
			}
			distinct, top := int64(0), int64(0)
			for _, n := range p.sums {
				if n > 0 {
					distinct++
				}
				top = max(top, n)
			}
			p.tops[i][w] = [2]int64{distinct, top}
		}
	}
}

// span32 is the days of a window at a cut, the end exclusive.
func span32(cut int32, window [2]int) (from, to int32) {
	from, to = math.MinInt32, cut-int32(window[1])
	if window[0] > 0 {
		from = to - int32(window[0])
	}
	return from, to
}

// row writes the row of a cut, before which the user has n days.
func (p *person) row(out *baseRows, cut int, h *history, n int) error {
	day := h.day[:n]
	for i, w := range p.s.windows {
		from, to := span32(int32(p.s.cuts[cut]), w)
		lo, hi := 0, n
		if w[0] > 0 {
			lo = firstFrom(day, from)
		}
		if w[1] > 0 {
			hi = firstFrom(day, to)
		}
		p.bounds[i] = [2]int{lo, hi}
	}
	r, err := out.next(p, cut)
	if err != nil {
		return err
	}
	for j := range p.s.columns {
		c := &p.s.columns[j]
		var x int64
		present := true
		switch c.read {
		case readSum:
			b := p.bounds[c.window]
			if h.wide[c.of] {
				if x, present = sumOf(h.columns[c.of][b[0]:b[1]]); !present {
					return errWide
				}
			} else {
				x = h.totals[c.of][b[1]] - h.totals[c.of][b[0]]
			}
		case readDays:
			b := p.bounds[c.window]
			x = int64(h.counts[c.of][b[1]] - h.counts[c.of][b[0]])
		case readMin:
			if b := p.bounds[c.window]; b[0] == 0 {
				x = h.totals[c.of][b[1]]
			} else {
				x = noLeast
				for _, y := range h.columns[c.of][b[0]:b[1]] {
					x = min(x, y)
				}
			}
			present = x != noLeast
		case readMax:
			if b := p.bounds[c.window]; b[0] == 0 {
				x = h.totals[c.of][b[1]]
			} else {
				x = noGreatest
				for _, y := range h.columns[c.of][b[0]:b[1]] {
					x = max(x, y)
				}
			}
			present = x != noGreatest
		case readDistinct:
			x = p.tops[c.of][c.window][0]
		case readTop:
			x = p.tops[c.of][c.window][1]
		default:
			x, present = h.groups[c.of].read(c, h, n)
		}
		out.set(j, r, x, present)
	}
	return nil
}
