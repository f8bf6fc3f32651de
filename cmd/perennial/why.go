package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
	"perennial/models"
)

type whyCmd struct {
	User   string `arg:"" help:"The user."`
	Target string `enum:"churn,ltv" default:"churn" help:"churn or ltv."`
	From   string `placeholder:"D" help:"The older cut. Default: the run before --to."`
	To     string `placeholder:"D" help:"The newer cut. Default: the newest run."`
}

// Help shows examples.
func (whyCmd) Help() string {
	return "Examples:\n  perennial why 12347\n  perennial why 12347 --target ltv --from 2011-09-01 --to 2011-10-01 --json"
}

// whyAnswer is the change between two published runs.
type whyAnswer struct {
	User string `json:"user_id"`
	From whyRun `json:"from"`
	To   whyRun `json:"to"`
	models.Change
}

type whyRun struct {
	AsOf         string `json:"as_of"`
	ScoreVersion string `json:"score_version"`
	Model        string `json:"model"`
}

// Run prints the two parts and the features that moved.
func (c whyCmd) Run(ctx context.Context, a *App) error {
	return a.withLake(ctx, func(l *lake.Lake) error {
		e, err := a.openEngine(ctx, 0)
		if err != nil {
			return err
		}
		defer e.Close()
		w, err := why(ctx, a, l, e, c.User, models.Target(c.Target), c.From, c.To)
		if err != nil {
			return err
		}
		if a.JSON {
			return json.NewEncoder(a.Out).Encode(w)
		}
		fmt.Fprintf(a.Out, "%s of %s: %.4g (%s) → %.4g (%s)\n", w.Target, w.User, w.Before, w.From.AsOf, w.After, w.To.AsOf)
		fmt.Fprintf(a.Out, "  %+.4g because her features changed\n  %+.4g because the model changed (%s → %s)\n\n", w.FeaturesPart, w.ModelPart, w.From.Model, w.To.Model)
		t := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
		for _, m := range w.Moves[:min(len(w.Moves), 10)] {
			fmt.Fprintf(t, "%+.4g\t%s\t%s\n", m.Effect, m.EN, m.ZH)
		}
		return t.Flush()
	})
}

// why compares a user's rows in two published runs, each with the model that scored it. An empty date means the newest run, or the one before.
func why(ctx context.Context, a *App, l *lake.Lake, e *warehouse.Engine, user string, target models.Target, from, to string) (whyAnswer, error) {
	w := whyAnswer{User: user}
	runs, err := l.Runs(ctx, "scores")
	if err != nil {
		return w, err
	}
	find := func(field, date string, older features.Day) (lake.Run, error) {
		i := slices.IndexFunc(runs, func(r lake.Run) bool {
			return (date == "" || r.AsOf.String() == date) && (older == 0 || r.AsOf < older)
		})
		if i < 0 {
			return lake.Run{}, &features.InvalidError{Field: field, Reason: "no scores are published for that date; see `perennial changes` or GET /v1/runs"}
		}
		return runs[i], nil
	}
	young, err := find("to", to, 0)
	if err != nil {
		return w, err
	}
	old, err := find("from", from, young.AsOf)
	if err != nil {
		return w, err
	}
	var frames [2]*models.Frame
	var fitted [2]models.Model
	for i, run := range []lake.Run{old, young} {
		version, m, err := modelOfRun(ctx, a, l, run, target)
		if err != nil {
			return w, err
		}
		path := filepath.Join(run.Dir, "features.parquet")
		if _, err := os.Stat(path); err != nil {
			return w, fmt.Errorf("the features of %s are not kept: score it again with `perennial score --as-of %s`", run.AsOf, run.AsOf)
		}
		row, err := e.ReadRow(ctx, path, user)
		if err != nil {
			return w, err
		}
		if len(row.Users) == 0 {
			return w, &features.InvalidError{Field: "user", Reason: fmt.Sprintf("%q was not scored as of %s", user, run.AsOf)}
		}
		row.AsOf = run.AsOf
		frames[i], fitted[i] = frameOf(row), m
		*[]*whyRun{&w.From, &w.To}[i] = whyRun{run.AsOf.String(), run.Version, version}
	}
	for i, f := range frames {
		frames[i] = models.Untreated(f, fitted[0], fitted[1])
	}
	w.Change, err = models.Why(target, frames[0], frames[1], fitted[0], fitted[1])
	return w, err
}

// modelOfRun loads the model that scored a run.
func modelOfRun(ctx context.Context, a *App, l *lake.Lake, run lake.Run, target models.Target) (string, models.Model, error) {
	var meta warehouse.RunMeta
	var extra scoreExtra
	if err := json.Unmarshal(run.Meta, &meta); err != nil {
		return "", nil, fmt.Errorf("run %s: %w", run.Version, err)
	}
	if err := json.Unmarshal(meta.Extra, &extra); err != nil {
		return "", nil, fmt.Errorf("run %s: %w", run.Version, err)
	}
	version := extra.ChurnModel
	if target == models.LTV {
		version = extra.LTVModel
	}
	all, err := registeredModels(ctx, l)
	if err != nil {
		return "", nil, err
	}
	r, ok := all[version]
	if !ok {
		return "", nil, &features.InvalidError{Field: "target", Reason: fmt.Sprintf("%s was not scored as of %s", target, run.AsOf)}
	}
	m, err := loadModel(a, r)
	return version, m, err
}
