package api

import (
	"errors"
	"net/http"
	"sort"
	"time"

	"github.com/gin-gonic/gin"

	"perennial/features"
	"perennial/features/lake"
)

// EventsAnswer is the answer of every event door.
type EventsAnswer struct {
	Accepted  int              `json:"accepted" required:"true" doc:"New events, on disk"`
	Duplicate int              `json:"duplicate" required:"true" doc:"Events whose id was there already"`
	Rejected  []features.Fault `json:"rejected" required:"true" doc:"Events that cannot be used, by their index in the body"`
}

// EventDoc is one event at the doors (CONTRACT §3). features.DecodeBatch reads it; the type is its documentation.
type EventDoc struct {
	EventID          string         `json:"event_id,omitempty" doc:"Idempotency key made once by the sender; UUIDv7 recommended. An order may leave it out."`
	UserID           string         `json:"user_id,omitempty" maxLength:"256"`
	AnonymousID      *string        `json:"anonymous_id,omitempty" maxLength:"256" doc:"Either id is needed"`
	Event            string         `json:"event" required:"true" example:"Order Completed"`
	TS               time.Time      `json:"ts" required:"true" doc:"When it happened, RFC 3339 with zone"`
	SentAt           *time.Time     `json:"sent_at,omitempty" doc:"The sender's clock when it sent: corrects ts when that clock is off"`
	Value            *float64       `json:"value,omitempty" doc:"What the customer paid, after discount, in major units"`
	Currency         string         `json:"currency,omitempty" doc:"ISO 4217; the shop's when it is left out"`
	Margin           *float64       `json:"margin,omitempty"`
	Discount         *float64       `json:"discount,omitempty" doc:"The part of the discount that the shop pays"`
	PlatformDiscount *float64       `json:"platform_discount,omitempty"`
	Commission       *float64       `json:"commission,omitempty"`
	Cost             *float64       `json:"cost,omitempty"`
	OrderID          string         `json:"order_id,omitempty"`
	ProductID        *string        `json:"product_id,omitempty"`
	Category         string         `json:"category,omitempty"`
	Channel          string         `json:"channel,omitempty"`
	CouponID         string         `json:"coupon_id,omitempty"`
	SessionID        *string        `json:"session_id,omitempty"`
	Properties       map[string]any `json:"properties,omitempty" doc:"At most 16 KB"`
}

// frontendEvents are the only events that a frontend key may send: it is public, so nothing that makes or costs money (engineering.md §7).
var frontendEvents = map[string]bool{features.ProductViewed: true, features.ProductAdded: true, features.SessionStarted: true,
	features.PromotionViewed: true, features.ExperimentViewed: true}

// events is POST /v1/events.
func (s *Server) events(c *gin.Context) {
	b, err := features.DecodeBatch(c.Request.Body, s.o.Shop, s.now(), features.Limits{})
	if err != nil {
		s.fail(c, eventProblem(err))
		return
	}
	answer, err := s.store(c, b)
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusAccepted, answer)
}

// eventProblem is problemOf for the decoder's errors.
func eventProblem(err error) error {
	switch {
	case errors.Is(err, features.ErrTooLarge):
		return problem(http.StatusRequestEntityTooLarge, "%s: send smaller batches (10 MiB and 10,000 events at most)", err)
	case errors.Is(err, features.ErrUnreadable):
		return problem(http.StatusBadRequest, "%s", err)
	}
	var known *Problem
	if errors.As(err, &known) {
		return known
	}
	return unreadable(err)
}

// store appends the usable events of a batch and counts outcomes; it returns after they are on disk. Faults come in the order of the body.
func (s *Server) store(c *gin.Context, b *features.Batch) (*EventsAnswer, error) {
	answer := &EventsAnswer{Rejected: b.Rejected}
	if answer.Rejected == nil {
		answer.Rejected = []features.Fault{}
	}
	events, index := b.Events, b.Index
	if who := callerOf(c.Request.Context()); who.bits == frontend {
		events, index = events[:0:0], index[:0:0]
		for i := range b.Events {
			if frontendEvents[b.Events[i].Name] {
				events, index = append(events, b.Events[i]), append(index, b.Index[i])
				continue
			}
			answer.Rejected = append(answer.Rejected, features.Fault{Index: b.Index[i], Field: "event", Reason: "a frontend key may not send this event"})
		}
	}
	if err := s.o.Lake.Quarantine(c.FullPath(), b.Rejected, b.Texts); err != nil {
		s.log.Warn("refused events are not kept aside", "error", err)
	}
	if len(events) > 0 {
		statuses, err := s.o.Lake.Append(c.Request.Context(), events)
		if err != nil {
			return nil, err
		}
		var consents []features.Consent
		for i, st := range statuses {
			switch st.Outcome {
			case lake.Accepted:
				answer.Accepted++
				consents = append(consents, features.ConsentsOf(&events[i])...)
			case lake.Duplicate:
				answer.Duplicate++
			case lake.Rejected:
				answer.Rejected = append(answer.Rejected, features.Fault{Index: index[i], Field: st.Field, Reason: st.Reason})
			}
		}
		if len(consents) > 0 {
			if err := s.applyConsents(c.Request.Context(), consents); err != nil {
				return nil, err
			}
		}
	}
	sort.SliceStable(answer.Rejected, func(i, j int) bool { return answer.Rejected[i].Index < answer.Rejected[j].Index })
	s.count.events.WithLabelValues("accepted").Add(float64(answer.Accepted))
	s.count.events.WithLabelValues("duplicate").Add(float64(answer.Duplicate))
	s.count.events.WithLabelValues("rejected").Add(float64(len(answer.Rejected)))
	return answer, nil
}
