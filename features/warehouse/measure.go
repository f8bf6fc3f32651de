package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
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
func (e *Engine) outcomeQuery(p *MetricPlan, covariates []string) string {
	var aggregates, values []string
	horizon := span(p.HorizonDays)
	furthest, past := p.HorizonDays, 0
	orderIn := "event = 'Order Completed' AND dt >= 0 AND dt < " + horizon
	aggregates = append(aggregates,
		fmt.Sprintf("coalesce(sum(value_micros) FILTER (WHERE %s), 0)::BIGINT AS revenue", orderIn),
		fmt.Sprintf("count(*) FILTER (WHERE %s) AS orders", orderIn),
		fmt.Sprintf("coalesce(sum(margin) FILTER (WHERE %s), 0)::BIGINT AS margin", orderIn),
		fmt.Sprintf("coalesce(sum(discount_micros) FILTER (WHERE %s), 0)::BIGINT AS discount", orderIn),
		fmt.Sprintf("coalesce(sum(commission_micros) FILTER (WHERE %s), 0)::BIGINT AS commission", orderIn),
		fmt.Sprintf("coalesce(sum(cost_micros) FILTER (WHERE dt < %s AND (dt >= 0 OR ours)), 0)::BIGINT AS contact", horizon),
		fmt.Sprintf("count(*) FILTER (WHERE %s AND margin_micros IS NULL) AS estimated", orderIn),
		fmt.Sprintf("count(*) FILTER (WHERE event NOT IN (%s)) AS acts", texts(passive)),
		"arg_max(channel, (dt, event_id)) FILTER (WHERE dt < 0 AND channel IS NOT NULL) AS channel")
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
			aggregates = append(aggregates, fmt.Sprintf("coalesce(sum(CASE WHEN dt < %d THEN value_micros ELSE -value_micros END) FILTER (WHERE %s AND %s), 0)::BIGINT AS a%d", half, m.where(m.event()), in, i))
			value = fmt.Sprintf("coalesce(a%d, 0)", i)
		case "retention":
			aggregates = append(aggregates, fmt.Sprintf("max(CASE WHEN event NOT IN (%s) AND dt >= %s AND dt < %s THEN 1 ELSE 0 END) AS a%d", texts(passive), span(m.Day), span(m.Day+1), i))
			value = fmt.Sprintf("coalesce(a%d, 0)", i)
		case "funnel":
			aggregates = append(aggregates, m.funnel(i, days))
			value = fmt.Sprintf("coalesce(a%d, 0)", i)
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
				aggregates = append(aggregates, fmt.Sprintf("coalesce(%s FILTER (WHERE %s AND %s), 0)::BIGINT AS a%d", what, m.where(m.event()), in, i))
				value = fmt.Sprintf("coalesce(a%d, 0)", i)
			}
			if m.Kind == "proportion" {
				value = fmt.Sprintf("CASE WHEN %s >= %d THEN 1 ELSE 0 END", value, max(1, m.MinEvents))
			}
		}
		if m.CapMicros > 0 {
			value = fmt.Sprintf("least(%s, %d)", value, m.CapMicros)
		}
		values = append(values, fmt.Sprintf("(%s)::BIGINT AS m%d", value, i))
	}
	for i, c := range covariates {
		var value string
		switch {
		case c == "pre_revenue":
			aggregates = append(aggregates, fmt.Sprintf("coalesce(sum(value_micros) FILTER (WHERE event = 'Order Completed' AND dt < 0 AND dt >= -%s), 0)::BIGINT AS pre_revenue", horizon))
			value, past = "coalesce(pre_revenue, 0)", p.HorizonDays
		case c == "pre_orders":
			aggregates = append(aggregates, fmt.Sprintf("count(*) FILTER (WHERE event = 'Order Completed' AND dt < 0 AND dt >= -%s) AS pre_orders", horizon))
			value, past = "coalesce(pre_orders, 0)", p.HorizonDays
		case strings.HasSuffix(c, "_missing"):
			value = "CASE WHEN f." + quoteName(strings.TrimSuffix(c, "_missing")) + " IS NULL THEN 1 ELSE 0 END"
		default: // scores are integers in parts per million, so that engines agree
			value = "coalesce(round(f." + quoteName(c) + " * 1000000), 0)"
		}
		values = append(values, fmt.Sprintf("(%s)::BIGINT AS c%d", value, i))
	}
	segment := "''"
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
	return fmt.Sprintf(`CREATE TEMP TABLE outcome AS
WITH near AS (SELECT u.unit, e.event, e.event_id, epoch_us(e.ts) - u.t0 AS dt, e.order_id, e.value_micros, %[1]s AS margin, e.margin_micros, e.discount_micros, e.platform_discount_micros,
  e.commission_micros, %[13]s AS cost_micros, e.category, e.channel, e.product_id, e.coupon_id, e.currency, e.session_id,
  e.event = 'Message Sent' AND e.ts >= %[2]s AND coalesce(json_extract_string(e.properties, '$.experiment'), '') = %[3]s AS ours
 FROM events e JOIN unit u ON e.user_id = u.unit WHERE e.ts <= %[4]s AND e.available_at <= %[4]s),
bought AS (SELECT unit, order_id, sum(value_micros) AS value, sum(margin) AS margin FROM near WHERE %[5]s AND order_id IS NOT NULL GROUP BY unit, order_id),
back AS (SELECT unit, order_id, count(*) AS refunds, coalesce(sum(value_micros), 0) AS value, coalesce(sum(margin_micros), 0) AS margin,
  coalesce(sum(value_micros) FILTER (WHERE margin_micros IS NULL), 0) AS bare
 FROM near WHERE event = 'Order Refunded' AND order_id IS NOT NULL AND dt >= 0 AND dt < %[6]s GROUP BY unit, order_id),
refund AS (SELECT b.unit, sum(r.refunds)::BIGINT AS refunds, sum(r.value)::BIGINT AS refund_value,
  sum(r.margin + CASE WHEN b.value = 0 THEN 0 ELSE b.margin::HUGEINT * r.bare // b.value END)::BIGINT AS refund_margin
 FROM bought b JOIN back r ON r.unit = b.unit AND r.order_id = b.order_id GROUP BY b.unit),
agg AS (SELECT unit, %[7]s
 FROM near WHERE dt >= -%[8]s AND dt < %[9]s OR ours GROUP BY unit)
SELECT u.unit, u.t0, u.day, u.variant, u.stratum, %[10]s AS segment, coalesce(revenue, 0) AS revenue, coalesce(orders, 0) AS orders, coalesce(margin, 0) AS margin,
  coalesce(discount, 0) AS discount, coalesce(commission, 0) AS commission, coalesce(contact, 0) AS contact, coalesce(refund_value, 0) AS refund_value, coalesce(refund_margin, 0) AS refund_margin,
  coalesce(estimated, 0) AS estimated, coalesce(acts, 0) AS acts, %[14]s AS redeemed, %[15]s AS leaked%[11]s
 FROM unit u LEFT JOIN agg a ON a.unit = u.unit LEFT JOIN refund r ON r.unit = u.unit%[12]s`,
		e.orderMargin(), timeLiteral(p.Start), quoteText(p.Experiment), asOf, orderIn, span(p.HorizonDays+p.RefundMaturityDays),
		strings.Join(aggregates, ",\n  "), span(past), span(furthest), segment, prefixed(values), join, p.cost(), p.redeemed(true), p.redeemed(false))
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
	s, err := e.read(ctx, snap)
	if err != nil {
		return nil, fmt.Errorf("measure %s: %w", p.Experiment, err)
	}
	defer s.done()
	m := &Measured{TwoArm: map[string]int64{}, ExposedBy: map[string]map[string]int64{}, Waterfall: map[string]map[string]int64{}, Health: newHealth()}
	if err := e.measure(ctx, s, &p, m); err != nil {
		return nil, fmt.Errorf("measure %s: %w", p.Experiment, err)
	}
	m.SQL = s.sql
	return m, nil
}

