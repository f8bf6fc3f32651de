package api

import (
	"context"
	"slices"
	"time"

	"perennial/features"
)

// consentEntry is one bit of a customer from one moment on.
type consentEntry struct {
	Purpose string    `json:"purpose" enum:"analytics,personalised_marketing"`
	Granted bool      `json:"granted"`
	At      time.Time `json:"at"`
}

type consentAnswer struct {
	UserID   string         `json:"user_id"`
	OptedOut bool           `json:"opted_out" doc:"In no experiment from now on"`
	History  []consentEntry `json:"history" doc:"Oldest first; an event shows after the next seal"`
}

// applyConsents makes a refusal of personalised marketing count at the next assignment; analytics bits count when they are sealed, as of their time. A bit
// that is older than what is known already changes nothing.
func (s *Server) applyConsents(ctx context.Context, bits []features.Consent) error {
	slices.SortStableFunc(bits, func(a, b features.Consent) int { return a.At.Compare(b.At) })
	changed := false
	for _, b := range bits {
		if b.Purpose != features.ConsentMarketing {
			continue
		}
		history, err := s.o.Lake.Consents(ctx, b.User)
		if err != nil {
			return err
		}
		newer := slices.ContainsFunc(history, func(h features.Consent) bool { return h.Purpose == b.Purpose && h.At.After(b.At) })
		if newer {
			continue
		}
		if err := s.o.Store.OptOut(ctx, b.User, !b.Granted); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	return s.Refresh(ctx)
}

// manageConsent registers the history of consent.
func (s *Server) manageConsent() {
	manageOp(s, readers, "customers", "GET", "/v1/users/{id}/consent", "get-consent", "What a customer allowed and refused, with its history", func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"512"`
	}) (*body[consentAnswer], error) {
		history, err := s.o.Lake.Consents(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		answer := consentAnswer{UserID: in.ID, OptedOut: (*s.optedOut.Load())[s.o.Shop.Pseudonym(in.ID)], History: []consentEntry{}}
		for _, h := range history {
			answer.History = append(answer.History, consentEntry{h.Purpose, h.Granted, h.At})
		}
		return &body[consentAnswer]{answer}, nil
	}, describe("The bits come as events `Consent Updated` with the properties analytics and personalised_marketing. Unknown is not refused."))
}
