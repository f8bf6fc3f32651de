package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"perennial/features/lake"
)

type serversCmd struct {
	List   serversListCmd   `cmd:"" help:"Each server: when it was last heard, and up to when it has sealed."`
	Retire serversRetireCmd `cmd:"" help:"Let a server go for good, so that no night waits for it."`
}

type serversListCmd struct{}

// Help shows an example.
func (serversListCmd) Help() string {
	return `Of servers that share a data directory (server: and database: in the configuration). running: heard within the last minute. stopped: in order, nothing of it is
unsealed. silent: not heard and not stopped in order; the night waits for it. retired: for good. A server whose journal was lost and that began another has two lines.

Example:
  perennial servers list --json`
}

// Run lists the servers.
func (serversListCmd) Run(ctx context.Context, a *App) error {
	l, err := a.openLake(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	servers, err := l.Servers(ctx)
	if err != nil {
		return err
	}
	if a.JSON {
		return json.NewEncoder(a.Out).Encode(map[string]any{"servers": append([]lake.ServerJournal{}, servers...)})
	}
	if a.Config.Server == "" {
		fmt.Fprintln(a.Err, "this data directory has one server; several need server: and database: in perennial.yaml")
	}
	return a.printServers(servers)
}

func (a *App) printServers(servers []lake.ServerJournal) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVER\tSTATUS\tHEARD\tSEALED UP TO\tJOURNAL")
	at := func(t *time.Time) string {
		if t == nil {
			return "never"
		}
		return a.local(*t)
	}
	for _, s := range servers {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Server, s.Status, at(s.HeardAt), at(s.SealedUntil), s.Journal)
	}
	return w.Flush()
}

type serversRetireCmd struct {
	Server     string `arg:"" help:"Its name (perennial servers list)."`
	AcceptLoss bool   `help:"Let what its journal holds go, where the journal is not in the data directory any more."`
}

// Help says what is refused.
func (serversRetireCmd) Help() string {
	return `Seals what the server's journal holds and takes the server out of the registry. Refused while it is heard. Where its journal is not in the data directory any more,
what it acknowledged after it had last sealed is lost: that is said, and done only with --accept-loss. A retired server that is started again takes part again.

Examples:
  perennial servers retire two
  perennial servers retire two --accept-loss`
}

// Run retires a server.
func (c serversRetireCmd) Run(ctx context.Context, a *App) error {
	if a.Config.Server == "" {
		return usagef("servers retire: this data directory has one server; several need server: and database: in perennial.yaml")
	}
	l, err := a.openLake(ctx)
	if err != nil {
		return err
	}
	gone, err := l.RetireServer(ctx, c.Server, c.AcceptLoss)
	if err = errors.Join(err, l.Close()); err != nil {
		return err
	}
	if a.JSON {
		return json.NewEncoder(a.Out).Encode(map[string]any{"retired": gone})
	}
	for _, s := range gone {
		lost := "everything that it acknowledged is sealed"
		if s.Status == lake.ServerSilent {
			lost = "what its journal " + s.Journal + " held after that is lost"
		}
		fmt.Fprintf(a.Out, "%s is retired; %s\n", s, lost)
	}
	return nil
}

// checkServers says how each of several servers is; nil for one alone.
func checkServers(ctx context.Context, l *lake.Lake) *finding {
	servers, err := l.Servers(ctx)
	if err != nil {
		return new(fault("check `database` in perennial.yaml", "%v", err))
	}
	if len(servers) == 0 {
		return nil
	}
	text, silent := "", ""
	for _, s := range servers {
		if s.Status == lake.ServerRetired {
			continue
		}
		if s.Status == lake.ServerSilent {
			silent = s.Server
		}
		if text != "" {
			text += "; "
		}
		text += s.String()
		if s.Status == lake.ServerRunning {
			text += ", heard at " + s.HeardAt.Format(time.RFC3339)
		}
	}
	if silent != "" {
		return new(warning("start it, or let it go with `perennial servers retire "+silent+"`: the night waits for it", "%s", text))
	}
	return new(fine("%s", text))
}
