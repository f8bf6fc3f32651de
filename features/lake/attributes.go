package lake

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"perennial/features"
)

// PutTraits merges what a shop says of its users into what is stored: a value replaces the one of its name, null forgets it. It
// returns how many users changed. The same again changes nothing. Where a server owns the journal it does that, a lot in a transaction.
func (l *Lake) PutTraits(ctx context.Context, traits []features.Traits) (changed int, err error) {
	changed, _, err = l.viaServer(ctx, "users", len(traits), factRows, func(dst []byte, i int) ([]byte, error) { return toJSON(dst, traits[i]) },
		func(from, to int) (changed, _ int, err error) {
			changed, err = l.putTraits(ctx, traits[from:to])
			return changed, 0, err
		})
	return changed, err
}

func (l *Lake) putTraits(ctx context.Context, traits []features.Traits) (changed int, err error) {
	err = l.inTx(ctx, func(tx transaction) error {
		for _, t := range traits {
			t.User = l.o.Shop.Pseudonym(t.User)
			var before string
			err := tx.GetContext(ctx, &before, `SELECT doc FROM attributes WHERE user_id = ?`, t.User)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			values := map[string]json.RawMessage{}
			if before != "" {
				if err := json.Unmarshal([]byte(before), &values); err != nil {
					return err
				}
			}
			maps.Copy(values, t.Values)
			maps.DeleteFunc(values, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
			doc, err := json.Marshal(values)
			if err != nil {
				return err
			}
			if string(doc) == before || before == "" && len(values) == 0 {
				continue
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO attributes (user_id, doc) VALUES (?, ?)
				ON CONFLICT (user_id) DO UPDATE SET doc = excluded.doc`, t.User, string(doc)); err != nil {
				return err
			}
			changed++
		}
		if changed == 0 {
			return nil
		}
		return raiseTraits(ctx, tx)
	})
	if err != nil {
		return 0, fmt.Errorf("attributes: %w", err)
	}
	return changed, nil
}

// raiseTraits moves the version of the attributes, so that servers load them again.
func raiseTraits(ctx context.Context, tx transaction) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO records (kind, key, doc) VALUES ('attributes', 'version', '1')
		ON CONFLICT (kind, key) DO UPDATE SET doc = CAST(CAST(records.doc AS INTEGER) + 1 AS TEXT)`)
	return err
}

// eraseTraits forgets what the shop said of a user.
func eraseTraits(ctx context.Context, tx transaction, user string) error {
	r, err := tx.ExecContext(ctx, `DELETE FROM attributes WHERE user_id = ?`, user)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return raiseTraits(ctx, tx)
}

// TraitsVersion rises with every change of the attributes; 0 means that there never were any.
func (l *Lake) TraitsVersion(ctx context.Context) (int64, error) {
	records, err := l.Records(ctx, "attributes")
	if err != nil || records["version"] == nil {
		return 0, err
	}
	return strconv.ParseInt(string(records["version"]), 10, 64)
}

// Traits returns the attributes of all users as a table: a column is numeric where every value is a number. It is nil without any.
func (l *Lake) Traits(ctx context.Context) (*features.Table, error) {
	var found []struct {
		User string `db:"user_id"`
		Doc  string `db:"doc"`
	}
	if err := l.db.SelectContext(ctx, &found, `SELECT user_id, doc FROM attributes`); err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	slices.SortFunc(found, func(a, b struct {
		User string `db:"user_id"`
		Doc  string `db:"doc"`
	}) int {
		if a.User < b.User {
			return -1
		}
		return 1
	})
	t := &features.Table{Users: make([]string, len(found))}
	texts, mixed := map[string][]string{}, map[string]bool{}
	for i, f := range found {
		t.Users[i] = f.User
		var values map[string]any
		if err := json.Unmarshal([]byte(f.Doc), &values); err != nil {
			return nil, fmt.Errorf("attributes: %w", err)
		}
		for name, v := range values {
			if texts[name] == nil {
				texts[name] = make([]string, len(found))
			}
			switch v := v.(type) {
			case string:
				texts[name][i], mixed[name] = v, true
			case float64:
				texts[name][i] = strconv.FormatFloat(v, 'g', -1, 64)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		c := features.Column{Name: name}
		if mixed[name] {
			c.Texts = texts[name]
		} else {
			c.Numbers = numbers(texts[name])
		}
		t.Columns = append(t.Columns, c)
	}
	return t, nil
}

// numbers reads what FormatFloat wrote; "" is NaN.
func numbers(texts []string) []float64 {
	out := make([]float64, len(texts))
	for i, text := range texts {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			v = math.NaN()
		}
		out[i] = v
	}
	return out
}
