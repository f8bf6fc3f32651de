package warehouse

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"

	"perennial/features"
	"perennial/features/vectors"
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

// baseRows appends rows of base to a table.
type baseRows struct {
	a       *vectors.Appender
	s       *sweep
	many    bool // several cuts: cut_day and cut_us stand before user_id
	n       int  // rows of the chunk
	cut     []int32
	micros  []int64
	columns [][]int64
	nulls   []vectors.Validity // nil where a column has none
	user    int32              // whose text the row before has
}

// definition is the columns of the table.
func (s *sweep) definition() string {
	text := "user_id VARCHAR"
	if len(s.cuts) > 1 {
		text = "cut_day INTEGER, cut_us BIGINT, user_id VARCHAR"
	}
	for i := range s.p.catalog.Features {
		if f := &s.p.catalog.Features[i]; f.Measure != nil {
			text += ", " + quoteName(f.Name) + " BIGINT"
		}
	}
	return text
}

// rowsInto opens a table of sweep.definition.
func (s *sweep) rowsInto(c *vectors.Conn, table string) (*baseRows, error) {
	var types []vectors.Type
	if len(s.cuts) > 1 {
		types = append(types, vectors.Integer, vectors.BigInt)
	}
	types = append(types, vectors.Varchar)
	for range s.columns {
		types = append(types, vectors.BigInt)
	}
	a, err := c.Append(table, types...)
	if err != nil {
		return nil, err
	}
	b := &baseRows{a: a, s: s, many: len(s.cuts) > 1, columns: make([][]int64, len(s.columns)), nulls: make([]vectors.Validity, len(s.columns))}
	b.point()
	return b, nil
}

// lead is how many columns stand before user_id.
func (b *baseRows) lead() int {
	if b.many {
		return 2
	}
	return 0
}

func (b *baseRows) point() {
	b.n, b.user = 0, 0
	if b.many {
		b.cut, b.micros = vectors.Into[int32](b.a, 0), vectors.Into[int64](b.a, 1)
	}
	for j := range b.columns {
		b.columns[j] = vectors.Into[int64](b.a, b.lead()+1+j)
		if b.s.columns[j].nullable() {
			b.nulls[j] = b.a.Nulls(b.lead() + 1 + j)
		}
	}
}

// next begins a row and returns its place.
func (b *baseRows) next(p *person, cut int) (int, error) {
	if b.n == vectors.Capacity {
		if err := b.flush(); err != nil {
			return 0, err
		}
	}
	r := b.n
	b.n++
	if b.many {
		b.cut[r], b.micros[r] = int32(b.s.cuts[cut]), b.s.micros[cut]
	}
	if p.number == b.user {
		b.a.AgainText(b.lead(), r, r-1)
	} else {
		b.a.SetText(b.lead(), r, p.id)
		b.user = p.number
	}
	return r, nil
}

func (b *baseRows) set(column, row int, x int64, present bool) {
	if present {
		b.columns[column][row] = x
	} else {
		b.nulls[column].Clear(row)
	}
}

func (b *baseRows) flush() error {
	if err := b.a.Flush(b.n); err != nil {
		return err
	}
	b.point()
	return nil
}
