package flags_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"perennial/experiments/unleash/flags"
)

const specification = "../testdata/client-specification/specifications"

// specContext leaves out what is not text: a null property is a missing one.
type specContext struct{ flags.Context }

func (c *specContext) UnmarshalJSON(raw []byte) error {
	var loose struct {
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal(raw, &loose); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	delete(fields, "properties")
	rest, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(rest, &c.Context); err != nil {
		return err
	}
	c.Properties = map[string]string{}
	for name, v := range loose.Properties {
		if s, ok := v.(string); ok {
			c.Properties[name] = s
		}
	}
	c.Now = time.Now()
	return nil
}

// Unleash's client-specification 6.1.0: 22 files, 279 tests.
func TestClientSpecification(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(specification, "index.json"))
	if err != nil {
		t.Fatalf("Unleash's client-specification is not there: run experiments/unleash/testdata/fetch.sh (`make test` does): %v", err)
	}
	var index []string
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatal(err)
	}
	tests := 0
	for _, name := range index {
		var file struct {
			State json.RawMessage `json:"state"`
			Tests []struct {
				Description string      `json:"description"`
				Context     specContext `json:"context"`
				Toggle      string      `json:"toggleName"`
				Want        bool        `json:"expectedResult"`
			} `json:"tests"`
			Variants []struct {
				Description string      `json:"description"`
				Context     specContext `json:"context"`
				Toggle      string      `json:"toggleName"`
				Want        struct {
					Name           string         `json:"name"`
					Payload        *flags.Payload `json:"payload"`
					Enabled        bool           `json:"enabled"`
					FeatureEnabled bool           `json:"feature_enabled"`
				} `json:"expectedResult"`
			} `json:"variantTests"`
		}
		raw, err := os.ReadFile(filepath.Join(specification, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &file); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		d, err := flags.Parse(file.State)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, c := range file.Tests {
			tests++
			if got := d.Evaluate(c.Toggle, &c.Context.Context).Enabled; got != c.Want {
				t.Errorf("%s: %s: %s = %v, want %v", name, c.Description, c.Toggle, got, c.Want)
			}
		}
		for _, c := range file.Variants {
			tests++
			r := d.Evaluate(c.Toggle, &c.Context.Context)
			got := c.Want
			got.Name, got.Payload, got.Enabled, got.FeatureEnabled = flags.Disabled, nil, false, r.Enabled
			if r.Variant != nil {
				got.Name, got.Payload, got.Enabled = r.Variant.Name, r.Variant.Payload, true
			}
			x, _ := json.Marshal(got)
			y, _ := json.Marshal(c.Want)
			if string(x) != string(y) {
				t.Errorf("%s: %s: %s = %s, want %s", name, c.Description, c.Toggle, x, y)
			}
		}
	}
	if tests != 279 {
		t.Errorf("%d tests were run, the specification has 279", tests)
	}
}
