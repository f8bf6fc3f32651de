package api_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// A cart is priced by an offer of the catalogue and by one that is only being written; rules are read as a careful colleague would.
func TestOfferDoors(t *testing.T) {
	s := newShop(t)
	s.good("marketer", "POST", "/v1/offers", `{"key":"s100-20","kind":"spend_threshold","terms":{"threshold":100,"off":20},"rules":{"zh":"满100减20","en":"20 off from 100"}}`)
	s.good("marketer", "POST", "/v1/offers", `{"key":"s100-20","kind":"spend_threshold","terms":{"threshold":100,"off":30},"rules":{"zh":"满100减30","en":"30 off from 100"}}`)
	for _, c := range []struct {
		body           string
		status         int
		pay, discount  float64
		reason, wanted string
	}{
		{`{"key":"s100-20","items":[{"quantity":2,"price":60}],"shipping":8}`, 200, 98, 30, "", ""},
		{`{"key":"s100-20","items":[{"quantity":1,"price":99.99}]}`, 200, 99.99, 0, "below_threshold", ""},
		{`{"offer":{"key":"x","kind":"timed_discount","terms":{"share":0.1},"rules":""},"items":[{"quantity":1,"price":50}]}`, 200, 45, 5, "", ""},
		{`{"key":"nothing","items":[]}`, 404, 0, 0, "", "no offer"},
		{`{"offer":{"key":"x","kind":"timed_discount","terms":{},"rules":""},"items":[{"quantity":1,"price":50}]}`, 422, 0, 0, "", "terms.share"},
	} {
		got := s.do("client", "POST", "/v1/offers/price", c.body)
		var q struct {
			Pay, Discount float64
			Reason        *string
		}
		if got.status != c.status || !strings.Contains(string(got.body), c.wanted) {
			t.Errorf("%s: %d %s, want %d", c.body, got.status, got.body, c.status)
			continue
		}
		if err := json.Unmarshal([]byte(got.body), &q); err != nil || c.status == 200 && (q.Pay != c.pay || q.Discount != c.discount || (q.Reason != nil) != (c.reason != "")) {
			t.Errorf("%s: %s", c.body, got.body)
		}
	}
	lint := s.do("analyst", "POST", "/v1/offers/lint", `{"key":"x","kind":"gift","terms":{},"rules":{"zh":"送赠品，最终解释权归本店所有。","en":""}}`)
	for _, code := range []string{"void_clause", "rules_missing", "no_cost"} {
		if !strings.Contains(string(lint.body), code) {
			t.Errorf("lint lacks %s: %s", code, lint.body)
		}
	}
	versions := s.do("analyst", "GET", "/v1/offers/s100-20/versions", "")
	if strings.Count(string(versions.body), `"revision":`) != 2 || !strings.Contains(string(versions.body), "满100减20") {
		t.Errorf("versions %s", versions.body)
	}
}
