package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"perennial/features"
	"perennial/features/warehouse"
)

// featureDoc is a feature of the catalog for people and programs.
type featureDoc struct {
	Name    string         `json:"name"`
	Kind    string         `json:"kind"`
	Unit    string         `json:"unit,omitempty"`
	Label   features.Label `json:"label"`
	About   features.Label `json:"about"`
	Source  string         `json:"source"`
	Hidden  bool           `json:"hidden,omitempty"`
	Uses    []string       `json:"uses,omitempty"`
	UsedBy  []string       `json:"used_by,omitempty"`
	SQL     string         `json:"sql,omitempty"`
	Dialect string         `json:"dialect,omitempty"`
}

func describe(c *features.Catalog, f *features.Feature) featureDoc {
	return featureDoc{Name: f.Name, Kind: kindName(f.Kind), Unit: f.Unit, Label: f.Label, About: f.About, Source: f.Source(), Hidden: f.Hidden, Uses: c.Uses(f)}
}

func kindName(k features.Kind) string {
	return strings.TrimPrefix(strings.TrimPrefix(k.String(), "a "), "an ")
}

type featuresListCmd struct {
	All bool `help:"Also the hidden features that others stand on."`
}

// Run prints the catalog, one line a feature, or as one JSON document.
func (c featuresListCmd) Run(a *App) error {
	catalog, err := a.catalog()
	if err != nil {
		return usageError{err}
	}
	docs := []featureDoc{}
	for i := range catalog.Features {
		if f := &catalog.Features[i]; c.All || !f.Hidden {
			docs = append(docs, describe(catalog, f))
		}
	}
	if a.JSON {
		return json.NewEncoder(a.Out).Encode(map[string]any{"catalog": catalog.Hash(), "features": docs})
	}
	w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
	for _, d := range docs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.Name, d.Unit, d.Label.ZH, d.Label.EN, d.Source)
	}
	return w.Flush()
}

type featuresExplainCmd struct {
	Name    string `arg:"" help:"Name of the feature."`
	AsOf    string `name:"as-of" placeholder:"DATE" help:"The cut that the SQL is written for; default today."`
	Dialect string `enum:"duckdb,trino" default:"duckdb" help:"Whose SQL: duckdb or trino."`
}

// Run prints the meaning, the dependencies and the SQL of one feature.
func (c featuresExplainCmd) Run(a *App) error {
	catalog, err := a.catalog()
	if err != nil {
		return usageError{err}
	}
	f, ok := catalog.Get(c.Name)
	if !ok {
		return usageError{&features.InvalidError{Field: "name", Reason: fmt.Sprintf("the catalog has no feature %q%s; see `perennial features list --all`", c.Name, catalog.Near(c.Name))}}
	}
	asOf := a.Config.Shop().DayOf(a.Now())
	if c.AsOf != "" {
		if asOf, err = features.ParseDay(c.AsOf); err != nil {
			return usageError{&features.InvalidError{Field: "as-of", Reason: err.Error()}}
		}
	}
	d := describe(catalog, f)
	for i := range catalog.Features {
		for _, used := range catalog.Uses(&catalog.Features[i]) {
			if used == f.Name {
				d.UsedBy = append(d.UsedBy, catalog.Features[i].Name)
			}
		}
	}
	dialect := warehouse.DuckDB
	if c.Dialect == warehouse.Trino.Name {
		dialect = warehouse.Trino
	}
	d.Dialect, d.SQL = dialect.Name, warehouse.FeatureSQL(catalog.Only(f.Name), dialect, a.Config.Shop(), asOf)
	if a.JSON {
		return json.NewEncoder(a.Out).Encode(d)
	}
	fmt.Fprintf(a.Out, "%s  %s / %s\n", d.Name, d.Label.ZH, d.Label.EN)
	if d.About != (features.Label{}) {
		fmt.Fprintf(a.Out, "  %s\n  %s\n", d.About.ZH, d.About.EN)
	}
	for _, line := range [][2]string{{"kind", d.Kind}, {"unit", d.Unit}, {"source", d.Source}, {"uses", strings.Join(d.Uses, ", ")}, {"used by", strings.Join(d.UsedBy, ", ")}} {
		if line[1] != "" {
			fmt.Fprintf(a.Out, "  %-8s %s\n", line[0], line[1])
		}
	}
	_, err = fmt.Fprintf(a.Out, "\n%s\n", d.SQL)
	return err
}
