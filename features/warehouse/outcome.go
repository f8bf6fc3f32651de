package warehouse

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"perennial/features"
)

// outcome is what a plan asks of the rows around an exposure. A row of an event that counts is joined to its unit once, in `near`; every condition that an
// aggregate asks, windows included, is one column of it. The statement (query) and the merge of sorted segments (merge.go) are made of this one description.
type outcome struct {
	d              Dialect
	p              *MetricPlan
	covariates     []string
	flags          []flag // flag i is the column f<i>
	aggregates     []aggregate
	values         []value // of the metrics
	past, furthest int     // days that near reaches before and after the exposure
	sold, back     int     // the flags of the window's orders, and of the refunds that may be theirs
}

// flag is a condition on a row: what the row alone answers, and a window of micros around the exposure.
type flag struct {
	event    string // an event, ownEvents, or "" for all
	filter   string // SQL that narrows the event further, or ""
	from, to int64  // [from, to); anyTime has no beginning
	ours     bool   // a contact that names the experiment counts before the window as well
	more     string // SQL after that of the window, or ""
}

const (
	anyTime   = math.MinInt64
	ownEvents = "*" // those that say something of the user's own will
)

// sql is the condition as a text.
func (f flag) sql() string {
	event := ""
	if f.event == ownEvents {
		event = "event NOT IN (" + texts(passive) + ")"
	} else if f.event != "" {
		event = "event = " + quoteText(f.event)
	}
	window := fmt.Sprintf("dt < %d", f.to)
	if f.ours {
		window += fmt.Sprintf(" AND (dt >= %d OR ours)", f.from)
	} else if f.from != anyTime {
		window = fmt.Sprintf("dt >= %d AND %s", f.from, window)
	}
	return conjunction(event, f.filter, window, f.more)
}

// conjunction joins conditions; "" is none.
func conjunction(conditions ...string) string {
	return strings.Join(slices.DeleteFunc(conditions, func(c string) bool { return c == "" }), " AND ")
}

// dayMicros is a day.
const dayMicros = int64(86_400_000_000)

// within is an event in the window of days [from, to) around the exposure.
func within(event string, from, to int) flag {
	return flag{event: event, from: int64(from) * dayMicros, to: int64(to) * dayMicros}
}

// aggregate is one number of a unit over the rows of a flag.
type aggregate struct {
	name   string
	kind   aggregateKind
	column string // of near, that is summed
	flag   int
	days   int    // of the window of a trend
	sql    string // of other
}

type aggregateKind int

const (
	totalOf   aggregateKind = iota // Σ of a column, 0 without a row
	countOf                        // how many rows
	anyOf                          // 1 with a row
	trendOf                        // Σ value × (2·day − (days − 1))
	channelOf                      // the last row's channel
	other                          // what only SQL computes
)

// text is the aggregate in SQL.
func (a *aggregate) text(d Dialect) string {
	switch a.kind {
	case totalOf, trendOf:
		column := a.column
		if a.kind == trendOf {
			column = fmt.Sprintf("%s * (2 * %s - %d)", column, d.divide("dt", span(1)), a.days-1)
		}
		return d.integer(fmt.Sprintf("coalesce(sum(%s) FILTER (WHERE f%d), 0)", column, a.flag))
	case countOf:
		return fmt.Sprintf("count(*) FILTER (WHERE f%d)", a.flag)
	case anyOf:
		return fmt.Sprintf("max(CASE WHEN f%d THEN 1 ELSE 0 END)", a.flag)
	case channelOf:
		return fmt.Sprintf("max_by(channel, row(dt, event_id)) FILTER (WHERE f%d)", a.flag)
	}
	return a.sql
}

// value is a metric of a unit, from its aggregates and its refunds.
type value struct {
	of      string // an aggregate, refunds, refund_value, refund_margin, or ofProfit
	atLeast int64  // above 0: whether it is at least this
	cap     int64  // above 0: at most this
	sql     string // what only SQL computes
}

// ofProfit is the value of the metric profit.
const ofProfit = ""

