package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perennial/models"
)

// decoded runs a command that prints one JSON document.
func decoded[T any](t *testing.T, args ...string) T {
	t.Helper()
	out, _ := command(t, 0, args...)
	var doc T
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("%s: %q: %v", strings.Join(args, " "), out, err)
	}
	return doc
}

// TestTwoNights walks what a shop asks between two nights, with a new month's models in the second: who changed, why, what the shadow says,
// and who decides about the champion.
func TestTwoNights(t *testing.T) {
	data := shopLake(t, "2026")
	first := nightOf(t, data)
	command(t, 0, "model", "shadow", "churn", first.ChurnModel, "--data", data)
	second := decoded[nightReport](t, "nightly", "--as-of", "2025-09-20", "--json", "--data", data)
	if second.ChurnModel == first.ChurnModel || second.ChurnModel == "" {
		t.Fatalf("the second month scores with %q, the first with %q", second.ChurnModel, first.ChurnModel)
	}
	cards := decoded[struct{ Models []models.Card }](t, "model", "list", "--json", "--data", data).Models
	learner := map[string]string{}
	for _, c := range cards {
		learner[c.Version] = c.Learner
	}
	t.Run("the learner stays without a sure gain", func(t *testing.T) {
		shown := decoded[registered](t, "model", "show", second.ChurnModel, "--json", "--data", data)
		judged := decoded[registered](t, "model", "show", shown.Card.Backtest.Version, "--json", "--data", data).Card
		if v := judged.Contest; learner[second.ChurnModel] != learner[first.ChurnModel] && (v == nil || !v.Promote || !(v.GainLow > 0)) {
			t.Errorf("learner %s after %s with the verdict %+v", learner[second.ChurnModel], learner[first.ChurnModel], v)
		}
		if shown.Lineage.Why != "month" && shown.Lineage.Why != "drift" {
			t.Errorf("lineage %+v", shown.Lineage)
		}
	})
	t.Run("changes", func(t *testing.T) {
		all := decoded[changePage](t, "changes", "--json", "--data", data)
		if len(all.Changes) < 5 || all.Next != "" {
			t.Fatalf("%d changes, next %q", len(all.Changes), all.Next)
		}
		before, after := exported(t, data, "2025-09-01"), exported(t, data, "2025-09-20")
		told := 0
		for user, now := range after {
			was, ok := before[user]
			for _, field := range []string{"band", "stage"} {
				if ok && was[field] != now[field] {
					told++
				}
			}
		}
		for _, c := range all.Changes {
			field := strings.TrimSuffix(strings.TrimPrefix(c.Type, "score."), ".changed")
			if before[c.User][field] != c.Before || after[c.User][field] != c.After || c.AsOf != "2025-09-20" || c.ScoreVersion != second.ScoreVersion {
				t.Errorf("change %+v; the files say %v and %v", c, before[c.User][field], after[c.User][field])
			}
		}
		if told != len(all.Changes) {
			t.Errorf("%d changes are told, the files hold %d", len(all.Changes), told)
		}
		page := decoded[changePage](t, "changes", "--since", "2025-08-01", "--limit", "3", "--json", "--data", data)
		next := decoded[changePage](t, "changes", "--since", "2025-08-01", "--limit", "100000", "--cursor", page.Next, "--json", "--data", data)
		if got := append(page.Changes, next.Changes...); len(got) != len(all.Changes) || got[3] != all.Changes[3] {
			t.Errorf("two pages hold %d changes, one holds %d", len(got), len(all.Changes))
		}
	})
	t.Run("webhook", func(t *testing.T) {
		all := decoded[changePage](t, "changes", "--json", "--data", data)
		deliversWhileServing(t, data, first.AsOf, first.ScoreVersion, all.Changes)
	})
	t.Run("why", func(t *testing.T) {
		before, after := exported(t, data, "2025-09-01"), exported(t, data, "2025-09-20")
		user := decoded[changePage](t, "changes", "--json", "--data", data).Changes[0].User
		w := decoded[whyAnswer](t, "why", user, "--json", "--data", data)
		if w.From.Model != first.ChurnModel || w.To.Model != second.ChurnModel || len(w.Moves) == 0 || len(w.Reasons) == 0 {
			t.Errorf("why = %+v", w)
		}
		if math.Abs(w.Before-before[user]["churn_risk"].(float64)) > 1e-9 || math.Abs(w.After-after[user]["churn_risk"].(float64)) > 1e-9 ||
			math.Abs(w.After-w.Before-w.FeaturesPart-w.ModelPart) > 1e-9 {
			t.Errorf("why = %+v, the scores were %v and %v", w.Change, before[user]["churn_risk"], after[user]["churn_risk"])
		}
		if _, err := command(t, 1, "why", "nobody", "--data", data); !strings.Contains(err, "was not scored") {
			t.Errorf("message %q", err)
		}
	})
	t.Run("the shadow serves nobody", func(t *testing.T) {
		row := exported(t, data, "2025-09-20")["u001"]
		old, ok := row["churn_risk_shadow"].(float64)
		if !ok || row["churn_model"] != second.ChurnModel || old == row["churn_risk"] {
			t.Errorf("row %v", row)
		}
		if role := decoded[registered](t, "model", "show", first.ChurnModel, "--json", "--data", data).Card.Role; role != "shadow" {
			t.Errorf("role %s", role)
		}
	})
	t.Run("the row", func(t *testing.T) {
		for user, row := range exported(t, data, "2025-09-20") {
			risk, low, high := row["churn_risk"].(float64), row["churn_low"].(float64), row["churn_high"].(float64)
			if !(0 <= low && low < risk && risk < high && high <= 1) {
				t.Fatalf("%s: risk %v in %v..%v", user, risk, low, high)
			}
			want := "low"
			if p := row["churn_percentile"].(float64); p > 0.8 {
				want = "high"
			} else if p > 0.5 {
				want = "medium"
			}
			if row["band"] != want {
				t.Fatalf("%s: %v in band %v", user, row["churn_percentile"], row["band"])
			}
		}
	})
	t.Run("a killed run goes on after its last part", func(t *testing.T) {
		want := filepath.Join(t.TempDir(), "want.csv")
		command(t, 0, "score", "--as-of", "2025-09-20", "--out", want, "--data", data)
		resumed(t, data, want)
	})
	t.Run("release", func(t *testing.T) {
		command(t, 0, "model", "promote", "churn", first.ChurnModel, "--data", data)
		command(t, 0, "model", "rollback", "churn", "--data", data)
		command(t, 0, "model", "release", "churn", "--data", data)
		if r := decoded[nightReport](t, "nightly", "--as-of", "2025-09-20", "--json", "--data", data); r.ChurnModel != second.ChurnModel {
			t.Errorf("after a rollback and a release the night scores with %s, want %s", r.ChurnModel, second.ChurnModel)
		}
	})
}

