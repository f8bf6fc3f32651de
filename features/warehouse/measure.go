package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"perennial/features/lake"
)

// timeLiteral is a SQL timestamp in UTC with microseconds.
func timeLiteral(t time.Time) string {
	if t.IsZero() {
		return "TIMESTAMP '1970-01-01 00:00:00'"
	}
	return "TIMESTAMP '" + t.UTC().Format("2006-01-02 15:04:05.000000") + "'"
}

func prefixed(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return ",\n  " + strings.Join(list, ",\n  ")
}

// Measure answers a plan: the first exposure of every unit, one row of integers per unit, and exact sums of them by variant, stratum and segment. Only
// units whose window is over at p.AsOf enter the sums. A large snapshot is measured range by range of user ids, in bounded memory, and the sums are added.
func (e *Engine) Measure(ctx context.Context, snap *lake.Snapshot, p MetricPlan) (*Measured, error) {
	return e.answer(ctx, snap, p, e.measure)
}

// Exposed counts the exposed units of a plan by stratum and variant, as Measure does, and reads nothing but exposures.
func (e *Engine) Exposed(ctx context.Context, snap *lake.Snapshot, p MetricPlan) (map[string]map[string]int64, error) {
	m, err := e.answer(ctx, snap, p, func(ctx context.Context, s *measuring, snap *lake.Snapshot) error {
		_, err := e.passes(ctx, s, snap, s.exposed)
		return err
	})
	if err != nil {
		return nil, err
	}
	return m.ExposedBy, nil
}

// answer checks a plan and lets work fill its answer.
func (e *Engine) answer(ctx context.Context, snap *lake.Snapshot, p MetricPlan, work func(context.Context, *measuring, *lake.Snapshot) error) (*Measured, error) {
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
	s := newMeasuring(r, &p)
	if err := work(ctx, s, snap); err != nil {
		return nil, fmt.Errorf("measure %s: %w", p.Experiment, err)
	}
	s.m.SQL = append(s.m.SQL, r.statements()...)
	return s.m, nil
}

// measuring is a runner on which a plan is measured, and what is known so far.
type measuring struct {
	runner
	p     *MetricPlan
	m     *Measured
	cells []*cells
	days  map[DayCount]int64       // exposed units by day; Units is 0 in the key
	dims  map[DimensionCount]int64 // exposed units by dimension
	meet  map[[3]string]*Interaction

	pass, lastPass int                   // over a range of users, from 0
	held           []map[[3]string]*heap // by metric and variant, stratum and segment: the values that a merge keeps for order statistics
}

func newMeasuring(r runner, p *MetricPlan) *measuring {
	s := &measuring{runner: r, p: p, days: map[DayCount]int64{}, dims: map[DimensionCount]int64{}, meet: map[[3]string]*Interaction{},
		m: &Measured{TwoArm: map[string]int64{}, ExposedBy: map[string]map[string]int64{}, Waterfall: map[string]map[string]int64{}, Health: newHealth()}}
	for _, c := range p.Covariates {
		s.m.Covariates = append(s.m.Covariates, c)
		if c != "pre_revenue" && c != "pre_orders" {
			s.m.Covariates = append(s.m.Covariates, c+"_missing")
		}
	}
	for i := range p.Metrics {
		s.cells = append(s.cells, newCells(&p.Metrics[i], len(s.m.Covariates), p.SegmentBy != "", p.ByDay))
	}
	return s
}

func (e *Engine) measure(ctx context.Context, s *measuring, snap *lake.Snapshot) error {
	if s.p.Frozen != "" {
		if err := s.attach(ctx, "frozen", s.p.Frozen); err != nil {
			return err
		}
	}
	if merged, err := e.merge(ctx, s, snap); merged || err != nil {
		if err != nil {
			return err
		}
		s.collect()
		s.orderHeld()
		s.capHeld()
		return nil
	}
	passes, err := e.passes(ctx, s, snap, s.exposed, e.unitOutcomes(s), s.totals, s.sums, s.soundness, s.dimensions, s.interactions, s.keepValues)
	if err != nil {
		return err
	}
	s.collect()
	if err := s.quantiles(ctx, passes); err != nil {
		return err
	}
	return s.capped(ctx, passes)
}

