package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// perennial runs the command line and returns its exit code, stdout and stderr.
func perennial(t *testing.T, data string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append(args, "--data", data), &out, &errs)
	return code, out.String(), errs.String()
}

// What is imported comes out again: through NDJSON, CSV, zstd and Parquet the events are the same, and every one of those files
// imported into another lake gives them again.
func TestImportExportRoundTrip(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "orders.csv")
	if err := os.WriteFile(source, []byte("event_id,user_id,ts,value,margin,order_id,category,properties\n"+
		"a,u1,2026-01-02T03:04:05.5Z,128.5,-0.042,o1,\"f,ood\",\"{\"\"k\"\":1}\"\n"+
		"b,u2,2026-01-03T03:04:05Z,10,,o2,,\n"+
		"c,u3,2026-02-30,10,,o3,,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lake := filepath.Join(dir, "first")
	code, out, errs := perennial(t, lake, "import", "events", source, "--json")
	var said importResult
	if err := json.Unmarshal([]byte(out), &said); err != nil || code != 0 || said.Rows != 3 || said.Events != 2 || said.Rejected != 1 || said.Reasons["ts not a date or time"] != 1 {
		t.Fatalf("import: exit %d, %s %s", code, out, errs)
	}
	if raw, err := os.ReadFile(*said.RejectsFile); err != nil || !strings.Contains(string(raw), `"file":"orders.csv","line":4,"field":"ts"`) {
		t.Errorf("rejects %s, %v; want file, line and field", raw, err)
	}
	code, want, errs := perennial(t, lake, "export", "events")
	if code != 0 || strings.Count(want, "\n") != 2 || !strings.Contains(want, `"value":128.5`) || !strings.Contains(want, `"margin":-0.042`) {
		t.Fatalf("export: exit %d, %s %s", code, want, errs)
	}
	for _, name := range []string{"e.ndjson", "e.ndjson.gz", "e.csv", "e.csv.zst", "e.parquet"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			if code, _, errs := perennial(t, lake, "export", "events", "--out", file); code != 0 {
				t.Fatalf("export: exit %d, %s", code, errs)
			}
			again := filepath.Join(dir, "again-"+name)
			if code, _, errs := perennial(t, again, "import", "events", file); code != 0 {
				t.Fatalf("import: exit %d, %s", code, errs)
			}
			_, got, _ := perennial(t, again, "export", "events")
			if a, b := withoutReceived(t, got), withoutReceived(t, want); a != b {
				t.Errorf("came back as\n%s\nwant\n%s", a, b)
			}
		})
	}
}

// withoutReceived drops the time at which this lake got an event.
func withoutReceived(t *testing.T, ndjson string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(ndjson) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		delete(e, "received_at")
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(raw, '\n'))
	}
	return out.String()
}

func TestImportRefusals(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.csv")
	if err := os.WriteFile(file, []byte("user_id,ts,value\nu,2026-01-02,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(bytes.Repeat([]byte("user_id,ts,value\n"), 10_000)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut.csv.zst")
	if err := os.WriteFile(cut, packed.Bytes()[:packed.Len()/2], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"missing column", []string{"import", "events", file, "--map", "value=price"}, 2, `"price"`},
		{"unknown preset", []string{"import", "events", file, "--preset", "nope"}, 2, "online-retail"},
		{"unknown zone", []string{"import", "events", file, "--tz", "Mars/Olympus"}, 2, "Mars/Olympus"},
		{"negative lag", []string{"import", "events", file, "--lag", "-1h"}, 2, "--lag"},
		{"missing file", []string{"import", "events", filepath.Join(dir, "none.csv")}, 2, "none.csv"},
		{"cut file", []string{"import", "events", cut}, 1, "cut.csv.zst"},
		{"export of another kind", []string{"export", "orders"}, 2, "events"},
		{"impossible range", []string{"export", "events", "--from", "2026-01-02", "--to", "2026-01-01"}, 2, "--to"},
		{"unknown form", []string{"export", "events", "--out", filepath.Join(dir, "x.xlsx")}, 2, "x.xlsx"},
		{"no run yet", []string{"export", "scores"}, 1, "perennial score"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, _, errs := perennial(t, filepath.Join(dir, "lake"), c.args...)
			if code != c.code || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d, %s; want %d and a word about %s", code, errs, c.code, c.want)
			}
		})
	}
}