// resumed scores in parts of 100 users, ends the run after the second, and lets a second run finish.
func resumed(t *testing.T, data, whole string) {
	t.Helper()
	was := scorePart
	scorePart = 100
	defer func() { scorePart = was }()
	config, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp(data, "resumed-")
	if err != nil {
		t.Fatal(err)
	}
	a := &App{Data: data, Config: config, Out: os.Stdout, Err: &strings.Builder{}}
	b, err := openBench(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	s := &scoring{bench: b}
	if s.asOf, err = a.cutDay("as-of", "2025-09-20"); err != nil {
		t.Fatal(err)
	}
	for _, target := range []models.Target{models.Churn, models.LTV} {
		if err := s.choose(t.Context(), target, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	paths, _, err := s.parts(t.Context(), work)
	if err != nil || len(paths) < 3 {
		t.Fatalf("%d parts, error %v", len(paths), err)
	}
	kept, err := os.Stat(paths[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths[2:] { // what a killed run had not written
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	again, _, err := s.parts(t.Context(), work)
	if err != nil || len(again) != len(paths) {
		t.Fatalf("%d parts after the second run, %d after the first, error %v", len(again), len(paths), err)
	}
	if now, err := os.Stat(paths[1]); err != nil || !now.ModTime().Equal(kept.ModTime()) {
		t.Error("a part that was there was made again")
	}
	joined, csv := filepath.Join(work, "scores.parquet"), filepath.Join(t.TempDir(), "joined.csv")
	if err := b.e.JoinTables(t.Context(), again, joined); err != nil {
		t.Fatal(err)
	}
	table, err := b.e.ReadTable(t.Context(), joined)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.e.WriteTable(t.Context(), table, csv); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(csv); err != nil || string(got) != string(want) {
		t.Error("the parts together are not the whole run")
	}
}

// exported reads a run's scores by user.
func exported(t *testing.T, data, asOf string) map[string]map[string]any {
	t.Helper()
	out, _ := command(t, 0, "export", "scores", "--as-of", asOf, "--data", data)
	rows := map[string]map[string]any{}
	for line := range strings.Lines(out) {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		rows[row["user_id"].(string)] = row
	}
	return rows
}
