package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// keepValues keeps of a pass what is asked of all units at once: the matured values of the quantile metrics and of the capped one, each with its cell.
// One pass keeps nothing: its outcomes are still there.
func (s *measuring) keepValues(ctx context.Context) error {
	r, ok := s.runner.(*session)
	if s.lastPass == 0 || !ok {
		return nil
	}
	for k := range s.p.Metrics {
		if !s.p.ordered(k) {
			continue
		}
		name, query := fmt.Sprintf("values%d", k), s.valuesQuery(k)
		if s.pass == 0 {
			if err := s.keep(ctx, name, query); err != nil {
				return err
			}
		} else if _, err := r.ExecContext(ctx, "INSERT INTO "+name+" "+query); err != nil {
			return err
		}
	}
	return nil
}

// ordered tells whether the metric k is asked for its order statistics.
func (p *MetricPlan) ordered(k int) bool {
	return p.Metrics[k].Kind == "quantile" || p.Metrics[k].Key == p.Cap
}

// valuesQuery is the matured values of the metric k with their cells. A column that is the same for all units is not there to be stored.
func (s *measuring) valuesQuery(k int) string {
	stratum, part := "''", "''"
	if s.p.Strata != nil {
		stratum = "stratum"
	}
	if s.p.SegmentBy != "" {
		part = "CASE WHEN segment = '' THEN 'unknown' ELSE segment END"
	}
	return fmt.Sprintf("SELECT variant, %s AS stratum, %s AS part, m%d AS value FROM outcome WHERE t0 + %s <= %d", stratum, part, k, span(s.p.days(&s.p.Metrics[k])), s.p.AsOf.UnixMicro())
}

// values is the relation of the matured values of the metric k, kept or not.
func (s *measuring) values(k int, passes int) string {
	if passes > 1 {
		return fmt.Sprintf("values%d", k)
	}
	return "(" + s.valuesQuery(k) + ") x"
}

