package warehouse_test

import (
	"encoding/json"
	"testing"

	"perennial/features"
	"perennial/features/warehouse"
)

// TestContacts: the first meeting of a user and an experiment within the window, known in time.
func TestContacts(t *testing.T) {
	view := func(properties, known string) func(*features.Event) {
		return func(e *features.Event) {
			e.Properties = json.RawMessage(properties)
			if known != "" {
				e.AvailableAt = at("", "", "", known, nil).TS
			}
		}
	}
	engine, snap := world(t, shop, []features.Event{
		at("1", "a", features.ExperimentViewed, "2026-03-05 10:00", view(`{"experiment":"x","variant":"coupon","p_assign":0.9}`, "")),
		at("2", "a", features.ExperimentViewed, "2026-03-06 10:00", view(`{"experiment":"x","variant":"none","p_assign":0.1}`, "")), // later: not the first
		at("3", "a", features.ExperimentViewed, "2026-03-07 10:00", view(`{"experiment":"y","variant":"none","p_assign":0.25}`, "")),
		at("4", "b", features.ExperimentViewed, "2026-02-28 10:00", view(`{"experiment":"x","variant":"coupon"}`, "")), // before the window
		at("5", "b", features.ExperimentViewed, "2026-03-31 10:00", view(`{"experiment":"x","variant":"coupon"}`, "")), // after it
		at("6", "c", features.ExperimentViewed, "2026-03-02 10:00", view(`{"experiment":"x","variant":"coupon"}`, "2026-04-09 00:00")),
		at("7", "d", features.OrderCompleted, "2026-03-02 10:00", nil),
	})
	get := func(notAfter features.Day) map[warehouse.Contact]bool {
		list, err := engine.Contacts(t.Context(), snap, []string{"d", "c", "b", "a"}, day("2026-03-01"), 30, notAfter)
		if err != nil {
			t.Fatal(err)
		}
		out := map[warehouse.Contact]bool{}
		for _, c := range list {
			out[c] = true
		}
		return out
	}
	x, y, late := warehouse.Contact{User: 3, Experiment: "x", Variant: "coupon", PAssignPPM: 900_000}, warehouse.Contact{User: 3, Experiment: "y", Variant: "none", PAssignPPM: 250_000},
		warehouse.Contact{User: 1, Experiment: "x", Variant: "coupon"}
	if got := get(0); len(got) != 3 || !got[x] || !got[y] || !got[late] {
		t.Errorf("contacts %v", got)
	}
	if got := get(day("2026-04-01")); len(got) != 2 || got[late] {
		t.Errorf("contacts known before April: %v", got)
	}
}