func (e *Engine) measure(ctx context.Context, s *session, p *MetricPlan, m *Measured) error {
	for _, statement := range []string{p.unitQuery(), units} {
		if err := s.run(ctx, statement); err != nil {
			return err
		}
	}
	if err := s.exposed(ctx, m); err != nil {
		return err
	}
	done, err := e.outcome(ctx, s, p, m)
	if err != nil {
		return err
	}
	defer done()
	for _, part := range []func(context.Context, *MetricPlan, *Measured) error{s.totals, s.sums, s.quantiles, s.capped, s.soundness, s.dimensions, s.interactions} {
		if err := part(ctx, p, m); err != nil {
			return err
		}
	}
	return nil
}

// outcome makes the table of one row per exposed unit; done frees the scores that it joined.
func (e *Engine) outcome(ctx context.Context, s *session, p *MetricPlan, m *Measured) (done func(), err error) {
	done = func() {}
	if p.Frozen != "" {
		var path string
		if path, done, err = e.inside(p.Frozen); err != nil {
			return nil, err
		}
		if _, err := s.ExecContext(ctx, "CREATE TEMP VIEW frozen AS SELECT * FROM read_parquet("+quoteText(path)+")"); err != nil {
			done()
			return nil, err
		}
	}
	for _, c := range p.Covariates {
		m.Covariates = append(m.Covariates, c)
		if c != "pre_revenue" && c != "pre_orders" {
			m.Covariates = append(m.Covariates, c+"_missing")
		}
	}
	if err := s.run(ctx, e.outcomeQuery(p, m.Covariates)); err != nil {
		done()
		return nil, err
	}
	return done, nil
}

