package main

import (
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"perennial/features"
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

// A user who had refused analytics before a cut is not in its rows; before the refusal she is.
func TestFeaturesTrainingLeavesRefusalsOut(t *testing.T) {
	data := shopLake(t, "2026")
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	set := func(name string) (rows []string) {
		t.Helper()
		out := filepath.Join(t.TempDir(), name)
		command(t, 0, "features", "training", "--as-of", "2025-05-01,2025-07-01", "--horizon", "60d", "--passes", "1", "--out", out, "--data", data)
		found, err := db.Query("SELECT user_id || ' ' || CAST(as_of AS VARCHAR) FROM read_parquet('" + out + "/part-00.parquet') ORDER BY 1")
		if err != nil {
			t.Fatal(err)
		}
		defer found.Close()
		for found.Next() {
			var row string
			if err := found.Scan(&row); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
		}
		return rows
	}
	all := set("all")
	file := filepath.Join(t.TempDir(), "consents.ndjson")
	write(t, file, `{"event_id":"no","user_id":"u002","event":"Consent Updated","ts":"2025-06-01T00:00:00Z","properties":{"analytics":false}}`+"\n")
	command(t, 0, "import", "events", file, "--data", data)
	want := slices.DeleteFunc(slices.Clone(all), func(row string) bool { return row == "u002 2025-07-01" })
	if got := set("without"); !slices.Equal(got, want) || len(want) != len(all)-1 || !slices.Contains(got, "u002 2025-05-01") {
		gone := slices.DeleteFunc(slices.Clone(all), func(row string) bool { return slices.Contains(got, row) })
		t.Errorf("%d of %d rows are left, %v are gone, want that of u002 at the second cut", len(got), len(all), gone)
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

// The sums over users of Online Retail (UCI, 10.24432/C5BW33) from tiles at two cuts are those that pandas 2 and SQLite's SQL give for the clean rows before the cut.
func TestOnlineRetailFromTiles(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	config := filepath.Join(t.TempDir(), "perennial.yaml")
	write(t, config, "timezone: UTC\ncurrency: GBP\nclock: 2011-12-10T00:00:00Z\n")
	command(t, 0, "import", "events", filepath.Join("demo", "online_retail.csv.gz"), "--preset", "online-retail", "--data", data, "--config", config)
	a := &App{Data: data, Out: io.Discard, Err: io.Discard, Log: slog.New(slog.DiscardHandler)}
	var err error
	if a.Config, err = loadConfig(config); err != nil {
		t.Fatal(err)
	}
	w, err := openBench(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	want := map[string]map[string]float64{
		"2011-07-01": {"users": 2960, "orders_all": 8802, "revenue_all": 3993805.651, "recency_days": 212084.565278, "orders_30d": 1393, "orders_90d": 4029, "orders_180d": 7402, "revenue_90d": 1784421.791},
		"2011-10-01": {"users": 3616, "orders_all": 13168, "revenue_all": 6192078.944, "recency_days": 333943.455556, "orders_30d": 1755, "orders_90d": 4324, "orders_180d": 8376, "revenue_90d": 2186084.003},
	}
	cuts := []features.Day{mustDay(t, "2011-07-01"), mustDay(t, "2011-10-01")}
	dir, days, err := buildTiles(t.Context(), w.l, w.e, w.snap, cuts[1], a.progress)
	if err != nil || days < 300 {
		t.Fatalf("tiles of %d days, %v; want those of a year", days, err)
	}
	tables, err := w.e.FeaturesFromTiles(t.Context(), dir, cuts...)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		orders := table.Column("orders_all").Numbers
		for name, sum := range want[table.AsOf.String()] {
			got := 0.0
			for i := range table.Users {
				switch {
				case orders[i] == 0:
				case name == "users":
					got++
				default:
					got += table.Column(name).Numbers[i]
				}
			}
			if math.Abs(got-sum) > 1e-5 {
				t.Errorf("%s: the sum of %s is %.6f, want %.6f", table.AsOf, name, got, sum)
			}
		}
	}
}
