package main

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
)

// unitEvents draws what one customer does under her variant: the exposure, the contact, perhaps one more order, perhaps its refund.
func unitEvents(story demoStory, experiment string, days int, unit string, got demoAssignment, b demoBehaviour) []map[string]any {
	h := fnv.New64a()
	h.Write([]byte(experiment + "\x00" + unit))
	rng := rand.New(rand.NewPCG(story.Seed, h.Sum64()))
	event := func(name string, at time.Time, fields map[string]any) map[string]any {
		fields["event_id"] = uuid.NewSHA1(uuid.NameSpaceOID, []byte("perennial demo\x00"+experiment+"\x00"+unit+"\x00"+name)).String()
		fields["user_id"], fields["event"], fields["ts"] = unit, name, at.UTC().Format(time.RFC3339)
		if _, ok := fields["properties"]; !ok {
			fields["properties"] = map[string]any{"simulated": true, "experiment": experiment}
		}
		return fields
	}
	cents := func(v float64) float64 { return math.Round(v*100) / 100 }

	seen := story.Start.Add(time.Duration(rng.IntN(days))*24*time.Hour + time.Duration(rng.IntN(10*3600))*time.Second)
	lot := []map[string]any{event("Experiment Viewed", seen, map[string]any{"properties": map[string]any{"experiment": experiment, "variant": *got.Variant,
		"allocation_revision": got.AllocationRevision, "p_assign": got.PAssign, "policy": "split", "score_version": got.ScoreVersion, "simulated": true}})}
	if b.ContactCost > 0 {
		lot = append(lot, event("Message Sent", seen.Add(time.Second), map[string]any{"cost": b.ContactCost, "channel": "post"}))
	}
	if rng.Float64() >= b.OrdersAdded {
		return lot
	}
	value := cents(b.Value * math.Exp(0.5*rng.NormFloat64()-0.125)) // lognormal with mean b.Value
	discount := b.Discount
	if b.DiscountShare > 0 {
		discount = cents(value * b.DiscountShare / (1 - b.DiscountShare))
	}
	margin := cents((value+discount)*b.MarginRate - discount)
	at := seen.Add(time.Hour + time.Duration(rng.Float64()*12*24*float64(time.Hour)))
	order := "simulated-" + experiment + "-" + unit
	lot = append(lot, event("Order Completed", at, map[string]any{"order_id": order, "value": value, "margin": margin, "discount": discount, "coupon_id": *got.Variant}))
	if rng.Float64() < b.RefundRate {
		lot = append(lot, event("Order Refunded", at.Add(36*time.Hour), map[string]any{"order_id": order, "value": value, "margin": margin}))
	}
	return lot
}
