package main

import (
	"context"
	"fmt"
	"slices"

	"perennial/experiments"
	"perennial/features"
	"perennial/features/warehouse"
)

// holdoutDays is how long the default period of a holdout's results is.
const holdoutDays = 90

// maxHoldoutPoints bounds the series: every point is a measurement of its own.
const maxHoldoutPoints = 12

// Holdout returns what everything that a holdout was kept out of was worth in [from, until): by default the last 90 days before today. points > 1 adds
// the answer at so many equal steps of the period.
func (r *results) Holdout(ctx context.Context, key, from, until string, points int) (any, error) {
	shop := r.a.Config.Shop()
	end := shop.DayOf(r.a.Known())
	var err error
	if until != "" {
		if end, err = features.ParseDay(until); err != nil {
			return nil, experiments.Invalid("until", "%v", err)
		}
		end = min(end, shop.DayOf(r.a.Known()))
	}
	start := end - holdoutDays
	if from != "" {
		if start, err = features.ParseDay(from); err != nil {
			return nil, experiments.Invalid("from", "%v", err)
		}
	}
	if start >= end {
		return nil, experiments.Invalid("from", "%s is not before %s", start, end)
	}
	if points < 1 || points > maxHoldoutPoints {
		return nil, experiments.Invalid("points", "%d is not within 1..%d", points, maxHoldoutPoints)
	}
	list, err := r.store.Holdouts(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(h experiments.Holdout) bool { return h.Key == key })
	if i < 0 {
		return nil, fmt.Errorf("holdout %s: %w", key, experiments.ErrNotFound)
	}
	h := list[i]
	if err := r.lake.Seal(ctx); err != nil {
		r.a.Log.Warn("results use the last sealed state", "error", err)
	}
	snap, err := r.lake.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	engine, err := r.engine(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var series []experiments.SeriesPoint
	var doc *experiments.HoldoutResults
	specs := []experiments.MetricSpec{{Key: "profit", Kind: "profit", Money: true}, {Key: "revenue", Kind: experiments.KindMean, Money: true}, {Key: "orders", Kind: experiments.KindMean}}
	last := start
	for k := 1; k <= points; k++ {
		to := start + (end-start)*features.Day(k)/features.Day(points)
		if to <= last {
			continue
		}
		last = to
		measured, err := engine.MeasureHoldout(ctx, snap, warehouse.HoldoutPlan{Name: key, From: start, Until: to, RefundMaturityDays: r.a.Config.RefundMaturityDays,
			Held: func(user string) bool { return experiments.HeldOut(&h, user) }})
		if err != nil {
			return nil, asInvalid(err)
		}
		m, err := measurement(measured, specs)
		if err != nil {
			return nil, err
		}
		doc = experiments.JudgeHoldout(experiments.HoldoutQuestion{Holdout: h, From: start.String(), Until: to.String(), Currency: r.a.Config.Currency}, m, series)
		series = doc.Series
	}
	return doc, nil
}