// quantiles reads the order statistics of the quantile metrics: first how many matured units every cell has, then the values at the ranks that
// those sizes ask for. A rank is an integer and so is its value, so that engines agree bit for bit.
func (s *measuring) quantiles(ctx context.Context, passes int) error {
	for i := range s.p.Metrics {
		if s.p.Metrics[i].Kind != "quantile" {
			continue
		}
		segments := []string{"''"}
		if s.p.SegmentBy != "" {
			segments = append(segments, "part")
		}
		for _, segment := range segments {
			if err := s.order(ctx, i, s.values(i, passes), segment); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *measuring) order(ctx context.Context, i int, values, segment string) error {
	x, m := &s.p.Metrics[i], s.m
	var list []OrderStatistics
	query := fmt.Sprintf("SELECT variant, stratum, %s AS cell, count(*) AS n FROM %s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3", segment, values)
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
	query = fmt.Sprintf(`WITH ranked AS (SELECT variant, stratum, cell, value, row_number() OVER (PARTITION BY variant, stratum, cell ORDER BY value) AS nth
 FROM (SELECT variant, stratum, %s AS cell, value FROM %s) y)
SELECT r.variant, r.stratum, r.cell, r.nth, r.value FROM ranked r JOIN (VALUES %s) AS w(variant, stratum, cell, nth)
 ON r.variant = w.variant AND r.stratum = w.stratum AND r.cell = w.cell AND r.nth = w.nth ORDER BY 1, 2, 3, 4`, segment, values, strings.Join(wanted, ", "))
	err = s.each(ctx, query, func(v []driver.Value) error {
		list[at[[3]string{v[0].(string), v[1].(string), v[2].(string)}]].Values[v[3].(int64)] = v[4].(int64)
		return nil
	})
	m.Quantiles = append(m.Quantiles, list...)
	return err
}

// capped sums the metric of p.Cap once more with values beyond the pooled 0.1th and 99.9th percentile (by rank, over all variants) drawn in to
// them, under the key KEY|capped: how much a few units matter.
func (s *measuring) capped(ctx context.Context, passes int) error {
	i := slices.IndexFunc(s.p.Metrics, func(x Metric) bool { return x.Key == s.p.Cap })
	if s.p.Cap == "" || i < 0 || s.m.Matured == 0 {
		return nil
	}
	x, values := &s.p.Metrics[i], s.values(i, passes)
	var n int64
	if err := s.each(ctx, "SELECT count(*) AS n FROM "+values, func(v []driver.Value) error { n = v[0].(int64); return nil }); err != nil || n == 0 {
		return err
	}
	caps := &s.m.Health.Caps
	for side, of := range []struct {
		rank             int64
		furthest, sorted string
	}{{max(1, n/1000), "max", "value"}, {n/1000 + 1, "min", "value DESC"}} { // the rank from below, and from above: n − n/1000 from below
		query := fmt.Sprintf("SELECT %s(value) AS cap FROM (SELECT value FROM %s ORDER BY %s LIMIT %d) y", of.furthest, values, of.sorted, of.rank)
		if err := s.each(ctx, query, func(v []driver.Value) error { caps[side] = v[0].(int64); return nil }); err != nil {
			return err
		}
	}
	if x.Kind != "profit" { // nothing is below zero: zeros are no outliers
		caps[0] = min(0, caps[0])
	}
	value := s.dialect().exact(fmt.Sprintf("least(greatest(value, %d), %d)", caps[0], caps[1]))
	query := fmt.Sprintf("SELECT variant, stratum, count(*) AS n, sum(%[1]s) AS x, sum(%[1]s * %[1]s) AS xx FROM %[2]s GROUP BY variant, stratum ORDER BY variant, stratum", value, values)
	return s.each(ctx, query, func(v []driver.Value) error {
		s.m.Sums = append(s.m.Sums, Sum{Metric: x.Key + "|capped", Variant: v[0].(string), Stratum: v[1].(string), N: v[2].(int64), X: whole(v[3]), XX: whole(v[4])})
		return nil
	})
}

// hold keeps values of the metric k for orderHeld and capHeld.
func (s *measuring) hold(k int, variant, stratum, segment string, h heap) {
	if s.p.Strata == nil {
		stratum = ""
	}
	if s.p.SegmentBy == "" {
		segment = ""
	} else if segment == "" {
		segment = "unknown"
	}
	if s.held == nil {
		s.held = make([]map[[3]string]*heap, len(s.p.Metrics))
	}
	if s.held[k] == nil {
		s.held[k] = map[[3]string]*heap{}
	}
	key := [3]string{variant, stratum, segment}
	into := s.held[k][key]
	if into == nil {
		into = &heap{}
		s.held[k][key] = into
	}
	into.blocks = append(into.blocks, h.blocks...)
	into.n += h.n
}

// holdValues holds the values of a pass.
func (s *measuring) holdValues(ctx context.Context) error {
	for k := range s.p.Metrics {
		if !s.p.ordered(k) {
			continue
		}
		if err := s.each(ctx, s.valuesQuery(k), func(v []driver.Value) error {
			s.hold(k, v[0].(string), v[1].(string), v[2].(string), heap{[][]int64{{v[3].(int64)}}, 1})
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// orderHeld is quantiles over held values.
func (s *measuring) orderHeld() {
	for k := range s.p.Metrics {
		x := &s.p.Metrics[k]
		if x.Kind != "quantile" {
			continue
		}
		for _, bySegment := range []bool{false, true} {
			if bySegment && s.p.SegmentBy == "" {
				continue
			}
			cells := map[[3]string][]int64{}
			for _, key := range slices.SortedFunc(maps.Keys(s.heldOf(k)), compareKeys) {
				cell := key
				if !bySegment {
					cell[2] = ""
				}
				cells[cell] = s.held[k][key].appendTo(cells[cell])
			}
			for _, cell := range slices.SortedFunc(maps.Keys(cells), compareKeys) {
				list := cells[cell]
				slices.Sort(list)
				o := OrderStatistics{Metric: x.Key, Variant: cell[0], Stratum: cell[1], Segment: cell[2], N: int64(len(list)), Values: map[int64]int64{}}
				for _, rank := range x.Ranks(o.N) {
					if rank >= 1 && rank <= o.N {
						o.Values[rank] = list[rank-1]
					}
				}
				s.m.Quantiles = append(s.m.Quantiles, o)
			}
		}
	}
}

func compareKeys(a, b [3]string) int { return slices.Compare(a[:], b[:]) }

// heldOf is what is held of the metric k.
func (s *measuring) heldOf(k int) map[[3]string]*heap {
	if s.held == nil {
		return nil
	}
	return s.held[k]
}

// capHeld is capped over held values.
func (s *measuring) capHeld() {
	i := slices.IndexFunc(s.p.Metrics, func(x Metric) bool { return x.Key == s.p.Cap })
	if s.p.Cap == "" || i < 0 || s.m.Matured == 0 || len(s.heldOf(i)) == 0 {
		return
	}
	x, held := &s.p.Metrics[i], s.held[i]
	var all [][]int64
	n := int64(0)
	for _, h := range held {
		all = append(all, h.blocks...)
		n += h.n
	}
	caps := &s.m.Health.Caps
	caps[0], caps[1] = ranked(all, max(1, n/1000)), ranked(all, n-n/1000)
	if x.Kind != "profit" { // nothing is below zero: zeros are no outliers
		caps[0] = min(0, caps[0])
	}
	type sums struct {
		n     int64
		x, xx wide
	}
	cells := map[[3]string]*sums{}
	for key, h := range held {
		key[2] = ""
		c := cells[key]
		if c == nil {
			c = &sums{}
			cells[key] = c
		}
		c.n += h.n
		for _, block := range h.blocks {
			for _, v := range block {
				v = min(max(v, caps[0]), caps[1])
				c.x.add(v, 1)
				c.xx.add(v, v)
			}
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(cells), compareKeys) {
		c := cells[key]
		s.m.Sums = append(s.m.Sums, Sum{Metric: x.Key + "|capped", Variant: key[0], Stratum: key[1], N: c.n, X: c.x.big(), XX: c.xx.big()})
	}
}

// ranked is the value at a rank (from 1) of values in blocks: its bits from the highest on, sixteen at a time, by how many values have them.
func ranked(blocks [][]int64, rank int64) int64 {
	const flip = 1 << 63 // orders negative values before others
	found, counts := uint64(0), make([]int64, 1<<16)
	for shift := 48; shift >= 0; shift -= 16 {
		clear(counts)
		for _, block := range blocks {
			for _, v := range block {
				if x := uint64(v) ^ flip; x>>shift>>16 == found {
					counts[x>>shift&0xffff]++
				}
			}
		}
		for part, n := range counts {
			if rank <= n {
				found = found<<16 | uint64(part)
				break
			}
			rank -= n
		}
	}
	return int64(found ^ flip)
}

// appendTo appends the values to a list.
func (h *heap) appendTo(list []int64) []int64 {
	list = slices.Grow(list, int(h.n))
	for _, block := range h.blocks {
		list = append(list, block...)
	}
	return list
}
