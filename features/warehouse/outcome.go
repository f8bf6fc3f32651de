package warehouse

import (
	"fmt"
	"slices"
	"strings"

	"perennial/features"
)

// outcome writes the statement of one row of integers per exposed unit. A row of an event that counts is joined to its unit once, in `near`; every
// condition that an aggregate asks, windows included, is one column of it.
type outcome struct {
	d                  Dialect
	p                  *MetricPlan
	flags              []string // conditions; flag i is the column f<i>
	aggregates, values []string
	past, furthest     int // days that near reaches before and after the exposure
}

// when returns the column of a condition.
func (o *outcome) when(cond string) string {
	i := slices.Index(o.flags, cond)
	if i < 0 {
		i, o.flags = len(o.flags), append(o.flags, cond)
	}
	return fmt.Sprintf("f%d", i)
}

// within is the window of days [from, to) around the exposure as a condition.
func within(from, to int) string {
	return fmt.Sprintf("dt >= %s AND dt < %s", span(from), span(to))
}

func (o *outcome) add(name, aggregate string) {
	o.aggregates = append(o.aggregates, aggregate+" AS "+name)
}

// sum adds Σ of a column of near where a condition holds, 0 without a row.
func (o *outcome) sum(name, column, cond string) {
	o.add(name, o.d.integer(fmt.Sprintf("coalesce(sum(%s) FILTER (WHERE %s), 0)", column, o.when(cond))))
}

func (o *outcome) count(name, cond string) {
	o.add(name, fmt.Sprintf("count(*) FILTER (WHERE %s)", o.when(cond)))
}

// hour is the time before and after an exposure in which orders tell whether the exposure came first.
const hour = "3600000000"

// own is an event that says something of the user's own will.
var own = "event NOT IN (" + texts(passive) + ")"

// outcomeQuery makes one row of integers per exposed unit: m0, m1, … the metrics, c0, c1, … the covariates, and the parts of profit.
func (e *Engine) outcomeQuery(d Dialect, p *MetricPlan, covariates []string) string {
	o := &outcome{d: d, p: p, furthest: p.HorizonDays}
	order := "event = 'Order Completed'"
	sold := order + " AND " + within(0, p.HorizonDays)
	for i := range p.Metrics {
		o.furthest = max(o.furthest, p.days(&p.Metrics[i]))
	}
	segment := o.segment()
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
	o.sum("contact", "cost_micros", fmt.Sprintf("dt < %s AND (dt >= 0 OR ours)", span(p.HorizonDays)))
	o.count("estimated", sold+" AND margin_micros IS NULL")
	o.count("acts", own+" AND "+within(-o.past, o.furthest))
	o.count("early", fmt.Sprintf("%s AND dt >= -%s AND dt < 0", order, hour))
	o.count("late", fmt.Sprintf("%s AND dt >= 0 AND dt < %s", order, hour))
	for i, c := range p.coupons() {
		o.count(fmt.Sprintf("q%d", i), sold+" AND coupon_id = "+quoteText(c))
	}
	for i := range p.Metrics {
		o.metric(i)
	}
	for i, c := range covariates {
		o.covariate(i, c, order+" AND "+within(-p.HorizonDays, 0))
	}
	join := ""
	if p.Frozen != "" {
		join = "\n LEFT JOIN frozen f ON f.user_id = u.unit"
	}
	back := "event = 'Order Refunded' AND " + within(0, p.HorizonDays+p.RefundMaturityDays)
	isSold, isBack := o.when(sold), o.when(back)
	asOf := timeLiteral(p.AsOf)
	flags := make([]string, len(o.flags))
	for i, f := range o.flags {
		flags[i] = fmt.Sprintf("%s AS f%d", f, i)
	}
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
		p.between("e.user_id"), o.left(), within(-o.past, o.furthest), back, prefixed(o.aggregates),
		d.integer("coalesce(sum(value_micros), 0)"), d.integer("coalesce(sum(margin_micros), 0)"), d.integer("coalesce(sum(value_micros) FILTER (WHERE margin_micros IS NULL), 0)"), isBack,
		d.integer("coalesce(sum(margin), 0)"), isSold, d.integer("sum(r.refunds)"), d.integer("sum(r.value)"),
		d.integer("sum(r.margin + CASE WHEN b.value = 0 THEN 0 WHEN b.value = r.bare THEN b.margin WHEN b.margin BETWEEN -3000000000 AND 3000000000 AND r.bare BETWEEN 0 AND 3000000000 THEN "+
			d.divide("(b.margin * r.bare)", "b.value")+" ELSE "+d.integer(d.divide("("+d.exact("b.margin")+" * r.bare)", "b.value"))+" END)"),
		segment, p.redeemed(true), p.redeemed(false), prefixed(o.values), join)
}

