package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
)

// quantiles reads the order statistics of the quantile metrics: first how many matured units every cell has, then the values at the ranks that
// those sizes ask for. A rank is an integer and so is its value, so that engines agree bit for bit.
func (s measuring) quantiles(ctx context.Context, p *MetricPlan, m *Measured) error {
	for i := range p.Metrics {
		x := &p.Metrics[i]
		if x.Kind != "quantile" {
			continue
		}
		segments := []string{"''"}
		if p.SegmentBy != "" {
			segments = append(segments, "CASE WHEN segment = '' THEN 'unknown' ELSE segment END")
		}
		for _, segment := range segments {
			if err := s.order(ctx, p, m, i, segment); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s measuring) order(ctx context.Context, p *MetricPlan, m *Measured, i int, segment string) error {
	x := &p.Metrics[i]
	matured := fmt.Sprintf("t0 + %s <= %d", span(p.days(x)), p.AsOf.UnixMicro())
	var list []OrderStatistics
	query := fmt.Sprintf("SELECT variant, stratum, %s AS part, count(*) AS n FROM outcome WHERE %s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3", segment, matured)
	err := s.each(ctx, query, func(v []driver.Value) error {
		list = append(list, OrderStatistics{Metric: x.Key, Variant: v[0].(string), Stratum: v[1].(string), Segment: v[2].(string), N: v[3].(int64), Values: map[int64]int64{}})
		return nil
	})
	if err != nil {
		return err
	}
	at := map[[3]string]int{}
	var wanted []string
	for k, o := range list {
		at[[3]string{o.Variant, o.Stratum, o.Segment}] = k
		ranks := x.Ranks(o.N)
		slices.Sort(ranks)
		for _, r := range slices.Compact(ranks) {
			wanted = append(wanted, fmt.Sprintf("(%s, %s, %s, %d)", quoteText(o.Variant), quoteText(o.Stratum), quoteText(o.Segment), r))
		}
	}
	if len(wanted) == 0 {
		m.Quantiles = append(m.Quantiles, list...)
		return nil
	}
	query = fmt.Sprintf(`WITH ranked AS (SELECT variant, stratum, part, m%[1]d AS value, row_number() OVER (PARTITION BY variant, stratum, part ORDER BY m%[1]d) AS nth
 FROM (SELECT variant, stratum, %[2]s AS part, m%[1]d FROM outcome WHERE %[3]s) x)
SELECT r.variant, r.stratum, r.part, r.nth, r.value FROM ranked r JOIN (VALUES %[4]s) AS w(variant, stratum, part, nth)
 ON r.variant = w.variant AND r.stratum = w.stratum AND r.part = w.part AND r.nth = w.nth ORDER BY 1, 2, 3, 4`, i, segment, matured, strings.Join(wanted, ", "))
	err = s.each(ctx, query, func(v []driver.Value) error {
		list[at[[3]string{v[0].(string), v[1].(string), v[2].(string)}]].Values[v[3].(int64)] = v[4].(int64)
		return nil
	})
	m.Quantiles = append(m.Quantiles, list...)
	return err
}

// capped sums the metric of p.Cap once more with values beyond the pooled 0.1th and 99.9th percentile (by rank, over all variants) drawn in to
// them, under the key KEY|capped: how much a few units matter.
func (s measuring) capped(ctx context.Context, p *MetricPlan, m *Measured) error {
	i := slices.IndexFunc(p.Metrics, func(x Metric) bool { return x.Key == p.Cap })
	if p.Cap == "" || i < 0 || m.Matured == 0 {
		return nil
	}
	x := &p.Metrics[i]
	matured := fmt.Sprintf("t0 + %s <= %d", span(p.days(x)), p.AsOf.UnixMicro())
	var n int64
	if err := s.each(ctx, "SELECT count(*) AS n FROM outcome WHERE "+matured, func(v []driver.Value) error { n = v[0].(int64); return nil }); err != nil || n == 0 {
		return err
	}
	low, high := max(1, n/1000), n-n/1000
	query := fmt.Sprintf("SELECT nth, value FROM (SELECT m%[1]d AS value, row_number() OVER (ORDER BY m%[1]d) AS nth FROM outcome WHERE %[2]s) x WHERE nth IN (%[3]d, %[4]d) ORDER BY nth", i, matured, low, high)
	caps := map[int64]int64{}
	if err := s.each(ctx, query, func(v []driver.Value) error { caps[v[0].(int64)] = v[1].(int64); return nil }); err != nil {
		return err
	}
	m.Health.Caps = [2]int64{caps[low], caps[high]}
	if x.Kind != "profit" { // nothing is below zero: zeros are no outliers
		m.Health.Caps[0] = min(0, caps[low])
	}
	value := s.dialect().exact(fmt.Sprintf("least(greatest(m%d, %d), %d)", i, m.Health.Caps[0], m.Health.Caps[1]))
	query = fmt.Sprintf("SELECT variant, stratum, count(*) AS n, sum(%[1]s) AS x, sum(%[1]s * %[1]s) AS xx FROM outcome WHERE %[2]s GROUP BY variant, stratum ORDER BY variant, stratum", value, matured)
	return s.each(ctx, query, func(v []driver.Value) error {
		m.Sums = append(m.Sums, Sum{Metric: x.Key + "|capped", Variant: v[0].(string), Stratum: v[1].(string), N: v[2].(int64), X: whole(v[3]), XX: whole(v[4])})
		return nil
	})
}
