package experiments

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

func offer(kind, terms string) *Offer {
	return &Offer{Key: "o", Kind: kind, Terms: json.RawMessage(terms), Rules: Text{"满足条件即可使用。", "Applies when the conditions hold."}}
}

func cart(prices ...float64) Cart {
	var c Cart
	for _, p := range prices {
		c.Items = append(c.Items, CartItem{Quantity: 1, PriceMicros: micros(p)})
	}
	return c
}

// The promotions of the domain, in numbers that a cashier would get.
func TestPrice(t *testing.T) {
	cost := 3.5
	gift := offer("gift", `{}`)
	gift.UnitCost = &cost
	withPoints := cart(25)
	withPoints.Points = 100
	first := cart(50)
	first.FirstOrder = true
	shipped := cart(60)
	shipped.ShippingMicros = micros(8)
	for _, c := range []struct {
		name                string
		o                   *Offer
		cart                Cart
		reason              string
		pay, discount, cost float64
	}{
		{"满100减20 at 99.99", offer("spend_threshold", `{"threshold":100,"off":20}`), cart(99.99), OfferBelowThreshold, 99.99, 0, 0},
		{"满100减20 at 100", offer("spend_threshold", `{"threshold":100,"off":20}`), cart(60, 40), "", 80, 20, 0},
		{"每满100减20 at 350", offer("spend_threshold", `{"threshold":100,"off":20,"repeat":true}`), cart(350), "", 290, 60, 0},
		{"满两件享8折 with one", offer("bundle", `{"quantity":2,"share":0.2}`), cart(40), OfferTooFewItems, 40, 0, 0},
		{"满两件享8折 with two", offer("bundle", `{"quantity":2,"share":0.2}`), cart(40, 60), "", 80, 20, 0},
		{"组合立省30", offer("bundle", `{"quantity":2,"off":30}`), cart(40, 60), "", 70, 30, 0},
		{"组合立省30 never below nothing", offer("bundle", `{"quantity":2,"off":30}`), cart(10, 5), "", 0, 15, 0},
		{"限时九折", offer("timed_discount", `{"share":0.1}`), cart(0.000009), "", 0.000009, 0, 0},
		{"买二送一: the cheapest is free", offer("buy_x_get_y", `{"buy":2,"get":1}`), cart(30, 10, 20, 40), "", 90, 10, 0},
		{"首单立减10", offer("first_order", `{"off":10}`), first, "", 40, 10, 0},
		{"首单立减10, second order", offer("first_order", `{"off":10}`), cart(50), OfferNotFirstOrder, 50, 0, 0},
		{"满额包邮", offer("free_shipping", `{"threshold":59}`), shipped, "", 60, 0, 8},
		{"100积分=10元", offer("points", `{"point_value":0.1}`), withPoints, "", 15, 10, 0},
		{"gift costs the shop", gift, cart(50), "", 50, 0, 3.5},
		{"满60减6、满150减20 at 149", offer("spend_threshold", `{"tiers":[{"threshold":60,"off":6},{"spend":150,"off":20}]}`), cart(149), "", 143, 6, 0},
		{"满60减6、满150减20 at 150", offer("spend_threshold", `{"tiers":[{"threshold":60,"off":6},{"spend":150,"off":20}]}`), cart(150), "", 130, 20, 0},
		{"满60减6、满150减20 at 59", offer("spend_threshold", `{"tiers":[{"threshold":60,"off":6},{"spend":150,"off":20}]}`), cart(59), OfferBelowThreshold, 59, 0, 0},
		{"short names", offer("spend_threshold", `{"spend":100,"off":20}`), cart(100), "", 80, 20, 0},
		{"empty cart", offer("timed_discount", `{"share":0.1}`), Cart{}, OfferEmptyCart, 0, 0, 0},
	} {
		q, err := c.o.Price(c.cart)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if q.Reason != c.reason || q.Applied != (c.reason == "") || q.PayMicros != micros(c.pay) || q.DiscountMicros != micros(c.discount) || q.CostMicros != micros(c.cost) {
			t.Errorf("%s: Price = %+v, want pay %v, discount %v, cost %v, reason %q", c.name, q, c.pay, c.discount, c.cost, c.reason)
		}
	}
}

// An offer holds from its start to just before its end.
func TestPriceSchedule(t *testing.T) {
	start, end := time.Date(2026, 11, 11, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 12, 0, 0, 0, 0, time.UTC)
	o := offer("timed_discount", `{"share":0.5}`)
	o.StartsAt, o.EndsAt = &start, &end
	for at, want := range map[time.Time]string{start.Add(-time.Second): OfferNotStarted, start: "", end.Add(-time.Second): "", end: OfferEnded} {
		c := cart(10)
		c.Time = at
		if q, err := o.Price(c); err != nil || q.Reason != want {
			t.Errorf("at %v: %q, %v, want %q", at, q.Reason, err, want)
		}
	}
}

