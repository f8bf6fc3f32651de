package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

	"perennial/features/lake"
)

// UnitRow is one exposed unit as it entered the sums of Measure: money in micros, scores in parts per million.
type UnitRow struct {
	Unit, Variant, Stratum, Segment string
	At                              time.Time // the first exposure
	Mature                          []bool    // by metric: its window is over
	Metrics, Covariates             []int64
}

// Units hands every exposed unit to row, by the bytes of its id; the row and its slices are used again. It returns the covariates' names. Sums over
// the rows are those of Measure.
func (e *Engine) Units(ctx context.Context, snap *lake.Snapshot, p MetricPlan, row func(covariates []string, u *UnitRow) error) error {
	if p.RefundMaturityDays == 0 {
		p.RefundMaturityDays = e.maturityDays()
	}
	if err := p.check(); err != nil {
		return err
	}
	r, err := e.people(ctx, snap, p.AsOf.Add(time.Microsecond))
	if err != nil {
		return fmt.Errorf("units of %s: %w", p.Experiment, err)
	}
	defer r.done()
	s := newMeasuring(r, &p)
	if p.Frozen != "" {
		if err := s.attach(ctx, "frozen", p.Frozen); err != nil {
			return fmt.Errorf("units of %s: %w", p.Experiment, err)
		}
	}
	if err := s.units(ctx); err != nil {
		return fmt.Errorf("units of %s: %w", p.Experiment, err)
	}
	if err := e.unitOutcomes(s)(ctx); err != nil {
		return fmt.Errorf("units of %s: %w", p.Experiment, err)
	}
	m := s.m
	columns := []string{"u.unit", "o.variant", "o.stratum", "o.segment", "o.t0"}
	for i := range p.Metrics {
		columns = append(columns, fmt.Sprintf("m%d", i))
	}
	for i := range m.Covariates {
		columns = append(columns, fmt.Sprintf("c%d", i))
	}
	u := UnitRow{Mature: make([]bool, len(p.Metrics)), Metrics: make([]int64, len(p.Metrics)), Covariates: make([]int64, len(m.Covariates))}
	asOf := p.AsOf.UnixMicro()
	return s.rows(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM outcome o JOIN unit u ON u.id = o.id", "unit", func(v []driver.Value) error {
		u.Unit, u.Variant, u.Stratum, u.Segment = v[0].(string), v[1].(string), v[2].(string), v[3].(string)
		t0 := v[4].(int64)
		u.At = time.UnixMicro(t0).UTC()
		for i := range p.Metrics {
			u.Metrics[i], u.Mature[i] = v[5+i].(int64), t0+int64(p.days(&p.Metrics[i]))*86_400_000_000 <= asOf
		}
		for i := range m.Covariates {
			u.Covariates[i] = v[5+len(p.Metrics)+i].(int64)
		}
		return row(m.Covariates, &u)
	})
}