// run executes a statement and keeps its text for the reader.
func (s *session) run(ctx context.Context, statement string) error {
	s.sql = append(s.sql, statement)
	_, err := s.ExecContext(ctx, statement)
	return err
}

// exposed counts the exposed units by stratum, variant and day.
func (s *session) exposed(ctx context.Context, m *Measured) error {
	return s.each(ctx, "SELECT CAST(day AS VARCHAR) AS day, stratum, variant, count(*) AS units, count(*) FILTER (WHERE two) AS two FROM unit GROUP BY day, stratum, variant ORDER BY day, stratum, variant", func(v []driver.Value) error {
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

// totals reads the waterfall of the matured units and whether their refunds are still open.
func (s *session) totals(ctx context.Context, p *MetricPlan, m *Measured) error {
	asOf := p.AsOf.UnixMicro()
	query := fmt.Sprintf(`SELECT variant, count(*) AS units, sum(revenue)::BIGINT, sum(revenue - margin)::BIGINT AS cost_of_goods, sum(discount)::BIGINT, sum(refund_margin)::BIGINT AS refunds,
 sum(refund_value)::BIGINT AS refunded, sum(commission)::BIGINT, sum(contact)::BIGINT, sum(margin - refund_margin - commission - contact)::BIGINT AS profit,
 count(*) FILTER (WHERE orders > 0 AND t0 + %s > %d) AS open FROM outcome WHERE t0 + %s <= %d GROUP BY variant ORDER BY variant`,
		span(p.HorizonDays+p.RefundMaturityDays), asOf, span(p.HorizonDays), asOf)
	names := []string{"revenue", "cost_of_goods", "discount", "refunds", "refunded", "commission", "contact", "profit"}
	return s.each(ctx, query, func(v []driver.Value) error {
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

// sums reads Σ, Σ² and the co-moments of every metric. The cells are summed up in Go over segments and days, which is exact.
func (s *session) sums(ctx context.Context, p *MetricPlan, m *Measured) error {
	position := map[string]int{}
	for i, x := range p.Metrics {
		position[x.Key] = i
	}
	k := len(m.Covariates)
	for i := range p.Metrics {
		x := &p.Metrics[i]
		if x.Kind == "quantile" {
			continue
		}
		days := p.days(x)
		if x.Kind == "ratio" {
			days = max(days, p.days(&p.Metrics[position[x.Denominator]]))
		}
		value := fmt.Sprintf("m%d::HUGEINT", i)
		columns := []string{"variant", "stratum", "segment", fmt.Sprintf("CAST(day + %d AS VARCHAR) AS matured", days), "count(*) AS n"}
		sum := func(expr string) { columns = append(columns, "sum("+expr+")") }
		sum(value)
		sum(value + " * " + value)
		denominator := ""
		if x.Kind == "ratio" {
			denominator = fmt.Sprintf("m%d::HUGEINT", position[x.Denominator])
			sum(denominator)
			sum(denominator + " * " + denominator)
			sum(value + " * " + denominator)
		}
		for a := range k {
			c := fmt.Sprintf("c%d::HUGEINT", a)
			sum(c)
			sum(value + " * " + c)
			if denominator != "" {
				sum(denominator + " * " + c)
			}
			for b := a; b < k; b++ {
				sum(fmt.Sprintf("%s * c%d", c, b))
			}
		}
		query := fmt.Sprintf("SELECT %s FROM outcome WHERE t0 + %s <= %d GROUP BY variant, stratum, segment, matured ORDER BY variant, stratum, segment, matured",
			strings.Join(columns, ", "), span(days), p.AsOf.UnixMicro())
		cells := newCells(x, k, p.SegmentBy != "", p.ByDay)
		if err := s.each(ctx, query, cells.add); err != nil {
			return err
		}
		m.Sums = append(m.Sums, cells.list()...)
	}
	return nil
}
