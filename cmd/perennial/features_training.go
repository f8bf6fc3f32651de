package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
)

type featuresTrainingCmd struct {
	AsOf     []string `name:"as-of" required:"" sep:"," placeholder:"DATE" help:"The cuts; every row is one user at one of them."`
	Horizon  string   `default:"60d" placeholder:"DAYS" help:"Length of the label window."`
	Gap      string   `default:"0d" placeholder:"DAYS" help:"Days between the cut and its window: what preparing a campaign takes."`
	Maturity string   `default:"0d" placeholder:"DAYS" help:"Complete days that must lie after a window before it is used."`
	Rhythm   float64  `placeholder:"K" help:"Windows of K times the user's own mean time between orders, within 30 to 180 days, for users with three orders; the others have the horizon."`
	Passes   int      `placeholder:"N" help:"Ranges of user buckets, 1 to 64: the unit of memory and of going on after a kill. Default by the number of tiles."`
	Out      string   `placeholder:"DIR" help:"Also copy the files to DIR."`
}

// Help shows examples.
func (featuresTrainingCmd) Help() string {
	return "Writes part-NN.parquet, one for each range of user buckets, and schema.json. A window that is not over is an error: zeros that are only unknown would be learned as churn.\n\n" +
		"Examples:\n  perennial features training --as-of 2011-04-01,2011-07-01 --horizon 60d\n  perennial features training --as-of 2011-06-01 --horizon 90d --gap 7d --rhythm 3 --out training"
}

// plan reads the flags.
func (c featuresTrainingCmd) plan(a *App) (b warehouse.Build, err error) {
	b.Labels, b.Passes = &warehouse.LabelWindow{Rhythm: c.Rhythm}, c.Passes
	for _, text := range c.AsOf {
		d, err := a.cutDay("as-of", strings.TrimSpace(text))
		if err != nil {
			return b, err
		}
		b.Cuts = append(b.Cuts, d)
	}
	slices.Sort(b.Cuts)
	if c.Passes < 0 || c.Passes > lake.Buckets {
		return b, usageError{&features.InvalidError{Field: "passes", Reason: fmt.Sprintf("%d is not within 1..%d", c.Passes, lake.Buckets)}}
	}
	for _, f := range []struct {
		name, text string
		into       *int
	}{{"horizon", c.Horizon, &b.Labels.HorizonDays}, {"gap", c.Gap, &b.Labels.GapDays}, {"maturity", c.Maturity, &b.Labels.MaturityDays}} {
		if *f.into, err = strconv.Atoi(strings.TrimSuffix(f.text, "d")); err != nil {
			return b, usageError{&features.InvalidError{Field: f.name, Reason: fmt.Sprintf("%q is not a number of days such as 60d", f.text)}}
		}
	}
	return b, nil
}

// Run seals, brings the tiles up to date, and builds and publishes the set.
func (c featuresTrainingCmd) Run(ctx context.Context, a *App) error {
	b, err := c.plan(a)
	if err != nil {
		return err
	}
	start := time.Now()
	w, err := openBench(ctx, a)
	if err != nil {
		return err
	}
	defer w.close()
	last := b.Cuts[len(b.Cuts)-1]
	tiles, days, err := buildTiles(ctx, w.l, w.e, w.snap, last, a.progress)
	if err != nil {
		return fmt.Errorf("training: %w", err)
	}
	w.say("training: %d days of tiles computed, %.1f s", days, time.Since(start).Seconds())
	if b.Refused, err = refusedBy(ctx, w, b.Cuts); err != nil {
		return fmt.Errorf("training: %w", err)
	}
	key, err := json.Marshal([]any{b, w.e.CatalogHash(), w.e.PlanTiles(w.snap).Version(), a.Config.MarginRate, w.maturity()})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(key)
	version := fmt.Sprintf("training-%s-%s", last, hex.EncodeToString(sum[:4]))
	run, ok, err := w.l.FindRun(ctx, "training", last, version)
	if err != nil {
		return fmt.Errorf("training: %w", err)
	}
	if !ok {
		if run, err = c.build(ctx, w, tiles, b, version); err != nil {
			return fmt.Errorf("training: %w", err)
		}
	}
	var schema warehouse.Schema
	raw, err := os.ReadFile(filepath.Join(run.Dir, "schema.json"))
	if err == nil {
		err = json.Unmarshal(raw, &schema)
	}
	if err != nil {
		return fmt.Errorf("training: schema.json: %w", err)
	}
	out := run.Dir
	if c.Out != "" {
		out = c.Out
		if err := copyDir(run.Dir, out); err != nil {
			return fmt.Errorf("training: %w", err)
		}
	}
	w.say("training: %d rows of %d cuts, %d columns, in %d parts, version %s, %.1f s", schema.Rows, len(b.Cuts), len(schema.Columns), schema.Passes, version, time.Since(start).Seconds())
	if a.JSON {
		return json.NewEncoder(a.Out).Encode(map[string]any{"version": version, "as_of": schema.Cuts, "rows": schema.Rows, "columns": len(schema.Columns), "parts": schema.Passes, "labels": schema.Labels, "dir": out})
	}
	_, err = fmt.Fprintln(a.Out, out)
	return err
}

// refusedBy returns by cut who had refused analytics before it, in byte order.
func refusedBy(ctx context.Context, w *bench, cuts []features.Day) (map[features.Day][]string, error) {
	by := map[features.Day][]string{}
	for _, cut := range cuts {
		refused, err := w.l.Refused(ctx, features.ConsentAnalytics, cut)
		if err != nil {
			return nil, err
		}
		if len(refused) > 0 {
			by[cut] = slices.Sorted(maps.Keys(refused))
		}
	}
	return by, nil
}

// build writes and publishes one set; a killed build of the same set is continued.
func (c featuresTrainingCmd) build(ctx context.Context, w *bench, tiles string, b warehouse.Build, version string) (lake.Run, error) {
	work, err := w.l.WorkDir("training", version)
	if err != nil {
		return lake.Run{}, err
	}
	report, end := w.a.progress("training")
	schema, err := w.e.BuildParts(ctx, w.snap, tiles, b, work, report)
	end()
	if err != nil {
		return lake.Run{}, err
	}
	if err := os.Remove(filepath.Join(work, "plan.json")); err != nil {
		return lake.Run{}, err
	}
	meta, err := json.Marshal(map[string]any{"version": version, "rows": schema.Rows, "cuts": schema.Cuts, "catalog": schema.Catalog})
	if err != nil {
		return lake.Run{}, err
	}
	return w.l.Publish(ctx, lake.Run{Kind: "training", AsOf: b.Cuts[len(b.Cuts)-1], Version: version, Dir: work, Meta: meta})
}

// copyDir copies the files of a directory, which has no folders, into another.
func copyDir(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := copyFile(filepath.Join(from, f.Name()), filepath.Join(to, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		dst.Close()
		return err
	}
	return dst.Close()
}
