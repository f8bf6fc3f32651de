package sqlstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"perennial/experiments/sqlstore"
)

// TestFirsts: of many writers at the same time one value of each id stands for all, everybody is told the same, and each follows the others without a gap.
func TestFirsts(t *testing.T) {
	eachStore(t, fixed, func(t *testing.T, open func() *sqlstore.Store) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		const writers, ids, callers = 3, 40, 4
		firsts := make([]*sqlstore.Firsts, writers)
		for i := range firsts {
			f, err := open().Firsts(ctx)
			if err != nil {
				t.Fatal(err)
			}
			firsts[i] = f
		}
		row := func(id int, doc string, rank, floor int64) sqlstore.First {
			return sqlstore.First{Kind: "kept", Space: "coupon", ID: fmt.Sprint(id), Owner: fmt.Sprint("owner", id%5), Rank: rank, Floor: floor, Doc: doc}
		}
		var mu sync.Mutex
		told := map[string]map[string]bool{}
		followed := make([]map[string]string, writers)
		var group sync.WaitGroup
		for w, f := range firsts {
			followed[w] = map[string]string{}
			for c := range callers {
				group.Go(func() {
					for i := range ids {
						id := (i*7 + w*13 + c) % ids
						got, err := f.Enter(ctx, []sqlstore.First{row(id, fmt.Sprint(w, "-", c), 1, 0), row(id, "second", 1, 0), row((id+1)%ids, fmt.Sprint(w, "-", c), 1, 0)})
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						for _, r := range got {
							if told[r.ID] == nil {
								told[r.ID] = map[string]bool{}
							}
							told[r.ID][r.Doc] = true
						}
						mu.Unlock()
					}
				})
			}
			group.Go(func() {
				for len(followed[w]) < ids && ctx.Err() == nil {
					rows, _, err := f.Since(ctx)
					if err != nil {
						t.Error(err)
						return
					}
					for _, r := range rows {
						followed[w][r.ID] = r.Doc
					}
				}
			})
		}
		group.Wait()
		for id, docs := range told {
			if len(docs) != 1 {
				t.Errorf("id %s: callers were told %v", id, docs)
			}
			for w := range followed {
				if !docs[followed[w][id]] {
					t.Errorf("id %s: writer %d follows %q, told %v", id, w, followed[w][id], docs)
				}
			}
		}
		if len(told) != ids {
			t.Errorf("%d ids, want %d", len(told), ids)
		}

		got, err := firsts[0].Enter(ctx, []sqlstore.First{row(1, "newer", 2, 2), row(1, "older", 1, 0), row(1, "newest", 3, 3)})
		if err != nil || got[0].Doc != "newest" || got[1].Doc != "newest" || got[2].Doc != "newest" {
			t.Errorf("values with a floor above the rank = %+v, %v", got, err)
		}
		if rows, more, err := firsts[1].Since(ctx); err != nil || more || len(rows) != 1 || rows[0].Doc != "newest" {
			t.Errorf("Since = %+v, %t, %v, want the newest alone", rows, more, err)
		}
		if err := firsts[2].Forget(ctx, "owner1"); err != nil {
			t.Fatal(err)
		}
		if err := firsts[2].Forget(ctx, "2"); err != nil {
			t.Fatal(err)
		}
		late, err := open().Firsts(ctx)
		if err != nil {
			t.Fatal(err)
		}
		rows, _, err := late.Since(ctx)
		if err != nil || len(rows) != ids-ids/5-1 {
			t.Errorf("%d rows are left, %v; want %d", len(rows), err, ids-ids/5-1)
		}
	})
}
