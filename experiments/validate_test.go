package experiments_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"perennial/experiments"
)

func faultFields(err error) []string {
	var invalid *experiments.InvalidError
	if !errors.As(err, &invalid) {
		return nil
	}
	var out []string
	for _, f := range invalid.Faults {
		if f.Reason == "" {
			out = append(out, f.Field+" without a reason")
		}
		out = append(out, f.Field)
	}
	return out
}

// Each row makes one fault in a valid definition; the fault is named by its path, and by nothing else.
func TestValidateNamesTheField(t *testing.T) {
	one := func(f float64) *float64 { return &f }
	n := func(n int64) *int64 { return &n }
	long := strings.Repeat("x", 65)
	for _, c := range []struct {
		field  string
		change func(d *experiments.Definition)
	}{
		{"key", func(d *experiments.Definition) { d.Key = "" }},
		{"key", func(d *experiments.Definition) { d.Key = "a/b" }},
		{"key", func(d *experiments.Definition) { d.Key = long }},
		{"key", func(d *experiments.Definition) { d.Key = "layer.x" }},
		{"key", func(d *experiments.Definition) { d.Key = "not_enrolled" }},
		{"salt", func(d *experiments.Definition) { d.Salt = "a:b" }},
		{"layer.share", func(d *experiments.Definition) { d.Layer = &experiments.LayerShare{Key: "l", Share: 1.5} }},
		{"control", func(d *experiments.Definition) { d.Control = "z" }},
		{"control", func(d *experiments.Definition) { d.Control = "" }},
		{"variants", func(d *experiments.Definition) { d.Variants[0].Weight, d.Variants[1].Weight, d.Allocation = 0, 0, nil }},
		{"variants", func(d *experiments.Definition) { d.Variants = nil }},
		{"variants[1].weight", func(d *experiments.Definition) { d.Variants[1].Weight = -1 }},
		{"variants[1].weight", func(d *experiments.Definition) { d.Variants[1].Weight = math.NaN() }},
		{"variants[1].weight", func(d *experiments.Definition) { d.Variants[1].Weight = math.Inf(1) }},
		{"variants[1].key", func(d *experiments.Definition) { d.Variants[1].Key, d.Allocation = "a", nil }},
		{"variants[1].key", func(d *experiments.Definition) { d.Variants[1].Key, d.Allocation = "not_enrolled", nil }},
		{"variants[1].payload.type", func(d *experiments.Definition) { d.Variants[1].Payload.Type = "date" }},
		{"variants[1].payload.value", func(d *experiments.Definition) { d.Variants[1].Payload.Type = "number" }},
		{"variants[1].payload.value", func(d *experiments.Definition) { d.Variants[1].Payload.Value = nil }},
		{"variants[1].payload.value", func(d *experiments.Definition) { d.Variants[1].Payload.Value = json.RawMessage(`{"a":`) }},
		{"variants[1].payloads[0].when", func(d *experiments.Definition) {
			d.Variants[1].Payloads = []experiments.PayloadRule{{Payload: *text("x")}}
		}},
		{"variants[1].payloads[0].when[0].operator", func(d *experiments.Definition) {
			d.Variants[1].Payloads = []experiments.PayloadRule{{When: []experiments.Constraint{constraint("x", "IS", "1")}, Payload: *text("x")}}
		}},
		{"coverage", func(d *experiments.Definition) { d.Coverage = one(1.5) }},
		{"coverage", func(d *experiments.Definition) { d.Coverage = one(math.NaN()) }},
		{"allocation[0].variant", func(d *experiments.Definition) { d.Allocation[0].Variant = "z" }},
		{"allocation[0].start", func(d *experiments.Definition) { d.Allocation[0].Start = -1 }},
		{"allocation[0].end", func(d *experiments.Definition) { d.Allocation[0].End = 0 }},
		{"allocation[1].end", func(d *experiments.Definition) { d.Allocation[1].End = 100_001 }},
		{"allocation[1].start", func(d *experiments.Definition) { d.Allocation[1].Start = 49_999 }},
		{"targeting[0].attribute", func(d *experiments.Definition) { d.Targeting[0].Attribute = "" }},
		{"targeting[0].operator", func(d *experiments.Definition) { d.Targeting[0].Operator = "NO_SUCH" }},
		{"targeting[0].values", func(d *experiments.Definition) { d.Targeting[0].Values = nil }},
		{"targeting[0].values[0]", func(d *experiments.Definition) { d.Targeting[0].Values = []string{""} }},
		{"targeting[0].values[0]", func(d *experiments.Definition) { d.Targeting[0] = constraint("x", "NUM_GT", "many") }},
		{"targeting[0].values", func(d *experiments.Definition) { d.Targeting[0] = constraint("x", "NUM_GT", "1", "2") }},
		{"targeting[0].values[0]", func(d *experiments.Definition) { d.Targeting[0] = constraint("x", "DATE_AFTER", "2026-01-01") }},
		{"targeting[0].values[0]", func(d *experiments.Definition) { d.Targeting[0] = constraint("x", "SEMVER_GT", "v1.2.3") }},
		{"targeting[0].values[0]", func(d *experiments.Definition) { d.Targeting[0] = constraint("x", "REGEX", "(?=a)b") }},
		{"targeting[0].values[0]", func(d *experiments.Definition) {
			d.Targeting[0] = constraint("x", "REGEX", strings.Repeat("a", 257))
		}},
		{"targeting[0].values[0]", func(d *experiments.Definition) { d.Targeting[0] = constraint("x", "REGEX", "(a{0,40}){0,40}$") }},
		{"targeting[0].values[1]", func(d *experiments.Definition) {
			d.Targeting[0] = constraint("x", "IN_CIDR", "10.0.0.0/8", "10.0.0.0/99")
		}},
		{`forced["qa"]`, func(d *experiments.Definition) { d.Forced = map[string]string{"qa": "z"} }},
		{"forced", func(d *experiments.Definition) { d.Forced = map[string]string{"": "a"} }},
		{"prerequisite.experiment", func(d *experiments.Definition) {
			d.Prerequisite = &experiments.Prerequisite{Experiment: "e", Variants: []string{"a"}}
		}},
		{"prerequisite.variants", func(d *experiments.Definition) { d.Prerequisite = &experiments.Prerequisite{Experiment: "f"} }},
		{"metrics.guardrails[0].margin", func(d *experiments.Definition) {
			d.Metrics.Guardrails = []experiments.Guardrail{{Metric: "aov", Margin: 2}}
		}},
		{"metrics.guardrails[0].alpha", func(d *experiments.Definition) {
			d.Metrics.Guardrails = []experiments.Guardrail{{Metric: "aov", Margin: 0.02, Alpha: 0.7}}
		}},
		{"metrics.secondary[0]", func(d *experiments.Definition) { d.Metrics.Secondary = []string{"a b"} }},
		{"plan.inference", func(d *experiments.Definition) { d.Plan.Inference = "bayes" }},
		{"plan.alpha", func(d *experiments.Definition) { d.Plan.Alpha = 5 }},
		{"plan.power", func(d *experiments.Definition) { d.Plan.Power = 80 }},
		{"plan.mde", func(d *experiments.Definition) { d.Plan.MDE = one(0) }},
		{"plan.max_units", func(d *experiments.Definition) { d.Plan.MaxUnits = n(0) }},
		{"plan.equivalence", func(d *experiments.Definition) { d.Plan.Equivalence = one(-1) }},
		{"plan.looks", func(d *experiments.Definition) { d.Plan.Looks = -1 }},
		{"plan.horizon_days", func(d *experiments.Definition) { d.Plan.HorizonDays = 366 }},
		{"end_at", func(d *experiments.Definition) { d.StartAt, d.EndAt = &now, &now }},
	} {
		d := experiments.Definition{Key: "e", Salt: "s", Control: "a", Variants: []experiments.Variant{{Key: "a", Weight: 1}, {Key: "b", Weight: 1, Payload: text("x")}},
			Allocation: []experiments.Range{{Variant: "a", Start: 0, End: 50_000}, {Variant: "b", Start: 50_000, End: 100_000}}, Targeting: []experiments.Constraint{constraint("country", "IN", "CN")}}
		if err := d.Validate(); err != nil {
			t.Fatalf("the base is not valid: %v", err)
		}
		c.change(&d)
		got := faultFields(d.Validate())
		if c.field == "variants" && len(d.Variants) == 0 { // nothing can be said of the ranges then
			got = got[:1]
		}
		if !slices.Equal(got, []string{c.field}) {
			t.Errorf("faults %v of %+v, want %s", got, d, c.field)
		}
	}
}

