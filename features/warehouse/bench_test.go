package warehouse_test

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/synth"
	"perennial/features/vectors"
	"perennial/features/warehouse"
)

// benchColumns are the 45 columns of the comparison between the compiler and the query by hand, in the order of the catalog.
var benchColumns = strings.Fields(`orders_7d orders_30d orders_90d orders_180d orders_365d orders_all revenue_7d revenue_30d revenue_90d revenue_180d revenue_365d revenue_all aov_all max_order_all
	recency_days tenure_days frequency recency T monetary ipt_mean recency_ratio trend_90 refunds_all refund_share_all discount_share_all sessions_7d sessions_30d sessions_90d
	active_days_30 inactive_days order_days_365d order_days_all ipt_sd longest_gap_days orders_trend_90 coupon_orders_90d coupon_orders_all discounted_share_all refunds_90 net_revenue_all views_30d carts_30d active_days_90 stage`)

// measured runs one piece of work and reports its seconds, its seconds of CPU and the largest resident size of the process while it ran.
func measured(b *testing.B, work func() error) {
	b.Helper()
	vectors.MakeRoom(2) // as the program does
	debug.FreeOSMemory()
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // the high-water mark begins anew
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	for b.Loop() {
		if err := work(); err != nil {
			b.Fatal(err)
		}
	}
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(peak(b), "MiB-peak")
}

