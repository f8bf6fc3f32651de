package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"perennial/features"
)

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
	customers, err := s.client.scored(ctx)
	if err != nil {
		return err
	}
	asked, err := s.client.assignAll(ctx, customers)
	if err != nil {
		return err
	}
	now, err := time.Parse(time.RFC3339, demoClock)
	if err != nil {
		return err
	}
	var events []features.Event
	exposed := 0
	for _, plot := range story.Experiments {
		response, orders := plot.response(story, now)
		for _, c := range customers {
			got, ok := asked[c.UserID][plot.Key]
			if !ok || !got.Enrolled || got.Variant == nil {
				continue
			}
			did, err := plot.unit(story, response, orders, c, got)
			if err != nil {
				return err
			}
			events, exposed = append(events, did...), exposed+1
		}
	}
	accepted := 0
	for _, lot := range eventLots(events, 5000) {
		n, err := s.client.send(ctx, lot)
		if err != nil {
			return err
		}
		accepted += n
	}
	d.state.Replayed = true
	if err := d.save(); err != nil {
		return err
	}
	d.steps.done("%d customers asked, %d exposures, %d events accepted", len(customers), exposed, accepted)
	return nil
}

// scored pages through /v1/scores.
func (c *demoClient) scored(ctx context.Context) ([]demoCustomer, error) {
	var all []demoCustomer
	for cursor := ""; ; {
		var page struct {
			Scores     []demoCustomer
			NextCursor *string `json:"next_cursor"`
		}
		if _, err := c.call(ctx, http.MethodGet, "/v1/scores?sort=user_id&limit=1000"+cursor, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Scores...)
		if page.NextCursor == nil || *page.NextCursor == "" {
			return all, nil
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}

// assignAll asks for everybody's variants without exposing anybody: unit → experiment → answer.
func (c *demoClient) assignAll(ctx context.Context, customers []demoCustomer) (map[string]map[string]demoAssignment, error) {
	all := make(map[string]map[string]demoAssignment, len(customers))
	for len(customers) > 0 {
		n := min(1000, len(customers))
		units := make([]map[string]string, n)
		for i, customer := range customers[:n] {
			units[i] = map[string]string{"unit_id": customer.UserID}
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
		customers = customers[n:]
	}
	return all, nil
}

// send posts one batch of events and returns how many were new; it waits and sends again when the server is behind. A rejected event is an
// error: the demo's own events are all good.
func (c *demoClient) send(ctx context.Context, lot []json.RawMessage) (accepted int, err error) {
	for {
		var answer struct {
			Accepted int
			Rejected []json.RawMessage
		}
		status, err := c.call(ctx, http.MethodPost, "/v1/events", lot, &answer, http.StatusTooManyRequests)
		switch {
		case err != nil:
			return 0, err
		case len(answer.Rejected) > 0:
			return answer.Accepted, fmt.Errorf("%d events rejected, the first: %s", len(answer.Rejected), answer.Rejected[0])
		case status != http.StatusTooManyRequests:
			return answer.Accepted, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}
