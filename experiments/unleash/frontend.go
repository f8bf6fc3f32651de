package unleash

import "perennial/experiments"

// Toggle is one flag of /api/frontend; only flags that are on are listed there.
type Toggle struct {
	Name           string        `json:"name"`
	Enabled        bool          `json:"enabled"`
	ImpressionData bool          `json:"impressionData"`
	Variant        ToggleVariant `json:"variant"`
}

// ToggleVariant carries feature_enabled under both of the names that SDKs read.
type ToggleVariant struct {
	Name           string   `json:"name"`
	Enabled        bool     `json:"enabled"`
	Payload        *Payload `json:"payload,omitempty"`
	FeatureEnabled bool     `json:"feature_enabled"`
	FeatureCamel   bool     `json:"featureEnabled"`
}

// FrontendToggles answers every experiment for one unit as /api/frontend does: enrolled units have their variant; a unit that passed targeting but whose bucket nobody
// owns has the variant not_enrolled with the control's payload, as in an SDK that evaluates locally; every other flag is off and left out. The
// assignments of the toggles stand beside them, in the same order.
func FrontendToggles(s *experiments.Snapshot, u *experiments.Unit) ([]Toggle, []experiments.Assignment) {
	toggles, assignments := []Toggle{}, []experiments.Assignment{}
	for _, key := range s.Keys() {
		a := s.Assign(u, key)
		if t, on := NewToggle(a); on {
			toggles, assignments = append(toggles, t), append(assignments, a)
		}
	}
	return toggles, assignments
}

// NewToggle turns an assignment into a toggle; on is false for a flag that is off.
func NewToggle(a experiments.Assignment) (t Toggle, on bool) {
	name := a.Variant
	if !a.Enrolled {
		if a.Reason != experiments.ReasonNotEnrolled || a.Bucket < 0 { // -1: a unit without an id
			return Toggle{}, false
		}
		name = experiments.NotEnrolled
	}
	return Toggle{Name: a.Experiment, Enabled: true, ImpressionData: true,
		Variant: ToggleVariant{Name: name, Enabled: true, Payload: encodePayload(a.Payload), FeatureEnabled: true, FeatureCamel: true}}, true
}