func TestDecodeDefinition(t *testing.T) {
	d, err := experiments.DecodeDefinition([]byte(`{"key":"e","name":"优惠","control":"a","variants":[{"key":"a","weight":1,"payload":{"type":"number","value":2.0}}]}`))
	if err != nil || d.Name.ZH != "优惠" || d.Name.EN != "优惠" || string(d.Variants[0].Payload.Value) != "2.0" {
		t.Errorf("DecodeDefinition = %+v, %v", d, err)
	}
	for raw, field := range map[string]string{`{"kay":"e"}`: "kay", `{"variants":[{"weight":"1"}]}`: "variants.weight", `{`: "", `[]`: "", `{} {}`: "", `{"name":5}`: "name"} {
		if _, err := experiments.DecodeDefinition([]byte(raw)); len(faultFields(err)) != 1 || faultFields(err)[0] != field {
			t.Errorf("DecodeDefinition(%s) = %v, want a fault of %q", raw, err, field)
		}
	}
}

// The law of a patch: what it does not name stays, byte for byte; what may not change after the start is refused by name.
func TestPatch(t *testing.T) {
	e := running(t, "e", func(d *experiments.Definition) {
		d.Variants[1].Payload = &experiments.Payload{Type: "json", Value: json.RawMessage(`{"off":20.0,"html":"<b>&"}`)}
		d.Forced = map[string]string{"qa-1": "a", "qa-2": "b"}
	})
	at := now
	e.StartedAt = &at
	next, err := e.Act("patch", json.RawMessage(`{"forced":{"qa-1":null},"name":{"zh":"新","en":"new"},"status":"stopped","revision":99}`), "", now)
	if err != nil {
		t.Fatal(err)
	}
	if len(next.Forced) != 1 || next.Forced["qa-2"] != "b" || next.Name.EN != "new" || next.Status != experiments.Running || string(next.Variants[1].Payload.Value) != `{"off":20.0,"html":"<b>&"}` ||
		next.AllocationRevision != e.AllocationRevision || !slices.Equal(next.Allocation, e.Allocation) {
		t.Errorf("patch = %+v", next)
	}
	for _, c := range []struct{ doc, field string }{
		{`{"salt":"x"}`, "salt"}, {`{"control":"b"}`, "control"}, {`{"plan":{"alpha":0.1}}`, "plan"}, {`{"metrics":{"primary":"aov"}}`, "metrics.primary"},
		{`{"variants":[{"key":"a","weight":1},{"key":"c","weight":1}]}`, "variants"}, {`{"key":"other"}`, "key"}, {`{"coverage":2}`, "coverage"}, {`{"colour":1}`, "colour"}, {`{"coverage":0,"variants":[{"key":"a","weight":0},{"key":"b","weight":0}]}`, "variants"}, {`[]`, ""}, {`null`, ""},
	} {
		if _, err := e.Act("patch", json.RawMessage(c.doc), "", now); !slices.Contains(faultFields(err), c.field) {
			t.Errorf("patch %s = %v, want a fault of %q", c.doc, err, c.field)
		}
	}
	arms, err := e.Act("patch", json.RawMessage(`{"variants":[{"key":"a","weight":1},{"key":"b","weight":1},{"key":"c","weight":1}]}`), "", now)
	if err != nil || arms.AllocationRevision != e.AllocationRevision+1 || len(arms.Allocation) != 4 {
		t.Errorf("a new arm = %+v, %v, want four ranges of a new allocation revision", arms, err)
	}
	given, err := e.Act("patch", json.RawMessage(`{"coverage":1,"allocation":[{"variant":"b","start":0,"end":10}]}`), "", now)
	if err != nil || *given.Coverage != 0.0001 || experiments.Covered(given.Allocation) != 10 {
		t.Errorf("given ranges = %+v, %v: they win over the coverage", given, err)
	}
	// A client that sends the whole experiment back with another coverage means the coverage.
	whole, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	whole = []byte(strings.Replace(string(whole), `"coverage":1`, `"coverage":0.25`, 1))
	ramped, err := e.Act("patch", whole, "", now)
	if err != nil || experiments.Covered(ramped.Allocation) != 25_000 {
		t.Errorf("the whole experiment with coverage 0.25 covers %d, %v, want 25000", experiments.Covered(ramped.Allocation), err)
	}
}

