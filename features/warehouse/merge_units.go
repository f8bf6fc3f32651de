package warehouse

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"

	"perennial/features/vectors"
)

const (
	// apartRows is from how many rows on a user is left to the statements, which bounds a unit's memory and, with apartAmount, her sums to 60 bits.
	apartRows = 1 << 12
	// apartAmount is the amount in micros from which on a user is left to the statements: an overflow is theirs to find.
	apartAmount = 1 << 47
	// safe is how large a sum of such may be that something is added to.
	safe = 1 << 60
	// apartPairs is how many pairs of an order and a refund of one user are looked at.
	apartPairs = 1 << 20
)

// isApart stands in row.has where an amount is too large for the merge.
const isApart = 1 << 7

// seen is the first exposure of a unit to a variant that the experiment has.
type seen struct {
	known    bool
	two      bool // the unit met two of them
	unclear  bool // a row of another stream says otherwise at the same time: only the event ids tell which was first
	ts       int64
	variant  int32
	stratum  int32
	scored   int32 // noDay without one
	day      int32
	compared int // the stream whose first row of that time was compared last
}

// walker computes the units of one range of users after the other; two walkers share nothing.
type walker struct {
	r      *recipe
	sums   *unitSums
	rate   int64 // the margin of an order in parts per million
	forced map[string]bool
	apart  []string // users whom the statements measure
	known  []string // users whom the statements measure in any case, sorted; those passed are gone

	prefix  []byte // that all users of the pass begin with
	user    []byte // see name
	key     uint64
	exposed bool // the user met the experiment
	apartly bool // the statements measure her: she has more rows or larger amounts than a unit may have here
	first   seen
	others  []encounter // with the other experiments
	rows    []*row
	frozen  *frozenStream
	failed  error

	// The unit at hand once it is computed.
	segment                                    int32 // of sums.segments
	scores                                     *frozenRow
	slots                                      []int64
	values                                     []int64
	backs                                      []refunded
	refunds, refundValue, refundMargin, profit int64
}

// encounter is the first exposure of a unit to another experiment.
type encounter struct {
	met, unclear bool
	ts           int64
	variant      int32 // of sums.others
	compared     int   // the stream whose first row of that time was compared last
}

// refunded is the refunds of a unit that name one order, and the orders of that name.
type refunded struct {
	id            shortText
	order         string
	refunds       int64
	value, margin int64 // of the refunds
	bare          int64 // value of the refunds without a margin
	bought        bool
	price, profit int64 // value and margin of the orders
}

// walk merges streams and computes unit after unit.
func (w *walker) walk(streams []*stream) error {
	t := newTree(streams)
	for {
		c := t.top()
		if c == nil {
			return nil
		}
		w.begin(c)
		for {
			if err := w.take(c); err != nil {
				return err
			}
			t.moved()
			if c = t.top(); c == nil || !c.isNext(w.key, w.user) {
				break
			}
		}
		if !w.exposed {
			continue
		}
		if err := w.unit(); err != nil {
			return err
		}
	}
}

// begin makes the user of a stream's next row the one at hand.
func (w *walker) begin(c *stream) {
	w.key, w.exposed, w.apartly = c.keys[c.i], false, false
	if w.user = w.user[:0]; !isWholeKey(w.key) {
		w.user = append(w.user, c.user()...)
	}
	w.rows = w.rows[:0]
	w.first = seen{}
	clear(w.others)
}

// name is the user at hand. What the key is all of is put together of it: the text may have left the processor's cache.
func (w *walker) name() []byte {
	if len(w.user) == 0 {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], w.key)
		w.user = append(append(w.user, w.prefix...), b[:w.key&0xff]...)
	}
	return w.user
}

