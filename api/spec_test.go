package api_test

import (
	"encoding/json"
	"sync/atomic"
	"testing"

	"perennial/api"
	"perennial/experiments/unleash"
	"perennial/experiments/unleash/flags/spectest"
)

// Unleash's client-specification 6.1.0 through the real POST /api/frontend: each state is what an upstream server sent, each context is posted, and
// the toggle that comes back is compared. All 279 tests; a flag that is off is not listed.
func TestFrontendPassesClientSpecification(t *testing.T) {
	var document atomic.Pointer[unleash.Document]
	s := newShop(t, func(o *api.Options) { o.Flags = document.Load })
	for _, file := range spectest.Load(t, "../experiments/unleash/testdata") {
		d, err := unleash.NewDocument(file.State)
		if err != nil {
			t.Fatalf("%s: %v", file.Name, err)
		}
		document.Store(d)
		for _, c := range file.Cases {
			var in struct {
				Toggles []struct {
					Name    string
					Enabled bool
					Variant spectest.Variant
				}
			}
			answer := s.do("frontend", "POST", "/api/frontend", `{"context":`+string(c.Context)+`}`)
			if err := json.Unmarshal([]byte(answer.body), &in); err != nil || answer.status != 200 {
				t.Fatalf("%s: %s: %d %s", file.Name, c.Description, answer.status, answer.body)
			}
			got := spectest.Variant{Name: "disabled"}
			enabled := false
			for _, toggle := range in.Toggles {
				if toggle.Name == c.Flag {
					got, enabled = toggle.Variant, toggle.Enabled
				}
			}
			if enabled != c.Enabled {
				t.Errorf("%s: %s: %s = %v, want %v", file.Name, c.Description, c.Flag, enabled, c.Enabled)
			}
			if c.Variant != nil && !spectest.Equal(got, *c.Variant) {
				t.Errorf("%s: %s: %s = %+v, want %+v", file.Name, c.Description, c.Flag, got, *c.Variant)
			}
		}
	}
}
