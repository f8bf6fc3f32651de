package warehouse

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"perennial/features"
	"perennial/features/lake"
)

// Build says what a build by user buckets writes: the features of one cut, which is a score build, or of many cuts with their labels, which is
// a training build.
type Build struct {
	Cuts   []features.Day
	Labels *LabelWindow // nil: features alone
	Passes int          // ranges of user buckets, 1 to 64; 0 chooses by the number of tiles
	// Refused holds by cut the users who are left out, as those whose refusal of analytics was known by then.
	Refused map[features.Day][]string `json:",omitempty"`
}

// Column describes a column of a written build in schema.json.
type Column struct {
	Name  string         `json:"name"`
	Type  string         `json:"type"` // the Parquet column: text, date, integer, double
	Kind  string         `json:"kind"` // id, cut, feature, label
	Unit  string         `json:"unit,omitempty"`
	Label features.Label `json:"label"`
}

// Schema is schema.json of a build: what every column is, and what the rows are a function of.
type Schema struct {
	Schema  string       `json:"schema"` // perennial.features/1
	Cuts    []string     `json:"cuts"`
	Catalog string       `json:"catalog"`
	Tiles   string       `json:"tiles,omitempty"` // version of the tiles
	Zone    string       `json:"timezone"`
	Labels  *LabelWindow `json:"labels,omitempty"`
	Passes  int          `json:"passes,omitempty"` // ranges of user buckets
	Rows    int64        `json:"rows"`
	Columns []Column     `json:"columns"`
}

// partName is the file of one range of buckets.
func partName(pass int) string { return fmt.Sprintf("part-%02d.parquet", pass) }

// BuildParts writes a build into a directory: one Parquet file for every range of user buckets, each sorted by cut and user, and schema.json last. One
// statement answers all cuts of a range, so memory is bounded by the range. A directory that a killed build left is continued: finished
// ranges of the same plan stay, those of another plan go. tiles is a directory of tiles of the snapshot. report may be nil.
func (e *Engine) BuildParts(ctx context.Context, snap *lake.Snapshot, tiles string, b Build, dir string, report func(done, all int)) (*Schema, error) {
	for i, c := range b.Cuts {
		if slices.Contains(b.Cuts[:i], c) {
			return nil, &features.InvalidError{Field: "as_of", Reason: fmt.Sprintf("%s stands twice", c)}
		}
	}
	if err := e.mature(ctx, snap, b); err != nil {
		return nil, err
	}
	src, err := e.openTiles(ctx, tiles, b.Cuts)
	if err != nil {
		return nil, err
	}
	defer src.done()
	plan := e.schema(src.t, b)
	if err := continuePlan(dir, plan); err != nil {
		return nil, fmt.Errorf("build %s: %w", filepath.Base(dir), err)
	}
	if len(src.tiles) == 0 {
		if err := emptyTiles(ctx, src, e.p); err != nil {
			return nil, fmt.Errorf("build: %w", err)
		}
	}
	if b.Labels != nil {
		if err := e.outcomes(ctx, snap, b, dir); err != nil {
			return nil, fmt.Errorf("build: outcomes: %w", err)
		}
		if err := src.attach(ctx, "outcome", filepath.Join(dir, outcomesName)); err != nil {
			return nil, fmt.Errorf("build: outcomes: %w", err)
		}
	}
	if len(b.Refused) > 0 {
		if err := src.load(ctx, "refused", "cut_day INTEGER, user_id VARCHAR", eachRefused(b.Refused)); err != nil {
			return nil, fmt.Errorf("build: refusals: %w", err)
		}
	}
	if err := e.writeParts(ctx, src, b, plan, dir, report); err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	s, err := e.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	defer s.done()
	row := s.QueryRowContext(ctx, "SELECT count(*) FROM read_parquet("+partList(dir, plan.Passes)+")")
	if err := row.Scan(&plan.Rows); err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	os.Remove(filepath.Join(dir, outcomesName))
	return plan, writeJSON(filepath.Join(dir, "schema.json"), plan)
}

