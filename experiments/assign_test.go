package experiments_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"perennial/experiments"
)

var now = time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)

// running makes a running experiment of arms a (control) and b, changed as asked.
func running(t testing.TB, key string, change ...func(d *experiments.Definition)) experiments.Experiment {
	t.Helper()
	d := experiments.Definition{Key: key, Salt: "salt-" + key, Control: "a", Variants: []experiments.Variant{
		{Key: "a", Weight: 1, Payload: text("show-a")}, {Key: "b", Weight: 1, Payload: text("show-b")}}}
	for _, c := range change {
		c(&d)
	}
	e, err := experiments.NewExperiment(d, now)
	if err != nil {
		t.Fatal(err)
	}
	e.Status = experiments.Running
	return *e
}

func text(s string) *experiments.Payload {
	raw, _ := json.Marshal(s)
	return &experiments.Payload{Type: "string", Value: raw}
}

func compile(t testing.TB, source experiments.Source) *experiments.Snapshot {
	t.Helper()
	s, err := experiments.Compile(source)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func snapshot(t testing.TB, list ...experiments.Experiment) *experiments.Snapshot {
	t.Helper()
	source := experiments.Source{}
	for i := range list {
		source.Experiments = append(source.Experiments, &list[i])
	}
	return compile(t, source)
}

// attributes is a unit's values; floats are numbers, bools booleans, texts texts.
type attributes map[string]any

func (a attributes) Attribute(name string) experiments.Value {
	switch v := a[name].(type) {
	case string:
		return experiments.Value{Kind: experiments.Text_, Text: v}
	case float64:
		return experiments.Value{Kind: experiments.Number, Num: v}
	case bool:
		n := 0.0
		if v {
			n = 1
		}
		return experiments.Value{Kind: experiments.Boolean, Num: n}
	}
	return experiments.Value{}
}

func constraint(attribute, operator string, values ...string) experiments.Constraint {
	return experiments.Constraint{Attribute: attribute, Operator: operator, Values: values}
}

// in is a unit that has variant v of an experiment whose salt is the given one, by its own bucket.
func in(salt string, from, to int) string {
	for i := 0; ; i++ {
		id := fmt.Sprintf("u%d", i)
		if b := experiments.Bucket(salt, id); b >= from && b < to {
			return id
		}
	}
}

// Each row changes one thing; the reasons come in the order of DESIGN §5, so a row with several causes shows which one speaks.
func TestAssignOrder(t *testing.T) {
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	inB := in("salt-e", 50_000, 100_000)
	low := func(d *experiments.Definition) {
		d.Targeting = []experiments.Constraint{constraint("churn_risk", "NUM_GTE", "0.6")}
	}
	held := experiments.Holdout{Key: "h", Salt: "h", Allocation: []experiments.HoldoutRange{{Start: 0, End: experiments.Buckets}}}
	for _, c := range []struct {
		name    string
		change  func(d *experiments.Definition)
		state   func(e *experiments.Experiment)
		source  func(s *experiments.Source)
		unit    func(u *experiments.Unit)
		reason  string
		variant string
		payload string
	}{
		{name: "split", reason: "split", variant: "b", payload: "show-b"},
		{name: "forced comes before everything", change: func(d *experiments.Definition) { low(d); d.Forced = map[string]string{inB: "a"} },
			state: func(e *experiments.Experiment) { e.Status = experiments.Stopped }, unit: func(u *experiments.Unit) { u.OptedOut = true }, reason: "forced", variant: "a", payload: "show-a"},
		{name: "draft", state: func(e *experiments.Experiment) { e.Status = experiments.Draft }, reason: "not_started", payload: "show-a"},
		{name: "not yet", change: func(d *experiments.Definition) { d.StartAt = &future }, reason: "not_started", payload: "show-a"},
		{name: "the start belongs to it", change: func(d *experiments.Definition) { at := now; d.StartAt = &at }, reason: "split", variant: "b", payload: "show-b"},
		{name: "the end does not", change: func(d *experiments.Definition) { at := now; d.EndAt = &at }, reason: "stopped", payload: "show-a"},
		{name: "over", change: func(d *experiments.Definition) { before := past.Add(-time.Hour); d.StartAt, d.EndAt = &before, &past }, reason: "stopped", payload: "show-a"},
		{name: "archived", state: func(e *experiments.Experiment) { e.Status = experiments.Archived }, reason: "stopped", payload: "show-a"},
		{name: "kill switch before opt-out", change: func(d *experiments.Definition) { d.KillSwitch = "k" },
			unit: func(u *experiments.Unit) { u.OptedOut = true; u.Upstream = func(f string) bool { return f != "k" } }, reason: "upstream_off", payload: "show-a"},
		{name: "opt-out before holdout", source: func(s *experiments.Source) { s.Holdouts = []experiments.Holdout{held} }, unit: func(u *experiments.Unit) { u.OptedOut = true }, reason: "opted_out", payload: "show-a"},
		{name: "holdout before layer", change: func(d *experiments.Definition) { d.Layer = &experiments.LayerShare{Key: "l", Share: 0.5} },
			source: func(s *experiments.Source) { s.Holdouts = []experiments.Holdout{held} }, reason: "holdout", payload: "show-a"},
		{name: "a holdout of others", source: func(s *experiments.Source) {
			h := held
			h.Experiments = []string{"other"}
			s.Holdouts = []experiments.Holdout{h}
		}, reason: "split", variant: "b", payload: "show-b"},
		{name: "layer before sticky and targeting", change: func(d *experiments.Definition) { low(d); d.Layer = &experiments.LayerShare{Key: "l", Share: 0.5} },
			unit: func(u *experiments.Unit) {
				u.Sticky = func(string) (experiments.StickyAnswer, bool) { return experiments.StickyAnswer{Variant: "b"}, true }
			}, reason: "layer", payload: "show-a"},
		{name: "its own buckets of a layer", change: func(d *experiments.Definition) { d.Layer = &experiments.LayerShare{Key: "l", Share: 1} }, source: func(s *experiments.Source) {
			s.Layers = []experiments.Layer{{Key: "l", Salt: "l", Allocation: []experiments.LayerRange{{Experiment: "e", Start: 0, End: experiments.Buckets}}}}
		}, reason: "split", variant: "b", payload: "show-b"},
		{name: "sticky before targeting", change: low, unit: func(u *experiments.Unit) {
			u.Sticky = func(string) (experiments.StickyAnswer, bool) {
				return experiments.StickyAnswer{Variant: "a", PAssign: 0.25, AllocationRevision: 7, ScoreVersion: "v"}, true
			}
		}, reason: "sticky", variant: "a", payload: "show-a"},
		{name: "a kept variant that is gone", unit: func(u *experiments.Unit) {
			u.Sticky = func(string) (experiments.StickyAnswer, bool) { return experiments.StickyAnswer{Variant: "z"}, true }
		}, change: func(d *experiments.Definition) { yes := true; d.Sticky = &yes }, reason: "split", variant: "b", payload: "show-b"},
		{name: "targeting", change: low, unit: func(u *experiments.Unit) { u.Server = attributes{"churn_risk": 0.5} }, reason: "targeting", payload: "show-a"},
		{name: "a sent score does not count", change: low, unit: func(u *experiments.Unit) { u.Sent = attributes{"churn_risk": 0.9} }, reason: "targeting", payload: "show-a"},
		{name: "targeted", change: low, unit: func(u *experiments.Unit) { u.Server = attributes{"churn_risk": 0.6} }, reason: "split", variant: "b", payload: "show-b"},
		{name: "a unit without a row is a prospect without orders", change: func(d *experiments.Definition) {
			d.Targeting = []experiments.Constraint{constraint("stage", "IN", "prospect"), constraint("orders_all", "NUM_EQ", "0")}
		}, reason: "split", variant: "b", payload: "show-b"},
		{name: "other values are missing", change: func(d *experiments.Definition) {
			d.Targeting = []experiments.Constraint{constraint("revenue_all", "NUM_EQ", "0")}
		}, reason: "targeting", payload: "show-a"},
		{name: "no bucket", change: func(d *experiments.Definition) { half := 0.001; d.Coverage = &half }, reason: "not_enrolled", payload: "show-a"},
		{name: "an offer that is over closes every arm", change: func(d *experiments.Definition) { d.Variants[0].Offer = "o" }, source: func(s *experiments.Source) {
			s.Offers = []*experiments.Offer{{Key: "o", Kind: "gift", EndsAt: &past}}
		}, reason: "offer_exhausted", payload: "show-a"},
		{name: "an offer that is used up", change: func(d *experiments.Definition) { d.Variants[1].Offer = "o" }, source: func(s *experiments.Source) {
			s.Offers = []*experiments.Offer{{Key: "o", Kind: "gift"}}
		}, unit: func(u *experiments.Unit) { u.OfferOut = func(o string) bool { return o == "o" } }, reason: "offer_exhausted", payload: "show-a"},
		{name: "no unit", unit: func(u *experiments.Unit) { u.ID = "" }, reason: "not_enrolled", payload: "show-a"},
		{name: "a rule replaces the payload", change: func(d *experiments.Definition) {
			d.Variants[1].Payloads = []experiments.PayloadRule{{When: []experiments.Constraint{constraint("ltv_decile", "NUM_GTE", "9")}, Payload: *text("tier-2")},
				{When: []experiments.Constraint{constraint("ltv_decile", "NUM_GTE", "5")}, Payload: *text("tier-1")}}
		}, unit: func(u *experiments.Unit) { u.Server = attributes{"ltv_decile": 9.0} }, reason: "split", variant: "b", payload: "tier-2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var changes []func(*experiments.Definition)
			if c.change != nil {
				changes = append(changes, c.change)
			}
			e := running(t, "e", changes...)
			if c.state != nil {
				c.state(&e)
			}
			source := experiments.Source{Experiments: []*experiments.Experiment{&e}}
			if c.source != nil {
				c.source(&source)
			}
			u := &experiments.Unit{ID: inB, Now: now}
			if c.unit != nil {
				c.unit(u)
			}
			a := compile(t, source).Assign(u, "e")
			if a.Reason != c.reason || a.Variant != c.variant || a.Enrolled != (c.variant != "") || string(a.Payload.Value) != string(text(c.payload).Value) {
				t.Errorf("Assign = %s %q enrolled %v payload %s, want %s %q payload %s", a.Reason, a.Variant, a.Enrolled, a.Payload.Value, c.reason, c.variant, c.payload)
			}
			if (a.PAssign > 0) != a.Enrolled {
				t.Errorf("p_assign %v of enrolled %v", a.PAssign, a.Enrolled)
			}
		})
	}
}

