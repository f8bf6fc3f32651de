package flags_test

import (
	"encoding/json"
	"testing"
	"time"

	"perennial/experiments/unleash/flags"
	"perennial/experiments/unleash/flags/spectest"
)

// contextOf reads a context of the specification; a property that is not text (a null one) is a missing one.
func contextOf(t *testing.T, raw json.RawMessage) *flags.Context {
	t.Helper()
	var loose struct {
		Properties map[string]any `json:"properties"`
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &loose); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	delete(fields, "properties")
	rest, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	c := &flags.Context{}
	if err := json.Unmarshal(rest, c); err != nil {
		t.Fatal(err)
	}
	c.Properties, c.Now = map[string]string{}, time.Now()
	for name, v := range loose.Properties {
		if s, ok := v.(string); ok {
			c.Properties[name] = s
		}
	}
	return c
}

// Unleash's client-specification 6.1.0: all 279 tests.
func TestClientSpecification(t *testing.T) {
	for _, file := range spectest.Load(t, "../testdata") {
		d, err := flags.Parse(file.State)
		if err != nil {
			t.Fatalf("%s: %v", file.Name, err)
		}
		for _, c := range file.Cases {
			r := d.Evaluate(c.Flag, contextOf(t, c.Context))
			if r.Enabled != c.Enabled {
				t.Errorf("%s: %s: %s = %v, want %v", file.Name, c.Description, c.Flag, r.Enabled, c.Enabled)
			}
			if c.Variant == nil {
				continue
			}
			got := spectest.Variant{Name: flags.Disabled, FeatureEnabled: r.Enabled}
			if r.Variant != nil {
				got.Name, got.Payload, got.Enabled = r.Variant.Name, (*spectest.Payload)(r.Variant.Payload), true
			}
			if !spectest.Equal(got, *c.Variant) {
				t.Errorf("%s: %s: %s = %+v, want %+v", file.Name, c.Description, c.Flag, got, *c.Variant)
			}
		}
	}
}