// take reads the rows of the user at hand from a stream and moves it to its next user.
func (w *walker) take(c *stream) error {
	kept := len(w.rows)
	for {
		x := &c.rows[c.i]
		if x.mask&isExposure != 0 {
			w.meet(c, x)
		}
		if len(w.rows) == apartRows {
			w.apartly = true
		} else if x.mask&^isExposure != 0 {
			w.rows = append(w.rows, x)
			w.apartly = w.apartly || x.has&isApart != 0
		}
		if c.i++; c.i == len(c.rows) {
			for i := kept; i < len(w.rows); i++ { // they outlive their chunk
				x := *w.rows[i]
				x.order = strings.Clone(x.order)
				w.rows[i] = &x
			}
			kept = len(w.rows)
			if err := c.fetch(); err != nil || len(c.rows) == 0 {
				return err
			}
		}
		if c.isNext(w.key, w.user) {
			continue
		}
		if key := c.keys[c.i]; key < w.key || key == w.key && c.user() < string(w.user) {
			return errUnsorted
		}
		return nil
	}
}

// meet enters an exposure of the user at hand.
func (w *walker) meet(c *stream, x *row) {
	e, place := &c.exposures[x.exposure], c.place
	if e.other >= 0 {
		switch o := &w.others[e.other]; {
		case !o.met || x.ts < o.ts:
			*o = encounter{met: true, ts: x.ts, variant: e.met, compared: place}
		case x.ts == o.ts && place != o.compared:
			o.compared = place
			o.unclear = o.unclear || e.met != o.variant
		}
	}
	if !e.mine || len(w.forced) > 0 && w.forced[string(w.name())] {
		return
	}
	w.exposed = true
	f := &w.first
	if e.variant < 0 {
		return
	}
	two := f.two || f.known && e.variant != f.variant
	switch {
	case !f.known || x.ts < f.ts:
		*f = seen{known: true, ts: x.ts, variant: e.variant, stratum: e.stratum, scored: e.scored, day: e.day, compared: place}
	case x.ts == f.ts && place != f.compared:
		f.compared = place
		f.unclear = f.unclear || e.variant != f.variant || e.stratum != f.stratum || e.scored != f.scored || e.day != f.day
	}
	f.two = two
}

// unit computes the unit at hand and adds it to the sums, or leaves her to the statements.
func (w *walker) unit() error {
	for len(w.known) > 0 && w.known[0] < string(w.name()) {
		w.known = w.known[1:]
	}
	if len(w.known) > 0 && w.known[0] == string(w.name()) {
		return nil
	}
	if !w.first.known {
		w.sums.strays++
		return nil
	}
	if !w.settle() {
		w.apart = append(w.apart, string(w.name()))
	}
	return w.failed
}

// settle adds the unit at hand to the sums; false means that the statements are to.
func (w *walker) settle() bool {
	if w.apartly || w.first.unclear || slices.ContainsFunc(w.others, func(x encounter) bool { return x.unclear }) {
		return false
	}
	w.segment, w.scores = w.sums.none, nil
	if w.frozen != nil {
		var err error
		if w.scores, err = w.frozen.of(w.name()); err != nil {
			w.failed = err
			return true
		}
		if w.scores != nil {
			if w.segment = w.scores.segment; w.scores.unclear {
				return false
			}
		}
	}
	if !w.compute() {
		return false
	}
	w.sums.add(w)
	return true
}

