package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
	"sort"

	"perennial/features"
	"perennial/features/lake"
)

// EconomicsPlan asks for the business numbers of the days [From, To) as known before AsOf.
type EconomicsPlan struct {
	AsOf, From, To           features.Day
	AcquiredFrom, AcquiredTo features.Day    // first orders of the customers whose channels are judged
	HorizonDays              int             // how far after the first order their margin counts
	Costs                    []features.Cost // imported costs of [AcquiredFrom, AcquiredTo)
	RepeatDays               []int           // for RepeatWithin
	ReturnDays               int             // for Reactivation
}

// Economics computes the business numbers. SQL returns integers only; every ratio is formed here.
func (e *Engine) Economics(ctx context.Context, snap *lake.Snapshot, p EconomicsPlan) (*features.Economics, error) {
	if p.From >= p.To || p.To > p.AsOf || p.AcquiredFrom >= p.AcquiredTo || p.AcquiredTo > p.AsOf || p.HorizonDays < 1 {
		return nil, &features.InvalidError{Field: "to", Reason: fmt.Sprintf("needs from %s < to %s ≤ as_of %s", p.From, p.To, p.AsOf)}
	}
	s, err := e.readPeople(ctx, snap, e.o.Shop.Midnight(p.AsOf))
	if err != nil {
		return nil, fmt.Errorf("economics: %w", err)
	}
	defer s.done()
	r := &features.Economics{AsOf: p.AsOf.String(), From: p.From.String(), To: p.To.String(), Currency: e.o.Shop.Currency, AcquiredFrom: p.AcquiredFrom.String(), AcquiredTo: p.AcquiredTo.String(), LTVHorizonDays: p.HorizonDays,
		RepeatWithin: []features.RepeatWithin{}, Channels: []features.ChannelEconomics{}}
	for _, step := range []func(context.Context, *session, EconomicsPlan, *features.Economics) error{e.windowSums, e.repeats, e.reactivation, e.channels} {
		if err := step(ctx, s, p, r); err != nil {
			return nil, fmt.Errorf("economics: %w", err)
		}
	}
	return r, nil
}

// windowSums is what the users of the window did in it.
func (e *Engine) windowSums(ctx context.Context, s *session, p EconomicsPlan, r *features.Economics) error {
	text := fmt.Sprintf(`WITH u AS (SELECT user_id, count(*) FILTER (WHERE %[1]s) AS acts, count(*) FILTER (WHERE event = 'Order Completed') AS orders,
 coalesce(sum(value_micros) FILTER (WHERE event = 'Order Completed'), 0) AS revenue, count(*) FILTER (WHERE event = 'Order Completed' AND coalesce(coupon_id, '') <> '') AS coupons,
 count(*) FILTER (WHERE event = 'Order Refunded') AS refunds, coalesce(sum(value_micros) FILTER (WHERE event = 'Order Refunded'), 0) AS refunded
 FROM events WHERE %[2]s AND user_id <> '' AND biz_day >= %[3]s AND biz_day < %[4]s GROUP BY user_id)
SELECT count(*) FILTER (WHERE acts > 0), count(*) FILTER (WHERE orders > 0), count(*) FILTER (WHERE orders > 1), coalesce(sum(orders), 0)::BIGINT, coalesce(sum(revenue), 0)::BIGINT,
 coalesce(sum(coupons), 0)::BIGINT, coalesce(sum(refunds), 0)::BIGINT, coalesce(sum(refunded), 0)::BIGINT FROM u`, doing("any"), known(p.AsOf), dayLiteral(p.From), dayLiteral(p.To))
	return s.each(ctx, text, func(v []driver.Value) error {
		n := func(i int) int64 { return v[i].(int64) }
		r.ActiveUsers, r.Payers, r.Repeaters, r.Orders, r.Refunds = n(0), n(1), n(2), n(3), n(6)
		r.Revenue, r.Refunded = features.Micros(n(4)).Float64(), features.Micros(n(7)).Float64()
		r.ARPU, r.ARPPU, r.AOV = features.Ratio(r.Revenue, float64(n(0))), features.Ratio(r.Revenue, float64(n(1))), features.Ratio(r.Revenue, float64(n(3)))
		r.OrdersPerPayer, r.RepurchaseRate = features.Ratio(float64(n(3)), float64(n(1))), features.Ratio(float64(n(2)), float64(n(1)))
		r.RefundRate, r.RefundShare, r.CouponRate = features.Ratio(float64(n(6)), float64(n(3))), features.Ratio(r.Refunded, r.Revenue), features.Ratio(float64(n(5)), float64(n(3)))
		return nil
	})
}