func (v value) text() string {
	sql := "coalesce(" + v.of + ", 0)"
	switch {
	case v.sql != "":
		sql = v.sql
	case v.of == ofProfit:
		sql = "coalesce(margin, 0) - coalesce(refund_margin, 0) - coalesce(commission, 0) - coalesce(contact, 0)"
	case v.atLeast > 0:
		sql = fmt.Sprintf("CASE WHEN %s >= %d THEN 1 ELSE 0 END", sql, v.atLeast)
	}
	if v.cap > 0 {
		return fmt.Sprintf("least(%s, %d)", sql, v.cap)
	}
	return sql
}

// when returns the place of a condition.
func (o *outcome) when(f flag) int {
	i := slices.Index(o.flags, f)
	if i < 0 {
		i, o.flags = len(o.flags), append(o.flags, f)
	}
	return i
}

func (o *outcome) sum(name, column string, f flag) {
	o.aggregates = append(o.aggregates, aggregate{name: name, kind: totalOf, column: column, flag: o.when(f)})
}

func (o *outcome) count(name string, f flag) {
	o.aggregates = append(o.aggregates, aggregate{name: name, kind: countOf, flag: o.when(f)})
}

// hour is the time before and after an exposure in which orders tell whether the exposure came first, in micros.
const hour = int64(3_600_000_000)

// newOutcome describes a plan.
func newOutcome(d Dialect, p *MetricPlan, covariates []string) *outcome {
	o := &outcome{d: d, p: p, covariates: covariates, furthest: p.HorizonDays}
	sold := within(features.OrderCompleted, 0, p.HorizonDays)
	for i := range p.Metrics {
		o.furthest = max(o.furthest, p.days(&p.Metrics[i]))
	}
	if p.SegmentBy == "channel" {
		o.past = 365
		o.aggregates = append(o.aggregates, aggregate{name: "channel", kind: channelOf, flag: o.when(flag{from: anyTime, more: "channel IS NOT NULL"})})
	}
	for _, c := range covariates {
		if c == "pre_revenue" || c == "pre_orders" {
			o.past = max(o.past, p.HorizonDays)
		}
	}
	o.past = max(o.past, 1) // contacts that name the experiment count from the assignment, which may come before the exposure
	o.sum("revenue", "value_micros", sold)
	o.count("orders", sold)
	o.sum("margin", "margin", sold)
	o.sum("discount", "discount_micros", sold)
	o.sum("commission", "commission_micros", sold)
	o.sum("contact", "cost_micros", flag{to: int64(p.HorizonDays) * dayMicros, ours: true})
	estimated := sold
	estimated.more = "margin_micros IS NULL"
	o.count("estimated", estimated)
	o.count("acts", within(ownEvents, -o.past, o.furthest))
	o.count("early", flag{event: features.OrderCompleted, from: -hour})
	o.count("late", flag{event: features.OrderCompleted, to: hour})
	for i, c := range p.coupons() {
		redeemed := sold
		redeemed.more = "coupon_id = " + quoteText(c)
		o.count(fmt.Sprintf("q%d", i), redeemed)
	}
	for i := range p.Metrics {
		o.metric(i)
	}
	for _, c := range covariates {
		switch c {
		case "pre_revenue":
			o.sum(c, "value_micros", within(features.OrderCompleted, -p.HorizonDays, 0))
		case "pre_orders":
			o.count(c, within(features.OrderCompleted, -p.HorizonDays, 0))
		}
	}
	o.sold, o.back = o.when(sold), o.when(within(features.OrderRefunded, 0, p.HorizonDays+p.RefundMaturityDays))
	return o
}

