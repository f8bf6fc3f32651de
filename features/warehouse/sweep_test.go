package warehouse_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

var sweepSeeds = flag.Int("sweeps", 12, "random shops and catalogs on which the sweep is compared with SQL")

// randomShop is a small shop whose rows are often late and often of one user and day, and, for two seeds of three, links between ids.
func randomShop(rng *rand.Rand, seed uint64) (events []features.Event, links []features.Link) {
	events = slices.DeleteFunc(synth.History(shanghai, seed, 60), func(e features.Event) bool { return e.BizDay >= day("2024-08-01") })
	for i := range events {
		if rng.IntN(4) == 0 {
			events[i].AvailableAt = events[i].AvailableAt.AddDate(0, 0, rng.IntN(45))
			events[i].KnownDay = shanghai.DayOf(events[i].AvailableAt)
		}
		if rng.IntN(30) == 0 && events[i].Value.Valid { // amounts of other sizes and signs
			events[i].Value.Micros = features.Micros(rng.Int64N(1<<50) - 1<<49)
		}
	}
	if seed%3 != 0 {
		events, links = disguise(events, shanghai, func(_ string, i int) features.Day { return day("2024-01-20") + features.Day(i*3) })
	}
	return events, links
}

// What a sweep writes is what SQL over the same tiles writes: files byte for byte and tables bit for bit, for random catalogs, shops, cuts, ranges of
// buckets, refusals and label windows.
func TestSweepEqualsJoin(t *testing.T) {
	rows := 0
	for seed := range uint64(*sweepSeeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 11))
			c := features.DefaultCatalog()
			if seed%4 != 0 {
				var err error
				if c, err = features.ParseCatalog([]byte(synth.RandomCatalog(rng))); err != nil {
					t.Fatal(err)
				}
			}
			events, links := randomShop(rng, seed)
			e, snap, dir, _ := tiled(t, c, events)
			snap.Links = links
			tiles := filepath.Join(dir, "linked")
			if err := os.Mkdir(tiles, 0o700); err != nil {
				t.Fatal(err)
			}
			if _, err := e.BuildTiles(t.Context(), snap, tiles, filepath.Join(dir, "tiles"), nil); err != nil {
				t.Fatal(err)
			}
			build, span := warehouse.Build{Passes: 1 + rng.IntN(5), Refused: map[features.Day][]string{}}, 190
			if rng.IntN(3) > 0 {
				build.Labels = &warehouse.LabelWindow{HorizonDays: 1 + rng.IntN(60), GapDays: rng.IntN(9)}
				span = 120
			}
			for len(build.Cuts) <= int(seed%4) {
				if cut := day("2024-01-20") + features.Day(rng.IntN(span)); !slices.Contains(build.Cuts, cut) {
					build.Cuts = append(build.Cuts, cut)
					build.Refused[cut] = []string{events[rng.IntN(len(events))].UserID, "nobody"}
				}
			}
			if rng.IntN(3) == 0 {
				build.Refused = nil
			}
			made := map[bool]map[string]string{}
			for _, joined := range []bool{true, false} {
				e.Join(joined)
				out, files := filepath.Join(dir, fmt.Sprint("joined-", joined)), map[string]string{}
				if _, err := e.BuildParts(t.Context(), snap, tiles, build, out, nil); err != nil {
					t.Fatal(err)
				}
				parts, err := filepath.Glob(filepath.Join(out, "*"))
				if err != nil {
					t.Fatal(err)
				}
				for _, path := range parts {
					raw, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					files[filepath.Base(path)] = string(raw)
				}
				tables, err := e.FeaturesFromTiles(t.Context(), tiles, build.Cuts...)
				if err != nil {
					t.Fatal(err)
				}
				for i, table := range tables {
					rows += len(table.Users)
					files[build.Cuts[i].String()] = csvOf(t, e, table)
				}
				made[joined] = files
			}
			if len(made[false]) != len(made[true]) || len(made[true]) < build.Passes+len(build.Cuts)+2 {
				t.Errorf("%d files swept, %d joined", len(made[false]), len(made[true]))
			}
			for name, want := range made[true] {
				if !bytes.Equal([]byte(made[false][name]), []byte(want)) {
					t.Errorf("%s: %d bytes swept are not the %d joined; %d cuts, %d passes, %d links", name, len(made[false][name]), len(want), len(build.Cuts), build.Passes, len(links))
				}
			}
		})
	}
	if rows < 20**sweepSeeds {
		t.Errorf("%d rows in all: the random shops are too empty to tell anything", rows)
	}
}

// Sums that leave 64 bits on the way are exact, and those that end outside are an error, as in SQL.
func TestSweepSumsAreExact(t *testing.T) {
	const much = features.Micros(9e18)
	order := func(user, on string, value features.Micros) features.Event {
		at := shanghai.Midnight(day(on)).Add(9 * time.Hour)
		return features.Event{EventID: user + on, UserID: user, Name: features.OrderCompleted, TS: at, SentAt: at, ReceivedAt: at, AvailableAt: at, BizDay: day(on), KnownDay: day(on), Value: features.AmountOf(value), Currency: "CNY"}
	}
	events := []features.Event{order("a", "2024-01-02", much), order("a", "2024-01-03", much), order("a", "2024-02-01", -much), order("a", "2024-03-01", 7), order("b", "2024-03-01", 8)}
	for _, c := range []struct {
		cut string
		ok  bool
	}{{"2024-01-03", true}, {"2024-01-20", false}, {"2024-02-02", true}, {"2024-03-05", true}} {
		e, _, _, tiles := tiled(t, nil, events)
		got, gotErr := e.FeaturesFromTiles(t.Context(), tiles, day(c.cut))
		e.Join(true)
		want, wantErr := e.FeaturesFromTiles(t.Context(), tiles, day(c.cut))
		if (gotErr == nil) != c.ok || (wantErr == nil) != c.ok {
			t.Errorf("at %s: swept %v, joined %v, want an error: %v", c.cut, gotErr, wantErr, !c.ok)
		} else if c.ok && csvOf(t, e, got[0]) != csvOf(t, e, want[0]) {
			t.Errorf("at %s: sums of large amounts differ:\n%s\n%s", c.cut, csvOf(t, e, got[0]), csvOf(t, e, want[0]))
		}
	}
}

// Tiles are found by a relative path and outside the data directory.
func TestSweepFindsTiles(t *testing.T) {
	e, _, dir, tiles := tiled(t, nil, synth.History(shanghai, 5, 8))
	cut := day("2024-12-01")
	want, err := e.FeaturesFromTiles(t.Context(), tiles, cut)
	if err != nil {
		t.Fatal(err)
	}
	if len(want[0].Users) == 0 {
		t.Fatal("nobody has features")
	}
	away := filepath.Join(t.TempDir(), "away")
	if err := os.CopyFS(away, os.DirFS(tiles)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, path := range []string{"tiles", away} {
		got, err := e.FeaturesFromTiles(t.Context(), path, cut)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if csvOf(t, e, got[0]) != csvOf(t, e, want[0]) {
			t.Errorf("%s gives other features", path)
		}
	}
}
