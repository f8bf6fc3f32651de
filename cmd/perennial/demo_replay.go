package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"time"
)

// demoStory is demo/story.json: the behaviour that is planted under each variant. A control has none: its customers do what they really did.
type demoStory struct {
	Seed        uint64
	Start       time.Time
	Experiments []struct {
		Key       string
		Days      int // first exposures are spread over so many days from Start
		Behaviour map[string]demoBehaviour
	}
}

// demoBehaviour is what a promotion adds to what its customers really did.
type demoBehaviour struct {
	OrdersAdded   float64 `json:"orders_added"` // share of the exposed units with one more order
	Value         float64 // mean paid value of such an order
	MarginRate    float64 `json:"margin_rate"` // margin before the discount ÷ (value + discount)
	Discount      float64 // of each order
	DiscountShare float64 `json:"discount_share"` // instead of Discount: its share of the list price
	RefundRate    float64 `json:"refund_rate"`
	ContactCost   float64 `json:"contact_cost"` // of each exposed unit
}

// demoAssignment is one answer of /v1/assignments/batch.
type demoAssignment struct {
	Experiment         string
	Variant            *string
	Enrolled           bool
	PAssign            *float64 `json:"p_assign"`
	AllocationRevision int64    `json:"allocation_revision"`
	ScoreVersion       *string  `json:"score_version"`
}

// replay asks the server for everybody's variants and sends back-dated exposures and the planted behaviour, as an app would. Ids derive from
// experiment and customer, so that a replay that was interrupted goes on without doubling anything.
func (d *demo) replay(ctx context.Context, s *demoServer) error {
	d.steps.begin("replay simulated traffic over HTTP")
	if d.state.Replayed {
		d.steps.done("done before")
		return nil
	}
	var story demoStory
	if err := readDemo("demo/story.json", &story); err != nil {
		return err
	}
	users, err := s.client.scoredUsers(ctx)
	if err != nil {
		return err
	}
	asked, err := s.client.assignAll(ctx, users)
	if err != nil {
		return err
	}
	var lot []map[string]any
	exposed := 0
	for _, x := range story.Experiments {
		for _, unit := range users {
			got, ok := asked[unit][x.Key]
			if !ok || !got.Enrolled || got.Variant == nil {
				continue
			}
			exposed++
			lot = append(lot, unitEvents(story, x.Key, x.Days, unit, got, x.Behaviour[*got.Variant])...)
		}
	}
	sort.SliceStable(lot, func(i, j int) bool { return lot[i]["ts"].(string) < lot[j]["ts"].(string) })
	accepted, err := s.client.send(ctx, lot)
	if err != nil {
		return err
	}
	d.state.Replayed = true
	if err := d.save(); err != nil {
		return err
	}
	d.steps.done("%d customers asked, %d exposures, %d events accepted", len(users), exposed, accepted)
	return nil
}

// scoredUsers pages through /v1/scores.
func (c *demoClient) scoredUsers(ctx context.Context) ([]string, error) {
	var users []string
	for cursor := ""; ; {
		var page struct {
			Scores []struct {
				UserID string `json:"user_id"`
			}
			NextCursor *string `json:"next_cursor"`
		}
		if _, err := c.call(ctx, http.MethodGet, "/v1/scores?sort=user_id&limit=1000"+cursor, nil, &page); err != nil {
			return nil, err
		}
		for _, score := range page.Scores {
			users = append(users, score.UserID)
		}
		if page.NextCursor == nil || *page.NextCursor == "" {
			return users, nil
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}

// assignAll asks for every user's variants without exposing anybody: unit → experiment → answer.
func (c *demoClient) assignAll(ctx context.Context, users []string) (map[string]map[string]demoAssignment, error) {
	all := make(map[string]map[string]demoAssignment, len(users))
	for len(users) > 0 {
		n := min(1000, len(users))
		units := make([]map[string]string, n)
		for i, u := range users[:n] {
			units[i] = map[string]string{"unit_id": u}
		}
		var answer struct {
			Results []struct {
				UnitID      string `json:"unit_id"`
				Assignments []demoAssignment
			}
		}
		if _, err := c.call(ctx, http.MethodPost, "/v1/assignments/batch", map[string]any{"units": units, "expose": false}, &answer); err != nil {
			return nil, err
		}
		for _, r := range answer.Results {
			all[r.UnitID] = make(map[string]demoAssignment, len(r.Assignments))
			for _, a := range r.Assignments {
				all[r.UnitID][a.Experiment] = a
			}
		}
		users = users[n:]
	}
	return all, nil
}

// send posts events in batches and returns how many were new. A rejected event is an error: the demo's own events are all good.
func (c *demoClient) send(ctx context.Context, lot []map[string]any) (accepted int, err error) {
	for len(lot) > 0 {
		n := min(5000, len(lot))
		var answer struct {
			Accepted, Duplicate int
			Rejected            []json.RawMessage
		}
		for {
			status, err := c.call(ctx, http.MethodPost, "/v1/events", lot[:n], &answer, http.StatusTooManyRequests)
			if err != nil {
				return accepted, err
			}
			if status != http.StatusTooManyRequests {
				break
			}
			select {
			case <-ctx.Done():
				return accepted, ctx.Err()
			case <-time.After(time.Second):
			}
		}
		if len(answer.Rejected) > 0 {
			return accepted, fmt.Errorf("%d events rejected, the first: %s", len(answer.Rejected), answer.Rejected[0])
		}
		accepted += answer.Accepted
		lot = lot[n:]
	}
	return accepted, nil
}
