package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"perennial/features"
)

// TestLifecycleCommands asks every question of one shop, as JSON and as text, and compares the answers with one another.
func TestLifecycleCommands(t *testing.T) {
	data := shopLake(t, "2026")
	costs := filepath.Join(t.TempDir(), "costs.csv")
	write(t, costs, "day,channel,cost\n2025-02-01,wechat,1000\n2025-02-02,offline_store,500.5\n")
	command(t, 0, "import", "costs", costs, "--data", data)
	read := func(into any, args ...string) {
		t.Helper()
		out, _ := command(t, 0, append(append([]string{"lifecycle"}, args...), "--as-of", "2025-09-01", "--json", "--data", data)...)
		if err := json.Unmarshal([]byte(out), into); err != nil {
			t.Fatalf("lifecycle %v: %v in %s", args, err, out)
		}
	}
	var stages features.StageHistory
	read(&stages, "stages", "--from", "2025-08-01", "--vocabulary", "phases")
	if len(stages.Days) != 32 || stages.Days[31].Date != "2025-09-01" || len(stages.Days[0].Phases) != 4 {
		t.Fatalf("stages: %d days, last %+v", len(stages.Days), stages.Days[len(stages.Days)-1])
	}
	var moves features.Transitions
	read(&moves, "transitions", "--from", "2025-08-01")
	for i, day := range moves.Days {
		from := map[features.Stage]int64{}
		for _, m := range day.Moves {
			from[m.From] += m.Users
		}
		for _, s := range features.Stages {
			if from[s] != stages.Days[i].Stages[s] {
				t.Errorf("%s: %d left %s, the day before had %d", day.Date, from[s], s, stages.Days[i].Stages[s])
			}
		}
	}
	phases := stages.Days[31].Phases
	if sum := phases["introduction"] + phases["maturity"] + phases["decline"] + phases["churned"]; sum != stages.Days[31].Users {
		t.Errorf("phases sum to %d of %d users", sum, stages.Days[31].Users)
	}
	var back features.Retention
	read(&back, "retention", "--from", "2025-01-01", "--days", "0,30,600", "--activity", "order")
	if p := back.Points; len(p) != 3 || p[0].Rate == nil || *p[0].Rate != 1 || p[1].Unbounded < p[1].Classic || p[2].Rate != nil || p[2].Reason != "immature" {
		t.Errorf("retention = %+v, want all on day 0, more later than on day 30, and nothing about day 600", back.Points)
	}
	var heat features.Cohorts
	read(&heat, "cohorts", "--from", "2025-01-01", "--activity", "order")
	var users int64
	for _, row := range heat.Cohorts {
		users += row.Users
		if row.Start[8:] != "01" || len(row.Cells) == 0 || row.Users > 0 && row.Cells[0].Mature && *row.Cells[0].Rate != 1 {
			t.Errorf("cohort %+v", row)
		}
	}
	if last := heat.Cohorts[len(heat.Cohorts)-1]; users != back.Users || last.Cells[0].Mature {
		t.Errorf("%d users in cohorts, want %d, and the last month is not over", users, back.Users)
	}
	var money features.Economics
	read(&money, "economics", "--from", "2025-02-01", "--to", "2025-03-01", "--horizon", "60")
	reasons := map[string]string{}
	for _, c := range money.Channels {
		reasons[c.Channel] = c.Reason
	}
	if money.Orders == 0 || money.AcquiredFrom != "2025-02-01" || reasons[""] != "no_costs" || reasons["offline_store"] != "no_new_customers" {
		t.Errorf("economics = %+v", money)
	}
	for _, args := range [][]string{{"stages"}, {"transitions"}, {"retention"}, {"cohorts", "--unit", "week"}, {"economics"}, {"vocabularies"}} {
		if out, _ := command(t, 0, append(append([]string{"lifecycle"}, args...), "--data", data)...); len(strings.Split(out, "\n")) < 4 {
			t.Errorf("lifecycle %v prints %q", args, out)
		}
	}
	for args, want := range map[string]string{"stages --vocabulary pirate": "pirate", "stages --from 2025-09-01 --as-of 2025-09-01": "from", "cohorts --to 2030-01-01": "to", "retention --as-of 2031-01-01": "complete up to"} {
		if _, stderr := command(t, 1, append(append([]string{"lifecycle"}, strings.Fields(args)...), "--data", data)...); !strings.Contains(stderr, want) {
			t.Errorf("lifecycle %s: %s, want a word of %q", args, stderr, want)
		}
	}
}
