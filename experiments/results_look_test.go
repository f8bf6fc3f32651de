package experiments

import (
	"encoding/json"
	"testing"
)

// A look that an older version wrote lacks numbers: they are not computed, and what is there keeps all its digits.
func TestOldLook(t *testing.T) {
	const raw = `{"look":2,"at":"2026-11-03T00:00:00Z","matured":100,"fraction":0.30000000000000004,"information":{"profit/a":9007199254740993},
		"results":{"results":[{"metric":"profit","variant":"a","effect":0.1,"bayes":{"chance_to_beat":0.9}}],"profit":[{"variant":"a","per_unit":1.5}],"state":{"look":2},
		"waterfall":{"a":{"revenue":3}},"live":null,"decision":{"action":"ship","waiting":{"days":7,"cost":5}}}}`
	var l Look
	if err := json.Unmarshal([]byte(raw), &l); err != nil {
		t.Fatal(err)
	}
	r, p := l.Results.Results[0], l.Results.Profit[0]
	for name, n := range map[string]Num{"se": r.SE, "p_value": r.PValue, "shrunk": r.Bayes.Shrunk, "total": p.Total, "estimated_share": p.EstimatedShare, "boundary": l.Results.State.Boundary, "worth": l.Results.Decision.Waiting.Worth} {
		if n.Known() {
			t.Errorf("%s = %v, want none", name, n)
		}
	}
	if r.Effect != 0.1 || p.PerUnit != 1.5 || l.Fraction != 0.30000000000000004 || l.Information["profit/a"] != 9007199254740993 || l.Results.Waterfall["a"]["revenue"] != 3 || l.Results.Live != nil || l.At.Day() != 3 {
		t.Errorf("what the look holds has changed: %+v", l)
	}
	again, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	var same Look
	if err := json.Unmarshal(again, &same); err != nil {
		t.Fatal(err)
	}
	if twice, err := json.Marshal(same); err != nil || string(twice) != string(again) {
		t.Errorf("read and written again: %s, %v", twice, err)
	}
}
