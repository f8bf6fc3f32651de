package warehouse

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"perennial/features/vectors"
)

// errUnsorted says that rows did not come in the order of their users.
var errUnsorted = errors.New("rows are not in the order of their users")

// The columns of a stream.
const (
	userColumn = iota
	tsColumn
	codeColumn
	dayColumn
	propertiesColumn
	orderColumn
	channelColumn
	amountColumns
	answerColumns = amountColumns + amountCount
)

// row is a row that a unit may ask for, in two lines of the processor's cache. Most ask for the first alone.
type row struct {
	mask     uint64
	ts       int64
	has      uint8 // by amount: it is not NULL
	named    bool  // it has an order id
	exposure int32 // of the stream's exposures
	amounts  [amountCount]int64
	order    string    // lies in the stream's chunk
	id       shortText // of the order
	channel  int32     // of unitSums.segments, noText without one
	from     int32     // the stream
	at       int32     // of the chunk
	_        [4]byte
}

// exposure is what a row says of who met an experiment.
type exposure struct {
	mine    bool
	other   int32 // of MetricPlan.Others, −1 for none
	met     int32 // its variant there, of unitSums.others
	variant int32 // of MetricPlan.Variants, −1 for none of them
	stratum int32
	scored  int32 // noDay without one
	day     int32
}

const noDay = math.MinInt32

// stream are the rows of one or more segments in the order of user, time and event id. A chunk is made rows while it is in the processor's cache: a merge
// comes back to a stream after hundreds of others' rows.
type stream struct {
	r          *recipe
	sums       *unitSums // whose numbers of texts the rows have
	properties *properties
	done       func(rows int)
	place      int // among the streams of a pass
	conn       *vectors.Conn
	chunks     *vectors.Rows
	at         []int // where a column stands in the query, −1: its values are all NULL
	day        int32 // of all rows, where dayColumn is absent
	skip       int   // bytes that all user ids of the pass begin with

	next      int      // the row of the chunk that is made a row next
	i         int      // the next row
	keys      []uint64 // of the rows' users: matches ask for nothing else of a row
	rows      []row
	exposures []exposure

	// The columns of the chunk.
	users    []vectors.Text
	ts       []int64
	codes    []int32
	isCode   vectors.Validity
	answers  [][]uint8
	columns  []amountColumn
	costs    *amountColumn // of columns
	days     []int32
	texts    []vectors.Text // properties
	isText   vectors.Validity
	orders   []vectors.Text
	isOrder  vectors.Validity
	channels []vectors.Text
}

type amountColumn struct {
	at     int // of amounts
	values []int64
	valid  vectors.Validity
}

// streamQuery is the query of a stream over files, and where its columns stand. A column that the footers know to be NULL is not read.
func (r *recipe) streamQuery(files []*footer, between string) (query string, at []int, day int32) {
	at = make([]int, answerColumns+len(r.left))
	for i := range at {
		at[i] = -1
	}
	null := func(columns ...string) bool {
		for _, f := range files {
			for _, c := range columns {
				if !f.allNull(c) {
					return false
				}
			}
		}
		return true
	}
	var list []string
	add := func(column int, sql string) {
		at[column] = len(list)
		list = append(list, sql)
	}
	add(userColumn, "user_id")
	add(tsColumn, "ts")
	add(codeColumn, "code")
	for k := range r.left {
		add(answerColumns+k, r.answers(k))
	}
	first, same := files[0].onlyDay()
	for _, f := range files[1:] {
		d, ok := f.onlyDay()
		same = same && ok && d == first
	}
	if day = int32(first); !same {
		add(dayColumn, "biz_day")
	}
	if !null("properties") {
		if small(files) {
			add(propertiesColumn, "properties")
		} else {
			add(propertiesColumn, fmt.Sprintf("CASE WHEN code = %d OR code = %d THEN properties END", r.viewed, r.sent))
		}
	}
	if !null("order_id") {
		add(orderColumn, "order_id")
	}
	if r.channel != 0 && !null("channel") {
		add(channelColumn, "channel")
	}
	for i, column := range amounts {
		sql, needs := column, []string{column}
		switch {
		case column == "":
			continue
		case column == "platform_discount_micros" && !slices.ContainsFunc(r.p.Metrics, func(m Metric) bool { return m.Field == "platform_discount" }):
			continue
		case column == "cost_micros" && len(r.p.UnitCosts) > 0:
			sql, needs = r.p.cost(), []string{column, "coupon_id"}
		}
		if !null(needs...) {
			add(amountColumns+i, sql)
		}
	}
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.path
	}
	from := "read_parquet([" + texts(paths) + "], union_by_name=false, hive_partitioning=false)"
	var constants []string
	for _, column := range nullable {
		if null(column[0]) {
			constants = append(constants, "CAST(NULL AS "+column[1]+") AS "+column[0])
		}
	}
	columns := "*"
	if len(constants) > 0 {
		columns += " REPLACE (" + strings.Join(constants, ", ") + ")"
	}
	from = "(SELECT " + columns + ", " + r.codeQuery() + " AS code FROM " + from + ")"
	every := func(holds func(f *footer) bool) bool {
		return !slices.ContainsFunc(files, func(f *footer) bool { return !holds(f) })
	}
	var where []string
	if !every(func(f *footer) bool {
		c := f.columns["user_id"]
		return c != nil && c.nulls == 0 && c.bounded && c.min != ""
	}) {
		where = append(where, "user_id <> ''")
	}
	for _, column := range []string{"ts", "available_at"} {
		if !every(func(f *footer) bool { return f.upTo(column, r.p.AsOf) }) {
			where = append(where, column+" <= "+timeLiteral(r.p.AsOf))
		}
	}
	query = "SELECT " + strings.Join(list, ", ") + " FROM " + from + " e WHERE " + conjunction(append(where, "TRUE")...) + between
	if len(files) > 1 {
		query += " ORDER BY user_id, ts, event_id"
	}
	return query, at, day
}

