package warehouse

import (
	"context"
	"fmt"

	"perennial/features"
	"perennial/features/lake"
)

// Audit is what a replay of one bucket of users said of features that were built from tiles (R12).
type Audit struct {
	Bucket      int      `json:"bucket"`
	Users       int      `json:"users"`             // of the bucket, in either build
	Differences int      `json:"differences"`       // of them: with another value in some column, or in one build alone
	Columns     []string `json:"columns,omitempty"` // that differ
}

// Audit computes the features of one user bucket, 1/64 of the users, from raw events and compares them with a table, bit for bit.
func (e *Engine) Audit(ctx context.Context, snap *lake.Snapshot, made *features.Table, bucket int) (Audit, error) {
	a := Audit{Bucket: bucket}
	raw, err := e.replay(ctx, snap, made.AsOf, bucket, false)
	if err != nil {
		return a, fmt.Errorf("audit as of %s: %w", made.AsOf, err)
	}
	a.compare(raw, made)
	return a, nil
}

// replay computes the features of one user bucket as of a day from raw events; late is with what became known since. Ids are folded as they were known at the
// cut either way.
func (e *Engine) replay(ctx context.Context, snap *lake.Snapshot, asOf features.Day, bucket int, late bool) (*features.Table, error) {
	r, err := e.reader(ctx, snap)
	if err != nil {
		return nil, err
	}
	defer r.done()
	cuts := []features.Day{asOf}
	fold, err := foldCuts(ctx, r, snap.Links, e.o.Shop, cuts)
	if err != nil {
		return nil, err
	}
	q := &query{p: e.p, d: r.dialect(), shop: e.o.Shop, cuts: cuts, fold: fold, late: late, where: fmt.Sprintf("user_bucket = %d", bucket)}
	tables, err := r.tables(ctx, q.text(), cuts)
	if err != nil {
		return nil, err
	}
	return tables[0], nil
}

// compare counts the users of the bucket that are not alike in both tables.
func (a *Audit) compare(raw, made *features.Table) {
	rows := make(map[string]int, len(made.Users)/lake.Buckets)
	for i, u := range made.Users {
		if int(lake.UserBucket(u)) == a.Bucket {
			rows[u] = i
		}
	}
	differs := map[string]bool{}
	a.Users = len(rows)
	for i, u := range raw.Users {
		k, ok := rows[u]
		delete(rows, u)
		if !ok {
			a.Users++
			a.Differences++
			continue
		}
		alike := true
		for c := range raw.Columns {
			x, y := &raw.Columns[c], made.Column(raw.Columns[c].Name)
			if y == nil || !alikeAt(x, i, y, k) {
				alike, differs[x.Name] = false, true
			}
		}
		if !alike {
			a.Differences++
		}
	}
	a.Differences += len(rows)
	a.Columns = sortedKeys(differs)
}

// alikeAt tells whether two columns have one value at two rows; null is like null.
func alikeAt(x *features.Column, i int, y *features.Column, k int) bool {
	if x.Texts != nil {
		return y.Texts != nil && x.Texts[i] == y.Texts[k]
	}
	if y.Numbers == nil {
		return false
	}
	a, b := x.Numbers[i], y.Numbers[k]
	return a == b || a != a && b != b
}
