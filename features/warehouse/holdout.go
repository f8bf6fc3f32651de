package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// HoldoutPlan asks what everything together was worth: users who were known before a period, split by whether they were held out, and what they brought
// in it. Nobody enters or leaves by what she did (intention to treat).
type HoldoutPlan struct {
	Name               string
	From, Until        features.Day // the period, Until exclusive
	RefundMaturityDays int
	Held               func(user string) bool
}

// The arms of a holdout.
const (
	HeldOut = "holdout"
	Treated = "treated"
)

// MeasureHoldout answers a HoldoutPlan: profit, revenue and orders of every known user in the period. Facts that became known after its end, such as
// late refunds, count when the snapshot has them.
func (e *Engine) MeasureHoldout(ctx context.Context, snap *lake.Snapshot, h HoldoutPlan) (*Measured, error) {
	days := int(h.Until - h.From)
	if days < 1 || days > 3650 {
		return nil, &features.InvalidError{Field: "until", Reason: fmt.Sprintf("%s is not after %s", h.Until, h.From)}
	}
	start, end := e.o.Shop.Midnight(h.From), e.o.Shop.Midnight(h.Until)
	p := MetricPlan{Experiment: "holdout:" + h.Name, Start: start, AsOf: end, HorizonDays: days, RefundMaturityDays: h.RefundMaturityDays, Variants: []string{Treated, HeldOut},
		Metrics: []Metric{{Key: "profit", Kind: "profit"}, {Key: "revenue", Kind: "mean", Field: "value"}, {Key: "orders", Kind: "mean"}}}
	if p.RefundMaturityDays == 0 {
		p.RefundMaturityDays = e.maturityDays()
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	r, err := e.people(ctx, snap, end.Add(time.Microsecond))
	if err != nil {
		return nil, fmt.Errorf("holdout %s: %w", h.Name, err)
	}
	defer r.done()
	s := newMeasuring(r, &p)
	if err := e.holdout(ctx, s, h); err != nil {
		return nil, fmt.Errorf("holdout %s: %w", h.Name, err)
	}
	s.m.SQL = r.statements()
	return s.m, nil
}

func (e *Engine) holdout(ctx context.Context, s *measuring, h HoldoutPlan) error {
	at := timeLiteral(s.p.Start)
	known := fmt.Sprintf("SELECT DISTINCT user_id FROM events WHERE user_id <> '' AND ts < %s AND available_at <= %s", at, at)
	if err := s.keep(ctx, "known", known); err != nil {
		return err
	}
	var held []string // a few per cent of all
	if err := s.rows(ctx, "SELECT user_id FROM known", "user_id", func(v []driver.Value) error {
		if user := v[0].(string); h.Held(user) {
			held = append(held, user)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := s.load(ctx, "held", "user_id VARCHAR", func(row func(...driver.Value) error) error {
		for _, user := range held {
			if err := row(user); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	unit := fmt.Sprintf(`SELECT k.user_id AS unit, %d AS t0, %s AS day, CASE WHEN h.user_id IS NULL THEN '%s' ELSE '%s' END AS variant, CAST('' AS VARCHAR) AS stratum, FALSE AS two, TRUE AS known, CAST(NULL AS DATE) AS scored
 FROM known k LEFT JOIN held h ON h.user_id = k.user_id`, s.p.Start.UnixMicro(), dayLiteral(h.From), Treated, HeldOut)
	if err := s.keep(ctx, "met", unit); err != nil {
		return err
	}
	if err := s.view(ctx, "unit", units(s.dialect())); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{s.exposed, e.unitOutcomes(s), s.totals, s.sums} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	s.collect()
	return nil
}