// nullable are the columns that conditions may ask for and that a segment may lack, with their types.
var nullable = func() (list [][2]string) {
	for _, def := range strings.Split(eventColumns, ",") {
		f := strings.Fields(def)
		if strings.HasSuffix(f[0], "_micros") || slices.Contains(filterColumns, f[0]) || f[0] == "properties" {
			list = append(list, [2]string{f[0], f[1]})
		}
	}
	return list
}()

// open begins the stream.
func (c *stream) open(ctx context.Context, query string) (err error) {
	if c.chunks, err = c.conn.Query(ctx, query); err != nil {
		return err
	}
	return c.fetch()
}

// portion is how many rows of a chunk are made rows at a time: those of all streams stay in the processor's cache until they are taken.
const portion = 128

// fetch makes rows of the next portion that has any; the rows before are gone, and so are their texts.
func (c *stream) fetch() error {
	for c.i, c.rows, c.keys = 0, c.rows[:0], c.keys[:0]; len(c.rows) == 0; {
		if c.next == c.chunks.N {
			more, err := c.chunks.Next()
			if err != nil || !more {
				return err
			}
			c.next = 0
			if err := c.look(); err != nil {
				return err
			}
		}
		from := c.next
		c.next = min(from+portion, c.chunks.N)
		if err := c.read(from, c.next); err != nil {
			return err
		}
		c.done(c.next - from)
	}
	return nil
}

// look takes the columns of a chunk.
func (c *stream) look() error {
	r, x := c.r, c.chunks
	c.users, c.ts, c.codes, c.isCode = x.Texts(userColumn), vectors.Column[int64](x, tsColumn), vectors.Column[int32](x, codeColumn), x.Valid(codeColumn)
	c.answers, c.columns = c.answers[:0], slices.Grow(c.columns[:0], amountCount)
	for k := range r.left {
		c.answers = append(c.answers, vectors.Column[uint8](x, c.at[answerColumns+k]))
	}
	c.costs = nil
	for i := range amounts {
		if at := c.at[amountColumns+i]; at >= 0 {
			c.columns = append(c.columns, amountColumn{i, vectors.Column[int64](x, at), x.Valid(at)})
			if i == costAt {
				c.costs = &c.columns[len(c.columns)-1]
			}
		}
	}
	if at := c.at[dayColumn]; at >= 0 {
		c.days = vectors.Column[int32](x, at)
	}
	if at := c.at[propertiesColumn]; at >= 0 {
		c.texts, c.isText = x.Texts(at), x.Valid(at)
	}
	if at := c.at[orderColumn]; at >= 0 {
		c.orders, c.isOrder = x.Texts(at), x.Valid(at)
	}
	if at := c.at[channelColumn]; at >= 0 {
		c.channels = x.Texts(at)
	}
	for _, i := range []int{0, x.N - 1} {
		if s := c.users[i].String(); len(s) < c.skip || s[:c.skip] != c.users[0].String()[:c.skip] {
			return errUnsorted
		}
	}
	return nil
}

