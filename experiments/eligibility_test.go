package experiments

import "testing"

// Who may not have an offer is in no arm of the experiment that gives it, the control included.
func TestEligibilityIsTargeting(t *testing.T) {
	d := Definition{Key: "welcome", Salt: "w", Control: "none", Variants: []Variant{{Key: "none", Weight: 1}, {Key: "first", Weight: 1, Offer: "first-10"}}}
	e, err := NewExperiment(d, day0)
	if err != nil {
		t.Fatal(err)
	}
	e.Status, e.StartedAt = Running, &day0
	o := Offer{Key: "first-10", Kind: "first_order", Eligibility: []Constraint{{Attribute: "orders_all", Operator: "NUM_LT", Values: []string{"1"}}}}
	s, err := Compile(Source{Experiments: []*Experiment{e}, Offers: []*Offer{&o}})
	if err != nil {
		t.Fatal(err)
	}
	got, ok := s.Experiment("welcome")
	if !ok || len(got.Targeting) != 1 || len(e.Targeting) != 0 || !got.UsesScores() {
		t.Errorf("targeting %+v, want the offer's condition and the stored definition untouched", got.Targeting)
	}
	plain, err := Compile(Source{Experiments: []*Experiment{e}, Offers: []*Offer{{Key: "first-10", Kind: "first_order"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := plain.Experiment("welcome"); len(got.Targeting) != 0 {
		t.Errorf("an offer for everybody adds %+v", got.Targeting)
	}
	found := false
	for _, l := range (&Offer{Key: "x", Kind: "first_order", Rules: Text{"规则", "rules"}}).Lint() {
		found = found || l.Code == "anyone" && l.Level == "warning"
	}
	if !found {
		t.Error("a first-order offer for everybody is not mentioned")
	}
}