// benchEngine is an engine over the benchmarks' shop; memory is what keeps the process below 1.5 GB.
func benchEngine(b *testing.B, c *chronicle, catalog *features.Catalog) *warehouse.Engine {
	b.Helper()
	e, err := warehouse.Open(b.Context(), warehouse.Options{Dir: c.Dir, Shop: shanghai, Catalog: catalog, Memory: *benchMemory << 20, Now: func() time.Time { return shanghai.Midnight(c.Cut + 400) }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	return e
}

// BenchmarkRawByHand and BenchmarkRawCompiled answer the same 45 columns from raw events into a Parquet file.
func BenchmarkRawByHand(b *testing.B) {
	c := historyOf(b)
	e := benchEngine(b, c, nil)
	measured(b, func() error {
		return e.CopyQuery(b.Context(), c.all(), warehouse.HandQuery(c.Cut, shanghai), filepath.Join(c.Dir, "hand.parquet"))
	})
}

func BenchmarkRawCompiled(b *testing.B) {
	c := historyOf(b)
	catalog := features.DefaultCatalog().Only(benchColumns...)
	e := benchEngine(b, c, catalog)
	measured(b, func() error {
		return e.CopyQuery(b.Context(), c.all(), warehouse.FeatureSQL(catalog, warehouse.DuckDB, shanghai, c.Cut), filepath.Join(c.Dir, "compiled.parquet"))
	})
}

// tilesIn returns the directory of the tiles of a snapshot in the benchmarks' shop, built when they are not there.
func tilesIn(b *testing.B, e *warehouse.Engine, c *chronicle, name string, snap *lake.Snapshot, previous string) string {
	b.Helper()
	dir := filepath.Join(c.Dir, name)
	if t, err := warehouse.ReadTiles(dir); err == nil && t.Version() == e.PlanTiles(snap).Version() {
		return dir
	}
	if err := freshTiles(b, e, snap, dir, previous); err != nil {
		b.Fatal(err)
	}
	return dir
}

func freshTiles(b *testing.B, e *warehouse.Engine, snap *lake.Snapshot, dir, previous string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	_, err := e.BuildTiles(b.Context(), snap, dir, previous, nil)
	return err
}

// BenchmarkTilesFirst builds all tiles; BenchmarkTilesNight builds those of the night after, whose late rows touch six days.
func BenchmarkTilesFirst(b *testing.B) {
	c := historyOf(b)
	e := benchEngine(b, c, nil)
	measured(b, func() error { return freshTiles(b, e, c.before(), filepath.Join(c.Dir, "tiles-before"), "") })
}

func BenchmarkTilesNight(b *testing.B) {
	c := historyOf(b)
	e := benchEngine(b, c, nil)
	before := tilesIn(b, e, c, "tiles-before", c.before(), "")
	measured(b, func() error { return freshTiles(b, e, c.all(), filepath.Join(c.Dir, "tiles"), before) })
}

// BenchmarkTilesScore builds all columns of the default catalog for one cut from tiles, one sorted Parquet file at the end.
func BenchmarkTilesScore(b *testing.B) {
	c := historyOf(b)
	e := benchEngine(b, c, nil)
	tiles := tilesIn(b, e, c, "tiles", c.all(), "")
	dir := filepath.Join(c.Dir, "score")
	measured(b, func() error {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if _, err := e.BuildParts(b.Context(), c.all(), tiles, warehouse.Build{Cuts: []features.Day{c.Cut}}, dir, nil); err != nil {
			return err
		}
		return e.MergeParts(b.Context(), dir, filepath.Join(c.Dir, "features.parquet"))
	})
}

// BenchmarkTilesScore45 builds the 45 columns of the comparison from their own tiles.
func BenchmarkTilesScore45(b *testing.B) {
	c := historyOf(b)
	e := benchEngine(b, c, features.DefaultCatalog().Only(benchColumns...))
	tiles := tilesIn(b, e, c, "tiles-45", c.all(), "")
	dir := filepath.Join(c.Dir, "score-45")
	measured(b, func() error {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		_, err := e.BuildParts(b.Context(), c.all(), tiles, warehouse.Build{Cuts: []features.Day{c.Cut}}, dir, nil)
		return err
	})
}

// BenchmarkTraining builds twelve monthly cuts with labels of 60 days.
func BenchmarkTraining(b *testing.B) {
	c := historyOf(b)
	e := benchEngine(b, c, nil)
	tiles := tilesIn(b, e, c, "tiles", c.all(), "")
	build := warehouse.Build{Labels: &warehouse.LabelWindow{HorizonDays: 60}}
	for k := range 12 {
		build.Cuts = append(build.Cuts, c.Cut-features.Day(400-30*k))
	}
	dir := filepath.Join(c.Dir, "training")
	measured(b, func() error {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		_, err := e.BuildParts(b.Context(), c.all(), tiles, build, dir, nil)
		return err
	})
}

// TestHandQueryEqualsCompiler: the query that the benchmarks compare with gives the compiler's numbers.
func TestHandQueryEqualsCompiler(t *testing.T) {
	catalog := features.DefaultCatalog().Only(benchColumns...)
	engine, snap := catalogWorld(t, catalog, synth.History(shanghai, 61, 80))
	cut := day("2025-02-10")
	want, err := engine.Features(t.Context(), snap, cut)
	if err != nil {
		t.Fatal(err)
	}
	got, err := engine.QueryTable(t.Context(), snap, warehouse.HandQuery(cut, shanghai))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Users) == 0 || len(got.Columns) != len(benchColumns) || len(want.Columns) != len(benchColumns) {
		t.Fatalf("%d users, %d columns by hand, %d compiled, want %d", len(got.Users), len(got.Columns), len(want.Columns), len(benchColumns))
	}
	for _, w := range want.Columns {
		g := got.Column(w.Name)
		if g == nil {
			t.Errorf("no column %s by hand", w.Name)
			continue
		}
		for row := range want.Users {
			if w.Texts != nil {
				if g.Texts[row] != w.Texts[row] {
					t.Errorf("%s: %s = %s by hand, %s compiled", want.Users[row], w.Name, g.Texts[row], w.Texts[row])
				}
			} else if a, b := g.Numbers[row], w.Numbers[row]; a != b && !(a != a && b != b) && (a-b)*(a-b) > 1e-18*(1+a*a) {
				t.Errorf("%s: %s = %v by hand, %v compiled", want.Users[row], w.Name, a, b)
			}
		}
	}
}
