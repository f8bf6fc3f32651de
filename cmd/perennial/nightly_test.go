package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
	"perennial/models"
)

// shopLake fills a data directory with the orders of a small shop over 300 days from 2025-01-01: order rates and values differ between
// customers, and some leave. Orders at or after `until` are left out.
func shopLake(t *testing.T, until string) string {
	t.Helper()
	data := t.TempDir()
	rng := rand.New(rand.NewPCG(7, 7))
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	var b strings.Builder
	for u := range 320 {
		rate, level := 0.01+0.03*rng.ExpFloat64(), 3+rng.NormFloat64()
		life := rng.ExpFloat64() * 220
		first := rng.Float64() * 90
		for at, n := first, 0; at < 300 && (n == 0 || at < first+life); at, n = at+rng.ExpFloat64()/rate, n+1 {
			value := math.Round(100*math.Exp(level+0.4*rng.NormFloat64())) / 100
			ts := start.Add(time.Duration(at * 24 * float64(time.Hour))).Truncate(time.Second)
			if ts.Format(time.DateOnly) < until {
				fmt.Fprintf(&b, "{\"event_id\":\"e%d-%d\",\"user_id\":\"u%03d\",\"event\":\"Order Completed\",\"ts\":%q,\"value\":%v,\"order_id\":\"o%d-%d\"}\n", u, n, u, ts.Format(time.RFC3339), max(value, 0.01), u, n)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "orders.ndjson")
	write(t, file, b.String())
	command(t, 0, "import", "events", file, "--data", data)
	return data
}

// command runs the program in this process and returns what it printed; it fails t on another exit code.
func command(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	if got := run(t.Context(), args, &out, &err); got != want {
		t.Fatalf("perennial %s: exit %d, want %d\n%s", strings.Join(args, " "), got, want, err.String())
	}
	return out.String(), err.String()
}

func nightOf(t *testing.T, data string, more ...string) nightReport {
	t.Helper()
	out, _ := command(t, 0, append([]string{"nightly", "--as-of", "2025-09-01", "--json", "--data", data}, more...)...)
	var r nightReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("report %q: %v", out, err)
	}
	return r
}

// scoreRows reads a scores file, without its version columns when asked.
func scoreRows(t *testing.T, file string, versions bool) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range rows[1:] {
		if !versions {
			r = slices.Clone(r)
			for j, name := range rows[0] {
				if name == "score_version" || name == "churn_model" || name == "ltv_model" {
					r[j] = ""
				}
			}
		}
		out = append(out, strings.Join(r, "|"))
	}
	return out
}

