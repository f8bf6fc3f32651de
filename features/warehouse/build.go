package warehouse

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"perennial/features"
	"perennial/features/lake"
)

// Catalog returns the catalog that the engine computes.
func (e *Engine) Catalog() *features.Catalog { return e.o.Catalog }

// CatalogHash identifies what is computed: the same hash and the same facts give the same features.
func (e *Engine) CatalogHash() string {
	zone := "UTC"
	if e.o.Shop.Location != nil {
		zone = e.o.Shop.Location.String()
	}
	h := sha256.Sum256([]byte(e.o.Catalog.Hash() + " " + zone))
	return hex.EncodeToString(h[:8])
}

// Features builds the features of every user of the population as of a day: one statement, known facts only.
func (e *Engine) Features(ctx context.Context, snap *lake.Snapshot, asOf features.Day) (*features.Table, error) {
	r, err := e.reader(ctx, snap)
	if err != nil {
		return nil, fmt.Errorf("features as of %s: %w", asOf, err)
	}
	defer r.done()
	cuts := []features.Day{asOf}
	fold, err := foldCuts(ctx, r, snap.Links, e.o.Shop, cuts)
	if err != nil {
		return nil, fmt.Errorf("features as of %s: %w", asOf, err)
	}
	tables, err := r.tables(ctx, (&query{p: e.p, d: r.dialect(), shop: e.o.Shop, cuts: cuts, fold: fold}).text(), cuts)
	if err != nil {
		return nil, fmt.Errorf("features as of %s: %w", asOf, err)
	}
	return tables[0], nil
}

// FeaturesAt builds the features of several cuts in one statement over the raw events, one table a cut in the order of the cuts: the training
// build. Every cut sees only what was known before it.
func (e *Engine) FeaturesAt(ctx context.Context, snap *lake.Snapshot, cuts ...features.Day) ([]*features.Table, error) {
	if len(cuts) == 0 {
		return nil, &features.InvalidError{Field: "as_of", Reason: "needs at least one cut"}
	}
	r, err := e.reader(ctx, snap)
	if err != nil {
		return nil, fmt.Errorf("features as of %v: %w", cuts, err)
	}
	defer r.done()
	fold, err := foldCuts(ctx, r, snap.Links, e.o.Shop, cuts)
	if err != nil {
		return nil, fmt.Errorf("features as of %v: %w", cuts, err)
	}
	tables, err := r.tables(ctx, (&query{p: e.p, d: r.dialect(), shop: e.o.Shop, cuts: cuts, fold: fold}).text(), cuts)
	if err != nil {
		return nil, fmt.Errorf("features as of %v: %w", cuts, err)
	}
	return tables, nil
}

// table runs a query whose first column is user_id and returns its rows.
func (s *session) table(ctx context.Context, query string) (*features.Table, error) {
	tables, err := s.tables(ctx, query, []features.Day{0})
	if err != nil {
		return nil, err
	}
	return tables[0], nil
}

// tables runs a compiled query and returns one table a cut. With several cuts the first column is the cut's day; user_id comes next.
func (s *session) tables(ctx context.Context, query string, cuts []features.Day) ([]*features.Table, error) {
	byCut := map[int64]*features.Table{}
	out := make([]*features.Table, len(cuts))
	for i, c := range cuts {
		if byCut[int64(c)] != nil {
			return nil, &features.InvalidError{Field: "as_of", Reason: fmt.Sprintf("%s stands twice", c)}
		}
		out[i] = &features.Table{AsOf: c}
		byCut[int64(c)] = out[i]
	}
	lead := min(1, len(cuts)-1) // columns before user_id
	err := s.Raw(func(c any) error {
		rows, err := c.(driver.QueryerContext).QueryContext(ctx, query, nil)
		if err != nil {
			return err
		}
		defer rows.Close()
		text := columnsOf(rows, lead+1, out)
		values := make([]driver.Value, len(rows.Columns()))
		for {
			if err := rows.Next(values); err != nil {
				if isEOF(err) {
					trim(out)
					return nil
				}
				return err
			}
			t := out[0]
			if lead == 1 {
				cut, err := number(values[0])
				if err != nil {
					return err
				}
				t = byCut[int64(cut)]
			}
			if err := addRow(t, text, values[lead:]); err != nil {
				return err
			}
		}
	})
	return out, err
}

// trim gives large columns the memory that they need: while they grow they have up to a quarter more, which of a million users is hundreds of megabytes.
func trim(tables []*features.Table) {
	for _, t := range tables {
		if len(t.Users) < 1<<16 {
			continue
		}
		t.Users = slices.Clone(t.Users)
		for i := range t.Columns {
			c := &t.Columns[i]
			c.Numbers, c.Texts = slices.Clone(c.Numbers), slices.Clone(c.Texts)
		}
	}
}

// columnsOf gives every table the columns of a result from position first on, and says which are texts. The types of the result decide
// what is a number, an integer or a text.
func columnsOf(rows driver.Rows, first int, tables []*features.Table) []bool {
	names := rows.Columns()[first:]
	typed := rows.(driver.RowsColumnTypeDatabaseTypeName)
	text := make([]bool, len(names))
	for i, name := range names {
		kind := typed.ColumnTypeDatabaseTypeName(first + i)
		text[i] = kind == "VARCHAR"
		for _, t := range tables {
			col := features.Column{Name: name, Integer: strings.HasSuffix(kind, "INT") || strings.HasSuffix(kind, "INTEGER")}
			if text[i] {
				col.Texts = []string{}
			}
			t.Columns = append(t.Columns, col)
		}
	}
	return text
}

// addRow appends one row: user_id, then the columns.
func addRow(t *features.Table, text []bool, values []driver.Value) error {
	user, ok := values[0].(string)
	if !ok {
		return fmt.Errorf("a user id is missing")
	}
	t.Users = append(t.Users, user)
	for i, v := range values[1:] {
		col := &t.Columns[i]
		if text[i] {
			s, _ := v.(string)
			col.Texts = append(col.Texts, s)
			continue
		}
		n, err := number(v)
		if err != nil {
			return fmt.Errorf("column %s: %w", col.Name, err)
		}
		col.Numbers = append(col.Numbers, n)
	}
	return nil
}

// number is a driver value as float64; null is NaN.
func number(v driver.Value) (float64, error) {
	switch v := v.(type) {
	case nil:
		return math.NaN(), nil
	case int64:
		return float64(v), nil
	case int32:
		return float64(v), nil
	case int16:
		return float64(v), nil
	case int8:
		return float64(v), nil
	case float64:
		return v, nil
	case float32:
		return float64(v), nil
	case bool:
		if v {
			return 1, nil
		}
		return 0, nil
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f, nil
	}
	return 0, fmt.Errorf("a %T is no number", v)
}

// FeatureSQL is the statement of a catalog for one cut in a dialect, over the relation `events`, for readers and for golden texts.
func FeatureSQL(c *features.Catalog, d Dialect, shop features.Shop, asOf features.Day) string {
	return (&query{p: compile(c), d: d, shop: shop, cuts: []features.Day{asOf}}).text()
}
