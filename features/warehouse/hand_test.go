package warehouse

import (
	"context"
	"fmt"
	"math"
	"strings"

	"perennial/features"
	"perennial/features/lake"
)

// HandQuery is 45 columns of the default catalog written by hand, one statement over raw events: what BenchmarkRawCompiled is compared with, and a second
// author's answer to the same question.
func HandQuery(asOf features.Day, shop features.Shop) string {
	cut := shop.Midnight(asOf).UnixMicro()
	days := func(n int) string { return dayLiteral(asOf - features.Day(n)) }
	var w strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&w, format+"\n", args...) }
	line(`WITH tile AS (SELECT user_id, biz_day,
 count(*) FILTER (WHERE event NOT IN ('Experiment Viewed', 'Message Sent', 'Promotion Viewed', 'Identity Linked')) AS events,
 count(*) FILTER (WHERE event = 'Order Completed') AS orders,
 coalesce(sum(value_micros) FILTER (WHERE event = 'Order Completed'), 0)::BIGINT AS revenue,
 max(value_micros) FILTER (WHERE event = 'Order Completed') AS max_order,
 coalesce(sum(discount_micros) FILTER (WHERE event = 'Order Completed'), 0)::BIGINT AS discount,
 count(*) FILTER (WHERE event = 'Order Completed' AND discount_micros > 0) AS discounted,
 count(*) FILTER (WHERE event = 'Order Completed' AND coalesce(coupon_id, '') <> '') AS coupons,
 min(epoch_us(ts)) FILTER (WHERE event = 'Order Completed') AS first_order,
 max(epoch_us(ts)) FILTER (WHERE event = 'Order Completed') AS last_order,
 count(*) FILTER (WHERE event = 'Order Refunded') AS refunds,
 coalesce(sum(value_micros) FILTER (WHERE event = 'Order Refunded'), 0)::BIGINT AS refunded,
 count(*) FILTER (WHERE event = 'Session Started') AS sessions,
 count(*) FILTER (WHERE event = 'Product Viewed') AS views,
 count(*) FILTER (WHERE event = 'Product Added') AS carts,
 max(epoch_us(ts)) FILTER (WHERE event NOT IN ('Experiment Viewed', 'Message Sent', 'Promotion Viewed', 'Identity Linked')) AS last_seen
 FROM events WHERE biz_day < %s AND known_day < %s AND user_id <> '' GROUP BY user_id, biz_day),`, dayLiteral(asOf), dayLiteral(asOf))
	line(`gap AS (SELECT user_id, biz_day, lag(biz_day) OVER (PARTITION BY user_id ORDER BY biz_day) AS previous, revenue FROM tile WHERE orders > 0),`)
	line(`rhythm AS (SELECT user_id, count(*) AS order_days, count(*) FILTER (WHERE biz_day >= %s) AS order_days_365d, min(biz_day) AS first_day, max(biz_day) AS last_day, max_by(previous, biz_day) AS previous_day,
 min_by(revenue, biz_day) AS first_revenue, max(biz_day - previous) AS longest_gap, sum((biz_day - previous) * (biz_day - previous))::BIGINT AS squares FROM gap GROUP BY user_id),`, days(365))
	line(`total AS (SELECT user_id`)
	for _, n := range []int{7, 30, 90, 180, 365} {
		line(`, coalesce(sum(orders) FILTER (WHERE biz_day >= %[1]s), 0)::BIGINT AS orders_%[2]dd, coalesce(sum(revenue) FILTER (WHERE biz_day >= %[1]s), 0)::BIGINT AS revenue_%[2]dd`, days(n), n)
	}
	for _, n := range []int{7, 30, 90} {
		line(`, coalesce(sum(sessions) FILTER (WHERE biz_day >= %s), 0)::BIGINT AS sessions_%dd`, days(n), n)
	}
	line(`, sum(orders)::BIGINT AS orders_all, sum(revenue)::BIGINT AS revenue_all, sum(discount)::BIGINT AS discount_all, max(max_order) AS max_order_all,
 min(first_order) AS first_order, max(last_order) AS last_order, sum(refunds)::BIGINT AS refunds_all, sum(refunded)::BIGINT AS refunded_all,
 sum(discounted)::BIGINT AS discounted_all, sum(coupons)::BIGINT AS coupon_orders_all, coalesce(sum(coupons) FILTER (WHERE biz_day >= %[2]s), 0)::BIGINT AS coupon_orders_90d,
 coalesce(sum(refunds) FILTER (WHERE biz_day >= %[2]s), 0)::BIGINT AS refunds_90,
 coalesce(sum(views) FILTER (WHERE biz_day >= %[3]s), 0)::BIGINT AS views_30d, coalesce(sum(carts) FILTER (WHERE biz_day >= %[3]s), 0)::BIGINT AS carts_30d,
 coalesce(sum(revenue) FILTER (WHERE biz_day >= %[1]s AND biz_day < %[2]s), 0)::BIGINT AS revenue_prev90, coalesce(sum(orders) FILTER (WHERE biz_day >= %[1]s AND biz_day < %[2]s), 0)::BIGINT AS orders_prev90,
 count(*) FILTER (WHERE events > 0 AND biz_day >= %[3]s) AS active_days_30, count(*) FILTER (WHERE events > 0 AND biz_day >= %[2]s) AS active_days_90, max(last_seen) AS last_seen FROM tile GROUP BY user_id)`,
		days(180), days(90), days(30))
	line(`SELECT t.user_id`)
	for _, n := range []int{7, 30, 90, 180, 365} {
		line(`, orders_%dd`, n)
	}
	line(`, orders_all`)
	for _, n := range []int{7, 30, 90, 180, 365} {
		line(`, revenue_%[1]dd / 1e6 AS revenue_%[1]dd`, n)
	}
	line(`, revenue_all / 1e6 AS revenue_all, revenue_all / 1e6 / nullif(orders_all, 0) AS aov_all, max_order_all / 1e6 AS max_order_all,
 (%[1]d - last_order) / 864e8 AS recency_days, (%[1]d - first_order) / 864e8 AS tenure_days,
 order_days - 1 AS frequency, (last_day - first_day)::DOUBLE AS recency, (%[2]s - first_day)::DOUBLE AS "T",
 (revenue_all - first_revenue) / 1e6 / nullif(order_days - 1, 0) AS monetary,
 (last_order - first_order) / 864e8 / nullif(orders_all - 1, 0) AS ipt_mean,
 (%[1]d - last_order)::DOUBLE * (orders_all - 1) / nullif(last_order - first_order, 0) AS recency_ratio,
 (revenue_90d - revenue_prev90)::DOUBLE / nullif(revenue_90d + revenue_prev90, 0) AS trend_90,
 refunds_all, refunded_all::DOUBLE / nullif(revenue_all, 0) AS refund_share_all, discount_all::DOUBLE / nullif(revenue_all + discount_all, 0) AS discount_share_all,
 sessions_7d, sessions_30d, sessions_90d, active_days_30, (%[1]d - last_seen) / 864e8 AS inactive_days,
 order_days_365d, order_days AS order_days_all,
 CASE WHEN order_days > 2 THEN sqrt((squares - (last_day - first_day)::DOUBLE * (last_day - first_day) / (order_days - 1)) / (order_days - 2)) END AS ipt_sd, longest_gap AS longest_gap_days,
 (orders_90d - orders_prev90)::DOUBLE / nullif(orders_90d + orders_prev90, 0) AS orders_trend_90, coupon_orders_90d, coupon_orders_all,
 discounted_all::DOUBLE / nullif(orders_all, 0) AS discounted_share_all, refunds_90, (revenue_all - refunded_all) / 1e6 AS net_revenue_all, views_30d, carts_30d, active_days_90,
 %[3]s AS stage
 FROM total t JOIN rhythm r ON r.user_id = t.user_id WHERE orders_all > 0 ORDER BY t.user_id`, cut, dayLiteral(asOf), stageSQL(asOf))
	return w.String()
}

