package experiments_test

import (
	"encoding/json"
	"math"
	"testing"

	"perennial/experiments"
)

// exploring is a running experiment of nine to one whose exploration slice has a fifth of all units.
func exploring(t testing.TB, coverage float64) *experiments.Experiment {
	t.Helper()
	e, err := experiments.NewExperiment(experiments.Definition{Key: "e", Salt: "salt-e", Control: "a", Coverage: &coverage, Exploration: &experiments.Exploration{Share: 0.2},
		Variants: []experiments.Variant{{Key: "a", Weight: 9}, {Key: "b", Weight: 1}}}, now)
	if err != nil {
		t.Fatal(err)
	}
	started, err := e.Act("start", nil, "", now)
	if err != nil {
		t.Fatal(err)
	}
	return started
}

func patched(t testing.TB, e *experiments.Experiment, doc string) *experiments.Experiment {
	t.Helper()
	next, err := e.Patch(json.RawMessage(doc))
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// In the slice the split is even, elsewhere it is that of the weights; p_assign and policy say which, and Shares is the mixture that both make.
func TestExplorationSlice(t *testing.T) {
	e := exploring(t, 0.5)
	s := snapshot(t, *e)
	if !s.NeedsServer("e") {
		t.Error("Unleash's documents cannot say an exploration slice: it needs the server")
	}
	const n = 40_000
	count := map[string]float64{}
	for _, id := range ids("uuid", n) {
		a := s.Assign(&experiments.Unit{ID: id, Now: now}, "e")
		inside := experiments.Explores(e, id)
		if inside != (experiments.Bucket(experiments.ExplorationSalt, id) < 20_000) || a.Explored != (inside && a.Enrolled) {
			t.Fatalf("%s: explored %v, in the slice %v", id, a.Explored, inside)
		}
		if !a.Enrolled {
			continue
		}
		count[a.Policy()+" "+a.Variant]++
		count[a.Variant]++
		count["enrolled"]++
		want := map[string]float64{"split a": 0.9, "split b": 0.1, "exploration a": 0.5, "exploration b": 0.5}[a.Policy()+" "+a.Variant]
		if math.Abs(a.PAssign-want) > 1e-9 {
			t.Fatalf("%s %s: p_assign %v, want %v", a.Policy(), a.Variant, a.PAssign, want)
		}
	}
	// Binomial, five standard deviations: one false alarm in 300,000 runs of six lines.
	shares := e.Shares()
	for what, want := range map[string]float64{"split a": 0.5 * 0.8 * 0.9, "split b": 0.5 * 0.8 * 0.1, "exploration a": 0.5 * 0.2 * 0.5, "exploration b": 0.5 * 0.2 * 0.5,
		"a": 0.5 * shares[0], "b": 0.5 * shares[1]} {
		if d := math.Abs(count[what] - want*n); d > 5*math.Sqrt(n*want*(1-want)) {
			t.Errorf("%s: %v of %d, want a share of %v", what, count[what], n, want)
		}
	}
	if math.Abs(shares[0]-0.82) > 1e-9 || math.Abs(shares[1]-0.18) > 1e-9 {
		t.Errorf("Shares = %v, want 0.82 0.18", shares)
	}
}

// New weights do not touch the slice, a ramp only adds units there too, a new arm takes a third and moves nobody else, and a retired arm leaves it.
func TestExplorationMovesTheFewest(t *testing.T) {
	e := exploring(t, 0.5)
	units := ids("uuid", 20_000)
	given := func(e *experiments.Experiment) []string {
		s, out := snapshot(t, *e), make([]string, len(units))
		for i, id := range units {
			if a := s.Assign(&experiments.Unit{ID: id, Now: now}, "e"); a.Explored {
				out[i] = a.Variant
			}
		}
		return out
	}
	first := given(e)
	weighed := patched(t, e, `{"variants":[{"key":"a","weight":1},{"key":"b","weight":9}]}`)
	for i, v := range given(weighed) {
		if v != first[i] {
			t.Fatalf("new weights moved %s from %q to %q", units[i], first[i], v)
		}
	}
	ramped := patched(t, weighed, `{"coverage":1}`)
	second, added := given(ramped), 0
	for i, v := range second {
		if first[i] != "" && v != first[i] {
			t.Fatalf("a ramp moved %s from %q to %q", units[i], first[i], v)
		}
		if first[i] == "" && v != "" {
			added++
		}
	}
	grown := patched(t, ramped, `{"variants":[{"key":"a","weight":1},{"key":"b","weight":9},{"key":"c","weight":2}]}`)
	third, moved := given(grown), 0
	for i, v := range third {
		if v != second[i] {
			moved++
			if v != "c" {
				t.Fatalf("a new arm moved %s from %q to %q", units[i], second[i], v)
			}
		}
	}
	if share := float64(moved) / (0.2 * float64(len(units))); added == 0 || math.Abs(share-1./3) > 0.05 {
		t.Errorf("%d units came with the ramp; the new arm took %.3f of the slice, want a third", added, share)
	}
	if grown.AllocationRevision != 4 {
		t.Errorf("allocation revision %d, want 4: weights, ramp, arm", grown.AllocationRevision)
	}
	retired := patched(t, grown, `{"variants":[{"key":"a","weight":0},{"key":"b","weight":9},{"key":"c","weight":2}]}`)
	for i, v := range given(retired) {
		if v == "a" || third[i] != "a" && v != third[i] {
			t.Fatalf("%s has %q after a retired, had %q", units[i], v, third[i])
		}
	}
	if _, err := e.Patch(json.RawMessage(`{"exploration":{"share":0.5}}`)); err == nil {
		t.Error("the slice of a started experiment can be resized: that moves units")
	}
	draft, err := experiments.NewExperiment(e.Definition, now)
	if err != nil {
		t.Fatal(err)
	}
	if fewer := patched(t, draft, `{"variants":[{"key":"a","weight":1}]}`); len(fewer.Exploration.Allocation) != 1 {
		t.Errorf("a draft's slice keeps the ranges of a variant that left: %v", fewer.Exploration.Allocation)
	}
}

// A kept answer of an allocation revision below the least does not count, and the new one is kept in its place.
func TestStickyMinimumRevision(t *testing.T) {
	yes := true
	e := running(t, "e", func(d *experiments.Definition) { d.Sticky = &yes })
	if _, err := e.Patch(json.RawMessage(`{"sticky_min_revision":2}`)); err == nil {
		t.Error("a least revision that no answer can have yet is accepted")
	}
	next := patched(t, &e, `{"sticky_min_revision":2,"variants":[{"key":"a","weight":1},{"key":"b","weight":3}]}`)
	if next.AllocationRevision != 2 {
		t.Fatalf("allocation revision %d, want 2", next.AllocationRevision)
	}
	s := snapshot(t, *next)
	for revision, reason := range map[int64]string{1: "split", 2: "sticky", 3: "sticky"} {
		u := &experiments.Unit{ID: in(e.Salt, 90_000, 100_000), Now: now, Sticky: func(string) (experiments.StickyAnswer, bool) {
			return experiments.StickyAnswer{Variant: "a", AllocationRevision: revision, PAssign: 0.5}, true
		}}
		if a := s.Assign(u, "e"); a.Reason != reason || a.Keep != (reason == "split") || a.Keep && a.KeepFrom != 2 {
			t.Errorf("kept at revision %d: %+v, want %s", revision, a, reason)
		}
	}
}

// An upstream flag splits: its variants are the experiment's, a flag that is off enrols nobody, an unknown variant neither; everything before the bucket holds as usual.
func TestUpstreamSplits(t *testing.T) {
	e := running(t, "e", func(d *experiments.Definition) {
		d.Upstream, d.Targeting, d.Forced = "flag", []experiments.Constraint{constraint("country", "IN", "CN")}, map[string]string{"qa": "b"}
	})
	s := snapshot(t, e)
	for _, c := range []struct {
		unit, country, gives string
		on                   bool
		reason, variant      string
	}{
		{"u", "CN", "a", true, "split", "a"}, {"u", "CN", "b", true, "split", "b"}, {"u", "CN", "strange", true, "not_enrolled", ""}, {"u", "CN", "", true, "not_enrolled", ""},
		{"u", "CN", "a", false, "upstream_off", ""}, {"u", "DE", "a", true, "targeting", ""}, {"qa", "DE", "a", false, "forced", "b"}, {"", "CN", "a", true, "not_enrolled", ""},
	} {
		u := &experiments.Unit{ID: c.unit, Now: now, Sent: attributes{"country": c.country}, Split: func(flag string) (string, bool) { return c.gives, c.on && flag == "flag" }}
		a := s.Assign(u, "e")
		if a.Reason != c.reason || a.Variant != c.variant || a.Reason == "split" && a.PAssign != 0.5 || !a.NeedsServer {
			t.Errorf("%+v: %+v", c, a)
		}
	}
	if a := s.Assign(&experiments.Unit{ID: "u", Now: now, Sent: attributes{"country": "CN"}}, "e"); a.Reason != "upstream_off" {
		t.Errorf("without an upstream server: %s, want upstream_off", a.Reason)
	}
}
