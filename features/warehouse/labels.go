package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// marginPPM is the shop's margin rate in parts per million: SQL sees integers only.
func (e *Engine) marginPPM() int64 { return int64(math.Round(e.o.Shop.MarginRate * 1e6)) }

// maturityDays is how long refunds are waited for after a window.
func (e *Engine) maturityDays() int {
	if e.o.Shop.RefundMaturityDays > 0 {
		return e.o.Shop.RefundMaturityDays
	}
	return 15
}

// orderMargin is the margin of an order row in micros: as it was sent, or estimated as (value + discount) × rate − discount (CONTRACT §3), cut towards
// zero. The rate is in parts per million: a·r/10⁶ is (a÷10⁶)·r + (a mod 10⁶)·r÷10⁶, in 64 bits.
func (e *Engine) orderMargin(d Dialect) string {
	price := "(coalesce(value_micros, 0) + coalesce(discount_micros, 0))"
	rate := fmt.Sprint(e.marginPPM())
	return "coalesce(margin_micros, " + d.integer(d.divide(price, "1000000")+" * "+rate+" + "+d.divide("(mod("+price+", 1000000) * "+rate+")", "1000000")+" - coalesce(discount_micros, 0)") + ")"
}

// labelQuery sums the orders of a window and the refunds of those orders; `want` holds the users and their positions.
func (e *Engine) labelQuery(d Dialect, asOf features.Day, horizonDays int, notAfter features.Day) string {
	end := asOf + features.Day(horizonDays)
	open := end + features.Day(e.maturityDays())
	bound := ""
	if notAfter != 0 {
		bound = " AND known_day < " + dayLiteral(notAfter)
	}
	sum := func(expr string) string { return d.integer("coalesce(sum(" + expr + "), 0)") }
	part := d.integer(d.divide("("+d.exact("o.margin")+" * r.bare)", "o.value"))
	return fmt.Sprintf(`WITH o AS (SELECT user_id, order_id, count(*) AS orders, %[6]s AS value, %[1]s AS margin, count(margin_micros) AS own
 FROM events WHERE event = 'Order Completed' AND biz_day >= %[2]s AND biz_day < %[3]s%[5]s AND user_id IN (SELECT user_id FROM want) GROUP BY user_id, order_id),
r AS (SELECT user_id, order_id, %[6]s AS value, %[7]s AS margin, %[8]s AS bare
 FROM events WHERE event = 'Order Refunded' AND biz_day >= %[2]s AND biz_day < %[4]s AND known_day < %[4]s%[5]s AND order_id IS NOT NULL GROUP BY user_id, order_id),
n AS (SELECT o.user_id, o.orders, o.own, o.value, coalesce(r.value, 0) AS refunded,
 o.margin - coalesce(r.margin, 0) - CASE WHEN coalesce(r.bare, 0) = 0 OR o.value = 0 THEN 0 ELSE %[9]s END AS margin
 FROM o LEFT JOIN r ON r.user_id = o.user_id AND r.order_id = o.order_id)
SELECT w.position, %[10]s AS orders, %[11]s AS own, %[12]s AS value, %[13]s AS refunded, %[14]s AS margin FROM n JOIN want w ON w.user_id = n.user_id GROUP BY w.position`,
		sum(e.orderMargin(d)), dayLiteral(asOf), dayLiteral(end), dayLiteral(open), bound, sum("value_micros"), sum("margin_micros"),
		d.integer("coalesce(sum(value_micros) FILTER (WHERE margin_micros IS NULL), 0)"), part, sum("n.orders"), sum("n.own"), sum("n.value"), sum("n.refunded"), sum("n.margin"))
}

// Labels returns the labels of users (in their order) for [asOf, asOf+horizonDays). It errs with *ImmatureError when the window is not over.
// Only facts known before the day notAfter count; 0 means all. A refund counts when it names one of the window's orders and was known within
// the shop's refund maturity after the window.
func (e *Engine) Labels(ctx context.Context, snap *lake.Snapshot, users []string, asOf features.Day, horizonDays int, notAfter features.Day) (*Labels, error) {
	if horizonDays <= 0 {
		return nil, &features.InvalidError{Field: "horizon", Reason: "must be at least 1d"}
	}
	var before time.Time
	if notAfter != 0 {
		before = e.o.Shop.Midnight(notAfter)
	}
	r, err := e.people(ctx, snap, before)
	if err != nil {
		return nil, fmt.Errorf("labels as of %s: %w", asOf, err)
	}
	defer r.done()
	complete, err := dayOf(ctx, r, dataDayQuery(r.dialect(), e.o.Shop.DayOf(e.now())))
	if err != nil {
		return nil, fmt.Errorf("labels as of %s: %w", asOf, err)
	}
	if notAfter != 0 {
		complete = min(complete, notAfter-1)
	}
	if end := asOf + features.Day(horizonDays); end > complete+1 {
		return nil, &ImmatureError{AsOf: asOf, HorizonDays: horizonDays, DataDay: complete, MatureOn: end}
	}
	l := &Labels{Orders: make([]int64, len(users)), Revenue: make([]features.Micros, len(users)), Refunds: make([]features.Micros, len(users)), Margin: make([]features.Micros, len(users))}
	if len(snap.Links) > 0 { // who was a user at the cut may be known as another one since
		now := features.NewPeople(snap.Links, before)
		users = slices.Clone(users)
		for i := range users {
			users[i] = now.Root(users[i])
		}
	}
	if err := r.load(ctx, "want", "user_id VARCHAR, position BIGINT", eachPosition(users)); err != nil {
		return nil, fmt.Errorf("labels as of %s: %w", asOf, err)
	}
	var orders, own int64
	err = r.rows(ctx, e.labelQuery(r.dialect(), asOf, horizonDays, notAfter), "1", func(v []driver.Value) error {
		i := v[0].(int64)
		l.Orders[i], l.Revenue[i], l.Refunds[i], l.Margin[i] = v[1].(int64), features.Micros(v[3].(int64)), features.Micros(v[4].(int64)), features.Micros(v[5].(int64))
		orders, own = orders+v[1].(int64), own+v[2].(int64)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("labels as of %s: %w", asOf, err)
	}
	if orders > 0 {
		l.MarginShare = float64(own) / float64(orders)
	}
	return l, nil
}

// eachPosition gives the rows of `want`.
func eachPosition(users []string) func(row func(...driver.Value) error) error {
	return func(row func(...driver.Value) error) error {
		for i, u := range users {
			if err := row(u, int64(i)); err != nil {
				return err
			}
		}
		return nil
	}
}

// now is the shop's clock.
func (e *Engine) now() time.Time {
	if e.o.Now != nil {
		return e.o.Now()
	}
	return time.Now()
}
