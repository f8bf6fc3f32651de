package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"perennial/experiments/sqlstore"
)

type keysCmd struct {
	Create keysCreateCmd `cmd:"" help:"Make a key; its secret is shown once."`
	List   keysListCmd   `cmd:"" help:"List keys, revoked ones too."`
	Revoke keysRevokeCmd `cmd:"" help:"End a key."`
}

type keysCreateCmd struct {
	Role string `required:"" enum:"client,frontend,analyst,marketer,admin" help:"What it may do: client (assignments, events, SDKs), frontend (public, in browsers), analyst (reads), marketer (experiments, offers), admin (all)."`
	Name string `help:"Who or what uses it."`
}

// Help shows examples.
func (keysCreateCmd) Help() string {
	return "Examples:\n  perennial keys create --role client --name shop-backend\n  KEY=$(perennial keys create --role admin --json | jq -r .key)"
}

// Run makes a key. A running server knows it within a second.
func (c keysCreateCmd) Run(ctx context.Context, a *App) error {
	return a.withStore(ctx, func(s *sqlstore.Store) error {
		k, secret, err := s.CreateKey(ctx, c.Role, c.Name)
		if err != nil {
			return err
		}
		if a.JSON {
			return json.NewEncoder(a.Out).Encode(map[string]string{"id": k.ID, "role": k.Role, "name": k.Name, "key": secret})
		}
		fmt.Fprintf(a.Err, "key %s of role %s; this is the only time that it is shown:\n", k.ID, k.Role)
		_, err = fmt.Fprintln(a.Out, secret)
		return err
	})
}

type keysListCmd struct{}

// Run lists keys without their secrets, which nobody has.
func (keysListCmd) Run(ctx context.Context, a *App) error {
	return a.withStore(ctx, func(s *sqlstore.Store) error {
		keys, err := s.Keys(ctx)
		if err != nil {
			return err
		}
		if a.JSON {
			return json.NewEncoder(a.Out).Encode(map[string]any{"keys": keys})
		}
		w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tROLE\tNAME\tCREATED\tREVOKED")
		for _, k := range keys {
			revoked := ""
			if k.RevokedAt != nil {
				revoked = a.local(*k.RevokedAt)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Role, k.Name, a.local(k.CreatedAt), revoked)
		}
		return w.Flush()
	})
}

type keysRevokeCmd struct {
	ID string `arg:"" help:"The key's id (perennial keys list)."`
}

// Run ends a key.
func (c keysRevokeCmd) Run(ctx context.Context, a *App) error {
	return a.withStore(ctx, func(s *sqlstore.Store) error {
		if err := s.RevokeKey(ctx, c.ID); err != nil {
			return err
		}
		if a.JSON {
			return json.NewEncoder(a.Out).Encode(map[string]any{"id": c.ID, "revoked": true})
		}
		_, err := fmt.Fprintf(a.Out, "key %s is revoked\n", c.ID)
		return err
	})
}