// TestNightly walks the life of a night on one shop: done once, skipped after that, blind to later facts, sharded, pinned, rolled back.
func TestNightly(t *testing.T) {
	data := shopLake(t, "2026")
	first := nightOf(t, data)
	var names []string
	for _, s := range first.Steps {
		names = append(names, s.Name)
		if s.Status == "failed" {
			t.Errorf("step %s failed: %s", s.Name, s.Reason)
		}
	}
	if !slices.Equal(names, nightSteps) || first.ScoreVersion == "" || first.ChurnModel == "" || first.LTVModel == "" {
		t.Fatalf("first night: %+v", first)
	}
	if a := first.Audit; a == nil || a.Users == 0 || a.Differences != 0 {
		t.Errorf("audit of the first night: %+v, want users of a bucket computed again and none that differs", a)
	}
	again := nightOf(t, data)
	for _, s := range again.Steps {
		if s.Status != "skipped" {
			t.Errorf("second night: step %s is %s, want skipped", s.Name, s.Status)
		}
	}
	if again.ScoreVersion != first.ScoreVersion {
		t.Errorf("second night: version %s, first %s", again.ScoreVersion, first.ScoreVersion)
	}
	whole := filepath.Join(t.TempDir(), "whole.csv")
	command(t, 0, "score", "--as-of", "2025-09-01", "--out", whole, "--data", data)
	want := scoreRows(t, whole, true)

	t.Run("shards are the whole", func(t *testing.T) {
		var got []string
		for i := range 3 {
			part := filepath.Join(t.TempDir(), "part.csv")
			command(t, 0, "score", "--as-of", "2025-09-01", "--shard", fmt.Sprintf("%d/3", i), "--out", part, "--data", data)
			got = append(got, scoreRows(t, part, true)...)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) { // user ids sort as their rows do
			t.Errorf("%d rows in shards, %d in one file, or they differ", len(got), len(want))
		}
		command(t, 2, "score", "--as-of", "2025-09-01", "--shard", "3/3", "--out", whole, "--data", data)
		command(t, 2, "score", "--as-of", "2025-09-01", "--shard", "0/3", "--data", data)
	})
	t.Run("backfill", func(t *testing.T) {
		type backfill struct {
			Runs []struct {
				AsOf         string `json:"as_of"`
				ScoreVersion string `json:"score_version"`
				Rows         int    `json:"rows"`
				Hindsight    bool   `json:"hindsight"`
			} `json:"runs"`
		}
		args := []string{"score", "--from", "2025-08-18", "--to", "2025-09-03", "--every", "7", "--json", "--data", data}
		made := decoded[backfill](t, args...)
		if len(made.Runs) != 3 || made.Runs[0].AsOf != "2025-08-18" || made.Runs[2].AsOf != "2025-09-01" {
			t.Fatalf("runs %+v, want three, a week apart, the oldest first", made.Runs)
		}
		if made.Runs[2].ScoreVersion != first.ScoreVersion || made.Runs[0].Rows == 0 || made.Runs[0].Rows > made.Runs[2].Rows {
			t.Errorf("runs %+v: the last is the night's %s, and the shop grows", made.Runs, first.ScoreVersion)
		}
		if again := decoded[backfill](t, args...); !slices.Equal(again.Runs, made.Runs) {
			t.Errorf("a second backfill made %+v, the first %+v", again.Runs, made.Runs)
		}
		for _, wrong := range [][]string{{}, {"--from", "2025-08-18"}, {"--from", "2025-08-18", "--to", "2025-08-01"}, {"--as-of", "2025-09-01", "--from", "2025-08-18", "--to", "2025-08-19"},
			{"--from", "2025-08-18", "--to", "2025-08-19", "--out", whole}, {"--from", "2025-08-18", "--to", "2025-08-19", "--every", "0"}} {
			command(t, 2, append(append([]string{"score"}, wrong...), "--data", data)...)
		}
	})
	t.Run("later facts change nothing", func(t *testing.T) {
		blind := shopLake(t, "2025-09-01")
		nightOf(t, blind)
		out := filepath.Join(t.TempDir(), "blind.csv")
		command(t, 0, "score", "--as-of", "2025-09-01", "--out", out, "--data", blind)
		if !slices.Equal(scoreRows(t, out, false), scoreRows(t, whole, false)) {
			t.Error("a night that could not see the future gives other scores")
		}
	})
	t.Run("from score again", func(t *testing.T) {
		r := nightOf(t, data, "--from", "score")
		if r.ScoreVersion != first.ScoreVersion || r.Steps[3].Status != "skipped" || r.Steps[4].Status != "done" {
			t.Errorf("--from score: %+v", r)
		}
	})
	t.Run("promotion and rollback", func(t *testing.T) { promotion(t, data, first.ChurnModel) })
}

