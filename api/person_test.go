package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"perennial/experiments"
)

// variantOf asks natively what a unit gets in one experiment; expose is true, false or "sync" as JSON.
func (s *shop) variantOf(unit, experiment, expose string) (variant, reason string) {
	s.t.Helper()
	a := s.good("client", "POST", "/v1/assignments", fmt.Sprintf(`{"unit_id":%q,"experiments":[%q],"expose":%s}`, unit, experiment, expose))
	x := a["assignments"].([]any)[0].(map[string]any)
	variant, _ = x["variant"].(string)
	return variant, x["reason"].(string)
}

// apart returns two ids whose buckets fall into different arms of an experiment of two equal arms.
func (s *shop) apart(experiment, prefix string) (first, second string) {
	e, _ := s.snapshot.Load().Experiment(experiment)
	arm := func(id string) bool { return experiments.Bucket(e.Salt, id) < experiments.Buckets/2 }
	for i := 0; ; i++ {
		first, second = fmt.Sprint(prefix, "-visitor-", i), fmt.Sprint(prefix, "-customer-", i)
		if arm(first) != arm(second) {
			return first, second
		}
	}
}

// Who signs in keeps the variant that she met before, in sticky experiments and in others, on every door and every id of hers; who never met the experiment
// is split by her user id.
func TestSignInKeepsTheFirstVariant(t *testing.T) {
	for _, sticky := range []string{"true", "false"} {
		for _, link := range []string{"alias", "identify"} {
			t.Run("sticky "+sticky+" by "+link, func(t *testing.T) {
				s := newShop(t)
				s.run("coupon", `{"sticky":`+sticky+`}`)
				s.run("fresh", `{"sticky":`+sticky+`}`)
				visitor, customer := s.apart("coupon", link+sticky)
				first, _ := s.variantOf(visitor, "coupon", "true")
				alone, _ := s.variantOf(customer, "coupon", "false")
				if sticky == "false" && first == alone {
					t.Fatalf("visitor and customer both get %s: the test shows nothing", first)
				}
				tag := s.do("client", "POST", flags, `{"context":{"targetingKey":"`+customer+`"}}`).header.Get("ETag")
				s.advance(time.Minute)
				s.join(link, visitor, customer)
				for round, id := range []string{customer, visitor, customer, visitor} {
					if got, reason := s.variantOf(id, "coupon", "true"); got != first {
						t.Errorf("round %d: %s gets %s (%s), the visitor got %s", round, id, got, reason, first)
					}
					s.advance(time.Minute)
				}
				body := `{"context":{"targetingKey":"` + customer + `"}}`
				if a := s.good("client", "POST", flags+"/coupon", body); a["variant"] != first {
					t.Errorf("OFREP says %v, want %s", a["variant"], first)
				}
				if a := s.do("client", "POST", flags, body, "If-None-Match", tag); a.status != 200 || !strings.Contains(a.body, `"variant":"`+first+`"`) {
					t.Errorf("the bulk answer of before the link is called unchanged: %d", a.status)
				}
				if a := s.good("analyst", "POST", "/v1/assignments/explain", `{"unit_id":"`+customer+`","experiment":"coupon"}`); a["assignment"].(map[string]any)["variant"] != first {
					t.Errorf("explain says %v, want %s", a["assignment"], first)
				}
				// An experiment that no id of hers met before: one variant for all of them, that of the customer.
				e, _ := s.snapshot.Load().Experiment("fresh")
				want := "a"
				if experiments.Bucket(e.Salt, customer) >= experiments.Buckets/2 {
					want = "b"
				}
				for round, id := range []string{visitor, customer, visitor} {
					if got, _ := s.variantOf(id, "fresh", "true"); got != want {
						t.Errorf("round %d: %s gets %s in an experiment she never met, want the customer's %s", round, id, got, want)
					}
					s.advance(time.Minute)
				}
			})
		}
	}
}

// The first one counts: a customer who met the experiment on another device before keeps hers, and the visitor of today changes to it.
func TestTheEarlierExposureWins(t *testing.T) {
	s := newShop(t)
	s.run("coupon", `{"sticky":false}`)
	visitor, customer := s.apart("coupon", "w")
	hers, _ := s.variantOf(customer, "coupon", "true")
	s.advance(time.Hour)
	other, _ := s.variantOf(visitor, "coupon", "true")
	if hers == other {
		t.Fatal("both got one variant")
	}
	s.advance(time.Minute)
	s.join("alias", visitor, customer)
	for _, id := range []string{visitor, customer} {
		if got, _ := s.variantOf(id, "coupon", "true"); got != hers {
			t.Errorf("%s gets %s, want the customer's earlier %s", id, got, hers)
		}
	}
}

// Scores, today's counts and a refusal are the person's, whichever id asks.
func TestAPersonIsKnownByEveryId(t *testing.T) {
	s := newShop(t)
	s.score(map[string][3]any{"u": {"loyal", 0.9, 9.0}})
	s.run("risky", `{"sticky":false,"targeting":[{"attribute":"churn_risk","operator":"NUM_GTE","values":["0.6"]}]}`)
	s.run("bought", `{"sticky":false,"targeting":[{"attribute":"orders_today","operator":"NUM_EQ","values":["2"]}]}`)
	s.run("open", `{"sticky":false}`)
	at := s.now.Load().Format(time.RFC3339)
	for _, id := range []string{"u", "anon"} {
		s.good("client", "POST", "/v1/events", fmt.Sprintf(`[{"event_id":"o-%[1]s","user_id":%[1]q,"event":"Order Completed","ts":%[2]q,"value":1,"order_id":"o-%[1]s"}]`, id, at))
	}
	if _, reason := s.variantOf("anon", "risky", "false"); reason != "targeting" {
		t.Fatalf("before the link an anonymous visitor has a score: %s", reason)
	}
	s.join("alias", "anon", "u")
	for _, id := range []string{"anon", "u"} {
		for _, experiment := range []string{"risky", "bought"} {
			if v, reason := s.variantOf(id, experiment, "false"); v == "" {
				t.Errorf("%s in %s: %s, want a variant by what is known of the person", id, experiment, reason)
			}
		}
	}
	s.good("admin", "POST", "/v1/users/u/opt-out", "{}")
	if _, reason := s.variantOf("anon", "open", "false"); reason != "opted_out" {
		t.Errorf("an alias of who opted out gets %s", reason)
	}
}

// join links an alias to a user by a Segment door.
func (s *shop) join(door, alias, user string) {
	s.t.Helper()
	body := fmt.Sprintf(`{"messageId":"m-%s-%s","userId":%q,"previousId":%q}`, alias, user, user, alias)
	if door == "identify" {
		body = fmt.Sprintf(`{"messageId":"m-%s-%s","userId":%q,"anonymousId":%q,"traits":{"plan":"gold"}}`, alias, user, user, alias)
	}
	s.good("client", "POST", "/v1/"+door, body)
}

// advance moves the shop's clock.
func (s *shop) advance(d time.Duration) {
	now := s.now.Load().Add(d)
	s.now.Store(&now)
}