// compute fills the slots and values of the unit at hand. It is the statement of outcomeQuery as a loop; false means that the statement is to decide.
func (w *walker) compute() bool {
	r, t0 := w.r, w.first.ts
	clear(w.slots)
	w.backs = w.backs[:0]
	back := int64(r.p.HorizonDays+r.p.RefundMaturityDays) * dayMicros
	last, lastFrom, unclear := int64(anyTime), int32(0), false
	for _, x := range w.rows {
		dt, ours := x.ts-t0, x.mask&isOurs != 0
		if x.mask&r.order != 0 {
			w.margin(x)
		}
		for m := x.mask >> firstBit; m != 0; m &= m - 1 {
			tasks := r.tasks[firstBit+bits.TrailingZeros64(m)]
			for k := range tasks {
				t := &tasks[k]
				if dt >= t.to || dt < t.from && !(t.ours && ours) {
					continue
				}
				for _, a := range t.adds {
					switch {
					case x.has&a.lacks != 0:
					case a.kind == countOf:
						w.slots[a.slot]++
					case a.kind == anyOf:
						w.slots[a.slot] = 1
					case x.has&(1<<a.column) == 0:
					case a.kind == totalOf:
						w.slots[a.slot] += x.amounts[a.column]
					default:
						s := w.slots[a.slot] + x.amounts[a.column]*(2*(dt/dayMicros)-(a.days-1))
						if w.slots[a.slot] = s; s > safe || s < -safe {
							return false
						}
					}
				}
			}
		}
		if x.mask&r.refund != 0 && x.named && dt >= 0 && dt < back {
			w.refund(x)
		}
		if x.channel != noText && dt < 0 && (dt >= -r.past || ours) && x.ts >= last {
			if x.ts > last {
				unclear = false
			} else if x.from != lastFrom && x.channel != w.segment {
				unclear = true
			}
			last, lastFrom, w.segment = x.ts, x.from, x.channel
		}
	}
	if unclear || !w.settleRefunds() {
		return false
	}
	w.profit = w.slots[r.parts.margin] - w.refundMargin - w.slots[r.parts.commission] - w.slots[r.parts.contact]
	for i, v := range r.values {
		n := int64(0)
		switch {
		case v.slot >= 0:
			n = w.slots[v.slot]
		case v.slot == profitSlot:
			n = w.profit
		case v.slot == refundsSlot:
			n = w.refunds
		case v.slot == refundValueSlot:
			n = w.refundValue
		case v.slot == refundMarginSlot:
			n = w.refundMargin
		case w.scores != nil:
			n = w.scores.values[frozenSlot-v.slot]
		case strings.HasSuffix(r.frozen[frozenSlot-v.slot], "_missing"):
			n = 1
		}
		if v.atLeast > 0 {
			if n >= v.atLeast {
				n = 1
			} else {
				n = 0
			}
		}
		if v.cap > 0 {
			n = min(n, v.cap)
		}
		w.values[i] = n
	}
	return true
}

// margin is the margin of an order (Engine.orderMargin).
func (w *walker) margin(x *row) {
	if x.has&(1<<marginAt) != 0 {
		x.amounts[orderMarginAt] = x.amounts[marginAt]
	} else {
		price, discount := int64(0), int64(0)
		if x.has&(1<<valueAt) != 0 {
			price = x.amounts[valueAt]
		}
		if x.has&(1<<discountAt) != 0 {
			discount = x.amounts[discountAt]
		}
		price += discount
		x.amounts[orderMarginAt] = price/1_000_000*w.rate + price%1_000_000*w.rate/1_000_000 - discount
	}
	x.has |= 1 << orderMarginAt
}

// refund enters a refund that may be one of the window's orders.
func (w *walker) refund(x *row) {
	i := slices.IndexFunc(w.backs, func(b refunded) bool { return b.id.is(b.order, x.id, x.order) })
	if i < 0 {
		i, w.backs = len(w.backs), append(w.backs, refunded{id: x.id, order: x.order})
	}
	b, value := &w.backs[i], int64(0)
	if x.has&(1<<valueAt) != 0 {
		value = x.amounts[valueAt]
	}
	b.refunds++
	b.value += value
	if x.has&(1<<marginAt) != 0 {
		b.margin += x.amounts[marginAt]
	} else {
		b.bare += value
	}
}

// settleRefunds sums the refunds of the window's orders by order id; false means that it leaves the 60 bits or takes too long.
func (w *walker) settleRefunds() bool {
	w.refunds, w.refundValue, w.refundMargin = 0, 0, 0
	if len(w.backs) == 0 {
		return true
	}
	if len(w.backs)*len(w.rows) > apartPairs {
		return false
	}
	horizon := int64(w.r.p.HorizonDays) * dayMicros
	for _, x := range w.rows {
		if dt := x.ts - w.first.ts; x.mask&w.r.order == 0 || !x.named || dt < 0 || dt >= horizon {
			continue
		}
		for k := range w.backs {
			b := &w.backs[k]
			if !b.id.is(b.order, x.id, x.order) {
				continue
			}
			b.bought = true
			if x.has&(1<<valueAt) != 0 {
				b.price += x.amounts[valueAt]
			}
			b.profit += x.amounts[orderMarginAt]
			break
		}
	}
	for _, b := range w.backs {
		if !b.bought {
			continue
		}
		lost := b.margin
		switch {
		case b.price == 0:
		case b.price == b.bare:
			lost += b.profit
		default:
			part, ok := share(b.profit, b.bare, b.price)
			if !ok {
				return false
			}
			lost += part
		}
		w.refunds += b.refunds
		w.refundValue += b.value
		if w.refundMargin += lost; lost > safe || lost < -safe || w.refundMargin > safe || w.refundMargin < -safe {
			return false
		}
	}
	return true
}

