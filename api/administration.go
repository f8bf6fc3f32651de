package api

import (
	"context"

	"perennial/experiments/sqlstore"
)

// manageAdministration registers who am I, keys and the audit.
func (s *Server) manageAdministration() {
	type me struct {
		Role           string `json:"role"`
		Name           string `json:"name"`
		Currency       string `json:"currency"`
		Timezone       string `json:"timezone"`
		Now            string `json:"now"`
		SimulatedClock bool   `json:"simulated_clock" doc:"true when the shop's clock is configured, as in the demo"`
		Version        string `json:"version"`
	}
	const tag = "administration"
	manageOp(s, readers|client|frontend, tag, "GET", "/v1/me", "me", "Who asks, and in which shop", func(ctx context.Context, _ *none) (*body[me], error) {
		who, zone := callerOf(ctx), "UTC"
		if s.o.Shop.Location != nil {
			zone = s.o.Shop.Location.String()
		}
		return &body[me]{me{Role: who.Role, Name: who.Name, Currency: s.o.Shop.Currency, Timezone: zone, Now: s.now().UTC().Format("2006-01-02T15:04:05.999999Z07:00"),
			SimulatedClock: s.o.Simulated, Version: s.o.Version}}, nil
	})
	type keyList struct {
		Keys []sqlstore.Key `json:"keys"`
	}
	manageOp(s, owners, tag, "GET", "/v1/keys", "list-keys", "Every key, revoked ones too, without secrets", func(ctx context.Context, _ *none) (*body[keyList], error) {
		list, err := s.o.Store.Keys(ctx)
		return &body[keyList]{keyList{orEmpty(list)}}, err
	})
	type newKey struct {
		Role string `json:"role" enum:"client,frontend,analyst,marketer,admin" required:"true"`
		Name string `json:"name,omitempty" maxLength:"128"`
	}
	type madeKey struct {
		ID   string `json:"id"`
		Role string `json:"role"`
		Name string `json:"name"`
		Key  string `json:"key" doc:"The secret, shown once"`
	}
	manageOp(s, owners, tag, "POST", "/v1/keys", "create-key", "Make a key", func(ctx context.Context, in *struct{ Body newKey }) (*body[madeKey], error) {
		k, secret, err := s.o.Store.CreateKey(ctx, in.Body.Role, in.Body.Name)
		if err != nil {
			return nil, err
		}
		return &body[madeKey]{madeKey{k.ID, k.Role, k.Name, secret}}, s.Refresh(ctx)
	}, created)
	manageOp(s, owners, tag, "DELETE", "/v1/keys/{id}", "revoke-key", "End a key", func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"128"`
	}) (*struct{}, error) {
		if err := s.o.Store.RevokeKey(ctx, in.ID); err != nil {
			return nil, err
		}
		return nil, s.Refresh(ctx)
	}, noContent)
	type auditList struct {
		Entries []sqlstore.AuditEntry `json:"entries"`
	}
	manageOp(s, readers, tag, "GET", "/v1/audit", "list-audit", "Who changed what, newest first", func(ctx context.Context, in *struct {
		Object string `query:"object" doc:"Only changes of this object" maxLength:"256"`
		Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
	}) (*body[auditList], error) {
		list, err := s.o.Store.Audit(ctx, in.Object, in.Limit)
		return &body[auditList]{auditList{orEmpty(list)}}, err
	})
}
