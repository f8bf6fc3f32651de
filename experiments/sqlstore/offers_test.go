package sqlstore_test

import (
	"encoding/json"
	"testing"

	"perennial/experiments"
	"perennial/experiments/sqlstore"
)

// Every change of an offer is a version with its own hash of the rules; an experiment cannot give one whose rules are missing in a language, and rules of a
// running experiment's offer cannot be taken away.
func TestOffersArePublished(t *testing.T) {
	eachStore(t, fixed, func(t *testing.T, open func() *sqlstore.Store) {
		s, ctx := open(), t.Context()
		o := experiments.Offer{Key: "s100-20", Kind: "spend_threshold", Terms: json.RawMessage(`{"threshold":100, "off":20}`), Rules: experiments.Text{ZH: "满100减20"}}
		first, err := s.PutOffer(ctx, o, "ann")
		if err != nil || first.Revision != 1 || first.RulesHash == "" {
			t.Fatalf("PutOffer = %+v, %v", first, err)
		}
		if same, err := s.PutOffer(ctx, o, "ann"); err != nil || same.Revision != 1 {
			t.Errorf("the same offer again = revision %d, %v", same.Revision, err)
		}
		d := experiments.Definition{Key: "coupon", Control: "a", Variants: []experiments.Variant{{Key: "a", Weight: 1}, {Key: "b", Weight: 1, Offer: "s100-20"}}}
		if _, err := s.Create(ctx, d, "ann"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Change(ctx, "coupon", "start", nil, 0, "ann"); field(err) != "variants[1].offer" {
			t.Errorf("start with rules in one language = %v, want a fault of variants[1].offer", err)
		}
		o.Rules.EN = "100 and more: 20 off"
		second, err := s.PutOffer(ctx, o, "ann")
		if err != nil || second.Revision != 2 || second.RulesHash == first.RulesHash {
			t.Fatalf("with both languages = %+v, %v", second, err)
		}
		if _, err := s.Change(ctx, "coupon", "start", nil, 0, "ann"); err != nil {
			t.Fatal(err)
		}
		bare := o
		bare.Rules = experiments.Text{}
		if _, err := s.PutOffer(ctx, bare, "ann"); field(err) != "rules" {
			t.Errorf("rules taken away under a running experiment = %v, want a fault of rules", err)
		}
		if _, err := s.Change(ctx, "coupon", "stop", nil, 0, "ann"); err != nil {
			t.Fatal(err)
		}
		list, err := s.OfferVersions(ctx, "s100-20")
		if err != nil || len(list) != 2 || list[0].Rules.EN != "" || list[1].RulesHash != second.RulesHash {
			t.Errorf("versions = %+v, %v", list, err)
		}
		if _, err := s.OfferVersions(ctx, "s100"); err == nil {
			t.Error("a key that another begins with has versions")
		}
	})
}