// read makes rows of a part of the chunk, as far as a unit may ask for them.
func (c *stream) read(from, to int) error {
	r, users, ts := c.r, c.users, c.ts
	if c.rows == nil {
		c.rows = make([]row, 0, portion)
	}
	c.exposures = c.exposures[:0]
	for i := from; i < to; i++ {
		code := int32(0)
		if c.isCode.Has(i) {
			code = c.codes[i]
		}
		mask := r.bits[code]
		for k, answers := range c.answers {
			mask &= r.left[k][answers[i]]
		}
		if c.costs != nil && c.costs.valid.Has(i) {
			mask |= r.costs
		}
		met := int32(0)
		if code > 0 && (code == r.viewed || code == r.sent) && c.texts != nil && c.isText.Has(i) {
			e, err := c.sums.exposure(c.properties, c.texts[i].String())
			switch {
			case err != nil:
				return err
			case code == r.sent && e.mine && ts[i] >= c.sums.start:
				mask |= isOurs
			case code == r.viewed:
				e.mine = e.mine && ts[i] >= c.sums.start
				if e.day = c.day; c.days != nil {
					e.day = c.days[i]
				}
				if e.mine || e.other >= 0 {
					met = int32(len(c.exposures))
					c.exposures = append(c.exposures, e)
					mask |= isExposure
				}
			}
		}
		if mask == 0 {
			continue
		}
		c.rows = c.rows[:len(c.rows)+1]
		x := &c.rows[len(c.rows)-1]
		c.keys = append(c.keys, prefix(users[i].String(), c.skip))
		x.at, x.ts, x.mask, x.has, x.named, x.order, x.channel, x.from, x.exposure = int32(i), ts[i], mask, 0, false, "", noText, int32(c.place), met
		for k := range c.columns {
			a := &c.columns[k]
			if v := a.values[i]; a.valid.Has(i) {
				x.has |= 1 << a.at
				x.amounts[a.at] = v
				if uint64(v+apartAmount) > 2*apartAmount {
					x.has |= isApart
				}
			}
		}
		if mask&(r.order|r.refund) != 0 && c.orders != nil && c.isOrder.Has(i) {
			x.named, x.order = true, c.orders[i].String()
			x.id = shorten(x.order)
		}
		if mask&r.channel != 0 {
			x.channel = c.sums.segments.of(c.channels[i].String())
		}
	}
	return nil
}

// prefix is the seven bytes of a text after the first skip and how many there are, up to eight, as a number that orders like the texts. It is all of a text
// that is not longer.
func prefix(s string, skip int) uint64 {
	if len(s) >= skip+8 {
		return binary.BigEndian.Uint64([]byte(s[skip:skip+8]))&^0xff | 8
	}
	if len(s) <= skip {
		return 0
	}
	var b [8]byte
	b[7] = byte(copy(b[:7], s[skip:]))
	return binary.BigEndian.Uint64(b[:])
}

// isWholeKey tells that a prefix is all of its text after the skip.
func isWholeKey(key uint64) bool { return key&0xff < 8 }

// shortText is a text of up to fifteen bytes, or what tells most longer ones apart: the text itself may have left the processor's cache.
type shortText struct{ a, b uint64 }

func shorten(s string) shortText {
	n := len(s)
	if n > 15 {
		return shortText{binary.LittleEndian.Uint64([]byte(s[:8])) ^ uint64(n), binary.LittleEndian.Uint64([]byte(s[n-8:])) | 0xff<<56}
	}
	var b [16]byte
	copy(b[:], s)
	b[15] = byte(n)
	return shortText{binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])}
}

// is tells whether two texts are the same.
func (x shortText) is(text string, y shortText, other string) bool {
	return x == y && (x.b>>56 != 0xff || text == other)
}

// user is the user of the next row.
func (c *stream) user() string { return c.users[c.rows[c.i].at].String() }

// isNext tells whether the next row is of a user, whose text matters where the key is not all of it.
func (c *stream) isNext(key uint64, user []byte) bool {
	return len(c.rows) > 0 && c.keys[c.i] == key && (isWholeKey(key) || c.user() == string(user))
}

func (c *stream) close() {
	if c.chunks != nil {
		c.chunks.Close()
	}
	c.conn.Close()
}

// bundle makes of files as few as most bundles by joining the smallest ones; a bundle of several is sorted again.
func bundle(files []*footer, most int) [][]*footer {
	rows := func(b []*footer) (n int64) {
		for _, f := range b {
			n += f.rows
		}
		return n
	}
	var out [][]*footer
	for _, f := range files {
		out = append(out, []*footer{f})
	}
	for len(out) > max(1, most) {
		slices.SortStableFunc(out, func(a, b []*footer) int { return cmp.Compare(rows(b), rows(a)) })
		n := len(out)
		out[n-2] = append(out[n-2], out[n-1]...)
		out = out[:n-1]
	}
	return out
}
