package warehouse

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"perennial/features"
)

// amounts are the money columns of an event as the merge holds them; "" is the margin of an order, sent or estimated, which it computes.
var amounts = [amountCount]string{"value_micros", "margin_micros", "discount_micros", "commission_micros", "", "cost_micros", "platform_discount_micros"}

const (
	valueAt       = 0
	marginAt      = 1
	discountAt    = 2
	orderMarginAt = 4
	costAt        = 5
	amountCount   = 7
)

// Bits of a row's mask. Those after them are the row parts of the outcome's flags.
const (
	isExposure = 1 << iota // an exposure to the experiment or to another one that is asked for
	isOurs                 // a contact that names the experiment
	firstBit   = 2
)

// recipe is a plan compiled for the merge: what a row adds to, by the bits of its mask, and how a unit's aggregates become its values and sums. It is made of
// the same outcome as the statement of outcomeQuery.
//
// A row's mask is put together of its event's bits and of what DuckDB answers to the conditions beside the event: the event is looked up once for every entry
// of a Parquet dictionary, where comparisons would be made for every row.
type recipe struct {
	p      *MetricPlan
	events []string      // that conditions name; an event's code is its place from 1, 0 is any other
	bits   []uint64      // by code
	extras []string      // the SQL of the conditions beside the event
	left   [][256]uint64 // by eight extras and their answers: the bits that they leave
	tasks  [][]task      // by bit

	viewed, sent           int32  // the codes of exposures and contacts
	order, refund, channel uint64 // the bits of orders, of refunds, and of rows with a channel
	costs                  uint64 // the bit of rows with a cost
	slots                  map[string]int
	slotCount              int
	parts                  unitParts
	past, furthest         int64 // micros around an exposure that count

	values     []source // of units: metrics and covariates, each once
	metrics    []int    // the value of metric i
	covariates []int    // the value of covariate i
	frozen     []string // the covariates that stand in the frozen scores
	lots       []lotSums
	ordered    []orderedMetric
	redeems    [][]int // by variant: the slots of its own coupon's orders
	leaks      [][]int // by variant: the slots of the orders with other variants' coupons
	first      int     // the value of the metric whose interactions are measured, or -1
}

// unitParts are the slots of what is asked of every unit.
type unitParts struct{ revenue, orders, margin, discount, commission, contact, estimated, acts, early, late int }

// task is a window of a flag and what a row within it adds to.
type task struct {
	from, to int64
	ours     bool
	adds     []addition
}

type addition struct {
	kind   aggregateKind
	column int   // that is summed
	lacks  uint8 // the bit of an amount that counted rows are to lack
	slot   int
	days   int64
}

// source is where a value of a unit comes from: a slot, or one of the places below.
type source struct {
	slot         int
	atLeast, cap int64
}

const (
	profitSlot = -1 - iota
	refundsSlot
	refundValueSlot
	refundMarginSlot
	frozenSlot // frozenSlot − i is the covariate i of the frozen scores
)

// lotSums are the sums of a lot: terms are pairs of values, −1 for none, each once; column i of the lot's statement is the term columns[i].
type lotSums struct {
	metrics []int
	days    int
	terms   [][2]int
	columns []int
}

// orderedMetric is a metric whose values are kept for order statistics.
type orderedMetric struct{ metric, value, days int }

// costly stands for the condition that a row has a cost, which the merge sees itself.
const costly = "cost"

// newRecipe compiles a plan. It returns nil for one that the merge does not know: funnels, whose lists of times are worth no second form, and more conditions
// on rows than a mask has bits.
func newRecipe(s *measuring) *recipe {
	p := s.p
	o := newOutcome(DuckDB, p, s.m.Covariates)
	r := &recipe{p: p, slots: map[string]int{}, past: int64(o.past) * dayMicros, furthest: int64(o.furthest) * dayMicros, first: -1}
	type rowPart struct{ event, extra string }
	parts := make([]rowPart, firstBit)
	r.tasks = make([][]task, firstBit)
	bit := func(event, extra string) int {
		x := rowPart{event, extra}
		i := slices.Index(parts, x)
		if i < firstBit {
			i = len(parts)
			parts, r.tasks = append(parts, x), append(r.tasks, nil)
		}
		return i
	}
	same := map[aggregate]int{}
	for _, a := range o.aggregates {
		name := a.name
		if a.name = ""; a.kind == other {
			return nil
		}
		f := o.flags[a.flag]
		x := addition{kind: a.kind, days: int64(a.days)}
		if f.more == "margin_micros IS NULL" {
			f.more, x.lacks = "", 1<<marginAt
		}
		extra := conjunction(f.filter, f.more)
		sums := f.event == "" && extra == "" // of costs: no other row adds to them
		if sums {
			extra = costly
		}
		b := bit(f.event, extra)
		if sums {
			r.costs = 1 << b
		}
		if a.kind == channelOf {
			r.channel = 1 << b
			continue
		}
		slot, ok := same[a]
		if ok {
			r.slots[name] = slot
			continue
		}
		slot, r.slotCount = r.slotCount, r.slotCount+1
		same[a], r.slots[name] = slot, slot
		x.slot = slot
		if a.column == "margin" {
			x.column = orderMarginAt
		} else if a.column != "" {
			x.column = slices.Index(amounts[:], a.column)
		}
		r.task(b, f).adds = append(r.task(b, f).adds, x)
	}
	of := r.slots
	r.parts = unitParts{of["revenue"], of["orders"], of["margin"], of["discount"], of["commission"], of["contact"], of["estimated"], of["acts"], of["early"], of["late"]}
	r.order, r.refund = 1<<bit(features.OrderCompleted, ""), 1<<bit(features.OrderRefunded, "")
	if len(parts) > 63 {
		return nil
	}
	r.events = slices.Clone(passive)
	for _, x := range parts[firstBit:] {
		if x.event != "" && x.event != ownEvents && !slices.Contains(r.events, x.event) {
			r.events = append(r.events, x.event)
		}
		if x.extra == costly {
			continue
		}
		if x.extra != "" && !slices.Contains(r.extras, x.extra) {
			r.extras = append(r.extras, x.extra)
		}
	}
	r.viewed, r.sent = r.code(features.ExperimentViewed), r.code(features.MessageSent)
	r.bits = make([]uint64, 1+len(r.events))
	r.left = make([][256]uint64, (len(r.extras)+7)/8)
	for k := range r.left {
		for answers := range r.left[k] {
			r.left[k][answers] = math.MaxUint64
		}
	}
	for i, x := range parts[firstBit:] {
		if x.extra == costly {
			continue
		}
		bit := uint64(1) << (firstBit + i)
		for code := range r.bits {
			if x.event == "" || code > 0 && x.event == r.events[code-1] || x.event == ownEvents && (code == 0 || !slices.Contains(passive, r.events[code-1])) {
				r.bits[code] |= bit
			}
		}
		if x.extra == "" {
			continue
		}
		k := slices.Index(r.extras, x.extra)
		for answers := range r.left[k/8] {
			if answers&(1<<(k%8)) == 0 {
				r.left[k/8][answers] &^= bit
			}
		}
	}
	r.units(o)
	return r
}

