package lake_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// bytesOf returns the files below dir that hold text, Parquet files read decompressed.
func bytesOf(t *testing.T, dir, text string) []string {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var found []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n := 0
		if filepath.Ext(path) == ".parquet" {
			if err := db.QueryRow(`SELECT count(*) FROM read_parquet('` + path + `') t WHERE contains(t::VARCHAR, '` + text + `')`).Scan(&n); err != nil {
				return err
			}
		}
		if n > 0 || bytes.Contains(raw, []byte(text)) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestEraseLeavesNothing(t *testing.T) {
	for _, c := range []struct {
		name    string
		serving bool
	}{{"by the server", true}, {"alone", false}} {
		t.Run(c.name, func(t *testing.T) {
			const user = "Ms-Forget-Me-4711"
			dir, clock := t.TempDir(), start
			l := serve(t, dir, func(o *lake.Options) { o.Now = func() time.Time { return clock } })
			if _, _, err := l.Load(t.Context(), []features.Event{order("h1", user, start.AddDate(0, -1, 0), 5), order("h2", "other", start.AddDate(0, -1, 0), 6)}); err != nil {
				t.Fatal(err)
			}
			for i := range 30 {
				e := order(fmt.Sprint("e", i), []string{user, "other"}[i%2], start.Add(-time.Hour), 1)
				if _, err := l.Append(t.Context(), []features.Event{e}); err != nil {
					t.Fatal(err)
				}
			}
			for _, u := range []string{user, "other"} {
				if err := l.Expose(t.Context(), lake.Exposure{Unit: u, Experiment: "x", Variant: "a", AllocationRevision: 2, PAssign: 0.5, At: start}, true); err != nil {
					t.Fatal(err)
				}
				if _, err := l.Keep(t.Context(), "x", u, lake.Kept{Variant: "a"}); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.MkdirAll(filepath.Join(dir, "rejects"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "rejects", "a.ndjson"), []byte(`{"row":"`+user+`"}`+"\n"+`{"row":"x"}`+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			run, err := l.NewRunDir("scores", 100)
			if err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open("duckdb", "")
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec(`COPY (SELECT * FROM (VALUES ('a', 1), ('` + user + `', 2), ('z', 3)) t(user_id, x)) TO '` + run + `/scores.parquet' (FORMAT parquet)`); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Publish(t.Context(), lake.Run{Kind: "scores", AsOf: 100, Version: "v", Dir: run}); err != nil {
				t.Fatal(err)
			}
			if !c.serving {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = open(t, dir, func(o *lake.Options) { o.Now = func() time.Time { return clock } })
			}
			if len(bytesOf(t, dir, user)) == 0 {
				t.Fatal("the user is nowhere before the erasure: the test looks at the wrong bytes")
			}
			p, err := l.Erase(t.Context(), user)
			if err != nil || !p.Complete || p.Left != 0 || p.Rows != 17 {
				t.Fatalf("Erase = %+v, %v; want complete with 17 rows", p, err)
			}
			if c.serving && l.Exposed(user, "x", 2) || !c.serving && l.Exposed(user, "x", 2) {
				t.Error("the user still counts as exposed")
			}
			if _, ok := l.Sticky("x", user); ok {
				t.Error("the user's first answer is still kept")
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if found := bytesOf(t, dir, user); len(found) > 0 {
				t.Errorf("the id is still in %v", found)
			}

			clock = clock.Add(time.Hour)
			l = serve(t, dir, func(o *lake.Options) { o.Now = func() time.Time { return clock } })
			if _, ok := l.Sticky("x", "other"); !ok || !l.Exposed("other", "x", 2) {
				t.Error("another user's answer or exposure is gone")
			}
			// Old replays are refused, also through an import; what happens from now on is a new user's.
			if _, err := l.Append(t.Context(), []features.Event{order("e0", user, start.Add(-time.Hour), 1), order("new", user, clock, 9)}); err != nil {
				t.Fatal(err)
			}
			if a, d, err := l.Load(t.Context(), []features.Event{order("h1", user, start.AddDate(0, -1, 0), 5)}); a != 0 || d != 1 || err != nil {
				t.Errorf("a replay by import = %d, %d, %v; want refused", a, d, err)
			}
			if err := l.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := stored(t, l)
			if got["new"] != 1 || got["e0"] != 0 || got["h1"] != 0 || got["e1"] != 1 || got["h2"] != 1 {
				t.Errorf("stored after the return: %v", got)
			}
		})
	}
}

// The ids that were linked to a user go with her, through a chain too. Another user of the same device keeps her rows without the device's name.
func TestEraseTakesLinkedIDs(t *testing.T) {
	const user, anonymous, device = "Ms-Forget-Me-4711", "anonymous-8153", "device-2718"
	dir, clock := t.TempDir(), start
	l := serve(t, dir, func(o *lake.Options) { o.Now = func() time.Time { return clock } })
	link := func(id, alias, user string) features.Event {
		return features.Event{EventID: id, UserID: user, AnonymousID: alias, Name: features.IdentityLinked, TS: start.Add(-time.Hour)}
	}
	shared := order("shared", "other", start.Add(-time.Hour), 3)
	shared.AnonymousID = anonymous
	if _, _, err := l.Load(t.Context(), []features.Event{order("h1", device, start.AddDate(0, -1, 0), 5), order("h2", anonymous, start.AddDate(0, -1, 0), 6), order("h3", "other", start.AddDate(0, -1, 0), 6)}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), []features.Event{order("e1", user, start.Add(-time.Hour), 1), order("e2", anonymous, start.Add(-time.Hour), 1), link("l1", device, anonymous)}); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(time.Minute)
	if _, err := l.Append(t.Context(), []features.Event{link("l2", anonymous, user), shared}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Keep(t.Context(), "x", anonymous, lake.Kept{Variant: "a"}); err != nil {
		t.Fatal(err)
	}
	p, err := l.Erase(t.Context(), user)
	if err != nil || !p.Complete || p.Left != 0 || p.Rows != 6 {
		t.Fatalf("Erase = %+v, %v; want complete with 6 rows", p, err)
	}
	clock = clock.Add(time.Minute)
	if got := stored(t, l); got["shared"] != 1 || got["h3"] != 1 || len(got) != 2 {
		t.Errorf("stored after the erasure: %v, want the two events of the other user", got)
	}
	if who := l.Person(anonymous); who != nil {
		t.Errorf("the erased id is still one of %v", who)
	}
	// A replay of what named her, by an import, comes without the name.
	if _, _, err := l.Load(t.Context(), []features.Event{order("h2", anonymous, start.AddDate(0, -1, 0), 6)}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{user, anonymous, device} {
		if found := bytesOf(t, dir, id); len(found) > 0 {
			t.Errorf("%s is still in %v", id, found)
		}
	}
}

func TestEraseWaitsForReaders(t *testing.T) {
	dir := t.TempDir()
	l := serve(t, dir)
	if _, _, err := l.Load(t.Context(), []features.Event{order("a", "u", start, 1), order("b", "v", start, 1)}); err != nil {
		t.Fatal(err)
	}
	reader := open(t, dir)
	s, err := reader.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	p, err := l.Erase(ctx, "u")
	if err != nil || p.Complete || p.Waiting != 1 {
		t.Errorf("Erase beside a reader = %+v, %v; want waiting for one file", p, err)
	}
	if n := len(query(t, s, "event_id")); n != 2 {
		t.Errorf("the reader sees %d rows of its snapshot, want 2", n)
	}
	fresh, err := l.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, hidden := fresh.Tombstones["u"]; !hidden || len(query(t, fresh, "event_id")) != 1 {
		t.Error("a new snapshot does not hide the user at once")
	}
	if err := fresh.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if p, err := l.Erase(t.Context(), "u"); err != nil || !p.Complete {
		t.Errorf("Erase again = %+v, %v; want complete", p, err)
	}
}
