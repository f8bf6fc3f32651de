package warehouse_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

// byDay writes events as the lake does: one segment a day.
func byDay(t *testing.T, dir, part string, events []features.Event) []lake.Segment {
	t.Helper()
	days := map[features.Day]int{}
	for _, e := range events {
		days[e.BizDay]++
	}
	var order []features.Day
	var conditions []string
	for d := range days {
		order, conditions = append(order, d), append(conditions, "biz_day = DATE '"+d.String()+"'")
	}
	out := segments(t, dir, events, conditions...)
	for i, d := range order {
		out[i].Day, out[i].Checksum = d, fmt.Sprintf("%s-%s-%d", part, d, days[d])
	}
	return out
}

// csvOf renders a table, so that equal means equal bytes.
func csvOf(t *testing.T, e *warehouse.Engine, table *features.Table) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t.csv")
	if err := e.WriteTable(t.Context(), table, path); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestTilesEqualRaw builds tiles, then again after a second part arrived that touches few days: features from tiles have the bytes of features
// from raw events at every cut, one by one and all in one statement, and only the touched days are computed again.
func TestTilesEqualRaw(t *testing.T) {
	events := synth.History(shanghai, 21, 30)
	events = slices.DeleteFunc(events, func(e features.Event) bool { return e.BizDay >= day("2024-07-01") })
	late := map[string]bool{"2024-05-05": true, "2024-05-06": true, "2024-02-11": true}
	var first, second []features.Event
	rng := rand.New(rand.NewPCG(1, 1))
	for _, e := range events {
		if late[e.BizDay.String()] && rng.IntN(2) == 0 {
			second = append(second, e)
		} else {
			first = append(first, e)
		}
	}
	catalogs := map[string]*features.Catalog{"default": features.DefaultCatalog()}
	for seed := range uint64(1) {
		text := synth.RandomCatalog(rand.New(rand.NewPCG(seed, 9)))
		c, err := features.ParseCatalog([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		catalogs[fmt.Sprintf("random %d", seed)] = c
	}
	touched := map[features.Day]bool{}
	for _, e := range second {
		touched[e.BizDay] = true
	}
	if len(touched) < 2 {
		t.Fatalf("late rows touch %d days, too few to tell a rebuild of everything from one of what changed", len(touched))
	}
	cuts := []features.Day{day("2024-05-20"), day("2024-03-01"), day("2024-07-01")}
	for name, c := range catalogs {
		dir := t.TempDir()
		engine, err := warehouse.Open(t.Context(), warehouse.Options{Dir: dir, Shop: shanghai, Catalog: c, Memory: 512 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer engine.Close()
		snap := &lake.Snapshot{Segments: byDay(t, dir, "first", first)}
		previous := ""
		for round, part := range [][]features.Event{nil, second} {
			snap.Segments = append(snap.Segments, byDay(t, dir, "second", part)...)
			tiles := filepath.Join(dir, fmt.Sprintf("tiles-%d", round))
			if err := os.Mkdir(tiles, 0o700); err != nil {
				t.Fatal(err)
			}
			made, err := engine.BuildTiles(t.Context(), snap, tiles, previous, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if want := len(made.Days); round == 0 && made.Dirty != want || round == 1 && made.Dirty != len(touched) {
				t.Errorf("%s round %d: %d days computed of %d, %d were touched", name, round, made.Dirty, want, len(touched))
			}
			if v := engine.PlanTiles(snap).Version(); v != made.Version() {
				t.Errorf("%s: planned version %s, built %s", name, v, made.Version())
			}
			previous = tiles
			many, err := engine.FeaturesFromTiles(t.Context(), tiles, cuts...)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			raw, err := engine.FeaturesAt(t.Context(), snap, cuts...)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i, cut := range cuts {
				one, err := engine.Features(t.Context(), snap, cut)
				if err != nil {
					t.Fatal(err)
				}
				want := csvOf(t, engine, one)
				if len(one.Users) == 0 && name == "default" {
					t.Errorf("nobody at %s", cut)
				}
				if got := csvOf(t, engine, many[i]); got != want {
					t.Errorf("%s round %d: features from tiles at %s differ from raw ones", name, round, cut)
				}
				if got := csvOf(t, engine, raw[i]); got != want {
					t.Errorf("%s round %d: features of many cuts at %s differ from those of one", name, round, cut)
				}
			}
		}
	}
}

func TestPlanTilesSeesErasure(t *testing.T) {
	dir := t.TempDir()
	engine, err := warehouse.Open(t.Context(), warehouse.Options{Dir: dir, Shop: shanghai})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	events := synth.History(shanghai, 22, 5)[:200]
	snap := &lake.Snapshot{Segments: byDay(t, dir, "a", events)}
	before := engine.PlanTiles(snap)
	erased := *snap
	erased.Tombstones = map[string]time.Time{events[0].UserID: time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC)}
	if after := engine.PlanTiles(&erased); reflect.DeepEqual(before.Days, after.Days) {
		t.Error("tiles with an erased user are planned as if she were there")
	}
	table, err := engine.Features(t.Context(), &erased, day("2025-05-15"))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range table.Users {
		if u == events[0].UserID {
			t.Errorf("the erased user %s has features", u)
		}
	}
}

// Many random catalogs over a small history whose rows are often late: what comes from tiles, one cut at a time and all in one statement, is what comes from raw events.
func TestRandomCatalogsThroughTiles(t *testing.T) {
	events := slices.DeleteFunc(synth.History(shanghai, 77, 40), func(e features.Event) bool { return e.BizDay >= day("2024-03-01") })
	rng := rand.New(rand.NewPCG(77, 1))
	for i := range events {
		if rng.IntN(5) == 0 {
			events[i].AvailableAt = events[i].AvailableAt.AddDate(0, 0, rng.IntN(40))
			events[i].KnownDay = shanghai.DayOf(events[i].AvailableAt)
		}
	}
	cuts := []features.Day{day("2024-02-01"), day("2024-02-20"), day("2024-04-15")}
	for seed := range uint64(8) {
		text := synth.RandomCatalog(rand.New(rand.NewPCG(100+seed, 9)))
		c, err := features.ParseCatalog([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		e, err := warehouse.Open(t.Context(), warehouse.Options{Dir: dir, Shop: shanghai, Catalog: c, Memory: 512 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		snap := &lake.Snapshot{Segments: byDay(t, dir, "all", events)}
		tiles := filepath.Join(dir, "tiles")
		if err := os.Mkdir(tiles, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := e.BuildTiles(t.Context(), snap, tiles, "", nil); err != nil {
			t.Fatalf("catalog %d: %v\n%s", seed, err, text)
		}
		raw, err := e.FeaturesAt(t.Context(), snap, cuts...)
		if err != nil {
			t.Fatal(err)
		}
		many, err := e.FeaturesFromTiles(t.Context(), tiles, cuts...)
		if err != nil {
			t.Fatal(err)
		}
		for i, cut := range cuts {
			one, err := e.FeaturesFromTiles(t.Context(), tiles, cut)
			if err != nil {
				t.Fatal(err)
			}
			want := csvOf(t, e, raw[i])
			if csvOf(t, e, many[i]) != want || csvOf(t, e, one[0]) != want {
				t.Errorf("catalog %d at %s: features from tiles are not those of raw events\n%s", seed, cut, text)
			}
		}
	}
}