// writeParts writes the files that are not there.
func (e *Engine) writeParts(ctx context.Context, src *tileSource, b Build, plan *Schema, dir string, report func(done, all int)) error {
	var columns []string
	for _, c := range plan.Columns {
		columns = append(columns, c.Name)
	}
	var todo []int
	for pass := range plan.Passes {
		if _, err := os.Stat(filepath.Join(dir, partName(pass))); errors.Is(err, os.ErrNotExist) {
			todo = append(todo, pass)
		}
	}
	var counting sync.Mutex
	done := plan.Passes - len(todo)
	return e.eachPass(ctx, src, b.Cuts, plan.Passes, todo, func(ctx context.Context, r runner, pass int, base string) error {
		final := filepath.Join(dir, partName(pass))
		query := e.partQuery(r.dialect(), b, bucketRange(pass, plan.Passes), len(src.links) > 0, base)
		if err := r.save(ctx, query, columns, "as_of, user_id", final+".tmp"); err != nil {
			return fmt.Errorf("buckets %d of %d: %w", pass+1, plan.Passes, err)
		}
		if err := os.Rename(final+".tmp", final); err != nil {
			return err
		}
		counting.Lock()
		defer counting.Unlock()
		if done++; report != nil {
			report(done, plan.Passes)
		}
		return nil
	})
}

// MergeParts writes the parts of a build as one file, sorted by user and then by cut.
func (e *Engine) MergeParts(ctx context.Context, dir, path string) error {
	plan, err := readSchema(dir)
	if err != nil {
		return err
	}
	s, err := e.open(ctx)
	if err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	defer s.done()
	if _, err := s.copyTo(ctx, "SELECT * FROM read_parquet("+partList(dir, plan.Passes)+") ORDER BY user_id, as_of", path+".tmp"); err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	return os.Rename(path+".tmp", path)
}

// ReadParts reads a build that BuildParts wrote, one table a cut in the order of its cuts, users in byte order.
func (e *Engine) ReadParts(ctx context.Context, dir string) ([]*features.Table, error) {
	plan, err := readSchema(dir)
	if err != nil {
		return nil, err
	}
	s, err := e.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("read build: %w", err)
	}
	defer s.done()
	tables := make([]*features.Table, len(plan.Cuts))
	for i, text := range plan.Cuts {
		cut, err := features.ParseDay(text)
		if err != nil {
			return nil, fmt.Errorf("read build: %w", err)
		}
		if tables[i], err = s.table(ctx, "SELECT * EXCLUDE (as_of) FROM read_parquet("+partList(dir, plan.Passes)+") WHERE as_of = "+dayLiteral(cut)+" ORDER BY user_id"); err != nil {
			return nil, fmt.Errorf("read build: %w", err)
		}
		tables[i].AsOf = cut
	}
	return tables, nil
}

func readSchema(dir string) (*Schema, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "schema.json"))
	if err != nil {
		return nil, fmt.Errorf("read build: %w", err)
	}
	var plan Schema
	if err := json.Unmarshal(raw, &plan); err != nil {
		return nil, fmt.Errorf("read build: schema.json: %w", err)
	}
	return &plan, nil
}