// CopyQuery writes the answer of a query over the relation events into a Parquet file.
func (e *Engine) CopyQuery(ctx context.Context, snap *lake.Snapshot, query, path string) error {
	s, err := e.read(ctx, snap)
	if err != nil {
		return err
	}
	defer s.done()
	_, err = s.copyTo(ctx, query, path)
	return err
}

// QueryTable returns the answer of a query over the relation events.
func (e *Engine) QueryTable(ctx context.Context, snap *lake.Snapshot, query string) (*features.Table, error) {
	s, err := e.read(ctx, snap)
	if err != nil {
		return nil, err
	}
	defer s.done()
	return s.table(ctx, query)
}

// stageSQL is the state machine of features.StageOf over last_day, previous_day, first_day, orders_all and orders_365d.
func stageSQL(asOf features.Day) string {
	r := features.DefaultStageRules()
	recency := "(" + dayLiteral(asOf) + " - last_day)"
	return fmt.Sprintf(`CASE WHEN coalesce(orders_all, 0) = 0 THEN 'prospect'
 WHEN %[1]s <= %[2]d AND last_day - previous_day > %[3]d THEN 'reactivated'
 WHEN %[1]s > %[4]d THEN 'lapsed'
 WHEN %[1]s > %[5]d OR (orders_all >= %[6]d AND %[1]s > %[2]d AND %[1]s * (orders_all - 1) * 1000 > %[7]d * (last_day - first_day)) OR (orders_all = 1 AND %[1]s > %[2]d) THEN 'declining'
 WHEN orders_365d >= %[8]d THEN 'loyal' WHEN orders_all >= 2 THEN 'active' ELSE 'new' END`,
		recency, r.NewDays, r.ReactivatedGapDays, r.LapsedDays, r.DecliningDays, r.RhythmOrders, int(math.Round(r.RhythmRatio*1000)), r.LoyalOrders)
}
