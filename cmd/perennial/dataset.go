package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"perennial/api"
	"perennial/experiments"
	"perennial/features"
	"perennial/features/warehouse"
)

// Dataset writes one row per exposed unit: what Results sums. Every number of the results can be recomputed from it.
func (r *results) Dataset(ctx context.Context, key string, q api.ResultsQuery, w api.DatasetWriter) error {
	asOf, err := r.asOf(q.Until)
	if err != nil {
		return err
	}
	e, err := r.store.Get(ctx, key)
	if err != nil {
		return err
	}
	defs, err := r.store.MetricDefs(ctx)
	if err != nil {
		return err
	}
	specs, err := experiments.SpecsOf(e, defs)
	if err != nil {
		return err
	}
	plan, _, err := r.plan(ctx, e, specs, asOf, q.Segment)
	if err != nil {
		return err
	}
	if err := r.lake.Seal(ctx); err != nil {
		r.a.Log.Warn("the dataset uses the last sealed state", "error", err)
	}
	snap, err := r.lake.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer snap.Close()
	engine, err := r.engine(ctx)
	if err != nil {
		return err
	}
	d := unitRows{specs: specs, segment: q.Segment != "", shop: r.a.Config.Shop(), to: w}
	if err := engine.Units(ctx, snap, plan, d.row); err != nil {
		return asInvalid(err)
	}
	if d.cells == nil { // nobody was exposed: the columns alone
		return w.Columns(d.names(nil))
	}
	return nil
}

// unitRows turns the engine's rows into cells: money in major units, scores as fractions.
type unitRows struct {
	specs   []experiments.MetricSpec
	segment bool
	shop    features.Shop
	to      api.DatasetWriter
	cells   []any
}

// names are the columns; metrics that only serve others begin with an underscore and are left out.
func (d *unitRows) names(covariates []string) []string {
	names := []string{"unit_id", "variant", "stratum", "exposed_at"}
	if d.segment {
		names = append(names, "segment")
	}
	for _, s := range d.specs {
		if !strings.HasPrefix(s.Key, "_") {
			names = append(names, s.Key)
		}
	}
	return append(names, covariates...)
}

func (d *unitRows) row(covariates []string, u *warehouse.UnitRow) error {
	if d.cells == nil {
		if err := d.to.Columns(d.names(covariates)); err != nil {
			return err
		}
	}
	d.cells = append(d.cells[:0], u.Unit, u.Variant, u.Stratum, d.local(u.At).Format(time.RFC3339Nano))
	if d.segment {
		d.cells = append(d.cells, u.Segment)
	}
	for i, s := range d.specs {
		switch {
		case strings.HasPrefix(s.Key, "_"):
		case !u.Mature[i]:
			d.cells = append(d.cells, nil)
		default:
			d.cells = append(d.cells, exact(u.Metrics[i], s.Money))
		}
	}
	for i, name := range covariates {
		d.cells = append(d.cells, exact(u.Covariates[i], name != "pre_orders" && !strings.HasSuffix(name, "_missing")))
	}
	return d.to.Row(d.cells)
}

// local is a time in the shop's zone.
func (d *unitRows) local(t time.Time) time.Time {
	if d.shop.Location == nil {
		return t
	}
	return t.In(d.shop.Location)
}

// exact is an integer, or millionths as a decimal.
func exact(n int64, millionths bool) json.Number {
	if millionths {
		return json.Number(features.Micros(n).String())
	}
	return json.Number(strconv.FormatInt(n, 10))
}

type experimentDatasetCmd struct {
	Key     string `arg:"" help:"The experiment's key."`
	Segment string `enum:",stage,churn_decile,ltv_decile,channel" default:"" help:"Also the unit's stage, churn_decile, ltv_decile or channel." placeholder:"DIMENSION"`
	Until   string `help:"As it was known at the start of this date." placeholder:"DATE"`
	Out     string `type:"path" help:"File .csv or .ndjson; NDJSON on the output by default." placeholder:"FILE"`
}

// Run writes the per-unit rows behind the results.
func (c experimentDatasetCmd) Run(ctx context.Context, a *App) error {
	return a.withResults(ctx, func(r *results) error {
		q := api.ResultsQuery{Segment: c.Segment, Until: c.Until}
		if c.Out == "" {
			w := api.NewDatasetWriter("ndjson", a.Out)
			if err := r.Dataset(ctx, c.Key, q, w); err != nil {
				return err
			}
			return w.Flush()
		}
		format := strings.TrimPrefix(filepath.Ext(c.Out), ".")
		if format != "csv" && format != "ndjson" {
			return usagef("out: %q does not end in .csv or .ndjson", c.Out)
		}
		return replaceFile(c.Out, func(f io.Writer) error {
			w := api.NewDatasetWriter(format, f)
			if err := r.Dataset(ctx, c.Key, q, w); err != nil {
				return err
			}
			return w.Flush()
		})
	})
}

// replaceFile writes a file of any size beside its name and gives it the name when it is complete.
func replaceFile(name string, write func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err = write(tmp); err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}
