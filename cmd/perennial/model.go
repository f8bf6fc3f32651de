package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"

	"perennial/features"
	"perennial/features/lake"
	"perennial/models"
)

type modelCmd struct {
	List       modelListCmd     `cmd:"" help:"List registered models with their roles."`
	Show       modelShowCmd     `cmd:"" help:"Print a model's card and lineage."`
	Promote    modelPromoteCmd  `cmd:"" help:"Make a model the champion."`
	Release    modelReleaseCmd  `cmd:"" help:"Let the nights choose the champion again."`
	Rollback   modelRollbackCmd `cmd:"" help:"Go back to the champion before."`
	Shadow     modelShadowCmd   `cmd:"" help:"Score with a model every night without serving it."`
	Challenger modelAliasCmd    `cmd:"" help:"Name the model that is to beat the champion."`
	Import     modelImportCmd   `cmd:"" help:"Register a model that LightGBM or XGBoost saved."`
}

// withLake runs f on the data directory's lake.
func (a *App) withLake(ctx context.Context, f func(*lake.Lake) error) (err error) {
	l, err := a.openLake(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return f(l)
}

type modelListCmd struct{}

// Run lists the registry, newest first.
func (modelListCmd) Run(ctx context.Context, a *App) error {
	return a.withLake(ctx, func(l *lake.Lake) error {
		cards, err := modelCards(ctx, l)
		if err != nil {
			return err
		}
		if a.JSON {
			return json.NewEncoder(a.Out).Encode(map[string]any{"models": cards})
		}
		w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
		for _, c := range cards {
			metric, name := c.Metrics["auc"], "AUC"
			if c.Target == models.LTV {
				metric, name = c.Metrics["ngini"], "nGini"
			}
			value := "refit, judged as " + judgedAs(c)
			if metric != nil {
				value = fmt.Sprintf("%s %.4f", name, *metric)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Version, c.Role, c.Learner, value)
		}
		return w.Flush()
	})
}

func judgedAs(c models.Card) string {
	if c.Backtest == nil {
		return "nothing: it was never judged here"
	}
	return c.Backtest.Version
}

type modelShowCmd struct {
	Version string `arg:"" help:"A registered version."`
}

// Run prints the card as Markdown, or card and lineage as JSON.
func (c modelShowCmd) Run(ctx context.Context, a *App) error {
	return a.withLake(ctx, func(l *lake.Lake) error {
		all, err := registeredModels(ctx, l)
		if err != nil {
			return err
		}
		r, ok := all[c.Version]
		if !ok {
			return &features.InvalidError{Field: "version", Reason: fmt.Sprintf("no model %q is registered; see `perennial model list`", c.Version)}
		}
		cards, err := modelCards(ctx, l)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(cards, func(k models.Card) bool { return k.Version == c.Version })
		r.Card.Role = cards[i].Role
		if a.JSON {
			return json.NewEncoder(a.Out).Encode(r)
		}
		_, err = fmt.Fprintf(a.Out, "%s\nKnows nothing from %s on. Catalog %s, seed %d, made by %s %s.\n", r.Card.Markdown(), r.Lineage.KnownUntil, r.Lineage.Catalog, r.Lineage.Seed, r.Lineage.By, r.Lineage.Why)
		return err
	})
}

type modelPromoteCmd struct {
	Target  string `arg:"" enum:"churn,ltv" help:"churn or ltv."`
	Version string `arg:"" help:"A registered version."`
}

// Run promotes by a person's word: it stays champion, for nights too, until somebody promotes another or hands back to the nights.
func (c modelPromoteCmd) Run(ctx context.Context, a *App) error {
	return a.withLake(ctx, func(l *lake.Lake) error {
		card, err := promoteModel(ctx, a, l, models.Target(c.Target), c.Version)
		return sayRole(a, card, err)
	})
}

type modelReleaseCmd struct {
	Target string `arg:"" enum:"churn,ltv" help:"churn or ltv."`
}

// Run ends a person's promotion: the champion stays until the next night has a model that it may crown.
func (c modelReleaseCmd) Run(ctx context.Context, a *App) error {
	return a.withLake(ctx, func(l *lake.Lake) error {
		kings, err := champions(ctx, l)
		if err != nil {
			return err
		}
		king, ok := kings[c.Target]
		if !ok {
			return fmt.Errorf("%s has no champion: run `perennial nightly`, or `perennial train %s`", c.Target, c.Target)
		}
		king.By, king.Reason = "night", "handed back to the nights"
		if err := l.PutRecord(ctx, "champion", c.Target, king); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.Out, "%s is the %s champion until a night crowns another\n", king.Version, c.Target)
		return err
	})
}

type modelRollbackCmd struct {
	Target string `arg:"" enum:"churn,ltv" help:"churn or ltv."`
}

// Run makes the champion before this one champion again. It moves an alias, so it is as fast for the largest model.
func (c modelRollbackCmd) Run(ctx context.Context, a *App) error {
	return a.withLake(ctx, func(l *lake.Lake) error {
		card, err := promoteModel(ctx, a, l, models.Target(c.Target), "previous")
		return sayRole(a, card, err)
	})
}