func TestActions(t *testing.T) {
	past := now.Add(-time.Hour)
	for _, c := range []struct {
		name, action, doc, field string
		from                     experiments.Status
		change                   func(e *experiments.Experiment)
		to                       experiments.Status
	}{
		{name: "start", action: "start", from: experiments.Draft, to: experiments.Running},
		{name: "start again", action: "start", from: experiments.Stopped, to: experiments.Running},
		{name: "start twice", action: "start", from: experiments.Running, field: "status"},
		{name: "start after its end", action: "start", from: experiments.Draft, change: func(e *experiments.Experiment) { e.EndAt = &past }, field: "end_at"},
		{name: "stop", action: "stop", from: experiments.Running, to: experiments.Stopped},
		{name: "stop a draft", action: "stop", from: experiments.Draft, field: "status"},
		{name: "archive", action: "archive", from: experiments.Stopped, to: experiments.Archived},
		{name: "archive while it runs", action: "archive", from: experiments.Running, field: "status"},
		{name: "ramp without coverage", action: "ramp", doc: `{}`, from: experiments.Running, field: "coverage"},
		{name: "ramp too far", action: "ramp", doc: `{"coverage":1.01}`, from: experiments.Running, field: "coverage"},
		{name: "ramp what is archived", action: "ramp", doc: `{"coverage":0.1}`, from: experiments.Archived, field: "status"},
		{name: "decide a draft", action: "decide", doc: `{"variant":"b"}`, from: experiments.Draft, field: "status"},
		{name: "decide for nobody", action: "decide", doc: `{"variant":"z"}`, from: experiments.Running, field: "variant"},
		{name: "decide", action: "decide", doc: `{"variant":"b","reason":"profit"}`, from: experiments.Running, to: experiments.Running},
		{name: "dance", action: "dance", from: experiments.Running, field: "action"},
	} {
		e := running(t, "e")
		e.Status = c.from
		if c.from != experiments.Draft {
			e.StartedAt = &past
		}
		if c.change != nil {
			c.change(&e)
		}
		next, err := e.Act(c.action, json.RawMessage(c.doc), "ann", now)
		if c.field != "" {
			if got := faultFields(err); !slices.Equal(got, []string{c.field}) {
				t.Errorf("%s = %v, want a fault of %s", c.name, err, c.field)
			}
			continue
		}
		if err != nil || next.Status != c.to {
			t.Errorf("%s = %v, %v, want %s", c.name, next, err, c.to)
		}
	}
}