// passes runs the parts over the units of every range of users, and returns how many ranges there are.
func (e *Engine) passes(ctx context.Context, s *measuring, snap *lake.Snapshot, parts ...func(context.Context) error) (int, error) {
	ranges, err := e.ranges(ctx, s, snap)
	if err != nil {
		return 0, err
	}
	return len(ranges), e.eachRange(ctx, s, ranges, parts...)
}

func (e *Engine) eachRange(ctx context.Context, s *measuring, ranges [][2]string, parts ...func(context.Context) error) error {
	for i, r := range ranges {
		s.p.from, s.p.to = r[0], r[1]
		s.pass, s.lastPass = i, len(ranges)-1
		if err := s.units(ctx); err != nil {
			return err
		}
		for _, part := range parts {
			if err := part(ctx); err != nil {
				return err
			}
		}
		if d, ok := s.runner.(*session); ok && len(ranges) > 1 {
			if err := d.forget(ctx, i); err != nil {
				return err
			}
			if s.p.Progress != nil {
				s.p.Progress(i+1, len(ranges))
			}
		}
	}
	s.p.from, s.p.to = "", ""
	return nil
}

// units makes the relations of who met the experiment.
func (s *measuring) units(ctx context.Context) error {
	if err := s.keep(ctx, "met", s.p.unitQuery(s.dialect())); err != nil {
		return err
	}
	return s.view(ctx, "unit", units(s.dialect()))
}

// unitOutcomes makes the relation of one row per exposed unit.
func (e *Engine) unitOutcomes(s *measuring) func(context.Context) error {
	return func(ctx context.Context) error {
		return s.keep(ctx, "outcome", e.outcomeQuery(s.dialect(), s.p, s.m.Covariates))
	}
}

const exposedQuery = "SELECT CAST(day AS VARCHAR) AS day, stratum, variant, count(*) AS units, count(*) FILTER (WHERE two) AS two FROM unit GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"