func sayRole(a *App, card models.Card, err error) error {
	if err != nil {
		return err
	}
	if a.JSON {
		return json.NewEncoder(a.Out).Encode(card)
	}
	_, err = fmt.Fprintf(a.Out, "%s is the %s champion; the next night scores with it\n", card.Version, card.Target)
	return err
}

type modelAliasCmd struct {
	Target  string `arg:"" enum:"churn,ltv" help:"churn or ltv."`
	Version string `arg:"" help:"A registered version, or none."`
}

// Run points the alias challenger to a version.
func (c modelAliasCmd) Run(ctx context.Context, a *App) error { return c.set(ctx, a, "challenger") }

func (c modelAliasCmd) set(ctx context.Context, a *App, name string) error {
	return a.withLake(ctx, func(l *lake.Lake) error {
		if err := setAlias(ctx, l, models.Target(c.Target), name, c.Version, "person", ""); err != nil {
			return err
		}
		if a.JSON {
			return json.NewEncoder(a.Out).Encode(map[string]string{"target": c.Target, "alias": name, "version": c.Version})
		}
		_, err := fmt.Fprintf(a.Out, "%s of %s: %s\n", name, c.Target, c.Version)
		return err
	})
}

type modelShadowCmd struct{ modelAliasCmd }

// Run points the alias shadow to a version: from the next night on its scores stand beside the champion's, and GET /v1/runs compares them.
func (c modelShadowCmd) Run(ctx context.Context, a *App) error { return c.set(ctx, a, "shadow") }

type modelImportCmd struct {
	File       string `arg:"" type:"existingfile" help:"LightGBM text (v2 to v4) or XGBoost JSON. Its features have the names of the catalog."`
	Target     string `required:"" enum:"churn,ltv" help:"What it predicts."`
	Horizon    string `default:"60d" placeholder:"DAYS" help:"How far."`
	KnownUntil string `name:"known-until" placeholder:"D" help:"The first day of which it has learned nothing. Default: today."`
	TestAsOf   string `name:"test-as-of" placeholder:"D" help:"Judge it out of time on this cut, beside the naive rules; needs --known-until no later than it."`
}

// Help shows examples.
func (modelImportCmd) Help() string {
	return "The model is registered as a challenger, served, explained and rolled back like any other; promote it with `perennial model promote`.\n\nExamples:\n" +
		"  perennial model import churn.txt --target churn --known-until 2011-10-01 --test-as-of 2011-10-01\n  perennial model import ltv.json --target ltv --horizon 90d"
}

// Run reads, judges and registers.
func (c modelImportCmd) Run(ctx context.Context, a *App) error {
	horizon, err := days("horizon", c.Horizon)
	if err != nil {
		return err
	}
	raw, err := readUpTo(c.File, 256<<20)
	if err != nil {
		return err
	}
	model, err := models.Imported(models.Target(c.Target), raw)
	if err != nil {
		return fmt.Errorf("import %s: %w", c.File, err)
	}
	known := a.Config.Shop().DayOf(a.Now())
	if c.KnownUntil != "" {
		if known, err = a.cutDay("known-until", c.KnownUntil); err != nil {
			return err
		}
	}
	b, err := openBench(ctx, a)
	if err != nil {
		return err
	}
	defer b.close()
	plan := models.TrainPlan{Target: models.Target(c.Target), HorizonDays: horizon, Seed: 1}
	sample, err := c.sample(ctx, b, &plan, known, horizon)
	if err != nil {
		return err
	}
	t, err := models.Adopt(plan, model, sample)
	if err != nil {
		return fmt.Errorf("import %s: %w", c.File, err)
	}
	from := lineage{KnownUntil: known.String(), Catalog: b.e.CatalogHash(), Digests: map[string]string{}, By: "import"}
	if err := saveModel(ctx, a, b.l, t, from); err != nil {
		return err
	}
	if a.JSON {
		return json.NewEncoder(a.Out).Encode(t.Card)
	}
	return printCard(a, &t.Card)
}

// sample returns the frame that the model is tried on: the test cut with its outcomes, or today's users.
func (c modelImportCmd) sample(ctx context.Context, b *bench, plan *models.TrainPlan, known features.Day, horizon int) (*models.Frame, error) {
	if c.TestAsOf == "" {
		last, err := b.e.DataDay(ctx, b.snap, b.a.Now())
		if err != nil {
			return nil, err
		}
		_, table, err := buildFeatures(ctx, b.l, b.e, b.snap, last+1, nil)
		if err != nil {
			return nil, err
		}
		return frameOf(table), nil
	}
	test, err := b.a.cutDay("test-as-of", c.TestAsOf)
	if err != nil {
		return nil, err
	}
	if known > test {
		return nil, usageError{&features.InvalidError{Field: "test-as-of", Reason: fmt.Sprintf("the model knows days before %s (--known-until), so it cannot be judged as of %s", known, test)}}
	}
	cuts, of, err := b.cuts(ctx, plan.Target, []features.Day{test}, horizon, 0)
	if err != nil {
		return nil, err
	}
	plan.Test, plan.Of = cuts[0], of
	return &cuts[0].Frame, nil
}

// readUpTo reads a file of at most limit bytes.
func readUpTo(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return raw, err
}