// promotion pins another version, sees the night score with it, and goes back.
func promotion(t *testing.T, data, month string) {
	config, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	a := &App{Data: data, Config: config, Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}
	l, err := a.openLake(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cards, err := modelCards(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(cards, func(c models.Card) bool { return c.Target == models.Churn && c.Version != month })
	if i < 0 || cards[i].Role != "challenger" || cards[i].Metrics["auc"] == nil {
		t.Fatalf("the judged model behind the refit is not among the cards: %+v", cards)
	}
	pinned := cards[i].Version
	if _, err := promoteModel(t.Context(), a, l, models.Churn, pinned); err != nil {
		t.Fatal(err)
	}
	if _, err := promoteModel(t.Context(), a, l, models.LTV, pinned); err == nil {
		t.Error("a churn model becomes champion of ltv")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := nightOf(t, data); r.ChurnModel != pinned {
		t.Errorf("the night scores with %s, want the promoted %s", r.ChurnModel, pinned)
	}
	if l, err = a.openLake(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	back, err := promoteModel(t.Context(), a, l, models.Churn, "previous")
	if err != nil || back.Version != month || back.Role != "champion" {
		t.Errorf("rollback gives %s %s (%v), want champion %s", back.Version, back.Role, err, month)
	}
}

func TestNightRefuses(t *testing.T) {
	data := shopLake(t, "2025-06-01")
	t.Run("stale input", func(t *testing.T) {
		_, err := command(t, 1, "nightly", "--as-of", "2025-09-01", "--data", data)
		if !strings.Contains(err, "--allow-stale") {
			t.Errorf("message %q does not name --allow-stale", err)
		}
		command(t, 0, "nightly", "--as-of", "2025-09-01", "--allow-stale", "--data", data)
	})
	t.Run("immature labels", func(t *testing.T) {
		_, err := command(t, 1, "train", "churn", "--train-as-of", "2025-03-01", "--test-as-of", "2025-05-20", "--data", data)
		if !strings.Contains(err, "2025-07-19") {
			t.Errorf("message %q does not name the first mature date", err)
		}
	})
	t.Run("overlapping windows", func(t *testing.T) {
		command(t, 2, "train", "churn", "--train-as-of", "2025-03-01", "--test-as-of", "2025-04-01", "--data", data)
	})
	t.Run("unknown learner and version", func(t *testing.T) {
		command(t, 2, "train", "churn", "--model", "oracle", "--data", data)
		command(t, 1, "score", "--as-of", "2025-05-01", "--churn-model", "churn-2025-01-01-00000000", "--data", data)
	})
	t.Run("two nights at once", func(t *testing.T) {
		l, err := lake.Open(t.Context(), lake.Options{Dir: data})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		unlock, err := alone(t.Context(), l, "nightly", "")
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		if _, err := command(t, 1, "nightly", "--as-of", "2025-06-01", "--data", data); !strings.Contains(err, "another night") {
			t.Errorf("message %q", err)
		}
	})
}

// A retention drops the days that are older, from the lake and from what is computed of it; tiles of old nights go.
func TestNightKeepsRetention(t *testing.T) {
	data := shopLake(t, "2026")
	config := filepath.Join(t.TempDir(), "perennial.yaml")
	dayCount := func() (days int, first features.Day) {
		t.Helper()
		l, err := lake.Open(t.Context(), lake.Options{Dir: data})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		snap, err := l.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer snap.Close()
		return len(snap.Segments), snap.Segments[0].Day
	}
	before, _ := dayCount()
	write(t, config, "retention_days: 399\n")
	command(t, 2, "nightly", "--as-of", "2025-09-01", "--data", data, "--config", config)
	write(t, config, "retention_days: 400\nclock: 2026-05-01T00:00:00Z\n")
	night := nightOf(t, data, "--config", config)
	after, first := dayCount()
	if want := mustDay(t, "2026-05-01") - 400; night.Dropped == 0 || before-after != night.Dropped || first != want {
		t.Errorf("%d of %d segments dropped, the first day is %s; want those before %s", night.Dropped, before, first, want)
	}
	if a := night.Audit; a == nil || a.Differences != 0 {
		t.Errorf("audit after the retention: %+v", a)
	}
	if again := nightOf(t, data, "--config", config); again.Dropped != 0 || again.ScoreVersion != night.ScoreVersion {
		t.Errorf("the second night dropped %d segments and scored %s, want none and %s", again.Dropped, again.ScoreVersion, night.ScoreVersion)
	}
}

func mustDay(t *testing.T, text string) features.Day {
	t.Helper()
	d, err := features.ParseDay(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestAnchors: the month's cuts are over, refunds included, at the night's cut, and one horizon apart.
func TestAnchors(t *testing.T) {
	for _, test := range []struct{ asOf, first, second string }{
		{"2025-09-01", "2025-04-02", "2025-06-01"},
		{"2025-09-13", "2025-04-02", "2025-06-01"},
		{"2025-09-14", "2025-05-02", "2025-07-01"}, // 60 + 15 days after 1 July
		{"2026-01-15", "2025-09-02", "2025-11-01"},
	} {
		asOf, err := features.ParseDay(test.asOf)
		if err != nil {
			t.Fatal(err)
		}
		n := &night{scoring: scoring{bench: &bench{a: &App{}}, asOf: asOf}, horizon: 60}
		if second := n.anchor(); second.String() != test.second || (second-60).String() != test.first {
			t.Errorf("anchor of %s = %s, want %s", test.asOf, second, test.second)
		}
	}
}

// A night compares the features of a week before with what is known of those days now: nothing drifts until an order of every user comes three weeks late.
func TestNightlyDrift(t *testing.T) {
	data := shopLake(t, "2025-09-01")
	at := func(asOf string) nightReport {
		return decoded[nightReport](t, "nightly", "--as-of", asOf, "--json", "--data", data)
	}
	if r := at("2025-08-20"); r.Drift != nil || r.Audit == nil {
		t.Errorf("the first night: drift %+v, audit %+v; want no night before it", r.Drift, r.Audit)
	}
	d := at("2025-08-28").Drift
	if d == nil || d.AsOf != "2025-08-20" || d.Users == 0 || d.Changed != 0 || len(d.Features) != 0 {
		t.Fatalf("without late data: %+v, want none of some users changed since 2025-08-20", d)
	}
	var late strings.Builder
	for u := range 320 {
		fmt.Fprintf(&late, "{\"event_id\":\"late-%[1]d\",\"user_id\":\"u%03[1]d\",\"event\":\"Order Completed\",\"ts\":\"2025-08-10T10:00:00Z\",\"value\":12.5,\"order_id\":\"late-%[1]d\"}\n", u)
	}
	file := filepath.Join(t.TempDir(), "late.ndjson")
	write(t, file, late.String())
	command(t, 0, "import", "events", file, "--lag", "480h", "--data", data)
	out, said := command(t, 0, "nightly", "--as-of", "2025-09-01", "--json", "--data", data)
	var r nightReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if d = r.Drift; d == nil || d.AsOf != "2025-08-20" || d.Users == 0 || d.Changed != d.Users || d.ChangedShare != 1 {
		t.Fatalf("with an order of everybody late: %+v, want all users changed since 2025-08-20", d)
	}
	for _, want := range []struct {
		feature string
		mean    float64
	}{{"orders_all", 1}, {"revenue_30d", 12.5}} {
		i := slices.IndexFunc(d.Features, func(f warehouse.ColumnDrift) bool { return f.Feature == want.feature })
		if i < 0 || d.Features[i].Users != d.Users-d.OneSided || d.Features[i].MeanAbs == nil || math.Abs(*d.Features[i].MeanAbs-want.mean) > 1e-9 {
			t.Errorf("%s: %+v, want every known user by %v", want.feature, d.Features, want.mean)
		}
	}
	sentence := fmt.Sprintf("late data changed the features of %[1]d of %[1]d users as of 2025-08-20 (100.0 %%)", d.Users)
	if !strings.Contains(said, "nightly: drift: "+sentence) {
		t.Errorf("the night says %s\nwant %s", said, sentence)
	}
	if err := os.Chmod(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, found := diagnose(t, data); found["audit"].Status != "ok" || !strings.Contains(found["audit"].Detail, "as of 2025-09-01") || !strings.Contains(found["audit"].Detail, sentence) {
		t.Errorf("doctor: %+v, want the sentence", found["audit"])
	}
	if again := at("2025-09-01"); again.Steps[2].Status != "skipped" || !reflect.DeepEqual(again.Drift, d) || !reflect.DeepEqual(again.Audit, r.Audit) {
		t.Errorf("a night that does nothing: %+v, want what the night said that built the features", again)
	}
}

func TestPastCut(t *testing.T) {
	for _, c := range []struct {
		published []features.Day // newest first
		want      features.Day
		ok        bool
	}{{nil, 0, false}, {[]features.Day{110, 100}, 0, false}, {[]features.Day{100, 99}, 99, true}, {[]features.Day{101, 99, 94, 93, 92, 50}, 93, true}, {[]features.Day{96, 96, 95}, 95, true}} {
		runs := make([]lake.Run, len(c.published))
		for i, d := range c.published {
			runs[i].AsOf = d
		}
		if got, ok := pastCut(runs, 100); got != c.want || ok != c.ok {
			t.Errorf("pastCut(%v, 100) = %d, %v; want %d, %v", c.published, got, ok, c.want, c.ok)
		}
	}
}
