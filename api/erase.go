package api

import (
	"context"
	"net/http"
	"time"

	"perennial/features/lake"
)

// eraseWait is how long one request waits for readers of replaced files before it answers 202.
const eraseWait = 20 * time.Second

type erased struct {
	Status int
	Body   lake.Proof
}

// manageErasure registers the right to be forgotten.
func (s *Server) manageErasure() {
	manageOp(s, owners, "customers", "DELETE", "/v1/users/{id}", "erase-user", "Forget a customer", func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"512"`
	}) (*erased, error) {
		if fault := unitFault(in.ID); fault != "" {
			return nil, invalid("id", "%s", fault)
		}
		waiting, cancel := context.WithTimeout(ctx, eraseWait)
		defer cancel()
		proof, err := s.o.Lake.Erase(waiting, in.ID)
		if err != nil {
			return nil, err
		}
		if err := s.o.Store.OptOut(ctx, s.o.Shop.Pseudonym(in.ID), false); err != nil { // the refusal names her too; who comes back is new
			return nil, err
		}
		if s.o.Rescore != nil {
			if err := s.o.Rescore(ctx); err != nil {
				return nil, err
			}
		}
		s.log.Info("a customer was erased", "by", callerOf(ctx).By(), "rows", proof.Rows, "files", proof.Files, "complete", proof.Complete)
		out := &erased{Status: http.StatusOK, Body: proof}
		if !proof.Complete {
			out.Status = http.StatusAccepted
		}
		return out, s.Refresh(ctx)
	}, describe("Events, scores, features, kept answers and exposures go; aggregates stay. 200 with the proof when nothing of her is left; 202 while readers still hold "+
		"replaced files: send the same request again to finish."))
}