func FuzzDecodeDefinition(f *testing.F) {
	f.Add([]byte(`{"key":"e","control":"a","variants":[{"key":"a","weight":1}],"targeting":[{"attribute":"x","operator":"REGEX","values":["a+"]}]}`))
	f.Add([]byte(`{"coverage":1e999}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := experiments.DecodeDefinition(raw)
		if err != nil {
			return
		}
		e, err := experiments.NewExperiment(d, now)
		if err != nil {
			return
		}
		// What is accepted compiles, answers, and survives being written and read.
		e.Status = experiments.Running
		s, err := experiments.Compile(experiments.Source{Experiments: []*experiments.Experiment{e}})
		if err != nil {
			if e.Prerequisite != nil || slices.ContainsFunc(e.Variants, func(v experiments.Variant) bool { return v.Offer != "" }) {
				return // others are missing
			}
			t.Fatalf("a valid definition does not compile: %v", err)
		}
		s.Assign(&experiments.Unit{ID: "u", Now: now}, e.Key)
		written, err := experiments.Marshal(e.Definition)
		if err != nil {
			t.Fatal(err)
		}
		again, err := experiments.DecodeDefinition(written)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if x, _ := experiments.Marshal(again); string(x) != string(written) {
			t.Fatalf("%s → %s", written, x)
		}
	})
}

func FuzzPatch(f *testing.F) {
	f.Add([]byte(`{"coverage":0.5,"variants":[{"key":"a","weight":3},{"key":"b","weight":1},{"key":"c","weight":1}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := experiments.NewExperiment(experiments.Definition{Key: "e", Salt: "s", Control: "a", Variants: []experiments.Variant{{Key: "a", Weight: 1}, {Key: "b", Weight: 1}}}, now)
		if err != nil {
			t.Fatal(err)
		}
		next, err := e.Act("patch", raw, "", now)
		if err != nil {
			return
		}
		if err := next.Definition.Validate(); err != nil {
			t.Fatalf("a patch made an invalid definition: %v", err)
		}
		if n := experiments.Covered(next.Allocation); math.Abs(float64(n)/experiments.Buckets-*next.Coverage) > 0.001 {
			t.Fatalf("%d buckets at coverage %v", n, *next.Coverage)
		}
	})
}

func ExampleInvalidError() {
	d := experiments.Definition{Key: "e", Control: "a", Variants: []experiments.Variant{{Key: "a", Weight: 1}, {Key: "b", Weight: -1}}}
	fmt.Println(d.Validate())
	// Output: variants[1].weight: -1 is not a number within 0..1e9
}
