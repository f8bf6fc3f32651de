package api

import (
	"context"

	"perennial/features/lake"
)

type quarantineAnswer struct {
	Events  []lake.Quarantined      `json:"events" doc:"Newest first"`
	Reasons []lake.QuarantineReason `json:"reasons" doc:"How often each stands in what is kept"`
}

// manageQuarantine registers the list of refused events.
func (s *Server) manageQuarantine() {
	manageOp(s, readers, "events", "GET", "/v1/quarantine", "list-quarantine", "Events that a door refused", func(_ context.Context, in *struct {
		Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}) (*body[quarantineAnswer], error) {
		events, reasons, err := s.o.Lake.ReadQuarantine(in.Limit)
		if events == nil {
			events = []lake.Quarantined{}
		}
		if reasons == nil {
			reasons = []lake.QuarantineReason{}
		}
		return &body[quarantineAnswer]{quarantineAnswer{events, reasons}}, err
	}, describe("The last 16 to 32 MB of refusals with field, reason and the event as it came (clipped; without it where ids are stored as pseudonyms)."))
}