// For random carts and offers: nobody pays less than shipping, the parts add up, the order of the items does not matter, and one more item never makes
// the discount smaller.
func TestPriceLaws(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	offers := []*Offer{offer("spend_threshold", `{"threshold":100,"off":20,"repeat":true}`), offer("spend_threshold", `{"threshold":50,"off":50}`), offer("spend_threshold", `{"tiers":[{"threshold":20,"off":2},{"threshold":60,"off":9}]}`), offer("bundle", `{"quantity":3,"share":0.333333}`),
		offer("bundle", `{"quantity":2,"off":30}`), offer("timed_discount", `{"share":0.15}`), offer("first_order", `{"off":10}`), offer("free_shipping", `{"threshold":40}`),
		offer("points", `{"point_value":0.1,"max_points":500}`), offer("buy_x_get_y", `{"buy":2,"get":1}`)}
	for range 4000 {
		o := offers[rng.IntN(len(offers))]
		c := Cart{FirstOrder: rng.IntN(2) == 0, Points: int64(rng.IntN(2000)), ShippingMicros: int64(rng.IntN(12)) * 1e6}
		for range 1 + rng.IntN(5) {
			c.Items = append(c.Items, CartItem{Quantity: int64(rng.IntN(4)), PriceMicros: int64(rng.IntN(60_000_000))})
		}
		q, err := o.Price(c)
		if err != nil {
			t.Fatal(err)
		}
		if q.DiscountMicros < 0 || q.DiscountMicros > q.SubtotalMicros || q.PayMicros != q.SubtotalMicros+q.ShippingMicros-q.DiscountMicros || q.PayMicros < q.ShippingMicros {
			t.Fatalf("%s on %+v = %+v", o.Kind, c, q)
		}
		turned := c
		turned.Items = append([]CartItem(nil), c.Items...)
		rng.Shuffle(len(turned.Items), func(a, b int) { turned.Items[a], turned.Items[b] = turned.Items[b], turned.Items[a] })
		if other, _ := o.Price(turned); other != q {
			t.Fatalf("%s: order matters: %+v, %+v", o.Kind, q, other)
		}
		more := c
		more.Items = append(append([]CartItem(nil), c.Items...), CartItem{Quantity: 1, PriceMicros: 60_000_000})
		if other, _ := o.Price(more); other.DiscountMicros < q.DiscountMicros {
			t.Fatalf("%s: a dearer item more makes the discount smaller: %+v, %+v", o.Kind, q, other)
		}
	}
}

// Terms and carts that cannot be meant are refused by field; rules are read as a careful colleague would.
func TestOfferFaults(t *testing.T) {
	for terms, field := range map[string]string{`{"threshold":100}`: "terms.off", `{"threshold":10,"off":20}`: "terms.off", `{"threshold":-1,"off":1}`: "terms.threshold",
		`{"tiers":[{"threshold":60,"off":6},{"threshold":50,"off":7}]}`: "terms.tiers[1].threshold", `{"tiers":[{"threshold":60,"off":6},{"threshold":90,"off":5}]}`: "terms.tiers[1].off",
		`{"threshold":9,"off":1,"tiers":[{"threshold":60,"off":6}]}`: "terms.tiers"} {
		_, err := offer("spend_threshold", terms).Price(cart(5))
		var invalid *InvalidError
		if !errors.As(err, &invalid) || invalid.Faults[0].Field != field {
			t.Errorf("%s: %v, want a fault of %s", terms, err, field)
		}
	}
	if _, err := offer("gift", `{}`).Price(Cart{Items: []CartItem{{Quantity: -1}}}); err == nil {
		t.Error("a negative quantity passes")
	}
	o := offer("timed_discount", `{"share":0.1}`)
	o.Rules = Text{"本活动最终解释权归商家所有。", ""}
	codes := map[string]bool{}
	for _, f := range o.Lint() {
		codes[f.Field+" "+f.Code] = true
	}
	for _, want := range []string{"rules.zh void_clause", "rules.en rules_missing", "ends_at no_end"} {
		if !codes[want] {
			t.Errorf("Lint does not say %s: %v", want, codes)
		}
	}
	if clean := offer("spend_threshold", `{"threshold":100,"off":20}`).Lint(); len(clean) != 0 {
		t.Errorf("a clean offer has findings: %v", clean)
	}
}
