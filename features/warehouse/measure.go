package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// timeLiteral is a SQL timestamp in UTC with microseconds.
func timeLiteral(t time.Time) string {
	if t.IsZero() {
		return "TIMESTAMP '1970-01-01 00:00:00'"
	}
	return "TIMESTAMP '" + t.UTC().Format("2006-01-02 15:04:05.000000") + "'"
}

// outcomeQuery makes one row of integers per exposed unit: m0, m1, … the metrics, c0, c1, … the covariates, and the parts of profit.
func (e *Engine) outcomeQuery(d Dialect, p *MetricPlan, covariates []string) string {
	var aggregates, values []string
	horizon := span(p.HorizonDays)
	furthest, past := p.HorizonDays, 0
	orderIn := "event = 'Order Completed' AND dt >= 0 AND dt < " + horizon
	aggregates = append(aggregates,
		d.integer(fmt.Sprintf("coalesce(sum(value_micros) FILTER (WHERE %s), 0)", orderIn))+" AS revenue",
		fmt.Sprintf("count(*) FILTER (WHERE %s) AS orders", orderIn),
		d.integer(fmt.Sprintf("coalesce(sum(margin) FILTER (WHERE %s), 0)", orderIn))+" AS margin",
		d.integer(fmt.Sprintf("coalesce(sum(discount_micros) FILTER (WHERE %s), 0)", orderIn))+" AS discount",
		d.integer(fmt.Sprintf("coalesce(sum(commission_micros) FILTER (WHERE %s), 0)", orderIn))+" AS commission",
		d.integer(fmt.Sprintf("coalesce(sum(cost_micros) FILTER (WHERE dt < %s AND (dt >= 0 OR ours)), 0)", horizon))+" AS contact",
		fmt.Sprintf("count(*) FILTER (WHERE %s AND margin_micros IS NULL) AS estimated", orderIn),
		fmt.Sprintf("count(*) FILTER (WHERE event NOT IN (%s)) AS acts", texts(passive)),
		"max_by(channel, row(dt, event_id)) FILTER (WHERE dt < 0 AND channel IS NOT NULL) AS channel")
	for i, c := range p.coupons() {
		aggregates = append(aggregates, fmt.Sprintf("count(*) FILTER (WHERE %s AND coupon_id = %s) AS q%d", orderIn, quoteText(c), i))
	}
	for i := range p.Metrics {
		m := &p.Metrics[i]
		days := p.window(m)
		furthest = max(furthest, p.days(m))
		in := fmt.Sprintf("dt >= 0 AND dt < %s", span(days))
		var value string
		switch m.Kind {
		case "profit":
			value = "coalesce(margin, 0) - coalesce(refund_margin, 0) - coalesce(commission, 0) - coalesce(contact, 0)"
		case "novelty":
			half := int64(days) * 43_200_000_000
			aggregates = append(aggregates, d.integer(fmt.Sprintf("coalesce(sum(CASE WHEN dt < %d THEN value_micros ELSE -value_micros END) FILTER (WHERE %s AND %s), 0)", half, m.where(m.event()), in))+fmt.Sprintf(" AS a%d", i))
			value = fmt.Sprintf("coalesce(a%d, 0)", i)
		case "retention":
			aggregates = append(aggregates, fmt.Sprintf("max(CASE WHEN event NOT IN (%s) AND dt >= %s AND dt < %s THEN 1 ELSE 0 END) AS a%d", texts(passive), span(m.Day), span(m.Day+1), i))
			value = fmt.Sprintf("coalesce(a%d, 0)", i)
		case "funnel":
			var steps []string
			steps, value = m.funnel(d, i, days)
			aggregates = append(aggregates, steps...)
		default:
			if m.event() == features.OrderRefunded && len(m.Filter) == 0 { // the refunds of the window's orders
				value = "coalesce(refund_value, 0)"
				if m.Field == "" {
					value = "coalesce(refunds, 0)"
				} else if m.Field == "margin" {
					value = "coalesce(refund_margin, 0)"
				}
			} else {
				what := "count(*)"
				if m.Field != "" && m.Kind != "proportion" {
					column := amountFields[m.Field]
					if m.Field == "margin" && m.event() == features.OrderCompleted {
						column = "margin"
					}
					what = "sum(" + column + ")"
				}
				aggregates = append(aggregates, d.integer(fmt.Sprintf("coalesce(%s FILTER (WHERE %s AND %s), 0)", what, m.where(m.event()), in))+fmt.Sprintf(" AS a%d", i))
				value = fmt.Sprintf("coalesce(a%d, 0)", i)
			}
			if m.Kind == "proportion" {
				value = fmt.Sprintf("CASE WHEN %s >= %d THEN 1 ELSE 0 END", value, max(1, m.MinEvents))
			}
		}
		if m.CapMicros > 0 {
			value = fmt.Sprintf("least(%s, %d)", value, m.CapMicros)
		}
		values = append(values, d.integer(value)+fmt.Sprintf(" AS m%d", i))
	}
	for i, c := range covariates {
		var value string
		switch {
		case c == "pre_revenue":
			aggregates = append(aggregates, d.integer(fmt.Sprintf("coalesce(sum(value_micros) FILTER (WHERE event = 'Order Completed' AND dt < 0 AND dt >= -%s), 0)", horizon))+" AS pre_revenue")
			value, past = "coalesce(pre_revenue, 0)", p.HorizonDays
		case c == "pre_orders":
			aggregates = append(aggregates, fmt.Sprintf("count(*) FILTER (WHERE event = 'Order Completed' AND dt < 0 AND dt >= -%s) AS pre_orders", horizon))
			value, past = "coalesce(pre_orders, 0)", p.HorizonDays
		case strings.HasSuffix(c, "_missing"):
			value = "CASE WHEN f." + quoteName(strings.TrimSuffix(c, "_missing")) + " IS NULL THEN 1 ELSE 0 END"
		default: // scores are integers in parts per million, so that engines agree
			value = "coalesce(round(f." + quoteName(c) + " * 1000000), 0)"
		}
		values = append(values, d.integer(value)+fmt.Sprintf(" AS c%d", i))
	}
	segment := "CAST('' AS VARCHAR)"
	switch p.SegmentBy {
	case "":
	case "channel":
		segment, past = "coalesce(a.channel, '')", max(past, 365)
	default:
		segment = "coalesce(CAST(f." + p.SegmentBy + " AS VARCHAR), '')"
	}
	join := ""
	if p.Frozen != "" {
		join = "\n LEFT JOIN frozen f ON f.user_id = u.unit"
	}
	if past == 0 {
		past = 1 // contacts that name the experiment count from the assignment, which may come before the exposure
	}
	asOf := timeLiteral(p.AsOf)
	return fmt.Sprintf(`WITH near AS (SELECT u.unit, e.event, e.event_id, %[16]s - u.t0 AS dt, e.order_id, e.value_micros, %[1]s AS margin, e.margin_micros, e.discount_micros, e.platform_discount_micros,
  e.commission_micros, %[13]s AS cost_micros, e.category, e.channel, e.product_id, e.coupon_id, e.currency, e.session_id,
  e.event = 'Message Sent' AND e.ts >= %[2]s AND coalesce(%[17]s, '') = %[3]s AS ours
 FROM events e JOIN unit u ON e.user_id = u.unit WHERE e.ts <= %[4]s AND e.available_at <= %[4]s),
bought AS (SELECT unit, order_id, sum(value_micros) AS value, sum(margin) AS margin FROM near WHERE %[5]s AND order_id IS NOT NULL GROUP BY unit, order_id),
back AS (SELECT unit, order_id, count(*) AS refunds, coalesce(sum(value_micros), 0) AS value, coalesce(sum(margin_micros), 0) AS margin,
  coalesce(sum(value_micros) FILTER (WHERE margin_micros IS NULL), 0) AS bare
 FROM near WHERE event = 'Order Refunded' AND order_id IS NOT NULL AND dt >= 0 AND dt < %[6]s GROUP BY unit, order_id),
refund AS (SELECT b.unit, %[18]s AS refunds, %[19]s AS refund_value, %[20]s AS refund_margin
 FROM bought b JOIN back r ON r.unit = b.unit AND r.order_id = b.order_id GROUP BY b.unit),
agg AS (SELECT unit, %[7]s
 FROM near WHERE dt >= -%[8]s AND dt < %[9]s OR ours GROUP BY unit)
SELECT u.unit, u.t0, u.day, u.variant, u.stratum, %[10]s AS segment, coalesce(revenue, 0) AS revenue, coalesce(orders, 0) AS orders, coalesce(margin, 0) AS margin,
  coalesce(discount, 0) AS discount, coalesce(commission, 0) AS commission, coalesce(contact, 0) AS contact, coalesce(refund_value, 0) AS refund_value, coalesce(refund_margin, 0) AS refund_margin,
  coalesce(estimated, 0) AS estimated, coalesce(acts, 0) AS acts, %[14]s AS redeemed, %[15]s AS leaked%[11]s
 FROM unit u LEFT JOIN agg a ON a.unit = u.unit LEFT JOIN refund r ON r.unit = u.unit%[12]s`,
		e.orderMargin(d), timeLiteral(p.Start), quoteText(p.Experiment), asOf, orderIn, span(p.HorizonDays+p.RefundMaturityDays),
		strings.Join(aggregates, ",\n  "), span(past), span(furthest), segment, prefixed(values), join, p.cost(), p.redeemed(true), p.redeemed(false),
		d.microsOf("e.ts"), d.text("e.properties", "experiment"), d.integer("sum(r.refunds)"), d.integer("sum(r.value)"),
		d.integer("sum(r.margin + CASE WHEN b.value = 0 THEN 0 ELSE "+d.divide("("+d.exact("b.margin")+" * r.bare)", "b.value")+" END)"))
}