func TestAssignUnknown(t *testing.T) {
	a := snapshot(t).Assign(&experiments.Unit{ID: "u", Now: now}, "none")
	if a.Reason != experiments.ReasonUnknown || a.Payload != nil || a.Enrolled {
		t.Errorf("Assign(none) = %+v, want unknown_experiment without a payload", a)
	}
}

func TestStickyAnswer(t *testing.T) {
	e := running(t, "e", func(d *experiments.Definition) {
		d.Targeting = []experiments.Constraint{constraint("stage", "IN", "lapsed")}
	})
	s := snapshot(t, e)
	u := &experiments.Unit{ID: "u1", Now: now, Server: attributes{"stage": "lapsed"}}
	first := s.Assign(u, "e")
	if !first.Keep || !first.NeedsServer || !s.Sticky("e") {
		t.Errorf("Assign = %+v: an experiment that targets on stage keeps its first answer", first)
	}
	u.Sticky = func(string) (experiments.StickyAnswer, bool) {
		return experiments.StickyAnswer{Variant: first.Variant, PAssign: first.PAssign, AllocationRevision: first.AllocationRevision, ScoreVersion: "s-1"}, true
	}
	u.Server = attributes{"stage": "active"}
	if again := s.Assign(u, "e"); again.Variant != first.Variant || again.Reason != "sticky" || again.ScoreVersion != "s-1" || again.Keep {
		t.Errorf("after the rescoring Assign = %+v, want the first answer", again)
	}
	no := false
	e.Definition.Sticky = &no
	if s := snapshot(t, e); s.Sticky("e") || s.Assign(u, "e").Reason != "targeting" {
		t.Error("sticky false does not hold")
	}
}

