package main

import (
	"encoding/json"
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