func prefixed(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return ",\n  " + strings.Join(list, ",\n  ")
}

// Measure answers a plan in one pass over the snapshot: the first exposure of every unit, one row of integers per unit, and exact sums of
// them by variant, stratum and segment. Only units whose window is over at p.AsOf enter the sums.
func (e *Engine) Measure(ctx context.Context, snap *lake.Snapshot, p MetricPlan) (*Measured, error) {
	if p.RefundMaturityDays == 0 {
		p.RefundMaturityDays = e.maturityDays()
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	r, err := e.people(ctx, snap, p.AsOf.Add(time.Microsecond))
	if err != nil {
		return nil, fmt.Errorf("measure %s: %w", p.Experiment, err)
	}
	defer r.done()
	m := &Measured{TwoArm: map[string]int64{}, ExposedBy: map[string]map[string]int64{}, Waterfall: map[string]map[string]int64{}, Health: newHealth()}
	if err := e.measure(ctx, measuring{r}, &p, m); err != nil {
		return nil, fmt.Errorf("measure %s: %w", p.Experiment, err)
	}
	m.SQL = r.statements()
	return m, nil
}

// measuring is a runner on which an experiment is measured.
type measuring struct{ runner }

func (e *Engine) measure(ctx context.Context, s measuring, p *MetricPlan, m *Measured) error {
	if err := s.units(ctx, p); err != nil {
		return err
	}
	if err := s.exposed(ctx, m); err != nil {
		return err
	}
	if err := e.outcome(ctx, s, p, m); err != nil {
		return err
	}
	for _, part := range []func(context.Context, *MetricPlan, *Measured) error{s.totals, s.sums, s.quantiles, s.capped, s.soundness, s.dimensions, s.interactions} {
		if err := part(ctx, p, m); err != nil {
			return err
		}
	}
	return nil
}

// units makes the relations of who met the experiment.
func (s measuring) units(ctx context.Context, p *MetricPlan) error {
	if err := s.keep(ctx, "met", p.unitQuery(s.dialect())); err != nil {
		return err
	}
	return s.view(ctx, "unit", units)
}

// outcome makes the relation of one row per exposed unit.
func (e *Engine) outcome(ctx context.Context, s measuring, p *MetricPlan, m *Measured) error {
	if p.Frozen != "" {
		if err := s.attach(ctx, "frozen", p.Frozen); err != nil {
			return err
		}
	}
	for _, c := range p.Covariates {
		m.Covariates = append(m.Covariates, c)
		if c != "pre_revenue" && c != "pre_orders" {
			m.Covariates = append(m.Covariates, c+"_missing")
		}
	}
	return s.keep(ctx, "outcome", e.outcomeQuery(s.dialect(), p, m.Covariates))
}

const exposedQuery = "SELECT CAST(day AS VARCHAR) AS day, stratum, variant, count(*) AS units, count(*) FILTER (WHERE two) AS two FROM unit GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"

// exposed counts the exposed units by stratum, variant and day.
func (s measuring) exposed(ctx context.Context, m *Measured) error {
	return s.each(ctx, exposedQuery, func(v []driver.Value) error {
		day, stratum, variant, units, two := v[0].(string), v[1].(string), v[2].(string), v[3].(int64), v[4].(int64)
		m.Exposed += units
		if m.ExposedBy[stratum] == nil {
			m.ExposedBy[stratum] = map[string]int64{}
		}
		m.ExposedBy[stratum][variant] += units
		m.ExposedByDay = append(m.ExposedByDay, DayCount{Day: day, Stratum: stratum, Variant: variant, Units: units})
		if two > 0 {
			m.TwoArm[variant] += two
		}
		return nil
	})
}

// totalsQuery sums the parts of profit of the matured units by variant.
func totalsQuery(d Dialect, p *MetricPlan) string {
	columns := ""
	for _, x := range []string{"revenue", "revenue - margin", "discount", "refund_margin", "refund_value", "commission", "contact", "margin - refund_margin - commission - contact"} {
		columns += ", " + d.integer("sum("+x+")")
	}
	asOf := p.AsOf.UnixMicro()
	return fmt.Sprintf("SELECT variant, count(*) AS units%s, count(*) FILTER (WHERE orders > 0 AND t0 + %s > %d) AS refunds_open FROM outcome WHERE t0 + %s <= %d GROUP BY variant ORDER BY variant",
		columns, span(p.HorizonDays+p.RefundMaturityDays), asOf, span(p.HorizonDays), asOf)
}

// totals reads the waterfall of the matured units and whether their refunds are still open.
func (s measuring) totals(ctx context.Context, p *MetricPlan, m *Measured) error {
	names := []string{"revenue", "cost_of_goods", "discount", "refunds", "refunded", "commission", "contact", "profit"}
	return s.each(ctx, totalsQuery(s.dialect(), p), func(v []driver.Value) error {
		m.Matured += v[1].(int64)
		w := map[string]int64{}
		for i, name := range names {
			w[name] = v[i+2].(int64)
		}
		m.Waterfall[v[0].(string)] = w
		m.RefundsOpen = m.RefundsOpen || v[10].(int64) > 0
		return nil
	})
}

// sumsQuery sums Σ, Σ² and the co-moments of the plan's metric i with k covariates in every cell.
func sumsQuery(d Dialect, p *MetricPlan, i, k int) string {
	x := &p.Metrics[i]
	over := slices.IndexFunc(p.Metrics, func(o Metric) bool { return o.Key == x.Denominator })
	days := p.days(x)
	if x.Kind == "ratio" {
		days = max(days, p.days(&p.Metrics[over]))
	}
	value := d.exact(fmt.Sprintf("m%d", i))
	columns := []string{"variant", "stratum", "segment", "CAST(" + d.plus("day", days) + " AS VARCHAR) AS matured", "count(*) AS n"}
	sum := func(expr string) { columns = append(columns, "sum("+expr+")") }
	sum(value)
	sum(value + " * " + value)
	denominator := ""
	if x.Kind == "ratio" {
		denominator = d.exact(fmt.Sprintf("m%d", over))
		sum(denominator)
		sum(denominator + " * " + denominator)
		sum(value + " * " + denominator)
	}
	for a := range k {
		c := d.exact(fmt.Sprintf("c%d", a))
		sum(c)
		sum(value + " * " + c)
		if denominator != "" {
			sum(denominator + " * " + c)
		}
		for b := a; b < k; b++ {
			sum(fmt.Sprintf("%s * c%d", c, b))
		}
	}
	return fmt.Sprintf("SELECT %s FROM outcome WHERE t0 + %s <= %d GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4", strings.Join(columns, ", "), span(days), p.AsOf.UnixMicro())
}

// sums reads the sums of every metric. The cells are summed up in Go over segments and days, which is exact.
func (s measuring) sums(ctx context.Context, p *MetricPlan, m *Measured) error {
	k := len(m.Covariates)
	for i := range p.Metrics {
		if p.Metrics[i].Kind == "quantile" {
			continue
		}
		cells := newCells(&p.Metrics[i], k, p.SegmentBy != "", p.ByDay)
		if err := s.each(ctx, sumsQuery(s.dialect(), p, i, k), cells.add); err != nil {
			return err
		}
		m.Sums = append(m.Sums, cells.list()...)
	}
	return nil
}
