package lake_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// pieces loads n events of one day as n segments.
func pieces(t *testing.T, l *lake.Lake, n int) {
	t.Helper()
	for i := range n {
		if _, _, err := l.Load(t.Context(), []features.Event{order(fmt.Sprint("p", i), fmt.Sprint("u", i%3), start.Add(time.Duration(i)*time.Second), int64(i))}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCompactionKeepsRowsAndReaders(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, func(o *lake.Options) { o.Grace = time.Nanosecond })
	pieces(t, l, 20)
	reader := open(t, dir)
	s, err := reader.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	newest := s.Segments[len(s.Segments)-1].Added
	if n, err := l.Compact(t.Context()); n != 1 || err != nil {
		t.Fatalf("Compact = %d, %v; want one day", n, err)
	}
	if _, err := l.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(query(t, s, "event_id")); n != 20 {
		t.Errorf("a reader of the old snapshot sees %d rows, want 20", n)
	}
	fresh, err := l.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if len(fresh.Segments) != 1 || fresh.Segments[0].Rows != 20 || len(query(t, fresh, "event_id")) != 20 {
		t.Errorf("after compaction %+v, want one segment of 20 rows", fresh.Segments)
	}
	if fresh.Segments[0].Added != newest {
		t.Errorf("a merged day counts as changed: added %d, want %d", fresh.Segments[0].Added, newest)
	}
	if n, err := l.Compact(t.Context()); n != 0 || err != nil {
		t.Errorf("Compact again = %d, %v; want nothing to do", n, err)
	}
	if a, d, err := l.Load(t.Context(), []features.Event{order("p3", "u0", start, 1)}); a != 0 || d != 1 || err != nil {
		t.Errorf("a resend into a merged day = %d, %d, %v; want a duplicate", a, d, err)
	}
	files := func() int {
		found, err := filepath.Glob(filepath.Join(dir, "lake", "events", "day=*", "seg=*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	if n := files(); n != 21 {
		t.Errorf("%d segment directories while the reader holds its lease, want 21", n)
	}
	if err := errors.Join(s.Close(), reader.Close()); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Collect(t.Context()); n != 20 || err != nil || files() != 1 {
		t.Errorf("Collect after the last lease = %d, %v with %d left; want 20 gone, 1 left", n, err, files())
	}
}

// queries is how many queries TestReadersDuringCompaction makes at least; `make readers` makes 10,000.
var queries = flag.Int("queries", 200, "queries beside compaction")

// Readers query while another process loads, merges and collects.
func TestReadersDuringCompaction(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, func(o *lake.Options) { o.Grace = time.Nanosecond })
	pieces(t, l, 3)
	reader := open(t, dir)
	stop := make(chan struct{})
	var all sync.WaitGroup
	least := 0
	var reads atomic.Int64 // queries that were answered
	all.Go(func() {
		db, err := sql.Open("duckdb", "")
		if err != nil {
			t.Error(err)
			return
		}
		defer db.Close()
		for {
			select {
			case <-stop:
				return
			default:
			}
			s, err := reader.Snapshot(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			n := 0
			for _, p := range s.Paths() {
				var rows int
				if err := db.QueryRow(`SELECT count(*) FROM read_parquet('` + p + `')`).Scan(&rows); err != nil {
					t.Errorf("query %d: %v", reads.Load(), err)
					return
				}
				n += rows
				reads.Add(1)
			}
			if n < least {
				t.Errorf("query %d: %d rows after %d", reads.Load(), n, least)
				return
			}
			least = n
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	merged := 0
	for i := 0; !t.Failed() && (i < 40 || reads.Load() < int64(*queries)); i++ {
		if _, _, err := l.Load(t.Context(), []features.Event{order(fmt.Sprint("q", i), "u", start, 1)}); err != nil {
			t.Fatal(err)
		}
		n, err := l.Compact(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		merged += n
		if _, err := l.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	all.Wait()
	if merged == 0 {
		t.Error("nothing was merged")
	}
	t.Logf("%d queries beside %d compactions: none failed", reads.Load(), merged)
}

// What a writer left between its rename and its commit is swept, and what is published is not.
func TestOrphansAreSwept(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	pieces(t, l, 2)
	orphan := filepath.Join(dir, "lake", "events", "day=2026-11-22", "seg=dead-1-9")
	if err := os.MkdirAll(orphan, 0o700); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Collect(t.Context()); n != 1 || err != nil {
		t.Errorf("Collect = %d, %v; want the orphan gone", n, err)
	}
	if len(stored(t, l)) != 2 {
		t.Error("a published segment was swept")
	}
}

func TestDropBefore(t *testing.T) {
	l := open(t, t.TempDir())
	if _, _, err := l.Load(t.Context(), []features.Event{order("old", "u", start.AddDate(0, 0, -400), 1), order("new", "u", start, 1)}); err != nil {
		t.Fatal(err)
	}
	if n, err := l.DropBefore(t.Context(), features.Shop{}.DayOf(start.AddDate(0, 0, -395))); n != 1 || err != nil {
		t.Errorf("DropBefore = %d, %v; want one segment", n, err)
	}
	if got := stored(t, l); len(got) != 1 || got["new"] != 1 {
		t.Errorf("left %v, want the new event", got)
	}
}

func TestRunsArePublishedOnce(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	publish := func(version, text string) lake.Run {
		t.Helper()
		work, err := l.NewRunDir("scores", 100)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work, "a.txt"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := l.Publish(t.Context(), lake.Run{Kind: "scores", AsOf: 100, Version: version, Dir: work, Meta: json.RawMessage(`{"rows":1}`)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(work); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the private directory of %s is still there", version)
		}
		return r
	}
	// A crash left the final name behind, unpublished.
	if err := os.MkdirAll(filepath.Join(dir, "scores", "as_of="+features.Day(100).String(), "v1"), 0o700); err != nil {
		t.Fatal(err)
	}
	first := publish("v1", "one")
	again := publish("v1", "two")
	if raw, err := os.ReadFile(filepath.Join(again.Dir, "a.txt")); err != nil || string(raw) != "one" || again.Dir != first.Dir {
		t.Errorf("published again: %q, %v; want the first one's bytes", raw, err)
	}
	publish("v2", "other")
	for _, c := range []struct {
		asOf          features.Day
		version, want string
	}{{100, "", "v2"}, {0, "", "v2"}, {100, "v1", "v1"}, {0, "v1", "v1"}, {99, "", ""}, {100, "v9", ""}} {
		r, ok, err := l.FindRun(t.Context(), "scores", c.asOf, c.version)
		if err != nil || ok != (c.want != "") || r.Version != c.want {
			t.Errorf("FindRun(%d, %q) = %q, %v, %v; want %q", c.asOf, c.version, r.Version, ok, err, c.want)
		}
	}
	if runs, err := l.Runs(t.Context(), "scores"); err != nil || len(runs) != 2 || string(runs[0].Meta) != `{"rows":1}` {
		t.Errorf("Runs = %v, %v; want two", runs, err)
	}
	var invalid *features.InvalidError
	if _, err := l.Publish(t.Context(), lake.Run{Kind: "../x", Version: "v", Dir: dir}); !errors.As(err, &invalid) {
		t.Errorf("a kind with a path = %v, want an InvalidError", err)
	}
}

func TestRecords(t *testing.T) {
	l := open(t, t.TempDir())
	for _, v := range []int{1, 2} {
		if err := l.PutRecord(t.Context(), "night", "2011-10-01", map[string]int{"v": v}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.Records(t.Context(), "night")
	if err != nil || len(got) != 1 || string(got["2011-10-01"]) != `{"v":2}` {
		t.Errorf("Records = %s, %v; want the newest document", got, err)
	}
}
