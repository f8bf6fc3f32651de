package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// diagnose runs the doctor and returns its exit code and findings by name.
func diagnose(t *testing.T, data string) (int, map[string]finding) {
	t.Helper()
	code, stdout, stderr := call(t, "doctor", "--data", data, "--json")
	var doc struct{ Checks []finding }
	if err := json.NewDecoder(strings.NewReader(stdout)).Decode(&doc); err != nil {
		t.Fatalf("doctor --json printed %q (%v): %s", stdout, err, stderr)
	}
	found := map[string]finding{}
	for _, f := range doc.Checks {
		found[f.Name] = f
		if (f.Status == "ok") != (f.Remedy == "") {
			t.Errorf("%s is %q with remedy %q: every fault and only a fault has one", f.Name, f.Status, f.Remedy)
		}
	}
	return code, found
}

func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if code, found := diagnose(t, filepath.Join(dir, "missing")); code != 1 || found["data"].Status != "fault" {
		t.Errorf("doctor without a data directory = exit %d, %+v, want 1 and a fault", code, found["data"])
	}

	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	code, found := diagnose(t, data)
	if code != 0 || found["keys"].Status != "warning" || found["events"].Status != "warning" {
		t.Errorf("doctor of an empty directory = exit %d, keys %+v, events %+v, want 0 and two warnings", code, found["keys"], found["events"])
	}

	write(t, "orders.ndjson", `{"event_id":"1","user_id":"a","event":"Order Completed","ts":"2026-01-05T10:00:00Z","value":10,"order_id":"o1"}
{"event_id":"2","user_id":"b","event":"Order Completed","ts":"2026-01-06T10:00:00Z","value":12,"order_id":"o2"}
`)
	must(t, "import", "events", "orders.ndjson", "--data", data)
	must(t, "keys", "create", "--role", "client", "--data", data)
	code, found = diagnose(t, data)
	if code != 0 || found["keys"].Status != "ok" || found["events"].Status != "ok" || found["scores"].Status != "warning" {
		t.Errorf("doctor after an import = exit %d, %+v, want 0, keys and events ok, no scores yet", code, found)
	}

	segments, err := filepath.Glob(filepath.Join(data, "lake", "events", "*", "*", "*.parquet"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments = %v, %v", segments, err)
	}
	if err := os.Remove(segments[0]); err != nil {
		t.Fatal(err)
	}
	if code, found = diagnose(t, data); code != 1 || found["events"].Status != "fault" {
		t.Errorf("doctor with a lost segment = exit %d, %+v, want 1 and a fault", code, found["events"])
	}
}

func TestDoctorFacts(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name          string
		facts         facts
		events, clock string
	}{
		{"nothing", facts{}, "warning", "ok"},
		{"all well", facts{rows: 10, ids: 10, known: now.Add(-time.Hour)}, "ok", "ok"},
		{"an id twice", facts{rows: 10, ids: 9, known: now.Add(-time.Hour)}, "fault", "ok"},
		{"the clock was set back", facts{rows: 10, ids: 10, known: now.Add(48 * time.Hour)}, "ok", "fault"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.facts.check().Status; got != c.events {
				t.Errorf("events = %s, want %s", got, c.events)
			}
			if got := c.facts.clock(now).Status; got != c.clock {
				t.Errorf("clock = %s, want %s", got, c.clock)
			}
		})
	}
}
