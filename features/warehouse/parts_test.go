package warehouse_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

// tiled is an engine over a history that lies in daily segments, with its tiles.
func tiled(t *testing.T, c *features.Catalog, events []features.Event) (e *warehouse.Engine, snap *lake.Snapshot, dir, tiles string) {
	t.Helper()
	dir = t.TempDir()
	e, err := warehouse.Open(t.Context(), warehouse.Options{Dir: dir, Shop: shanghai, Catalog: c, Memory: 512 << 20, Now: func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	snap = &lake.Snapshot{Segments: byDay(t, dir, "all", events)}
	tiles = filepath.Join(dir, "tiles")
	if err := os.Mkdir(tiles, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := e.BuildTiles(t.Context(), snap, tiles, "", nil); err != nil {
		t.Fatal(err)
	}
	return e, snap, dir, tiles
}

// TestTrainingBuild builds two cuts in three ranges of buckets: features are those of FeaturesAt, labels those of Labels, and what a killed build left is kept.
func TestTrainingBuild(t *testing.T) {
	events := slices.DeleteFunc(synth.History(shanghai, 41, 60), func(e features.Event) bool { return e.BizDay >= day("2024-08-01") })
	e, snap, dir, tiles := tiled(t, nil, events)
	cuts := []features.Day{day("2024-03-01"), day("2024-05-20")}
	build := warehouse.Build{Cuts: cuts, Labels: &warehouse.LabelWindow{HorizonDays: 60}, Passes: 3}
	out := filepath.Join(dir, "set")
	steps := 0
	schema, err := e.BuildParts(t.Context(), snap, tiles, build, out, func(done, all int) { steps = done })
	if err != nil {
		t.Fatal(err)
	}
	merged := filepath.Join(dir, "merged.parquet")
	if err := e.MergeParts(t.Context(), out, merged); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(merged)
	if err != nil {
		t.Fatal(err)
	}
	want, err := e.FeaturesAt(t.Context(), snap, cuts...)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for i, cut := range cuts {
		got := partsOf(t, e, out, cut)
		rows += len(got.Users)
		labels, err := e.Labels(t.Context(), snap, got.Users, cut, 60, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Users, want[i].Users) || len(got.Users) == 0 {
			t.Fatalf("users at %s: %d, want %d", cut, len(got.Users), len(want[i].Users))
		}
		for _, col := range want[i].Columns {
			mustEqualColumn(t, cut, got.Column(col.Name), &col)
		}
		for row := range got.Users {
			net := max(0, labels.Revenue[row]-labels.Refunds[row])
			for name, w := range map[string]float64{"label_orders": float64(labels.Orders[row]), "label_churn": boolean(labels.Orders[row] == 0), "label_revenue": labels.Revenue[row].Float64(),
				"label_refunds": labels.Refunds[row].Float64(), "label_margin": labels.Margin[row].Float64(), "label_ltv": net.Float64(), "label_horizon_days": 60} {
				if g := got.Column(name).Numbers[row]; g != w {
					t.Errorf("%s at %s: %s = %v, want %v", got.Users[row], cut, name, g, w)
				}
			}
		}
	}
	if schema.Passes != 3 || steps != 3 || int(schema.Rows) != rows {
		t.Errorf("schema says %d passes and %d rows after %d steps, want 3, %d, 3", schema.Passes, schema.Rows, steps, rows)
	}
	if got, want := len(schema.Columns), 2+len(features.DefaultCatalog().Columns())+7; got != want {
		t.Errorf("schema has %d columns, want %d", got, want)
	}

	kept := modified(t, out, 0)
	if err := errors.Join(os.Remove(filepath.Join(out, "part-01.parquet")), os.Remove(filepath.Join(out, "schema.json"))); err != nil {
		t.Fatal(err)
	}
	if _, err := e.BuildParts(t.Context(), snap, tiles, build, out, nil); err != nil {
		t.Fatal(err)
	}
	if modified(t, out, 0) != kept {
		t.Error("a finished range was computed again")
	}
	if err := e.MergeParts(t.Context(), out, merged); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(merged); err != nil || !slices.Equal(again, first) {
		t.Errorf("a continued build differs from an uninterrupted one (%v)", err)
	}
	build.Labels = &warehouse.LabelWindow{HorizonDays: 30, GapDays: 7}
	if _, err := e.BuildParts(t.Context(), snap, tiles, build, out, nil); err != nil {
		t.Fatal(err)
	}
	if modified(t, out, 0) == kept {
		t.Error("ranges of another plan were kept")
	}
}

// TestPersonalHorizon compares windows that follow the user's own rhythm, after a gap, with a plain loop.
func TestPersonalHorizon(t *testing.T) {
	events := slices.DeleteFunc(synth.History(shanghai, 42, 50), func(e features.Event) bool { return e.BizDay >= day("2025-03-01") })
	e, snap, dir, tiles := tiled(t, nil, events)
	cut, gap := day("2024-08-10"), 5
	out := filepath.Join(dir, "set")
	build := warehouse.Build{Cuts: []features.Day{cut}, Labels: &warehouse.LabelWindow{GapDays: gap, HorizonDays: 45, Rhythm: 3, MaturityDays: 2}, Passes: 2}
	if _, err := e.BuildParts(t.Context(), snap, tiles, build, out, nil); err != nil {
		t.Fatal(err)
	}
	got := partsOf(t, e, out, cut)
	lengths := map[float64]bool{}
	for row, user := range got.Users {
		horizon := 45.0
		if got.Column("orders_all").Numbers[row] >= 3 {
			horizon = min(180, max(30, math.Round(3*got.Column("ipt_mean").Numbers[row])))
		}
		lengths[horizon] = true
		from, to := cut+features.Day(gap), cut+features.Day(gap+int(horizon))
		orders, revenue := 0.0, features.Micros(0)
		for _, ev := range events {
			if ev.UserID == user && ev.Name == features.OrderCompleted && ev.BizDay >= from && ev.BizDay < to {
				orders++
				revenue += ev.Value.Micros
			}
		}
		for name, w := range map[string]float64{"label_horizon_days": horizon, "label_orders": orders, "label_revenue": revenue.Float64(), "label_churn": boolean(orders == 0)} {
			if g := got.Column(name).Numbers[row]; g != w {
				t.Errorf("%s: %s = %v, want %v", user, name, g, w)
			}
		}
	}
	if !lengths[45] || !lengths[30] || len(lengths) < 5 {
		t.Errorf("the shop has windows %v only", lengths)
	}
	// 5 days of gap, 180 of the longest window and 2 of maturity: data ends on 2025-02-28, so the cut of 2024-08-26 is the last one.
	for _, c := range []struct {
		cut string
		ok  bool
	}{{"2024-08-26", true}, {"2024-08-27", false}} {
		build.Cuts = []features.Day{day(c.cut)}
		_, err := e.BuildParts(t.Context(), snap, tiles, build, filepath.Join(dir, "mature-"+c.cut), nil)
		var young *warehouse.ImmatureError
		if c.ok && err != nil || !c.ok && !errors.As(err, &young) {
			t.Errorf("cut %s: %v, want an ImmatureError: %v", c.cut, err, !c.ok)
		}
		if young != nil && young.MatureOn != day("2025-03-02") {
			t.Errorf("the window is over on %s, want 2025-03-02", young.MatureOn)
		}
	}
}

// partsOf reads one cut of a build that was written in parts.
func partsOf(t *testing.T, e *warehouse.Engine, dir string, cut features.Day) *features.Table {
	t.Helper()
	tables, err := e.ReadParts(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if table.AsOf == cut {
			return table
		}
	}
	t.Fatalf("the build has no cut %s", cut)
	return nil
}

func mustEqualColumn(t *testing.T, cut features.Day, got, want *features.Column) {
	t.Helper()
	if got == nil {
		t.Errorf("at %s: no column %s", cut, want.Name)
		return
	}
	if !slices.Equal(got.Texts, want.Texts) || got.Integer != want.Integer {
		t.Errorf("at %s: texts or type of %s differ", cut, want.Name)
	}
	for i, w := range want.Numbers {
		if math.Float64bits(got.Numbers[i]) != math.Float64bits(w) && !(math.IsNaN(w) && math.IsNaN(got.Numbers[i])) {
			t.Errorf("at %s: row %d of %s = %v, want %v", cut, i, want.Name, got.Numbers[i], w)
		}
	}
}

func modified(t *testing.T, dir string, pass int) time.Time {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, fmt.Sprintf("part-%02d.parquet", pass)))
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
