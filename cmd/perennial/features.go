package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
)

type featuresCmd struct {
	Build    featuresBuildCmd    `cmd:"" default:"withargs" help:"Build the features of every user as of a date."`
	Training featuresTrainingCmd `cmd:"" help:"Features of many dates with what happened after them, as Parquet for a notebook."`
	List     featuresListCmd     `cmd:"" help:"Every feature of the catalog, with name, unit and meaning."`
	Explain  featuresExplainCmd  `cmd:"" help:"What a feature means, what it stands on, and its SQL."`
}

type featuresBuildCmd struct {
	AsOf string `name:"as-of" required:"" placeholder:"DATE" help:"The cut: local midnight at which DATE begins. Nothing at or after it, or learned after it, is used."`
	Out  string `placeholder:"FILE" help:"Also write the table to FILE (.parquet, .csv, .ndjson; .gz and .zst)."`
}

// Help shows examples.
func (featuresBuildCmd) Help() string {
	return "Examples:\n  perennial features --as-of 2011-07-01\n  perennial features --as-of 2011-07-01 --out features.csv\n  perennial features training --as-of 2011-04-01,2011-07-01 --horizon 60d\n  perennial features list\n  perennial features explain recency_ratio"
}

// Run seals, builds and publishes the snapshot of one date.
func (c featuresBuildCmd) Run(ctx context.Context, a *App) error {
	asOf, err := a.cutDay("as-of", c.AsOf)
	if err != nil {
		return err
	}
	start := time.Now()
	l, err := a.openLake(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Fprintf(a.Err, "features: sealing what is not yet on the lake\n")
	if err := l.Seal(ctx); err != nil {
		return fmt.Errorf("features: seal: %w", err)
	}
	e, err := a.openBatch(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	snap, err := l.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("features: %w", err)
	}
	defer snap.Close()
	fmt.Fprintf(a.Err, "features: building as of %s from %d segments\n", asOf, len(snap.Segments))
	run, table, err := buildFeatures(ctx, l, e, snap, asOf, a.progress)
	if err != nil {
		return err
	}
	if c.Out != "" {
		if err := e.WriteTable(ctx, table, c.Out); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.Err, "features: %d users, %d columns, version %s, %.1f s\n", len(table.Users), len(table.Columns), run.Version, time.Since(start).Seconds())
	if a.JSON {
		var meta warehouse.RunMeta
		if err := json.Unmarshal(run.Meta, &meta); err != nil {
			return fmt.Errorf("features: run.json: %w", err)
		}
		return json.NewEncoder(a.Out).Encode(map[string]any{"as_of": meta.AsOf, "version": meta.Version, "rows": meta.Rows, "columns": len(table.Columns),
			"digest": meta.Digest, "catalog": meta.Catalog, "out": c.Out})
	}
	return nil
}

// cutDay reads the date of a cut and refuses one that the shop's clock has not reached.
func (a *App) cutDay(field, text string) (features.Day, error) {
	d, err := features.ParseDay(text)
	if err != nil {
		return 0, usageError{&features.InvalidError{Field: field, Reason: err.Error()}}
	}
	if today := a.Config.Shop().DayOf(a.Now()); d > today {
		return 0, &features.InvalidError{Field: field, Reason: fmt.Sprintf("%s is in the future: the newest cut that can be known is %s (today in %s)", d, today, a.Config.Timezone)}
	}
	return d, nil
}

// tableGC is the garbage collector's percentage while there are the features of all users in memory: they are nearly all of the heap and hold no
// pointers, so that collecting often costs little and halves what a million users need.
const tableGC = 30

// buildFeatures returns the published features of a cut, building them when these facts and this catalog have not been built yet. The
// version is a function of the cut, the catalog and the events known before the cut, so a rerun finds its own run.
func buildFeatures(ctx context.Context, l *lake.Lake, e *warehouse.Engine, snap *lake.Snapshot, asOf features.Day, show progress) (lake.Run, *features.Table, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(tableGC))
	fail := func(err error) (lake.Run, *features.Table, error) {
		return lake.Run{}, nil, fmt.Errorf("features as of %s: %w", asOf, err)
	}
	digest, rows, err := e.Digest(ctx, snap, asOf)
	if err != nil {
		return fail(err)
	}
	if rows == 0 {
		return fail(&features.InvalidError{Field: "as-of", Reason: fmt.Sprintf("no event is known before %s; choose a later date, or load history with `perennial import events`", asOf)})
	}
	sum := sha256.Sum256([]byte(asOf.String() + "\n" + e.CatalogHash() + "\n" + digest))
	version := fmt.Sprintf("features-%s-%s", asOf, hex.EncodeToString(sum[:4]))
	if run, ok, err := l.FindRun(ctx, "features", asOf, version); err != nil {
		return fail(err)
	} else if ok {
		if table, err := e.ReadTable(ctx, filepath.Join(run.Dir, "features.parquet")); err == nil {
			return run, table, nil
		}
	}
	dir, err := l.NewRunDir("features", asOf)
	if err != nil {
		return fail(err)
	}
	table, err := featureFile(ctx, l, e, snap, asOf, version, filepath.Join(dir, "features.parquet"), show)
	if err != nil {
		os.RemoveAll(dir)
		return fail(err)
	}
	meta, err := json.Marshal(warehouse.RunMeta{AsOf: asOf.String(), Version: version, Rows: len(table.Users), Digest: digest, Catalog: e.CatalogHash()})
	if err == nil {
		err = e.WriteSchema(filepath.Join(dir, "schema.json"), table)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "run.json"), append(meta, '\n'), 0o644)
	}
	if err != nil {
		os.RemoveAll(dir)
		return fail(err)
	}
	run, err := l.Publish(ctx, lake.Run{Kind: "features", AsOf: asOf, Version: version, Dir: dir, Meta: meta})
	if err != nil {
		return fail(err)
	}
	return run, table, nil
}