func TestPrerequisite(t *testing.T) {
	parent := running(t, "parent")
	child := running(t, "child", func(d *experiments.Definition) {
		d.Prerequisite = &experiments.Prerequisite{Experiment: "parent", Variants: []string{"b"}}
	})
	s := snapshot(t, parent, child)
	for i := range 500 {
		u := &experiments.Unit{ID: fmt.Sprintf("u%d", i), Now: now}
		if got, want := s.Assign(u, "child").Enrolled, s.Assign(u, "parent").Variant == "b"; got != want {
			t.Fatalf("%s: enrolled %v, the parent says %v", u.ID, got, want)
		}
	}
	circle := parent
	circle.Prerequisite = &experiments.Prerequisite{Experiment: "child", Variants: []string{"b"}}
	if _, err := experiments.Compile(experiments.Source{Experiments: []*experiments.Experiment{&circle, &child}}); err == nil {
		t.Error("a circle of prerequisites compiles")
	}
}

func TestPAssignIsTheShareAmongTheEnrolled(t *testing.T) {
	e := running(t, "e", func(d *experiments.Definition) {
		d.Allocation = []experiments.Range{{Variant: "a", Start: 0, End: 10_000}, {Variant: "b", Start: 50_000, End: 70_000}, {Variant: "a", Start: 99_000, End: 100_000}}
	})
	s := snapshot(t, e)
	for _, c := range []struct {
		from, to int
		want     float64
	}{{0, 10_000, 11. / 31}, {50_000, 70_000, 20. / 31}} {
		if a := s.Assign(&experiments.Unit{ID: in(e.Salt, c.from, c.to), Now: now}, "e"); a.PAssign != c.want {
			t.Errorf("p_assign of [%d, %d) = %v, want %v", c.from, c.to, a.PAssign, c.want)
		}
	}
}

