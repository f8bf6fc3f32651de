package features_test

import (
	"math"
	"testing"

	"perennial/features"
)

func profiles() *features.Profiles {
	scores := &features.Table{AsOf: 15000, Users: []string{"a", "b"}, Columns: []features.Column{{Name: "churn_risk", Numbers: []float64{0.9, math.NaN()}}, {Name: "stage", Texts: []string{"loyal", ""}}}}
	feats := &features.Table{AsOf: 15000, Users: []string{"a", "b", "c"}, Columns: []features.Column{{Name: "orders_all", Numbers: []float64{3, 1, 2}, Integer: true}, {Name: "stage", Texts: []string{"x", "y", "z"}}}}
	return features.NewProfiles("v1", scores, feats)
}

func TestProfiles(t *testing.T) {
	p := profiles()
	if p.Len() != 3 || p.Version != "v1" || p.AsOf != 15000 {
		t.Errorf("%d users of %s at %s, want 3 of v1", p.Len(), p.Version, p.AsOf)
	}
	for _, c := range []struct {
		user, column string
		number       float64
		text         string
		isText, null bool
		ok           bool
	}{
		{"a", "churn_risk", 0.9, "", false, false, true}, {"b", "churn_risk", 0, "", false, true, true}, {"c", "churn_risk", 0, "", false, true, true},
		{"a", "stage", 0, "loyal", true, false, true}, {"b", "stage", 0, "", true, true, true}, {"c", "stage", 0, "", true, true, true},
		{"c", "orders_all", 2, "", false, false, true}, {"a", "nothing", 0, "", false, true, false},
	} {
		row, found := p.Row(c.user)
		number, text, isText, null, ok := p.At(row, c.column)
		if null && !isText {
			number = 0
		}
		if !found || number != c.number || text != c.text || isText != c.isText || null != c.null || ok != c.ok {
			t.Errorf("%s of %s = %v %q %v %v %v, want %v %q %v %v %v", c.column, c.user, number, text, isText, null, ok, c.number, c.text, c.isText, c.null, c.ok)
		}
	}
	if _, ok := p.Row("nobody"); ok {
		t.Error("a user without a row has one")
	}
	if n := testing.AllocsPerRun(100, func() {
		row, _ := p.Row("b")
		p.At(row, "orders_all")
	}); n != 0 {
		t.Errorf("a lookup allocates %v times, want never", n)
	}
}
