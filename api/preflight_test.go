package api_test

import (
	"encoding/json"
	"testing"

	"perennial/experiments"
)

// A draft that nobody stored is looked at: whom it reaches, what it needs, and what is wrong with it.
func TestPreflightDoor(t *testing.T) {
	s := newShop(t)
	s.score(map[string][3]any{"u1": {"new", 0.2, 3.0}, "u2": {"loyal", 0.7, 9.0}, "u3": {"active", 0.4, 5.0}})
	ask := func(body string) (p experiments.Preflight) {
		t.Helper()
		got := s.do("analyst", "POST", "/v1/experiments/preflight", body)
		if got.status != 200 {
			t.Fatalf("preflight = %d %s", got.status, got.body)
		}
		if err := json.Unmarshal([]byte(got.body), &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	all := ask(`{"key":"x","name":"x","control":"a","variants":[{"key":"a","weight":1},{"key":"b","weight":1}],"metrics":{},"plan":{}}`)
	if all.Audience == 0 || all.Share != 1 {
		t.Fatalf("everybody = %+v", all)
	}
	none := ask(`{"key":"x","name":"x","control":"a","variants":[{"key":"a","weight":1},{"key":"b","weight":1}],"metrics":{},"plan":{},"targeting":[{"attribute":"churn_risk","operator":"NUM_GT","values":["2"]}]}`)
	failed := false
	for _, c := range none.Checks {
		failed = failed || c.Code == "audience" && c.Verdict == "fail"
	}
	if none.Audience != 0 || !failed {
		t.Errorf("nobody = %+v", none)
	}
	if got := s.do("analyst", "GET", "/v1/experiments/x", ""); got.status != 404 {
		t.Errorf("the draft was stored: %d", got.status)
	}
}
