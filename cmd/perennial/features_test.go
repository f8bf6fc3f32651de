package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCatalogFaultsOnStdout: every fault of a shop's own catalog is a field and a reason with line and column, for programs too.
func TestCatalogFaultsOnStdout(t *testing.T) {
	data := t.TempDir()
	write(t, filepath.Join(data, "catalog.yaml"), "version: 1\nfeatures:\n  - {name: a, expr: \"1 +\"}\n  - {name: b, expr: \"nosuch(1)\"}\n")
	code, stdout, stderr := call(t, "features", "list", "--json", "--data", data)
	var doc struct {
		Errors []struct{ Field, Reason string }
	}
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || code != 2 || len(doc.Errors) != 2 {
		t.Fatalf("features list = exit %d, %q (%v), want 2 and two errors", code, stdout, err)
	}
	if e := doc.Errors[1]; e.Field != "catalog.features[1].expr" || !strings.HasPrefix(e.Reason, "line 4, column 22:") || !strings.Contains(stderr, "nosuch") {
		t.Errorf("the second error is %+v, want the place of the function", e)
	}
}

// TestFeaturesTraining writes a labelled set of two cuts twice, from tiles that a night would make: the second time it finds it.
func TestFeaturesTraining(t *testing.T) {
	data := shopLake(t, "2026")
	out := filepath.Join(t.TempDir(), "set")
	args := []string{"features", "training", "--as-of", "2025-05-01,2025-07-01", "--horizon", "60d", "--passes", "2", "--out", out, "--memory", "512MB", "--json", "--data", data}
	first, _ := command(t, 0, args...)
	again, said := command(t, 0, args...)
	if first != again || !strings.Contains(said, "training: 0 days of tiles computed") {
		t.Errorf("a second build = %s and %s, want %s and no tiles", again, said, first)
	}
	var doc struct{ Rows, Columns, Parts int }
	if err := json.Unmarshal([]byte(first), &doc); err != nil || doc.Parts != 2 || doc.Columns < 70 || doc.Rows < 200 {
		t.Errorf("training = %s (%v), want two parts with more than 200 rows of more than 70 columns", first, err)
	}
	var schema struct {
		Rows   int
		Labels struct {
			Horizon int `json:"horizon_days"`
		}
		Columns []struct{ Name, Kind string }
	}
	raw, err := os.ReadFile(filepath.Join(out, "schema.json"))
	if err == nil {
		err = json.Unmarshal(raw, &schema)
	}
	if err != nil || schema.Rows != doc.Rows || schema.Labels.Horizon != 60 || len(schema.Columns) != doc.Columns || schema.Columns[0].Name != "user_id" {
		t.Errorf("schema.json = %s (%v)", raw, err)
	}
	if _, stderr := command(t, 1, "features", "training", "--as-of", "2025-10-01", "--horizon", "60d", "--data", data); !strings.Contains(stderr, "are not over") {
		t.Errorf("a window that is not over: %s", stderr)
	}
	if _, stderr := command(t, 2, "features", "training", "--as-of", "2025-05-01", "--horizon", "soon", "--data", data); !strings.Contains(stderr, "horizon") {
		t.Errorf("a horizon that is no number: %s", stderr)
	}
}
