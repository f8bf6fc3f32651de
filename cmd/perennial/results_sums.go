package main

import (
	"math/big"

	"perennial/experiments"
	"perennial/experiments/stats"
	"perennial/features"
	"perennial/features/warehouse"
)

// measurement turns exact integer sums into summaries; money becomes major units here.
func measurement(w *warehouse.Measured, specs []experiments.MetricSpec) (*experiments.Measurement, error) {
	m := &experiments.Measurement{Source: experiments.ResultsSource{Exposed: w.Exposed, Matured: w.Matured}, ExposedBy: w.ExposedBy, TwoArm: w.TwoArm,
		Waterfall: map[string]map[string]float64{}, RefundsOpen: w.RefundsOpen, SQL: w.SQL}
	for _, d := range w.ExposedByDay {
		m.ExposedByDay = append(m.ExposedByDay, experiments.ExposedDay{Day: d.Day, Stratum: d.Stratum, Variant: d.Variant, Units: d.Units})
	}
	for v, parts := range w.Waterfall {
		m.Waterfall[v] = map[string]float64{}
		for name, micros := range parts {
			m.Waterfall[v][name] = features.Micros(micros).Float64()
		}
	}
	step := map[string]float64{}
	for _, s := range specs {
		step[s.Key] = 1
		if s.Money {
			step[s.Key] = 1.0 / features.MicrosPerUnit
		}
	}
	for _, s := range specs {
		for i := range w.Sums {
			if w.Sums[i].Metric != s.Key && w.Sums[i].Metric != s.Key+"|capped" {
				continue
			}
			cell, err := cellOf(&w.Sums[i], s, step, w.Covariates)
			if err != nil {
				return nil, err
			}
			m.Cells = append(m.Cells, cell)
		}
		for _, o := range w.Quantiles {
			if o.Metric == s.Key {
				// One that is too small for its quantile keeps its units and no variance: the comparison says too_few.
				q, _ := stats.QuantileAt(o.N, s.Quantile, func(rank int64) float64 { return float64(o.Values[rank]) * step[s.Key] })
				m.Cells = append(m.Cells, experiments.Cell{Metric: s.Key, Variant: o.Variant, Stratum: o.Stratum, Segment: o.Segment, Quantile: &q})
			}
		}
	}
	return m, soundnessOf(w, specs, step, m)
}

// soundnessOf carries over what was counted about the data.
func soundnessOf(w *warehouse.Measured, specs []experiments.MetricSpec, step map[string]float64, m *experiments.Measurement) error {
	h := &w.Health
	s := experiments.Soundness{Stray: h.Stray, Silent: h.Silent, Leaked: h.Leaked, Early: h.Early, Late: h.Late, Stale: h.Stale, Ancient: h.Ancient, Estimated: h.Estimated, Orders: h.Orders, Redeemed: map[string]map[string]float64{}}
	for variant, parts := range h.Redeemed {
		s.Redeemed[variant] = map[string]float64{}
		for name, n := range parts {
			s.Redeemed[variant][name] = float64(n)
			if name != "units" {
				s.Redeemed[variant][name] = features.Micros(n).Float64()
			}
		}
	}
	for _, d := range h.Dimensions {
		s.Dimensions = append(s.Dimensions, experiments.DimensionUnits{Dimension: d.Dimension, Value: d.Value, Stratum: d.Stratum, Variant: d.Variant, Units: d.Units})
	}
	unit := step[specs[0].Key]
	for i, c := range h.Caps {
		s.Caps[i] = float64(c) * unit
	}
	for _, i := range h.Interactions {
		summary, err := stats.FromSums(i.N, i.X, i.XX, unit)
		if err != nil {
			return err
		}
		s.Overlaps = append(s.Overlaps, experiments.OverlapCell{Other: i.Other, OtherVariant: i.OtherVariant, Variant: i.Variant, Summary: summary})
	}
	m.Soundness = s
	return nil
}

// cellOf lays the sums out as metric, denominator, covariates.
func cellOf(s *warehouse.Sum, spec experiments.MetricSpec, step map[string]float64, covariates []string) (experiments.Cell, error) {
	x, unit := []*big.Int{s.X}, []float64{step[spec.Key]}
	xx := []*big.Int{s.XX}
	ratio := spec.Kind == experiments.KindRatio
	if ratio {
		x, unit = append(x, s.D), append(unit, step[spec.Denominator])
		xx = append(xx, s.XD)
	}
	xx = append(xx, s.XC...)
	if ratio {
		xx = append(xx, s.DD)
		xx = append(xx, s.DC...)
	}
	x = append(x, s.C...)
	for i := range s.C {
		switch covariates[i] {
		case "pre_orders":
			unit = append(unit, 1)
		default: // money in micros, scores in parts per million; indicators scale alike
			unit = append(unit, 1e-6)
		}
	}
	xx = append(xx, s.CC...)
	moments, err := stats.MomentsFromSums(s.N, x, xx, unit)
	return experiments.Cell{Metric: s.Metric, Variant: s.Variant, Stratum: s.Stratum, Segment: s.Segment, Day: s.Day, Moments: moments, Covariates: len(s.C)}, err
}
