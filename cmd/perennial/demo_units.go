package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"perennial/features"
	"perennial/features/synth"
)

// demoStory is demo/story.json: the behaviour that is planted under each variant, on top of what the customers really did.
type demoStory struct {
	Seed        uint64
	Start       time.Time
	Experiments []demoPlot
}

// demoPlot is one experiment of the story.
type demoPlot struct {
	Key        string
	Days       int     // first exposures are spread over so many days from the start
	MarginRate float64 `json:"margin_rate"`
	RefundRate float64 `json:"refund_rate"`
	AOVMost    float64 `json:"aov_most"` // simulated orders are those of a customer's real mean value, at most this
	Arms       map[string]struct {
		OrdersAdded                               float64 `json:"orders_added"` // expected orders of a unit that she would not have made
		Percent, Threshold, Off, Stretch, Contact float64
		Coupon                                    string
	}
}

// response returns the plot as synth plays it. Its customers have no orders without a promotion but the real ones, so the expected orders
// that synth is given are the strongest arm's, and every other arm stops a share of them.
func (p demoPlot) response(story demoStory, now time.Time) (*synth.Response, float64) {
	most := 0.0
	for _, arm := range p.Arms {
		most = max(most, arm.OrdersAdded)
	}
	r := &synth.Response{Seed: story.Seed, Experiment: p.Key, MarginRate: p.MarginRate, RefundRate: p.RefundRate, Until: now, Arms: map[string]synth.Arm{}}
	for variant, arm := range p.Arms {
		r.Arms[variant] = synth.Arm{Lift: arm.OrdersAdded/most - 1, Percent: arm.Percent, Threshold: arm.Threshold, Off: arm.Off, Stretch: arm.Stretch,
			Contact: arm.Contact, Coupon: arm.Coupon}
	}
	return r, most
}

// unit returns what one customer does: she meets her variant at a moment drawn from her id, and then what synth makes of it. Every event
// is marked simulated.
func (p demoPlot) unit(story demoStory, r *synth.Response, orders float64, c demoCustomer, got demoAssignment) ([]features.Event, error) {
	rng := rand.New(rand.NewPCG(story.Seed, bucketOf(p.Key, c.UserID)))
	seen := story.Start.Add(time.Duration(rng.IntN(p.Days))*24*time.Hour + time.Duration(rng.IntN(10*3600))*time.Second)
	properties, err := json.Marshal(map[string]any{"experiment": p.Key, "variant": *got.Variant, "allocation_revision": got.AllocationRevision,
		"p_assign": got.PAssign, "policy": "split", "score_version": got.ScoreVersion, "simulated": true})
	if err != nil {
		return nil, err
	}
	lot := []features.Event{{EventID: features.DeriveID("demo", p.Key, c.UserID, features.ExperimentViewed), UserID: c.UserID,
		Name: features.ExperimentViewed, TS: seen, Properties: properties}}
	for _, e := range r.Events(c.customer(orders, p.AOVMost), *got.Variant, seen) {
		e.Properties = fmt.Appendf(nil, `{"experiment":%q,"simulated":true}`, p.Key)
		lot = append(lot, e)
	}
	return lot, nil
}

// demoCustomer is what the demo reads of a customer's score row.
type demoCustomer struct {
	UserID     string  `json:"user_id"`
	OrdersAll  float64 `json:"orders_all"`
	RevenueAll float64 `json:"revenue_all"`
}

// customer is she as synth sees her: her real mean order value, bounded so that one wholesaler does not decide an experiment.
func (c demoCustomer) customer(orders, most float64) synth.Customer {
	return synth.Customer{ID: c.UserID, Orders: orders, AOV: min(most, c.RevenueAll/max(1, c.OrdersAll))}
}

// bucketOf is a number that differs by experiment and customer.
func bucketOf(experiment, user string) uint64 {
	var n uint64
	for _, b := range []byte(features.DeriveID(experiment, user)) {
		n = n*131 + uint64(b)
	}
	return n
}

// eventLots encodes events in the order of time, in batches of at most size.
func eventLots(events []features.Event, size int) [][]json.RawMessage {
	slices.SortStableFunc(events, func(a, b features.Event) int { return a.TS.Compare(b.TS) })
	var lots [][]json.RawMessage
	for chunk := range slices.Chunk(events, size) {
		lot := make([]json.RawMessage, len(chunk))
		for i := range chunk {
			lot[i] = features.EncodeEvent(nil, &chunk[i])
		}
		lots = append(lots, lot)
	}
	return lots
}