// outcomeQuery makes one row of integers per exposed unit: m0, m1, … the metrics, c0, c1, … the covariates, and the parts of profit.
func (e *Engine) outcomeQuery(d Dialect, p *MetricPlan, covariates []string) string {
	o := newOutcome(d, p, covariates)
	join := ""
	if p.Frozen != "" {
		join = "\n LEFT JOIN frozen f ON f.user_id = u.unit"
	}
	var flags, aggregates, values []string
	for i, f := range o.flags {
		flags = append(flags, fmt.Sprintf("%s AS f%d", f.sql(), i))
	}
	for i := range o.aggregates {
		aggregates = append(aggregates, o.aggregates[i].text(d)+" AS "+o.aggregates[i].name)
	}
	for i, v := range o.values {
		values = append(values, fmt.Sprintf("%s AS m%d", d.integer(v.text()), i))
	}
	for i, c := range covariates {
		values = append(values, fmt.Sprintf("%s AS c%d", d.integer(covariate(c)), i))
	}
	asOf := timeLiteral(p.AsOf)
	return fmt.Sprintf(`WITH near AS (SELECT id, dt, order_id, value_micros, margin_micros, CASE WHEN event = 'Order Completed' THEN %[1]s END AS margin, discount_micros, commission_micros,
  %[2]s AS cost_micros%[3]s%[4]s
 FROM (SELECT u.id, %[5]s - u.t0 AS dt, e.event = 'Message Sent' AND e.ts >= %[6]s AND coalesce(%[7]s, '') = %[8]s AS ours, e.*
  FROM events e JOIN unit u ON e.user_id = u.unit WHERE e.ts <= %[9]s AND e.available_at <= %[9]s%[10]s%[11]s) e
 WHERE %[12]s OR ours OR %[13]s),
agg AS (SELECT id%[14]s
 FROM near GROUP BY id),
back AS (SELECT id, order_id, count(*) AS refunds, %[15]s AS value, %[16]s AS margin, %[17]s AS bare
 FROM near WHERE %[18]s AND order_id IS NOT NULL GROUP BY id, order_id),
bought AS (SELECT id, order_id, %[15]s AS value, %[19]s AS margin
 FROM near WHERE %[20]s AND order_id IN (SELECT order_id FROM back) GROUP BY id, order_id),
refund AS (SELECT b.id, %[21]s AS refunds, %[22]s AS refund_value, %[23]s AS refund_margin
 FROM bought b JOIN back r ON r.id = b.id AND r.order_id = b.order_id GROUP BY b.id)
SELECT u.id, u.t0, u.day, u.variant, u.stratum, %[24]s AS segment, coalesce(revenue, 0) AS revenue, coalesce(orders, 0) AS orders, coalesce(margin, 0) AS margin,
  coalesce(discount, 0) AS discount, coalesce(commission, 0) AS commission, coalesce(contact, 0) AS contact, coalesce(refund_value, 0) AS refund_value, coalesce(refund_margin, 0) AS refund_margin,
  coalesce(estimated, 0) AS estimated, coalesce(acts, 0) = 0 AS silent, coalesce(early, 0) > 0 AS early, coalesce(late, 0) > 0 AS late, %[25]s AS redeemed, %[26]s AS leaked%[27]s
 FROM unit u LEFT JOIN agg a ON a.id = u.id LEFT JOIN refund r ON r.id = u.id%[28]s`,
		e.orderMargin(d), p.cost(), o.carried(), prefixed(flags), d.microsOf("e.ts"), timeLiteral(p.Start), d.text("e.properties", "experiment"), quoteText(p.Experiment), asOf,
		p.between("e.user_id"), o.left(), within("", -o.past, o.furthest).sql(), o.flags[o.back].sql(), prefixed(aggregates),
		d.integer("coalesce(sum(value_micros), 0)"), d.integer("coalesce(sum(margin_micros), 0)"), d.integer("coalesce(sum(value_micros) FILTER (WHERE margin_micros IS NULL), 0)"), fmt.Sprintf("f%d", o.back),
		d.integer("coalesce(sum(margin), 0)"), fmt.Sprintf("f%d", o.sold), d.integer("sum(r.refunds)"), d.integer("sum(r.value)"),
		d.integer("sum(r.margin + CASE WHEN b.value = 0 THEN 0 WHEN b.value = r.bare THEN b.margin WHEN b.margin BETWEEN -3000000000 AND 3000000000 AND r.bare BETWEEN 0 AND 3000000000 THEN "+
			d.divide("(b.margin * r.bare)", "b.value")+" ELSE "+d.integer(d.divide("("+d.exact("b.margin")+" * r.bare)", "b.value"))+" END)"),
		o.segment(), p.redeemed(true), p.redeemed(false), prefixed(values), join)
}

