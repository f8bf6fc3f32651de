package main

import (
	"context"
	"fmt"
	"strings"

	"perennial/api"
	"perennial/experiments"
	"perennial/features/warehouse"
)

type experimentResultsCmd struct {
	Key     string `arg:"" help:"The experiment's key."`
	Segment string `enum:",stage,churn_decile,ltv_decile,channel" default:"" help:"Also by stage, churn_decile, ltv_decile or channel." placeholder:"DIMENSION"`
	Metric  string `help:"Only this metric." placeholder:"KEY"`
	Until   string `help:"As it was known at the start of this date." placeholder:"DATE"`
	HTML    string `name:"html" type:"path" help:"Also write a self-contained report." placeholder:"FILE"`
}

// Run prints effects, profit and the decision.
func (c experimentResultsCmd) Run(ctx context.Context, a *App) error {
	return a.withResults(ctx, func(r *results) error {
		doc, err := r.document(ctx, c.Key, api.ResultsQuery{Segment: c.Segment, Metric: c.Metric, Until: c.Until})
		if err != nil {
			return err
		}
		if c.HTML != "" {
			if err := writeReport(c.HTML, &doc.Analysis, c.Key); err != nil {
				return err
			}
		}
		return printResults(a, doc)
	})
}

type experimentLookCmd struct {
	Key string `arg:"" help:"The experiment's key."`
}

// Run records a look and prints it.
func (c experimentLookCmd) Run(ctx context.Context, a *App) error {
	return a.withResults(ctx, func(r *results) error {
		doc, err := r.record(ctx, c.Key, a.Known())
		if err != nil {
			return err
		}
		return printResults(a, doc)
	})
}

// withResults opens what results stand on.
func (a *App) withResults(ctx context.Context, f func(*results) error) error {
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	l, err := a.openLake(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	engine, err := a.openBatch(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	r := newResults(a, store, l, func(context.Context) (*warehouse.Engine, error) { return engine, nil })
	r.progress = a.progress
	return f(r)
}

func init() {
	nightLooks = func(ctx context.Context, a *App) (n int, err error) {
		err = a.withResults(ctx, func(r *results) error {
			n, err = r.night(ctx)
			return err
		})
		return n, err
	}
}

// printResults writes the document, or what a person wants to see of it: the decision first.
func printResults(a *App, doc *experiments.Results) error {
	if a.JSON {
		return writeJSON(a.Out, doc)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n\n%d exposed, %d matured as of %s", doc.Decision.Text.EN, doc.Decision.Text.ZH, doc.Source.Exposed, doc.Source.Matured, doc.Source.AsOf.Format("2006-01-02 15:04 MST"))
	if doc.Inference == experiments.GST {
		fmt.Fprintf(&b, "; look %d of about %d, information %s", doc.State.Look, doc.State.Looks, digits(doc.State.Information))
	}
	b.WriteString("\n")
	for _, p := range doc.Profit {
		fmt.Fprintf(&b, "profit per exposed unit, %s: %s %s %s, p = %s, total %s\n", p.Variant, signed(p.PerUnit), doc.Currency, span(p.Low, p.High, digits), short3(p.PValue), signed(p.Total))
	}
	b.WriteString("\n")
	printArms(&b, &doc.Analysis)
	printResultRows(&b, &doc.Analysis)
	for _, w := range doc.Warnings {
		fmt.Fprintf(&b, "warning %s: %s\n", w.Code, w.Detail.EN)
	}
	_, err := fmt.Fprint(a.Out, b.String())
	return err
}
