package warehouse

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
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
	s, err := e.read(ctx, snap)
	if err != nil {
		return nil, fmt.Errorf("features as of %s: %w", asOf, err)
	}
	defer s.done()
	t, err := s.table(ctx, (&query{p: e.p, d: DuckDB, shop: e.o.Shop, cuts: []features.Day{asOf}}).text())
	if err != nil {
		return nil, fmt.Errorf("features as of %s: %w", asOf, err)
	}
	t.AsOf = asOf
	return t, nil
}

// table runs a query whose first column is user_id and returns its rows.
func (s *session) table(ctx context.Context, query string) (*features.Table, error) {
	t := &features.Table{}
	err := s.Raw(func(c any) error {
		rows, err := c.(driver.QueryerContext).QueryContext(ctx, query, nil)
		if err != nil {
			return err
		}
		defer rows.Close()
		return scan(t, rows)
	})
	return t, err
}

// scan reads all rows; the column types of the result decide what is a number, an integer or a text.
func scan(t *features.Table, rows driver.Rows) error {
	names := rows.Columns()
	typed := rows.(driver.RowsColumnTypeDatabaseTypeName)
	text := make([]bool, len(names))
	for i, name := range names {
		kind := typed.ColumnTypeDatabaseTypeName(i)
		text[i] = kind == "VARCHAR"
		if i > 0 {
			integer := strings.HasSuffix(kind, "INT") || strings.HasSuffix(kind, "INTEGER")
			t.Columns = append(t.Columns, features.Column{Name: name, Integer: integer})
		}
	}
	values := make([]driver.Value, len(names))
	for {
		if err := rows.Next(values); err != nil {
			if isEOF(err) {
				return nil
			}
			return err
		}
		user, ok := values[0].(string)
		if !ok {
			return fmt.Errorf("column %s: a user id is missing", names[0])
		}
		t.Users = append(t.Users, user)
		for i := 1; i < len(names); i++ {
			col := &t.Columns[i-1]
			if text[i] {
				v, _ := values[i].(string)
				col.Texts = append(col.Texts, v)
				continue
			}
			n, err := number(values[i])
			if err != nil {
				return fmt.Errorf("column %s: %w", names[i], err)
			}
			col.Numbers = append(col.Numbers, n)
		}
	}
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