// segment is the SQL of the segment of a unit.
func (o *outcome) segment() string {
	switch o.p.SegmentBy {
	case "":
		return "CAST('' AS VARCHAR)"
	case "channel":
		return "coalesce(a.channel, '')"
	}
	return "coalesce(CAST(f." + o.p.SegmentBy + " AS VARCHAR), '')"
}

// carried are the columns of near that only some plans need.
func (o *outcome) carried() string {
	columns := ""
	if o.p.SegmentBy == "channel" {
		columns = ", event_id, channel"
	}
	if slices.ContainsFunc(o.p.Metrics, func(m Metric) bool { return m.Field == "platform_discount" }) {
		columns += ", platform_discount_micros"
	}
	return columns
}

// left leaves out exposures, which count for nothing, before they are joined.
func (o *outcome) left() string {
	for i := range o.p.Metrics {
		if m := &o.p.Metrics[i]; m.event() == features.ExperimentViewed || slices.Contains(m.Steps, features.ExperimentViewed) {
			return ""
		}
	}
	if o.p.SegmentBy == "channel" {
		return ""
	}
	return " AND (e.event <> " + quoteText(features.ExperimentViewed) + " OR e.cost_micros IS NOT NULL)"
}

// metric adds what the metric i of the plan needs.
func (o *outcome) metric(i int) {
	m := &o.p.Metrics[i]
	days := o.p.window(m)
	v := value{of: fmt.Sprintf("a%d", i), cap: m.CapMicros}
	counted := within(m.event(), 0, days)
	counted.filter = m.narrowed()
	switch m.Kind {
	case "profit":
		v.of = ofProfit
	case "novelty":
		o.aggregates = append(o.aggregates, aggregate{name: v.of, kind: trendOf, column: "value_micros", days: days, flag: o.when(counted)})
	case "retention":
		o.aggregates = append(o.aggregates, aggregate{name: v.of, kind: anyOf, flag: o.when(within(ownEvents, m.Day, m.Day+1))})
	case "funnel":
		v.sql = o.funnel(i, days)
	default:
		switch {
		case m.event() == features.OrderRefunded && len(m.Filter) == 0: // the refunds of the window's orders
			v.of = "refund_value"
			if m.Field == "" {
				v.of = "refunds"
			} else if m.Field == "margin" {
				v.of = "refund_margin"
			}
		case m.Field == "" || m.Kind == "proportion":
			o.count(v.of, counted)
		case m.Field == "margin" && m.event() == features.OrderCompleted:
			o.sum(v.of, "margin", counted)
		default:
			o.sum(v.of, amountFields[m.Field], counted)
		}
		if m.Kind == "proportion" {
			v.atLeast = int64(max(1, m.MinEvents))
		}
	}
	o.values = append(o.values, v)
}

// funnel is 1 for a unit whose events follow the steps in their order within the window, as a value over aggregates of her events. Times of each step
// are gathered as lists; a step counts when some time of it is not before the earliest time that completes the steps before it.
func (o *outcome) funnel(i, days int) string {
	m := &o.p.Metrics[i]
	add := func(name, over, step string) {
		o.aggregates = append(o.aggregates, aggregate{name: name, kind: other,
			sql: fmt.Sprintf("%s FILTER (WHERE f%d)", over, o.when(within(step, 0, days)))})
	}
	reached := fmt.Sprintf("a%d_0", i)
	add(reached, "min(dt)", m.Steps[0])
	for k, step := range m.Steps[1:] {
		times := fmt.Sprintf("a%d_%d", i, k+1)
		add(times, fmt.Sprintf(o.d.gather, "dt"), step)
		reached = fmt.Sprintf(o.d.soonest, times, reached)
	}
	return fmt.Sprintf("CASE WHEN %s IS NULL THEN 0 ELSE 1 END", reached)
}

// covariate is the value of a covariate by its name. Scores are integers in parts per million, so that engines agree.
func covariate(name string) string {
	switch {
	case name == "pre_revenue" || name == "pre_orders":
		return "coalesce(" + name + ", 0)"
	case strings.HasSuffix(name, "_missing"):
		return "CASE WHEN f." + quoteName(strings.TrimSuffix(name, "_missing")) + " IS NULL THEN 1 ELSE 0 END"
	}
	return "coalesce(round(f." + quoteName(name) + " * 1000000), 0)"
}