func TestNeedsServer(t *testing.T) {
	yes, no := true, false
	quota := int64(5)
	for _, c := range []struct {
		name   string
		change func(d *experiments.Definition)
		want   bool
	}{
		{"plain", func(d *experiments.Definition) {}, false},
		{"an attribute that apps send", func(d *experiments.Definition) {
			d.Targeting = []experiments.Constraint{constraint("country", "IN", "CN")}
		}, false},
		{"a score", func(d *experiments.Definition) {
			d.Targeting = []experiments.Constraint{constraint("ltv_decile", "IN", "10")}
			d.Sticky = &no
		}, true},
		{"a windowed feature", func(d *experiments.Definition) {
			d.Targeting = []experiments.Constraint{constraint("orders_45d", "NUM_GT", "1")}
		}, true},
		{"a column of the newest snapshot", func(d *experiments.Definition) {
			d.Targeting = []experiments.Constraint{constraint("favourite_category", "IN", "food")}
		}, true},
		{"sticky", func(d *experiments.Definition) { d.Sticky = &yes }, true},
		{"payload rules", func(d *experiments.Definition) {
			d.Variants[1].Payloads = []experiments.PayloadRule{{When: []experiments.Constraint{constraint("country", "IN", "CN")}, Payload: *text("x")}}
		}, true},
		{"a kill switch", func(d *experiments.Definition) { d.KillSwitch = "k" }, true},
		{"an offer", func(d *experiments.Definition) { d.Variants[1].Offer = "free" }, false},
		{"an offer with a quota", func(d *experiments.Definition) { d.Variants[1].Offer = "few" }, true},
	} {
		s := compile(t, experiments.Source{Experiments: []*experiments.Experiment{new(running(t, "e", c.change))}, ServerAttributes: []string{"favourite_category"},
			Offers: []*experiments.Offer{{Key: "free", Kind: "gift"}, {Key: "few", Kind: "gift", Quota: &quota}}})
		if got := s.NeedsServer("e"); got != c.want {
			t.Errorf("%s: NeedsServer = %v, want %v", c.name, got, c.want)
		}
	}
	child := running(t, "child", func(d *experiments.Definition) {
		d.Prerequisite = &experiments.Prerequisite{Experiment: "e", Variants: []string{"b"}}
	})
	if s := snapshot(t, running(t, "e", func(d *experiments.Definition) { d.Sticky = &yes }), child); !s.NeedsServer("child") {
		t.Error("a prerequisite that needs the server does not make its child need it")
	}
	if keys := snapshot(t, child, running(t, "e")).Keys(); !slices.Equal(keys, []string{"child", "e"}) {
		t.Errorf("Keys = %v, want byte order", keys)
	}
}

// A day of clock jumps, forwards and back: an answer depends on the moment asked about alone, and the schedule is half-open to the nanosecond.
func TestScheduleUnderClockJumps(t *testing.T) {
	start, end := now.Add(6*time.Hour), now.Add(18*time.Hour)
	s := snapshot(t, running(t, "e", func(d *experiments.Definition) { d.StartAt, d.EndAt = &start, &end }))
	rng := rand.New(rand.NewPCG(24, 0))
	check := func(at time.Time) {
		t.Helper()
		want := experiments.ReasonSplit
		switch {
		case at.Before(start):
			want = experiments.ReasonNotStarted
		case !at.Before(end):
			want = experiments.ReasonStopped
		}
		if a := s.Assign(&experiments.Unit{ID: "u", Now: at}, "e"); a.Reason != want {
			t.Fatalf("at %v: %s, want %s", at, a.Reason, want)
		}
	}
	zones := []*time.Location{time.UTC, time.FixedZone("CST", 8*3600), time.FixedZone("PST", -8*3600)}
	for i := range 24 * 60 {
		check(now.Add(time.Duration(rng.Int64N(int64(24 * time.Hour)))).In(zones[i%3]))
	}
	for _, edge := range []time.Time{start, end} {
		for d := time.Duration(-1); d <= 1; d++ {
			check(edge.Add(d))
		}
	}
}
