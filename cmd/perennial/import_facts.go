package main

import (
	"context"
	"time"

	"perennial/experiments"
	"perennial/features"
)

// factFiles are the arguments that every import of facts has.
type factFiles struct {
	Files   []string          `arg:"" name:"file" help:"CSV, TSV, NDJSON or Parquet; .gz and .zst too; - is NDJSON on standard input."`
	Map     map[string]string `help:"Column of a field, such as --map user_id=member_no." placeholder:"FIELD=COLUMN" mapsep:"none"`
	Rejects string            `help:"Where rejected rows go; default in the data directory." placeholder:"FILE" type:"path"`
}

type importUsersCmd struct{ factFiles }

// Help is shown by --help.
func (importUsersCmd) Help() string {
	return `Every column but user_id becomes an attribute under its own name, or the one that --map gives it. Targeting and segments read it beside the scores;
a score or feature that Perennial computes cannot be overridden. The same rows again change nothing; another value replaces the one that stands.

Examples:
  perennial import users members.csv --map user_id=member_no --map city=home_city
  perennial import users members.ndjson`
}

// Run loads the files.
func (c importUsersCmd) Run(ctx context.Context, a *App) error {
	return c.factFiles.run(ctx, a, features.FactUsers, 0)
}

type importTagsCmd struct{ factFiles }

// Help is shown by --help.
func (importTagsCmd) Help() string {
	return `Columns user_id, tag and perhaps value (true without one). A tag is the attribute tag_NAME.

Example:
  perennial import tags tags.csv --map user_id=member_no --map tag=label`
}

// Run loads the files.
func (c importTagsCmd) Run(ctx context.Context, a *App) error {
	return c.factFiles.run(ctx, a, features.FactTags, 0)
}

type importCostsCmd struct {
	factFiles
	Lag time.Duration `help:"How long after its day has ended a cost could be known." default:"0s"`
}

// Help is shown by --help.
func (importCostsCmd) Help() string {
	return `Columns day, channel, cost in major units and perhaps campaign. Rows of one day, channel and campaign of one import are summed; the same file again
changes nothing, and another amount with a longer --lag is a correction that past cuts do not see.

Example:
  perennial import costs ads.csv --map day=date --map cost=spend --lag 24h`
}

// Run loads the files.
func (c importCostsCmd) Run(ctx context.Context, a *App) error {
	if c.Lag < 0 {
		return usagef("--lag: %s is negative: a cost cannot be known before its day is over", c.Lag)
	}
	return c.factFiles.run(ctx, a, features.FactCosts, c.Lag)
}

func (c factFiles) run(ctx context.Context, a *App, kind string, lag time.Duration) error {
	catalog, err := a.catalog()
	if err != nil {
		return err
	}
	taken := func(name string) bool {
		return experiments.IsServerAttribute(name) || known(catalog, name)
	}
	im, err := features.NewFactImporter(features.FactOptions{Kind: kind, Map: c.Map, Lag: lag, Taken: taken, Shop: a.Config.Shop()})
	if err != nil {
		return badUsage{err}
	}
	return a.importFiles(ctx, c.Files, c.Rejects, im, &factLoader{importer: im, kind: kind})
}

func known(catalog *features.Catalog, name string) bool {
	_, ok := catalog.Get(name)
	return ok
}

// factLoader loads users, tags and costs when every file is read: rows of one user or one bill may stand apart.
type factLoader struct {
	importer *features.FactImporter
	kind     string
}

func (f *factLoader) ready(context.Context, *importing) error { return nil }

func (f *factLoader) finish(ctx context.Context, in *importing) (err error) {
	changed, total := 0, 0
	if f.kind == features.FactCosts {
		costs := f.importer.Costs()
		total = len(costs)
		changed, err = in.lake.PutCosts(ctx, costs)
	} else {
		traits := f.importer.Traits()
		total = len(traits)
		changed, err = in.lake.PutTraits(ctx, traits)
	}
	in.result.Duplicate = total - changed
	if f.kind == features.FactCosts {
		in.result.Costs = &changed
	} else {
		in.result.Users = &changed
	}
	return err
}

// loaded is what the import counts, and how many of it.
func (r importResult) loaded() (n int, what string) {
	switch {
	case r.Users != nil:
		return *r.Users, "users"
	case r.Costs != nil:
		return *r.Costs, "costs"
	}
	return r.Events, "events"
}
