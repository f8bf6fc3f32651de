package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

// engines asks everything that a night asks of both engines over one lake: data day, stale input, digest, features of one cut and of many, labels, tiles,
// the same again after late rows, and a training build with its labels.
func engines(ctx context.Context, l *lab) (string, error) {
	w, err := l.newWorld(ctx, "engines", nil, shop, "")
	if err != nil {
		return "", err
	}
	defer w.close()
	all := synth.History(shop, 51, 60)
	events := before(all, day("2024-01-25"))
	for _, e := range all { // much later, so that label windows are over; few days are few files
		if e.BizDay == day("2024-12-01") {
			events = append(events, e)
		}
	}
	var early, late []features.Event // the late rows are of some days, so that a second night has days to leave alone
	for i, e := range events {
		if e.BizDay < day("2024-01-18") && i%5 == 0 {
			late = append(late, e)
		} else {
			early = append(early, e)
		}
	}
	if err := w.loadAll(ctx, early, 1); err != nil {
		return "", err
	}
	cuts := []features.Day{day("2024-01-20"), day("2024-01-11"), day("2024-12-02"), day("2023-12-01")}
	cells := 0
	previous := ""
	for round := range 2 {
		if round == 1 {
			if err := w.loadAll(ctx, late, 1); err != nil {
				return "", err
			}
		}
		err := w.with(ctx, func(s *lake.Snapshot) error {
			if err := w.facts(ctx, s, cuts[round]); err != nil {
				return err
			}
			raw, err := w.trino.FeaturesAt(ctx, s, cuts...)
			if err != nil {
				return err
			}
			want, err := w.duck.FeaturesAt(ctx, s, cuts...)
			if err != nil {
				return err
			}
			n, err := sameTables(want, raw)
			if err != nil {
				return fmt.Errorf("from raw events: %w", err)
			}
			cells += n
			one, err := w.trino.Features(ctx, s, cuts[0])
			if err != nil {
				return err
			}
			if _, err := sameTable(want[0], one); err != nil {
				return fmt.Errorf("one cut: %w", err)
			}
			ours, _, err := w.tiles(ctx, w.duck, s, fmt.Sprintf("tiles-duck-%d", round), "")
			if err != nil {
				return err
			}
			theirs, made, err := w.tiles(ctx, w.trino, s, fmt.Sprintf("tiles-trino-%d", round), previous)
			if err != nil {
				return err
			}
			if round == 1 && (made.Dirty == 0 || made.Dirty >= len(made.Days)) {
				return fmt.Errorf("the second night computed %d days of %d", made.Dirty, len(made.Days))
			}
			if round == 0 {
				if err := sameFiles(ours, theirs); err != nil {
					return fmt.Errorf("tiles: %w", err)
				}
			}
			previous = theirs
			for name, e := range map[string]*warehouse.Engine{"trino's tiles on duckdb": w.duck, "trino's tiles on trino": w.trino} {
				got, err := e.FeaturesFromTiles(ctx, theirs, cuts...)
				if err != nil {
					return err
				}
				if _, err := sameTables(want, got); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			if round == 0 {
				return nil
			}
			return w.training(ctx, s, theirs)
		})
		if err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
	}
	return fmt.Sprintf("%d cells of %d cuts equal, raw and from tiles, before and after late rows; digests, labels and training files too", cells, len(cuts)), nil
}

// facts compares what the engines say of the input.
func (w *world) facts(ctx context.Context, s *lake.Snapshot, cut features.Day) error {
	answers := map[string][]any{}
	for name, e := range map[string]*warehouse.Engine{"duckdb": w.duck, "trino": w.trino} {
		data, err := e.DataDay(ctx, s, clock())
		if err != nil {
			return err
		}
		stale, last, err := e.Stale(ctx, s, cut)
		if err != nil {
			return err
		}
		digest, rows, err := e.Digest(ctx, s, cut)
		if err != nil {
			return err
		}
		table, err := w.duck.Features(ctx, s, cut)
		if err != nil {
			return err
		}
		labels, err := e.Labels(ctx, s, table.Users, cut, 20, 0)
		if err != nil {
			return err
		}
		answers[name] = []any{data, stale, last, digest, rows, *labels}
	}
	if !reflect.DeepEqual(answers["duckdb"], answers["trino"]) {
		return fmt.Errorf("facts or labels differ: %v and %v", answers["duckdb"][:5], answers["trino"][:5])
	}
	return nil
}

// training compares training builds of three cuts with labels.
func (w *world) training(ctx context.Context, s *lake.Snapshot, tiles string) error {
	b := warehouse.Build{Cuts: []features.Day{day("2024-01-10"), day("2024-01-15"), day("2023-12-01")}, Labels: &warehouse.LabelWindow{GapDays: 2, HorizonDays: 40, MaturityDays: 1, Rhythm: 1.5}, Passes: 2}
	var dirs []string
	for name, e := range map[string]*warehouse.Engine{"duckdb": w.duck, "trino": w.trino} {
		dir, err := w.madeDir("training-" + name)
		if err != nil {
			return err
		}
		if _, err := e.BuildParts(ctx, s, tiles, b, dir, nil); err != nil {
			return fmt.Errorf("training on %s: %w", name, err)
		}
		dirs = append(dirs, dir)
	}
	if err := sameFiles(dirs[0], dirs[1]); err != nil {
		return fmt.Errorf("training: %w", err)
	}
	return nil
}

// catalogs compares random catalogs, column by column.
func catalogs(ctx context.Context, l *lab) (string, error) {
	events := before(synth.History(shop, 61, 60), day("2024-01-22"))
	cuts := []features.Day{day("2024-01-15"), day("2024-01-22")}
	cells, columns := 0, 0
	for seed := range uint64(l.catalogs) {
		text := synth.RandomCatalog(rand.New(rand.NewPCG(seed, 17)))
		c, err := features.ParseCatalog([]byte(text))
		if err != nil {
			return "", err
		}
		w, err := l.newWorld(ctx, "catalogs", c, shop, "")
		if err != nil {
			return "", err
		}
		if seed == 0 {
			if err := w.loadAll(ctx, events, 1); err != nil {
				return "", err
			}
		}
		err = w.with(ctx, func(s *lake.Snapshot) error {
			want, err := w.duck.FeaturesAt(ctx, s, cuts...)
			if err != nil {
				return err
			}
			raw, err := w.trino.FeaturesAt(ctx, s, cuts...)
			if err != nil {
				return err
			}
			n, err := sameTables(want, raw)
			if err != nil {
				return fmt.Errorf("from raw events: %w", err)
			}
			ours, _, err := w.tiles(ctx, w.duck, s, "tiles-duck", "")
			if err != nil {
				return err
			}
			theirs, _, err := w.tiles(ctx, w.trino, s, "tiles-trino", "")
			if err != nil {
				return err
			}
			if err := sameFiles(ours, theirs); err != nil {
				return fmt.Errorf("tiles: %w", err)
			}
			tiled, err := w.trino.FeaturesFromTiles(ctx, theirs, cuts...)
			if err != nil {
				return err
			}
			if _, err := sameTables(want, tiled); err != nil {
				return fmt.Errorf("from tiles: %w", err)
			}
			cells, columns = cells+n, columns+len(want[0].Columns)
			return nil
		})
		w.close()
		if err != nil {
			return "", fmt.Errorf("catalog %d: %w\n%s", seed, err, text)
		}
	}
	return fmt.Sprintf("%d random catalogs, %d columns, %d cells equal to the bit, raw and from tiles", l.catalogs, columns, cells), nil
}

// experiment compares experiment summaries, the rows behind them and a holdout.
func experiment(ctx context.Context, l *lab) (string, error) {
	asOf := time.Date(2026, 5, 20, 13, 0, 0, 0, time.UTC)
	sums, units := 0, 0
	w, err := l.newWorld(ctx, "experiments", nil, shop, "")
	if err != nil {
		return "", err
	}
	defer w.close()
	if err := w.loadAll(ctx, synth.Trial(shop, 71, 400, asOf), 1); err != nil {
		return "", err
	}
	plan := warehouse.MetricPlan{Experiment: "promo", Start: asOf.Add(-35 * 24 * time.Hour), AsOf: asOf, HorizonDays: 9, Variants: []string{"a", "b"}, Forced: []string{"u0003"},
		Strata: map[int64]string{1: "1:1", 2: "1:1", 3: "9:1"}, SegmentBy: "channel", ByDay: true, Covariates: []string{"pre_revenue", "pre_orders"}, Cap: "revenue",
		Metrics: []warehouse.Metric{{Key: "profit", Kind: "profit"}, {Key: "revenue", Kind: "mean", Field: "value"}, {Key: "orders", Kind: "mean"}, {Key: "order_rate", Kind: "proportion"},
			{Key: "aov", Kind: "ratio", Field: "value", Denominator: "orders"}, {Key: "back", Kind: "retention", Day: 7}, {Key: "median", Kind: "quantile", Field: "value", Quantile: 0.5, Ranks: func(n int64) []int64 { return []int64{(n + 1) / 2} }},
			{Key: "toys", Kind: "mean", Field: "value", Filter: map[string][]string{"category": {"toys"}}}, {Key: "path", Kind: "funnel", Steps: []string{"Product Viewed", "Order Completed"}},
			{Key: "refunds", Kind: "mean", Event: "Order Refunded", Field: "value"}, {Key: "new", Kind: "novelty", Field: "value"}}}
	err = w.with(ctx, func(s *lake.Snapshot) error {
		table, err := w.duck.Features(ctx, s, day("2026-04-20"))
		if err != nil {
			return err
		}
		scores := filepath.Join(w.dir, "scores.parquet")
		if err := w.duck.WriteTable(ctx, scored(table), scores); err != nil {
			return err
		}
		frozen := plan
		frozen.Frozen, frozen.SegmentBy, frozen.Covariates = scores, "stage", []string{"churn_risk"}
		for _, p := range []warehouse.MetricPlan{plan, frozen} {
			var answers []*warehouse.Measured
			var rows []string
			for _, e := range []*warehouse.Engine{w.duck, w.trino} {
				m, err := e.Measure(ctx, s, p)
				if err != nil {
					return err
				}
				m.SQL = nil
				answers = append(answers, m)
				var b strings.Builder
				units = 0
				if err := e.Units(ctx, s, p, func(c []string, u *warehouse.UnitRow) error {
					units++
					fmt.Fprintln(&b, c, *u)
					return nil
				}); err != nil {
					return err
				}
				rows = append(rows, b.String())
			}
			if !reflect.DeepEqual(answers[0], answers[1]) {
				return fmt.Errorf("summaries differ:\n%+v\n%+v", *answers[0], *answers[1])
			}
			if rows[0] != rows[1] {
				return fmt.Errorf("rows of units differ")
			}
			sums += len(answers[0].Sums)
		}
		var held []*warehouse.Measured
		for _, e := range []*warehouse.Engine{w.duck, w.trino} {
			m, err := e.MeasureHoldout(ctx, s, warehouse.HoldoutPlan{Name: "all", From: day("2026-05-01"), Until: day("2026-05-15"), Held: func(user string) bool { return strings.HasSuffix(user, "7") }})
			if err != nil {
				return err
			}
			m.SQL = nil
			held = append(held, m)
		}
		if !reflect.DeepEqual(held[0], held[1]) {
			return fmt.Errorf("holdouts differ:\n%+v\n%+v", *held[0], *held[1])
		}
		return nil
	})
	return fmt.Sprintf("%d sums of 11 metrics, %d rows of units and a holdout equal", sums, units), err
}

// scored makes a table of scores out of features: what an experiment freezes.
func scored(t *features.Table) *features.Table {
	out := &features.Table{AsOf: t.AsOf, Users: t.Users}
	risk := features.Column{Name: "churn_risk"}
	decile := features.Column{Name: "churn_decile", Integer: true}
	for i := range t.Users {
		risk.Numbers = append(risk.Numbers, float64(i%97)/97)
		decile.Numbers = append(decile.Numbers, float64(i%10+1))
	}
	ltv := decile
	ltv.Name = "ltv_decile"
	for i := range t.Columns {
		if t.Columns[i].Texts != nil {
			out.Columns = append(out.Columns, t.Columns[i])
		}
	}
	out.Columns = append(out.Columns, risk, decile, ltv)
	return out
}

// erasure hides an erased user, with a list of segments and with a table of them.
func erasure(ctx context.Context, l *lab) (string, error) {
	c := features.DefaultCatalog().Only("revenue_all")
	w, err := l.newWorld(ctx, "erasure", c, shop, "")
	if err != nil {
		return "", err
	}
	defer w.close()
	events := before(synth.History(shop, 81, 60), day("2024-01-08"))
	if err := w.loadAll(ctx, events, 1); err != nil {
		return "", err
	}
	gone := events[0].UserID
	few := warehouse.Options{Dir: w.dir, Shop: shop, Catalog: c, Now: clock, Trino: l.options("erasure", "")}
	few.Trino.Listed = 3
	listing, err := warehouse.Open(ctx, few)
	if err != nil {
		return "", err
	}
	defer listing.Close()
	cut := day("2024-01-12")
	err = w.with(ctx, func(s *lake.Snapshot) error {
		for _, stones := range []map[string]time.Time{nil, {gone: clock().Add(time.Hour)}} {
			t := *s
			t.Tombstones = stones
			want, err := w.duck.Features(ctx, &t, cut)
			if err != nil {
				return err
			}
			for _, e := range []*warehouse.Engine{w.trino, listing} {
				got, err := e.Features(ctx, &t, cut)
				if err != nil {
					return err
				}
				if _, err := sameTable(want, got); err != nil {
					return err
				}
				for _, u := range got.Users {
					if stones != nil && u == gone {
						return fmt.Errorf("the erased user has features")
					}
				}
			}
		}
		none, err := w.trino.Features(ctx, &lake.Snapshot{}, cut)
		if err == nil && len(none.Users) > 0 {
			err = fmt.Errorf("an empty snapshot has %d users", len(none.Users))
		}
		return err
	})
	return "an erased user is hidden, with segments listed and with a table of them; an empty snapshot is empty", err
}
