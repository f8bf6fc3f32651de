package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// staleAfterDays is how old the scores of an assignment may be: the night of the day before, and one that failed. After ancientAfterDays they speak of other
// customers.
const (
	staleAfterDays   = 2
	ancientAfterDays = 30
)

func newHealth() Health {
	return Health{Silent: map[string]int64{}, Leaked: map[string]int64{}, Early: map[string]int64{}, Late: map[string]int64{}, Stale: map[string]int64{}, Ancient: map[string]int64{}, Estimated: map[string]int64{}, Orders: map[string]int64{},
		Redeemed: map[string]map[string]int64{}}
}

// coupons are the coupons of the variants, each once, sorted.
func (p *MetricPlan) coupons() []string {
	var list []string
	for _, c := range p.Coupons {
		list = append(list, c)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// cost is what an event cost the shop: its own figure, else for an order with the coupon of an offer that has a unit cost, that. An order that names a
// discount has the cost in its margin already.
func (p *MetricPlan) cost() string {
	if len(p.UnitCosts) == 0 {
		return "e.cost_micros"
	}
	cases := ""
	for _, c := range sortedKeys(p.UnitCosts) {
		cases += fmt.Sprintf(" WHEN %s THEN %d", quoteText(c), p.UnitCosts[c])
	}
	return "coalesce(e.cost_micros, CASE WHEN e.event = 'Order Completed' AND coalesce(e.discount_micros, 0) = 0 THEN CASE e.coupon_id" + cases + " END END)"
}

// redeemed tells of a unit whether it used the coupon of its own variant, or that of another one.
func (p *MetricPlan) redeemed(own bool) string {
	if len(p.Coupons) == 0 {
		return "FALSE"
	}
	coupons := p.coupons()
	cases := "CASE u.variant"
	for _, v := range p.Variants {
		var terms []string
		for i, c := range coupons {
			if (p.Coupons[v] == c) == own {
				terms = append(terms, fmt.Sprintf("coalesce(q%d, 0) > 0", i))
			}
		}
		if len(terms) > 0 {
			cases += fmt.Sprintf(" WHEN %s THEN %s", quoteText(v), strings.Join(terms, " OR "))
		}
	}
	if !strings.Contains(cases, "WHEN") {
		return "FALSE"
	}
	return cases + " ELSE FALSE END"
}

var redeemedNames = []string{"units", "revenue", "margin", "discount", "contact", "profit"}

// counts are the counts of matured units and their orders in the order of the statement.
func (h *Health) counts() []map[string]int64 {
	return []map[string]int64{h.Silent, h.Leaked, h.Estimated, h.Orders, h.Early, h.Late}
}

// soundness counts what makes a judgement doubtful, and what redeemers brought.
func (s *measuring) soundness(ctx context.Context) error {
	p, h := s.p, &s.m.Health
	err := s.each(ctx, "SELECT count(*) AS strays FROM met WHERE NOT known", func(v []driver.Value) error {
		h.Stray += v[0].(int64)
		return nil
	})
	if err != nil {
		return err
	}
	if len(p.ScoreDays) > 0 {
		query := "SELECT variant, count(*) AS stale, count(*) FILTER (WHERE day > " + s.dialect().plus("scored", ancientAfterDays) + ") AS ancient FROM unit WHERE scored IS NOT NULL AND day > " +
			s.dialect().plus("scored", staleAfterDays) + " GROUP BY variant ORDER BY variant"
		err := s.each(ctx, query, func(v []driver.Value) error {
			h.Stale[v[0].(string)] += v[1].(int64)
			h.Ancient[v[0].(string)] += v[2].(int64)
			return nil
		})
		if err != nil {
			return err
		}
	}
	query := fmt.Sprintf(`SELECT variant, count(*) FILTER (WHERE silent) AS silent, count(*) FILTER (WHERE leaked) AS leaked, CAST(sum(estimated) AS BIGINT) AS estimated, CAST(sum(orders) AS BIGINT) AS orders,
 count(*) FILTER (WHERE early) AS early, count(*) FILTER (WHERE late) AS late, count(*) FILTER (WHERE redeemed) AS units, CAST(coalesce(sum(revenue) FILTER (WHERE redeemed), 0) AS BIGINT) AS revenue, CAST(coalesce(sum(margin) FILTER (WHERE redeemed), 0) AS BIGINT) AS margin,
 CAST(coalesce(sum(discount) FILTER (WHERE redeemed), 0) AS BIGINT) AS discount, CAST(coalesce(sum(contact) FILTER (WHERE redeemed), 0) AS BIGINT) AS contact,
 CAST(coalesce(sum(margin - refund_margin - commission - contact) FILTER (WHERE redeemed), 0) AS BIGINT) AS profit
 FROM outcome WHERE t0 + %s <= %d GROUP BY variant ORDER BY variant`, span(p.HorizonDays), p.AsOf.UnixMicro())
	return s.each(ctx, query, func(v []driver.Value) error {
		variant := v[0].(string)
		for i, counts := range h.counts() {
			counts[variant] += v[1+i].(int64)
		}
		if p.Coupons[variant] == "" {
			return nil
		}
		if h.Redeemed[variant] == nil {
			h.Redeemed[variant] = map[string]int64{}
		}
		for i, name := range redeemedNames {
			h.Redeemed[variant][name] += v[7+i].(int64)
		}
		return nil
	})
}

// dimensions counts the exposed units by the frozen scores' dimensions, and by their last channel where that is the segment.
func (s *measuring) dimensions(ctx context.Context) error {
	if s.p.SegmentBy == "channel" {
		query := "SELECT CASE WHEN segment = '' THEN 'unknown' ELSE segment END AS channel, stratum, variant, count(*) AS units FROM outcome GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
		if err := s.each(ctx, query, func(v []driver.Value) error {
			s.dims[DimensionCount{Dimension: "channel", Value: v[0].(string), Stratum: v[1].(string), Variant: v[2].(string)}] += v[3].(int64)
			return nil
		}); err != nil {
			return err
		}
	}
	if s.p.Frozen == "" {
		return nil
	}
	const query = `SELECT stage, churn, ltv, stratum, variant, count(*) AS units FROM (SELECT coalesce(CAST(f.stage AS VARCHAR), 'unknown') AS stage,
 coalesce(CAST(f.churn_decile AS VARCHAR), 'unknown') AS churn, coalesce(CAST(f.ltv_decile AS VARCHAR), 'unknown') AS ltv, u.stratum, u.variant FROM unit u LEFT JOIN frozen f ON f.user_id = u.unit) x
 GROUP BY GROUPING SETS ((stage, stratum, variant), (churn, stratum, variant), (ltv, stratum, variant)) ORDER BY stage, churn, ltv, stratum, variant`
	return s.each(ctx, query, func(v []driver.Value) error {
		for i, dimension := range []string{"stage", "churn_decile", "ltv_decile"} {
			if value, ok := v[i].(string); ok {
				s.dims[DimensionCount{Dimension: dimension, Value: value, Stratum: v[3].(string), Variant: v[4].(string)}] += v[5].(int64)
			}
		}
		return nil
	})
}

// asksInteractions tells whether the first metric is summed by the variants of other experiments.
func (p *MetricPlan) asksInteractions() bool {
	return len(p.Others) > 0 && len(p.Metrics) > 0 && p.Metrics[0].Kind != "quantile" && p.Metrics[0].Kind != "ratio"
}

// interactions sums the first metric over the units that other experiments have met as well, by both variants. A unit counts with the variant of the
// other experiment that it met first.
func (s *measuring) interactions(ctx context.Context) error {
	p := s.p
	if !p.asksInteractions() {
		return nil
	}
	d := s.dialect()
	query := fmt.Sprintf(`WITH seen AS (SELECT user_id, ts, event_id, %[5]s AS experiment, %[6]s AS variant
 FROM events WHERE event = 'Experiment Viewed' AND ts <= %[1]s AND available_at <= %[1]s AND %[5]s IN (%[2]s)%[8]s),
other AS (SELECT user_id, experiment, variant, row_number() OVER (PARTITION BY user_id, experiment ORDER BY ts, event_id) AS nth FROM seen WHERE variant IS NOT NULL)
SELECT x.experiment, x.variant, o.variant, count(*) AS n, sum(%[7]s) AS x, sum(%[7]s * o.m0) AS xx
 FROM outcome o JOIN unit u ON u.id = o.id JOIN other x ON x.user_id = u.unit AND x.nth = 1 WHERE o.t0 + %[3]s <= %[4]d GROUP BY x.experiment, x.variant, o.variant ORDER BY 1, 2, 3`,
		timeLiteral(p.AsOf), texts(p.Others), span(p.days(&p.Metrics[0])), p.AsOf.UnixMicro(),
		d.text("properties", "experiment"), d.text("properties", "variant"), d.exact("o.m0"), p.between("user_id"))
	return s.each(ctx, query, func(v []driver.Value) error {
		s.meeting([3]string{v[0].(string), v[1].(string), v[2].(string)}, v[3].(int64), v[4], v[5])
		return nil
	})
}

// meeting adds sums of units that met another experiment: it, its variant, and the own one.
func (s *measuring) meeting(key [3]string, n int64, x, xx driver.Value) {
	i := s.meet[key]
	if i == nil {
		i = &Interaction{Other: key[0], OtherVariant: key[1], Variant: key[2]}
		s.meet[key] = i
	}
	i.N += n
	more(&i.X, x)
	more(&i.XX, xx)
}

// whole is an integer of any width.
func whole(v driver.Value) *big.Int {
	switch x := v.(type) {
	case *big.Int:
		return x
	case int64:
		return big.NewInt(x)
	}
	return new(big.Int)
}
