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
			if w.Sums[i].Metric != s.Key {
				continue
			}
			cell, err := cellOf(&w.Sums[i], s, step, w.Covariates)
			if err != nil {
				return nil, err
			}
			m.Cells = append(m.Cells, cell)
		}
	}
	return m, nil
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
