package warehouse_test

import (
	"bytes"
	"math"
	"math/rand/v2"
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

var shanghai = features.Shop{Location: time.FixedZone("CST", 8*3600), Currency: "CNY", MarginRate: 0.3}

// catalogWorld is an engine over one catalog.
func catalogWorld(t testing.TB, c *features.Catalog, events []features.Event) (*warehouse.Engine, *lake.Snapshot) {
	t.Helper()
	dir := t.TempDir()
	e, err := warehouse.Open(t.Context(), warehouse.Options{Dir: dir, Shop: shanghai, Catalog: c, Memory: 512 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	half := len(events) / 2
	return e, &lake.Snapshot{Segments: []lake.Segment{segment(t, dir, events[:half]), segment(t, dir, events[half:])}}
}

// mustEqualPlain compares every cell of a table with the plain loop over the same events, bit for bit.
func mustEqualPlain(t *testing.T, c *features.Catalog, table *features.Table, events []features.Event) {
	t.Helper()
	byUser := map[string][]features.Event{}
	for _, e := range events {
		byUser[e.UserID] = append(byUser[e.UserID], e)
	}
	rows := 0
	for user, own := range byUser {
		want, stage, ok := c.Plain(shanghai, table.AsOf, own)
		row, found := slices.BinarySearch(table.Users, user)
		if ok != found {
			t.Errorf("%s at %s: in the table %v, want %v", user, table.AsOf, found, ok)
		}
		if !ok || !found {
			continue
		}
		rows++
		for i := range table.Columns {
			col := &table.Columns[i]
			if col.Texts != nil {
				if col.Texts[row] != string(stage) {
					t.Errorf("%s at %s: %s = %s, want %s", user, table.AsOf, col.Name, col.Texts[row], stage)
				}
				continue
			}
			if got, w := col.Numbers[row], want[col.Name]; got != w && !(math.IsNaN(got) && math.IsNaN(w)) {
				t.Errorf("%s at %s: %s = %v, want %v", user, table.AsOf, col.Name, got, w)
			}
		}
	}
	if rows != len(table.Users) || !slices.IsSorted(table.Users) {
		t.Errorf("%d rows at %s, want %d, sorted", len(table.Users), table.AsOf, rows)
	}
}

func TestFeaturesEqualPlainLoop(t *testing.T) {
	events := synth.History(shanghai, 3, 120)
	c := features.DefaultCatalog()
	engine, snap := catalogWorld(t, c, events)
	for _, cut := range []string{"2024-01-01", "2024-03-02", "2024-12-31", "2025-05-15"} {
		table, err := engine.Features(t.Context(), snap, day(cut))
		if err != nil {
			t.Fatal(err)
		}
		if len(table.Columns) != len(c.Columns()) {
			t.Errorf("%d columns, want %d", len(table.Columns), len(c.Columns()))
		}
		mustEqualPlain(t, c, table, events)
	}
}

// TestFeaturesSeeNoFuture deletes what happened or was learned at and after the cut, and appends late rows: the bytes stay.
func TestFeaturesSeeNoFuture(t *testing.T) {
	events := synth.History(shanghai, 4, 80)
	cut := day("2024-11-11")
	var past []features.Event
	for _, e := range events {
		if e.BizDay < cut && e.KnownDay < cut {
			past = append(past, e)
		}
	}
	if len(past) == len(events) || len(past) == 0 {
		t.Fatal("the cut does not divide the history")
	}
	c := features.DefaultCatalog()
	var files [][]byte
	for _, list := range [][]features.Event{events, past} {
		engine, snap := catalogWorld(t, c, list)
		table, err := engine.Features(t.Context(), snap, cut)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "features.csv")
		if err := engine.WriteTable(t.Context(), table, path); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, raw)
		digest, n, err := engine.Digest(t.Context(), snap, cut)
		if err != nil || int(n) != len(past) {
			t.Errorf("digest %s over %d events (%v), want %d", digest, n, err, len(past))
		}
		files = append(files, []byte(digest))
	}
	if !bytes.Equal(files[0], files[2]) || !bytes.Equal(files[1], files[3]) {
		t.Error("features or digest at the cut differ when the future is not there")
	}
}

func TestRandomCatalogsEqualPlainLoop(t *testing.T) {
	events := synth.History(shanghai, 8, 60)
	for seed := range uint64(5) {
		text := synth.RandomCatalog(rand.New(rand.NewPCG(seed, 3)))
		c, err := features.ParseCatalog([]byte(text))
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		engine, snap := catalogWorld(t, c, events)
		table, err := engine.Features(t.Context(), snap, day("2024-12-01"))
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		mustEqualPlain(t, c, table, events)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, text)
		}
	}
}
