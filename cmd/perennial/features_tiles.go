package main

import (
	"context"
	"encoding/json"
	"os"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
)

// tilesFrom is how many events make tiles worth their files for a single build outside of a night: below it one statement over the raw events is as fast.
const tilesFrom = 2_000_000

// tilesKept is how many builds of the tiles stay: the newest, and those that a reader of the last days may still have open.
const tilesKept = 3

// featureFile writes the features of a cut and returns them: from tiles where a night has made them or the shop is large, else from raw events. Both
// give the same values. A large build goes by ranges of user buckets, and after a kill it goes on with the range that was not finished.
func featureFile(ctx context.Context, l *lake.Lake, e *warehouse.Engine, snap *lake.Snapshot, asOf features.Day, version, path string, show progress) (*features.Table, error) {
	var rows int64
	for _, g := range snap.Segments {
		rows += g.Rows
	}
	run, tiled, err := l.FindRun(ctx, "tiles", 0, e.PlanTiles(snap).Version())
	if err != nil {
		return nil, err
	}
	if !tiled && rows < tilesFrom {
		table, err := e.Features(ctx, snap, asOf)
		if err != nil {
			return nil, err
		}
		return table, e.WriteTable(ctx, table, path)
	}
	if !tiled {
		if run.Dir, _, err = buildTiles(ctx, l, e, snap, asOf, show); err != nil {
			return nil, err
		}
	}
	if rows < tilesFrom {
		tables, err := e.FeaturesFromTiles(ctx, run.Dir, asOf)
		if err != nil {
			return nil, err
		}
		return tables[0], e.WriteTable(ctx, tables[0], path)
	}
	work, err := l.WorkDir("features", "parts-"+version)
	if err != nil {
		return nil, err
	}
	report, end := show("features")
	_, err = e.BuildParts(ctx, snap, run.Dir, warehouse.Build{Cuts: []features.Day{asOf}}, work, report)
	end()
	if err == nil {
		err = e.MergeParts(ctx, work, path)
	}
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(work); err != nil {
		return nil, err
	}
	return e.ReadTable(ctx, path)
}

// buildTiles returns the directory of the published tiles of a snapshot, and how many days it computed: only those that changed since the newest
// build, the rest is linked from there. Tiles of a snapshot that has them already are found.
func buildTiles(ctx context.Context, l *lake.Lake, e *warehouse.Engine, snap *lake.Snapshot, asOf features.Day, show progress) (dir string, days int, err error) {
	version := e.PlanTiles(snap).Version()
	if run, ok, err := l.FindRun(ctx, "tiles", 0, version); err != nil || ok {
		return run.Dir, 0, err
	}
	previous := ""
	if runs, err := l.Runs(ctx, "tiles"); err != nil {
		return "", 0, err
	} else if len(runs) > 0 {
		previous = runs[0].Dir
	}
	if dir, err = l.NewRunDir("tiles", asOf); err != nil {
		return "", 0, err
	}
	report, end := show("tiles")
	made, err := e.BuildTiles(ctx, snap, dir, previous, report)
	end()
	if err != nil {
		os.RemoveAll(dir)
		return "", 0, err
	}
	meta, err := json.Marshal(map[string]any{"as_of": asOf.String(), "version": version, "rows": made.Rows(), "days": len(made.Days), "days_computed": made.Dirty, "layout": made.Layout})
	if err != nil {
		return "", 0, err
	}
	run, err := l.Publish(ctx, lake.Run{Kind: "tiles", AsOf: asOf, Version: version, Dir: dir, Meta: meta})
	if err == nil {
		err = l.Retire(ctx, "tiles", tilesKept)
	}
	return run.Dir, made.Dirty, err
}
