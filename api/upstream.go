package api

import (
	"context"

	"perennial/experiments/unleash"
)

// upstreamAnswer is what the server knows of an upstream Unleash server.
type upstreamAnswer struct {
	Configured bool           `json:"configured" doc:"unleash_url is set"`
	Fault      string         `json:"fault" doc:"Why the newest fetch failed; empty when it did not"`
	Flags      []unleash.Flag `json:"flags" doc:"The last good flags: kill switches (kill_switch of an experiment) and splits to analyse (upstream)"`
}

// manageUpstream registers what a person sees of the upstream Unleash server.
func (s *Server) manageUpstream() {
	manageOp(s, readers, "experiments", "GET", "/v1/upstream/flags", "list-upstream-flags", "Flags of the upstream Unleash server", func(context.Context, *none) (*body[upstreamAnswer], error) {
		out := upstreamAnswer{Flags: []unleash.Flag{}}
		if s.o.Watched != nil {
			flags, fault := s.o.Watched()
			out = upstreamAnswer{true, fault, orEmpty(flags)}
		}
		return &body[upstreamAnswer]{out}, nil
	}, describe("An experiment whose upstream is one of them is split by that server; this one records who was exposed and judges."))
}