// repeats counts how soon the window's first-time buyers ordered again; the second order may be on the same day.
func (e *Engine) repeats(ctx context.Context, s *session, p EconomicsPlan, r *features.Economics) error {
	gaps := map[features.Day]map[int]int64{} // first day → days to the second order (-1: none) → users
	text := fmt.Sprintf(`WITH o AS (SELECT user_id, (biz_day - DATE '1970-01-01') AS day, row_number() OVER (PARTITION BY user_id ORDER BY ts, event_id) AS nth
 FROM events WHERE event = 'Order Completed' AND %s AND user_id <> ''),
u AS (SELECT user_id, min(day) AS day0, max(day) FILTER (WHERE nth = 2) AS day1 FROM o WHERE nth <= 2 GROUP BY user_id)
SELECT day0, coalesce(day1 - day0, -1), count(*) FROM u WHERE day0 >= %d AND day0 < %d GROUP BY day0, coalesce(day1 - day0, -1)`, known(p.AsOf), p.From, p.To)
	put := countInto(gaps)
	err := s.each(ctx, text, func(v []driver.Value) error {
		day, err := number(v[0])
		if err != nil {
			return err
		}
		gap, err := number(v[1])
		if err != nil {
			return err
		}
		put(features.Day(day), int(gap), v[2].(int64))
		r.NewCustomers += v[2].(int64)
		return nil
	})
	for _, d := range p.RepeatDays {
		w := features.RepeatWithin{Days: d}
		for day, counts := range gaps {
			if day+features.Day(d) >= p.AsOf {
				continue
			}
			for gap, n := range counts {
				w.Users += n
				if gap >= 0 && gap <= d {
					w.Repeated += n
				}
			}
		}
		w.Rate = features.Ratio(float64(w.Repeated), float64(w.Users))
		r.RepeatWithin = append(r.RepeatWithin, w)
	}
	return err
}

// reactivation counts the lapsed of the newest day whose return window is over, and who of them ordered in it.
func (e *Engine) reactivation(ctx context.Context, s *session, p EconomicsPlan, r *features.Economics) error {
	at := p.To - features.Day(p.ReturnDays)
	program, stage, err := e.stageProgram()
	if err != nil {
		return err
	}
	q := &query{p: program, d: DuckDB, shop: e.o.Shop, cuts: []features.Day{at}, bare: true}
	text := fmt.Sprintf(`WITH l AS (SELECT user_id FROM (%s) q WHERE %s = 'lapsed'),
b AS (SELECT DISTINCT user_id FROM events WHERE event = 'Order Completed' AND %s AND biz_day >= %s AND biz_day < %s)
SELECT count(*), count(b.user_id) FROM l LEFT JOIN b ON b.user_id = l.user_id`, q.text(), stage, known(p.AsOf), dayLiteral(at), dayLiteral(p.To))
	r.Reactivation = features.Reactivation{At: at.String(), Days: p.ReturnDays}
	return s.each(ctx, text, func(v []driver.Value) error {
		r.Reactivation.Lapsed, r.Reactivation.Back = v[0].(int64), v[1].(int64)
		if r.Reactivation.Rate = features.Ratio(float64(r.Reactivation.Back), float64(r.Reactivation.Lapsed)); r.Reactivation.Rate == nil {
			r.Reactivation.Reason = "no_lapsed_users"
		}
		return nil
	})
}

// acquired is what is known of the new customers of one channel.
type acquired struct {
	customers int64
	promo     features.Micros
	costs     *features.Micros
	margins   []features.Micros
}