// partList is the SQL list of a build's files.
func partList(dir string, passes int) string {
	parts := make([]string, passes)
	for i := range parts {
		parts[i] = quoteText(filepath.Join(dir, partName(i)))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// partQuery is the statement of one range of buckets: user_id, as_of, the features and, where asked for, the labels. base is that of a query.
func (e *Engine) partQuery(d Dialect, b Build, where string, fold bool, base string) string {
	q := &query{p: e.p, d: d, shop: e.o.Shop, cuts: b.Cuts, tiles: true, where: where, bare: true, fold: fold, base: base}
	cut := "q.cut_day"
	if len(b.Cuts) == 1 {
		cut = fmt.Sprint(int(b.Cuts[0]))
	}
	names := ""
	for _, f := range e.p.catalog.Columns() {
		names += ", f." + quoteName(f.Name)
	}
	asOf := d.dateOf("f.cut_day") + " AS as_of"
	found := "WITH f AS "
	if base != "" {
		found += "NOT MATERIALIZED " // labels need few of its columns, which are there
	}
	if len(b.Cuts) > 1 {
		found += "(SELECT * "
	} else {
		found += "(SELECT " + cut + " AS cut_day, * "
	}
	found += "FROM (" + q.text() + ") q"
	if len(b.Refused) > 0 {
		found += " WHERE NOT EXISTS (SELECT 1 FROM refused x WHERE x.user_id = q.user_id AND x.cut_day = " + cut + ")"
	}
	found += ")"
	if b.Labels == nil {
		return found + "\nSELECT f.user_id, " + asOf + names + " FROM f"
	}
	return found + e.labelled(d, b.Labels, where, fold) + "\nSELECT f.user_id, " + asOf + names + ", " + b.Labels.horizon(d) + labelColumns + " FROM f" + labelJoin
}

// eachRefused gives the rows of refused.
func eachRefused(byCut map[features.Day][]string) func(row func(...driver.Value) error) error {
	return func(row func(...driver.Value) error) error {
		for cut, users := range byCut {
			for _, u := range users {
				if err := row(int32(cut), u); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// emptyTiles makes the two relations without a row, for cuts before the first month.
func emptyTiles(ctx context.Context, r runner, p *program) error {
	none := func(func(...driver.Value) error) error { return nil }
	if err := r.load(ctx, "tiles", p.tileColumns(), none); err != nil {
		return err
	}
	return r.load(ctx, "tile_values", valueColumns, none)
}

// WriteSchema writes schema.json of a table of one cut.
func (e *Engine) WriteSchema(path string, t *features.Table) error {
	plan := e.schema(nil, Build{Cuts: []features.Day{t.AsOf}})
	plan.Rows = int64(len(t.Users))
	return writeJSON(path, plan)
}

// schema describes a build before it runs; without tiles it is of one file.
func (e *Engine) schema(t *Tiles, b Build) *Schema {
	zone := "UTC"
	if e.o.Shop.Location != nil {
		zone = e.o.Shop.Location.String()
	}
	p := &Schema{Schema: "perennial.features/1", Catalog: e.CatalogHash(), Zone: zone, Labels: b.Labels,
		Columns: []Column{{Name: "user_id", Type: "text", Kind: "id", Label: features.Label{ZH: "用户", EN: "User"}}, {Name: "as_of", Type: "date", Kind: "cut", Label: features.Label{ZH: "截止日", EN: "Cut"}}}}
	if t != nil {
		p.Tiles, p.Passes = t.Version(), t.passesFor(len(b.Cuts))
		if b.Passes > 0 {
			p.Passes = min(b.Passes, lake.Buckets)
		}
	}
	for _, c := range b.Cuts {
		p.Cuts = append(p.Cuts, c.String())
	}
	for _, f := range e.o.Catalog.Columns() {
		kind := "double"
		switch {
		case f.Stage:
			kind = "text"
		case f.Kind == features.KindCount:
			kind = "integer"
		}
		p.Columns = append(p.Columns, Column{f.Name, kind, "feature", f.Unit, f.Label})
	}
	if b.Labels != nil {
		p.Columns = append(p.Columns, labelSchema...)
	}
	return p
}

// continuePlan makes a directory ready for a plan: what another plan left in it goes, what this plan left stays.
func continuePlan(dir string, plan *Schema) error {
	want, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "plan.json")
	if there, err := os.ReadFile(path); err == nil && string(there) == string(want) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for _, f := range old {
		base := filepath.Base(f)
		if !strings.HasPrefix(base, "part-") && base != outcomesName && base != "plan.json" && base != "schema.json" {
			return &features.InvalidError{Field: "out", Reason: fmt.Sprintf("the directory holds %s, which no build wrote; choose an empty one", base)}
		}
	}
	for _, f := range old {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return os.WriteFile(path, want, 0o644)
}

func writeJSON(path string, doc any) error {
	raw, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644)
}