// segment is the SQL of the segment of a unit.
func (o *outcome) segment() string {
	switch o.p.SegmentBy {
	case "":
		return "CAST('' AS VARCHAR)"
	case "channel":
		o.past = 365
		o.add("channel", "max_by(channel, row(dt, event_id)) FILTER (WHERE "+o.when("dt < 0 AND channel IS NOT NULL")+")")
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
	a := fmt.Sprintf("a%d", i)
	value := "coalesce(" + a + ", 0)"
	switch m.Kind {
	case "profit":
		value = "coalesce(margin, 0) - coalesce(refund_margin, 0) - coalesce(commission, 0) - coalesce(contact, 0)"
	case "novelty":
		o.sum(a, fmt.Sprintf("value_micros * (2 * %s - %d)", o.d.divide("dt", span(1)), days-1), m.where(m.event())+" AND "+within(0, days))
	case "retention":
		o.add(a, fmt.Sprintf("max(CASE WHEN %s THEN 1 ELSE 0 END)", o.when(own+" AND "+within(m.Day, m.Day+1))))
	case "funnel":
		value = o.funnel(i, days)
	default:
		switch {
		case m.event() == features.OrderRefunded && len(m.Filter) == 0: // the refunds of the window's orders
			value = "coalesce(refund_value, 0)"
			if m.Field == "" {
				value = "coalesce(refunds, 0)"
			} else if m.Field == "margin" {
				value = "coalesce(refund_margin, 0)"
			}
		case m.Field == "" || m.Kind == "proportion":
			o.count(a, m.where(m.event())+" AND "+within(0, days))
		case m.Field == "margin" && m.event() == features.OrderCompleted:
			o.sum(a, "margin", m.where(m.event())+" AND "+within(0, days))
		default:
			o.sum(a, amountFields[m.Field], m.where(m.event())+" AND "+within(0, days))
		}
		if m.Kind == "proportion" {
			value = fmt.Sprintf("CASE WHEN %s >= %d THEN 1 ELSE 0 END", value, max(1, m.MinEvents))
		}
	}
	if m.CapMicros > 0 {
		value = fmt.Sprintf("least(%s, %d)", value, m.CapMicros)
	}
	o.values = append(o.values, o.d.integer(value)+fmt.Sprintf(" AS m%d", i))
}

// funnel is 1 for a unit whose events follow the steps in their order within the window, as a value over aggregates of her events. Times of each step
// are gathered as lists; a step counts when some time of it is not before the earliest time that completes the steps before it.
func (o *outcome) funnel(i, days int) (value string) {
	m := &o.p.Metrics[i]
	filter := func(step string) string {
		return " FILTER (WHERE " + o.when("event = "+quoteText(step)+" AND "+within(0, days)) + ")"
	}
	reached := fmt.Sprintf("a%d_0", i)
	o.add(reached, "min(dt)"+filter(m.Steps[0]))
	for k, step := range m.Steps[1:] {
		times := fmt.Sprintf("a%d_%d", i, k+1)
		o.add(times, fmt.Sprintf(o.d.gather, "dt")+filter(step))
		reached = fmt.Sprintf(o.d.soonest, times, reached)
	}
	return fmt.Sprintf("CASE WHEN %s IS NULL THEN 0 ELSE 1 END", reached)
}

// covariate adds the covariate i, by its name; before is an order of the window before the exposure.
func (o *outcome) covariate(i int, name, before string) {
	var value string
	switch {
	case name == "pre_revenue":
		o.sum(name, "value_micros", before)
		value = "coalesce(pre_revenue, 0)"
	case name == "pre_orders":
		o.count(name, before)
		value = "coalesce(pre_orders, 0)"
	case strings.HasSuffix(name, "_missing"):
		value = "CASE WHEN f." + quoteName(strings.TrimSuffix(name, "_missing")) + " IS NULL THEN 1 ELSE 0 END"
	default: // scores are integers in parts per million, so that engines agree
		value = "coalesce(round(f." + quoteName(name) + " * 1000000), 0)"
	}
	o.values = append(o.values, o.d.integer(value)+fmt.Sprintf(" AS c%d", i))
}
