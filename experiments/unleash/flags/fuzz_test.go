package flags_test

import (
	"testing"

	"perennial/experiments/unleash/flags"
)

// Whatever parses can be evaluated.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":2,"features":[{"name":"f","enabled":true,"strategies":[{"name":"flexibleRollout","parameters":{"groupId":"g","rollout":"50","stickiness":"default"},"constraints":[{"contextName":"x","operator":"IN_CIDR","values":["10.0.0.0/8"]}],"variants":[{"name":"a","weight":1}],"segments":[1]}],"dependencies":[{"feature":"f"}]}],"segments":[{"id":1,"constraints":[]}]}`))
	f.Add([]byte(`{"events":[{"type":"hydration","features":[{"name":"f","enabled":true}]},{"type":"feature-removed","featureName":"f"}]}`))
	f.Add([]byte(`{"features":[{"name":"f","enabled":true,"variants":[{"name":"a","weight":0},{"name":"b","weight":-5,"overrides":[{"contextName":"userId","values":["u"]}]}]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := flags.Parse(raw)
		if err != nil {
			return
		}
		for _, name := range d.Names() {
			r := d.Evaluate(name, &flags.Context{UserID: "u", Properties: map[string]string{"x": "10.1.1.1"}})
			if r.Variant != nil && !r.Enabled {
				t.Fatalf("%q is off and has the variant %q", name, r.Variant.Name)
			}
		}
	})
}