// exposed counts the exposed units by stratum, variant and day.
func (s *measuring) exposed(ctx context.Context) error {
	m := s.m
	return s.each(ctx, exposedQuery, func(v []driver.Value) error {
		day, stratum, variant, units, two := v[0].(string), v[1].(string), v[2].(string), v[3].(int64), v[4].(int64)
		m.Exposed += units
		if m.ExposedBy[stratum] == nil {
			m.ExposedBy[stratum] = map[string]int64{}
		}
		m.ExposedBy[stratum][variant] += units
		s.days[DayCount{Day: day, Stratum: stratum, Variant: variant}] += units
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

var waterfallNames = []string{"revenue", "cost_of_goods", "discount", "refunds", "refunded", "commission", "contact", "profit"}

// totals reads the waterfall of the matured units and whether their refunds are still open.
func (s *measuring) totals(ctx context.Context) error {
	return s.each(ctx, totalsQuery(s.dialect(), s.p), func(v []driver.Value) error {
		variant := v[0].(string)
		s.m.Matured += v[1].(int64)
		w := s.m.Waterfall[variant]
		if w == nil {
			w = map[string]int64{}
			s.m.Waterfall[variant] = w
		}
		for i, name := range waterfallNames {
			w[name] += v[i+2].(int64)
		}
		s.m.RefundsOpen = s.m.RefundsOpen || v[10].(int64) > 0
		return nil
	})
}

// maturity is when the unit's row of a metric is final; a ratio waits for its denominator.
func (p *MetricPlan) maturity(i int) int {
	x := &p.Metrics[i]
	if x.Kind == "ratio" {
		return max(p.days(x), p.days(&p.Metrics[p.denominator(i)]))
	}
	return p.days(x)
}

// denominator is the place of the denominator of the ratio i.
func (p *MetricPlan) denominator(i int) int {
	return slices.IndexFunc(p.Metrics, func(o Metric) bool { return o.Key == p.Metrics[i].Denominator })
}

// lots are the metrics that are summed by one statement: those of one maturity.
func (p *MetricPlan) lots() [][]int {
	at := map[int]int{}
	var lots [][]int
	for i := range p.Metrics {
		if p.Metrics[i].Kind == "quantile" {
			continue
		}
		days := p.maturity(i)
		if _, ok := at[days]; !ok {
			at[days] = len(lots)
			lots = append(lots, nil)
		}
		lots[at[days]] = append(lots[at[days]], i)
	}
	return lots
}

// sumsOf lists what is summed for a lot of the plan's metrics with k covariates in every cell: the covariates' own Σ and co-moments, then those of each metric.
// A pair is the columns whose product is summed, or one column and "".
func (p *MetricPlan) sumsOf(lot []int, k int) (pairs [][2]string) {
	add := func(a, b string) { pairs = append(pairs, [2]string{a, b}) }
	c := func(i int) string { return fmt.Sprintf("c%d", i) }
	for a := range k {
		add(c(a), "")
		for b := a; b < k; b++ {
			add(c(a), c(b))
		}
	}
	for _, i := range lot {
		of := []string{fmt.Sprintf("m%d", i)}
		if p.Metrics[i].Kind == "ratio" {
			of = append(of, fmt.Sprintf("m%d", p.denominator(i)))
		}
		for _, x := range of {
			add(x, "")
			add(x, x)
			for a := range k {
				add(x, c(a))
			}
		}
		if len(of) == 2 {
			add(of[0], of[1])
		}
	}
	return pairs
}

// sumsQuery sums a lot of the plan's metrics with k covariates in every cell.
func sumsQuery(d Dialect, p *MetricPlan, lot []int, k int) string {
	columns := []string{"variant", "stratum", "segment", "CAST(" + d.plus("day", p.maturity(lot[0])) + " AS VARCHAR) AS matured", "count(*) AS n"}
	for _, pair := range p.sumsOf(lot, k) {
		if pair[1] == "" {
			columns = append(columns, fmt.Sprintf(d.total, pair[0]))
		} else {
			columns = append(columns, "sum("+d.exact(pair[0])+" * "+pair[1]+")")
		}
	}
	return fmt.Sprintf("SELECT %s FROM outcome WHERE t0 + %s <= %d GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4", strings.Join(columns, ", "), span(p.maturity(lot[0])), p.AsOf.UnixMicro())
}

// sums reads the sums of every metric. The cells are summed up in Go over segments and days, which is exact.
func (s *measuring) sums(ctx context.Context) error {
	k := len(s.m.Covariates)
	for _, lot := range s.p.lots() {
		if err := s.each(ctx, sumsQuery(s.dialect(), s.p, lot, k), func(v []driver.Value) error { return s.addSums(lot, k, v) }); err != nil {
			return err
		}
	}
	return nil
}

// addSums adds a row of sumsQuery.
func (s *measuring) addSums(lot []int, k int, v []driver.Value) error {
	own := 5 + k + k*(k+1)/2
	covariates, rest := v[5:own], v[own:]
	for _, i := range lot {
		var err error
		if rest, err = s.cells[i].add(v[:5], covariates, rest); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d sums are left over", len(rest))
	}
	return nil
}

// collect lists what the passes have added up.
func (s *measuring) collect() {
	for i, c := range s.cells {
		if s.p.Metrics[i].Kind != "quantile" {
			s.m.Sums = append(s.m.Sums, c.list()...)
		}
	}
	for c, n := range s.days {
		c.Units = n
		s.m.ExposedByDay = append(s.m.ExposedByDay, c)
	}
	slices.SortFunc(s.m.ExposedByDay, func(a, b DayCount) int {
		return slices.Compare([]string{a.Day, a.Stratum, a.Variant}, []string{b.Day, b.Stratum, b.Variant})
	})
	for c, n := range s.dims {
		c.Units = n
		s.m.Health.Dimensions = append(s.m.Health.Dimensions, c)
	}
	slices.SortFunc(s.m.Health.Dimensions, func(a, b DimensionCount) int {
		return slices.Compare([]string{a.Dimension, a.Value, a.Stratum, a.Variant}, []string{b.Dimension, b.Value, b.Stratum, b.Variant})
	})
	for _, key := range slices.SortedFunc(maps.Keys(s.meet), func(a, b [3]string) int { return slices.Compare(a[:], b[:]) }) {
		s.m.Health.Interactions = append(s.m.Health.Interactions, *s.meet[key])
	}
}
