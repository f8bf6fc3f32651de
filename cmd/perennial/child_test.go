package main

import (
	"encoding/json"
	"errors"
	"io"
	"testing"

	"perennial/api"
	"perennial/experiments"
)

// A measurement in a process of its own gives the document that this process gives, and its faults keep their fields.
func TestResultsApart(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("PERENNIAL_TEST_IS_PROGRAM", "1")
	write(t, "perennial.yaml", datasetShop)
	write(t, "coupon.yaml", datasetForm[:len(datasetForm)-len("plan: {inference: fixed, horizon_days: 14}\n")]+"plan: {inference: confseq, horizon_days: 14}\n")
	write(t, "events.ndjson", trialEvents(300, 0.2))
	must(t, "import", "events", "events.ndjson")
	a := &App{Data: "data", Out: io.Discard, Err: io.Discard}
	store, err := a.openStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q := 0.75
	if _, err := store.PutMetric(t.Context(), experiments.MetricDef{Key: "typical_order", Kind: "quantile", Event: "Order Completed", Field: "value", Quantile: &q}, "test"); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	must(t, "experiment", "create", "coupon.yaml")
	must(t, "experiment", "ramp", "coupon", "--coverage", "0.3") // before the start: nothing ran yet
	must(t, "experiment", "start", "coupon")
	must(t, "experiment", "ramp", "coupon", "--coverage", "0.5")
	r := &results{a: a}
	for _, q := range []api.ResultsQuery{{}, {Segment: "channel"}, {Until: "2026-05-20"}} {
		args := []string{"experiment", "results", "coupon", "--json"}
		if q.Segment != "" {
			args = append(args, "--segment", q.Segment)
		}
		if q.Until != "" {
			args = append(args, "--until", q.Until)
		}
		var here experiments.Results
		if err := json.Unmarshal([]byte(must(t, args...)), &here); err != nil {
			t.Fatal(err)
		}
		if m := here.Markers; q.Until == "" && (len(m) != 1 || m[0].Code != "coverage" || m[0].Day != "2026-06-01" || m[0].Text.EN != "coverage 50%") {
			t.Errorf("markers %+v, want the ramp to 50%% alone", m)
		}
		apart, err := r.computeApart(t.Context(), "coupon", q)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := json.Marshal(here)
		got, _ := json.Marshal(apart)
		if string(got) != string(want) || here.Source.Exposed == 0 {
			t.Errorf("%+v apart\n%s\nhere\n%s", q, got, want)
		}
	}
	var fault *experiments.InvalidError
	if _, err := r.computeApart(t.Context(), "coupon", api.ResultsQuery{Segment: "stage"}); !errors.As(err, &fault) || fault.Faults[0].Field != "segment" {
		t.Errorf("a segment that needs scores: %v, want a fault of segment", err)
	}
}