// share is a·b/c cut towards zero, c not zero; false means that it is above 2⁶⁰.
func share(a, b, c int64) (int64, bool) {
	negative := (a < 0) != (b < 0) != (c < 0)
	abs := func(x int64) uint64 {
		if x < 0 {
			return uint64(-x)
		}
		return uint64(x)
	}
	hi, lo := bits.Mul64(abs(a), abs(b))
	if hi >= abs(c) {
		return 0, false
	}
	q, _ := bits.Div64(hi, lo, abs(c))
	if q > safe {
		return 0, false
	}
	if negative {
		return -int64(q), true
	}
	return int64(q), true
}

// frozenRow is a user's row of the frozen scores.
type frozenRow struct {
	segment    int32    // of sums.segments
	dimensions [3]int32 // of sums.dimensions: stage, churn_decile, ltv_decile
	values     []int64  // by recipe.frozen
	unclear    bool     // a value is no integer
}

// frozenStream are the frozen scores in the order of their users.
type frozenStream struct {
	r     *recipe
	sums  *unitSums
	rows  *vectors.Rows
	i     int
	users []vectors.Text
	row   frozenRow
}

var dimensionNames = []string{"stage", "churn_decile", "ltv_decile"}

// frozenQuery is the query of a frozenStream.
func (r *recipe) frozenQuery(path, between string) string {
	columns := []string{"f.user_id"}
	for _, d := range dimensionNames {
		columns = append(columns, "CAST(f."+d+" AS VARCHAR)")
	}
	for _, c := range r.frozen {
		columns = append(columns, "TRY_CAST("+covariate(c)+" AS BIGINT)")
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + readParquet([]string{path}) + " f WHERE f.user_id IS NOT NULL" + between
}

// fetch gets the next chunk.
func (f *frozenStream) fetch() error {
	more, err := f.rows.Next()
	if f.i, f.users = 0, nil; more {
		f.users = f.rows.Texts(0)
	}
	return err
}

// of is the row of a user, nil without one. It is valid until the next call, whose user comes later.
func (f *frozenStream) of(user []byte) (*frozenRow, error) {
	for len(f.users) > 0 && f.users[f.i].String() < string(user) {
		was := f.users[f.i].String()
		if f.i++; f.i == len(f.users) {
			was = strings.Clone(was)
			if err := f.fetch(); err != nil {
				return nil, err
			}
		}
		if len(f.users) > 0 && f.users[f.i].String() <= was {
			return nil, errUnsorted
		}
	}
	if len(f.users) == 0 || f.users[f.i].String() != string(user) {
		return nil, nil
	}
	x := &f.row
	x.segment, x.unclear = f.sums.none, false
	for k, name := range dimensionNames {
		x.dimensions[k] = f.sums.unknown
		if f.rows.Valid(1 + k).Has(f.i) {
			text := f.rows.Texts(1 + k)[f.i].String()
			x.dimensions[k] = f.sums.dimensions.of(text)
			if f.r.p.SegmentBy == name {
				x.segment = f.sums.segments.of(text)
			}
		}
	}
	x.values = x.values[:0]
	for k := range f.r.frozen {
		x.unclear = x.unclear || !f.rows.Valid(4+k).Has(f.i)
		x.values = append(x.values, vectors.Column[int64](f.rows, 4+k)[f.i])
	}
	return x, nil
}