// channels sums what the acquired customers cost and brought, by the channel of their first order. A channel that has only costs is
// listed, too: money that brought nobody is the first thing to see.
func (e *Engine) channels(ctx context.Context, s *session, p EconomicsPlan, r *features.Economics) error {
	days := int(p.AsOf - p.AcquiredTo + 1) // how long the youngest of them has lived
	days = max(1, min(days, p.HorizonDays))
	by := map[string]*acquired{}
	of := func(channel string) *acquired {
		if by[channel] == nil {
			by[channel] = &acquired{margins: make([]features.Micros, days)}
		}
		return by[channel]
	}
	for _, c := range p.Costs {
		a := of(c.Channel)
		if a.costs == nil {
			a.costs = new(features.Micros)
		}
		*a.costs += c.Micros
	}
	first := fmt.Sprintf(`WITH o AS (SELECT user_id, coalesce(channel, '') AS channel, coalesce(discount_micros, 0) AS discount, (biz_day - DATE '1970-01-01') AS day,
 row_number() OVER (PARTITION BY user_id ORDER BY ts, event_id) AS nth FROM events WHERE event = 'Order Completed' AND %s AND user_id <> ''),
c AS (SELECT user_id, channel, discount, day AS day0 FROM o WHERE nth = 1 AND day >= %d AND day < %d)
`, known(p.AsOf), p.AcquiredFrom, p.AcquiredTo)
	err := s.each(ctx, first+"SELECT channel, count(*), sum(discount)::BIGINT FROM c GROUP BY channel", func(v []driver.Value) error {
		a := of(v[0].(string))
		a.customers, a.promo = v[1].(int64), features.Micros(v[2].(int64))
		return nil
	})
	if err != nil {
		return err
	}
	// A refund takes back its own margin, or the order's in proportion to the value that was given back.
	margin := first + fmt.Sprintf(`, sold AS (SELECT e.user_id, e.order_id, (e.biz_day - DATE '1970-01-01') AS day, coalesce(e.value_micros, 0) AS value, %[1]s AS margin, coalesce(e.commission_micros, 0) AS commission
 FROM events e JOIN c ON c.user_id = e.user_id WHERE event = 'Order Completed' AND %[2]s),
orders AS (SELECT user_id, order_id, sum(value) AS value, sum(margin) AS margin FROM sold WHERE order_id IS NOT NULL GROUP BY user_id, order_id),
back AS (SELECT e.user_id, (e.biz_day - DATE '1970-01-01') AS day,
 coalesce(e.margin_micros, CASE WHEN coalesce(o.value, 0) = 0 THEN 0 ELSE (o.margin::HUGEINT * coalesce(e.value_micros, 0) // o.value)::BIGINT END) AS margin
 FROM events e JOIN c ON c.user_id = e.user_id JOIN orders o ON o.user_id = e.user_id AND o.order_id = e.order_id WHERE event = 'Order Refunded' AND %[2]s),
net AS (SELECT user_id, day, margin - commission AS net FROM sold UNION ALL SELECT user_id, day, -margin FROM back)
SELECT c.channel, net.day - c.day0, sum(net.net)::BIGINT FROM net JOIN c ON c.user_id = net.user_id WHERE net.day >= c.day0 AND net.day < c.day0 + %[3]d GROUP BY c.channel, net.day - c.day0`,
		e.orderMargin(DuckDB), known(p.AsOf), days)
	err = s.each(ctx, margin, func(v []driver.Value) error {
		age, err := number(v[1])
		if err != nil {
			return err
		}
		of(v[0].(string)).margins[int(age)] += features.Micros(v[2].(int64))
		return nil
	})
	for name, a := range by {
		c := features.ChannelEconomics{Channel: name, NewCustomers: a.customers, LTVDays: days}
		c.Judge(a.costs, a.promo, a.margins)
		r.Channels = append(r.Channels, c)
	}
	sort.Slice(r.Channels, func(i, j int) bool {
		if a, b := r.Channels[i], r.Channels[j]; a.NewCustomers != b.NewCustomers {
			return a.NewCustomers > b.NewCustomers
		}
		return r.Channels[i].Channel < r.Channels[j].Channel
	})
	return err
}
