package warehouse

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"perennial/features"
	"perennial/features/lake"
)

// Drift is what late data did to the features of a past cut (R12): one bucket of users computed again as it was known then and with everything that
// happened before the cut and became known by now.
type Drift struct {
	AsOf         string        `json:"as_of"`
	Bucket       int           `json:"bucket"`
	Users        int           `json:"users"`         // of the bucket, in either build
	Changed      int           `json:"changed"`       // of them: with another value in some column, or in one build alone
	ChangedShare float64       `json:"changed_share"` // 0 without users
	OneSided     int           `json:"one_sided"`     // of the changed: in one build alone, as a customer whose first order came late; they count in no column
	Features     []ColumnDrift `json:"features"`      // those that differ for somebody, the most users first
}

// ColumnDrift is how far a feature is from what was known. MeanAbs is the mean of |now - then| in the feature's unit over the changed users who have a number in
// both builds; nil without any, as for a text.
type ColumnDrift struct {
	Feature string   `json:"feature"`
	Users   int      `json:"users"`
	Share   float64  `json:"share"` // of Drift.Users
	MeanAbs *float64 `json:"mean_abs_change"`
}

// Drift compares the features of one user bucket as of a past day as they were known then with those of today's knowledge of the same days. Without late rows
// nothing differs, bit for bit.
func (e *Engine) Drift(ctx context.Context, snap *lake.Snapshot, asOf features.Day, bucket int) (Drift, error) {
	d := Drift{AsOf: asOf.String(), Bucket: bucket, Features: []ColumnDrift{}}
	then, err := e.replay(ctx, snap, asOf, bucket, false)
	if err != nil {
		return d, fmt.Errorf("drift as of %s: %w", asOf, err)
	}
	now, err := e.replay(ctx, snap, asOf, bucket, true)
	if err != nil {
		return d, fmt.Errorf("drift as of %s: %w", asOf, err)
	}
	d.compare(then, now)
	return d, nil
}

// compare fills in the numbers. Both tables have the same columns, of one catalog.
func (d *Drift) compare(then, now *features.Table) {
	rows := make(map[string]int, len(then.Users))
	for i, u := range then.Users {
		rows[u] = i
	}
	users, measured, sums := make([]int, len(now.Columns)), make([]int, len(now.Columns)), make([]float64, len(now.Columns))
	for k, u := range now.Users {
		d.Users++
		i, ok := rows[u]
		if !ok {
			d.OneSided++
			continue
		}
		delete(rows, u)
		changed := false
		for c := range now.Columns {
			x, y := &then.Columns[c], &now.Columns[c]
			if alikeAt(x, i, y, k) {
				continue
			}
			changed = true
			users[c]++
			if x.Numbers == nil || y.Numbers == nil {
				continue
			}
			if by := math.Abs(y.Numbers[k] - x.Numbers[i]); !math.IsNaN(by) { // null in one build
				measured[c]++
				sums[c] += by
			}
		}
		if changed {
			d.Changed++
		}
	}
	d.Users += len(rows)
	d.OneSided += len(rows)
	d.Changed += d.OneSided
	if d.Users > 0 {
		d.ChangedShare = float64(d.Changed) / float64(d.Users)
	}
	for c, n := range users {
		if n == 0 {
			continue
		}
		col := ColumnDrift{Feature: now.Columns[c].Name, Users: n, Share: float64(n) / float64(d.Users)}
		if measured[c] > 0 {
			mean := sums[c] / float64(measured[c])
			col.MeanAbs = &mean
		}
		d.Features = append(d.Features, col)
	}
	slices.SortStableFunc(d.Features, func(a, b ColumnDrift) int { return cmp.Compare(b.Users, a.Users) })
}