// code is the code of an event.
func (r *recipe) code(event string) int32 { return int32(slices.Index(r.events, event) + 1) }

// task is the task of a flag under a bit.
func (r *recipe) task(bit int, f flag) *task {
	from := f.from
	if from == anyTime {
		from = -r.past // what near reaches
	}
	i := slices.IndexFunc(r.tasks[bit], func(t task) bool { return t.from == from && t.to == f.to && t.ours == f.ours })
	if i < 0 {
		i, r.tasks[bit] = len(r.tasks[bit]), append(r.tasks[bit], task{from: from, to: f.to, ours: f.ours})
	}
	return &r.tasks[bit][i]
}

// units compiles what a unit's aggregates become.
func (r *recipe) units(o *outcome) {
	p := r.p
	put := func(x source) int {
		i := slices.Index(r.values, x)
		if i < 0 {
			i, r.values = len(r.values), append(r.values, x)
		}
		return i
	}
	for _, v := range o.values {
		x := source{atLeast: v.atLeast, cap: v.cap}
		switch v.of {
		case ofProfit:
			x.slot = profitSlot
		case "refunds":
			x.slot = refundsSlot
		case "refund_value":
			x.slot = refundValueSlot
		case "refund_margin":
			x.slot = refundMarginSlot
		default:
			x.slot = r.slots[v.of]
		}
		r.metrics = append(r.metrics, put(x))
	}
	for _, c := range o.covariates {
		if slot, ok := r.slots[c]; ok && (c == "pre_revenue" || c == "pre_orders") {
			r.covariates = append(r.covariates, put(source{slot: slot}))
			continue
		}
		r.covariates = append(r.covariates, put(source{slot: frozenSlot - len(r.frozen)}))
		r.frozen = append(r.frozen, c)
	}
	at := map[string]int{"": -1}
	for i, v := range r.metrics {
		at[fmt.Sprintf("m%d", i)] = v
	}
	for i, v := range r.covariates {
		at[fmt.Sprintf("c%d", i)] = v
	}
	for _, lot := range p.lots() {
		sums := lotSums{metrics: lot, days: p.maturity(lot[0])}
		for _, pair := range p.sumsOf(lot, len(r.covariates)) {
			term := [2]int{at[pair[0]], at[pair[1]]}
			i := slices.Index(sums.terms, term)
			if i < 0 {
				i, sums.terms = len(sums.terms), append(sums.terms, term)
			}
			sums.columns = append(sums.columns, i)
		}
		r.lots = append(r.lots, sums)
	}
	for i := range p.Metrics {
		if p.ordered(i) {
			r.ordered = append(r.ordered, orderedMetric{i, r.metrics[i], p.days(&p.Metrics[i])})
		}
	}
	if p.asksInteractions() {
		r.first = r.metrics[0]
	}
	r.redeems, r.leaks = make([][]int, len(p.Variants)), make([][]int, len(p.Variants))
	for v, variant := range p.Variants {
		if len(p.Coupons) == 0 {
			break
		}
		for i, c := range p.coupons() {
			slot := r.slots[fmt.Sprintf("q%d", i)]
			if p.Coupons[variant] == c {
				r.redeems[v] = append(r.redeems[v], slot)
			} else {
				r.leaks[v] = append(r.leaks[v], slot)
			}
		}
	}
}

// begin is the time from which on rows may count: the first exposure is not before the start.
func (r *recipe) begin() time.Time {
	return r.p.Start.Add(-time.Duration(r.past) * time.Microsecond)
}

// codeQuery is the SQL of the code of a row's event; NULL is 0.
func (r *recipe) codeQuery() string { return "list_position([" + texts(r.events) + "], event)" }

// answers is the SQL of the answers to the extras from eight times k on.
func (r *recipe) answers(k int) string {
	list := r.extras[8*k : min(8*k+8, len(r.extras))]
	parts := make([]string, len(list))
	for i, sql := range list {
		parts[i] = fmt.Sprintf("CASE WHEN %s THEN CAST(%d AS UTINYINT) ELSE CAST(0 AS UTINYINT) END", sql, 1<<i)
	}
	return strings.Join(parts, " | ")
}
