package lake

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"perennial/features"
)

// Several servers share a data directory (a shared file system) and a PostgreSQL that publishes. Each has its own journal, which it alone seals; the night
// waits at a barrier until everybody has sealed what was received before the cut.

// A server says that it lives every heartbeatEvery; after heartbeatLife without a word it is silent. Both are by PostgreSQL's clock, which is one for all.
const (
	heartbeatEvery = 5 * time.Second
	heartbeatLife  = time.Minute
	databaseClock  = `CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)`
)

// States of a server's journal.
const (
	ServerRunning = "running"
	ServerStopped = "stopped" // in order: nothing unsealed is left
	ServerSilent  = "silent"  // not heard for a minute: it was killed, or cannot reach the database
	ServerRetired = "retired" // for good: the night does not wait for it
)

// ServerJournal is the journal of one of several servers. A server whose journal was lost and that began another one has two.
type ServerJournal struct {
	Server      string     `json:"server"`
	Journal     string     `json:"journal"`
	Status      string     `json:"status"`
	HeardAt     *time.Time `json:"heard_at"`     // nil: never
	SealedUntil *time.Time `json:"sealed_until"` // everything received until then is in segments; nil: it has not sealed yet
	RetiredAt   *time.Time `json:"retired_at,omitempty"`
}

// String is what a person wants to know.
func (s ServerJournal) String() string {
	at := func(t *time.Time, never string) string {
		if t == nil {
			return never
		}
		return t.Format(time.RFC3339)
	}
	text := s.Server + ": " + s.Status
	if s.Status == ServerSilent {
		text = s.Server + ": not heard since " + at(s.HeardAt, "it began")
	}
	return text + ", sealed up to " + at(s.SealedUntil, "nothing yet")
}

// Servers returns the journals of several servers in the order of their names, of one server the one heard last at the end; nil where there is one server alone.
func (l *Lake) Servers(ctx context.Context) ([]ServerJournal, error) {
	if !l.db.shared {
		return nil, nil
	}
	var found []struct {
		ID      string `db:"journal_id"`
		Name    string `db:"name"`
		Empty   bool   `db:"empty"`
		Sealed  int64  `db:"sealed_us"`
		Seen    int64  `db:"seen_us"`
		Retired int64  `db:"retired_us"`
		Now     int64  `db:"now_us"`
	}
	if err := l.db.SelectContext(ctx, &found, `SELECT journal_id, name, empty = 1 AS empty, sealed_us, seen_us, retired_us, `+databaseClock+` AS now_us
		FROM journals ORDER BY name, seen_us, journal_id`); err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	when := func(us int64) *time.Time {
		if us == 0 {
			return nil
		}
		t := time.UnixMicro(us).UTC()
		return &t
	}
	out := make([]ServerJournal, len(found))
	for i, f := range found {
		out[i] = ServerJournal{Server: f.Name, Journal: f.ID, Status: ServerSilent, HeardAt: when(f.Seen), SealedUntil: when(f.Sealed), RetiredAt: when(f.Retired)}
		switch {
		case f.Retired != 0:
			out[i].Status = ServerRetired
		case f.Empty:
			out[i].Status = ServerStopped
		case f.Now-f.Seen < heartbeatLife.Microseconds():
			out[i].Status = ServerRunning
		}
	}
	return out, nil
}

// IncompleteError names the journals that are not sealed up to the cut.
type IncompleteError struct {
	Late  []ServerJournal
	Until time.Time
}

func (e *IncompleteError) Error() string {
	var names, states []string
	for _, s := range e.Late {
		names, states = append(names, s.Server), append(states, s.String())
	}
	names = slices.Compact(names)
	return fmt.Sprintf("incomplete: %s: events received before %s are not sealed there (%s); start the server, go on without it this once with --without %s, or for good after `perennial servers retire %[4]s`",
		strings.Join(names, ", "), e.Until.Format(time.RFC3339), strings.Join(states, "; "), names[0])
}

// enterJournal registers a journal under the server's name; empty is 1 for one that is about to be closed with everything sealed. A retired server that
// comes back is not retired any more.
func (l *Lake) enterJournal(ctx context.Context, j *journal, empty int) error {
	_, err := l.db.ExecContext(ctx, `INSERT INTO journals (journal_id, sealed_seq, empty, name) VALUES (?, ?, ?, ?)
		ON CONFLICT (journal_id) DO UPDATE SET empty = excluded.empty, name = excluded.name`, j.id, j.sealed.Load(), empty, l.o.Server)
	if err == nil {
		err = l.sayAlive(ctx, j)
	}
	return err
}

// sayAlive is a server's heartbeat.
func (l *Lake) sayAlive(ctx context.Context, j *journal) error {
	if !l.db.shared {
		return nil
	}
	_, err := l.db.ExecContext(ctx, `UPDATE journals SET seen_us = `+databaseClock+`, retired_us = 0 WHERE journal_id = ?`, j.id)
	return err
}

// aliveLoop says that this server lives until stop is closed. It has a goroutine of its own: a seal may wait long for the lake lock.
func (l *Lake) aliveLoop(stop <-chan struct{}) {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		j := l.journal.Load()
		if j == nil { // it is being reopened
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), heartbeatEvery/2)
		if err := l.sayAlive(ctx, j); err != nil {
			l.o.Logger.Warn("heartbeat", "error", err)
		}
		cancel()
	}
}

// markThrough says to other servers that everything received up to an instant is sealed. One server alone has nobody to say it to.
func (l *Lake) markThrough(ctx context.Context, j *journal, through time.Time) error {
	if !l.db.shared {
		return nil
	}
	_, err := l.db.ExecContext(ctx, `UPDATE journals SET sealed_us = ? WHERE journal_id = ? AND sealed_us < ?`, through.UnixMicro(), j.id, through.UnixMicro())
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

// followServers does what other servers wait for: it seals when one of them asks for it.
func (l *Lake) followServers(ctx context.Context, j *journal) error {
	if !l.db.shared {
		return nil
	}
	var wanted bool
	if err := l.db.QueryRowxContext(ctx, `SELECT count(*) > 0 FROM journals WHERE journal_id = ? AND wanted_us > sealed_us`, j.id).Scan(&wanted); err != nil {
		return err
	}
	if !wanted {
		return nil
	}
	return l.sealJournal(ctx, j, false)
}

// Barrier seals every registered journal up to an instant, its own at once and those of the others by asking them, and returns until when each server has sealed.
// It waits for them for so long and then errs with *IncompleteError. A server that was stopped in order has nothing unsealed; one that was killed may have, and so may one
// in without, which is not waited for. Retired ones are not asked.
func (l *Lake) Barrier(ctx context.Context, until time.Time, wait time.Duration, without []string) (map[string]time.Time, error) {
	if err := l.Seal(ctx); err != nil {
		return nil, err
	}
	if !l.db.shared {
		return nil, nil
	}
	if _, err := l.db.ExecContext(ctx, `UPDATE journals SET wanted_us = ? WHERE empty = 0 AND wanted_us < ?`, until.UnixMicro(), until.UnixMicro()); err != nil {
		return nil, fmt.Errorf("barrier: %w", err)
	}
	for end := time.Now().Add(wait); ; {
		servers, err := l.Servers(ctx)
		if err != nil {
			return nil, fmt.Errorf("barrier: %w", err)
		}
		marks, late := map[string]time.Time{}, &IncompleteError{Until: until}
		for _, s := range servers {
			if s.Status == ServerRetired {
				continue
			}
			sealed := time.UnixMicro(0).UTC()
			if s.SealedUntil != nil {
				sealed = *s.SealedUntil
			}
			marks[s.Server] = sealed
			if s.Status != ServerStopped && sealed.Before(until) && !slices.Contains(without, s.Server) {
				late.Late = append(late.Late, s)
			}
		}
		if len(late.Late) == 0 {
			return marks, nil
		}
		if time.Now().After(end) {
			return marks, late
		}
		select {
		case <-ctx.Done():
			return marks, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// LossError is a retirement that would lose events: the journal of a silent server is not in the data directory.
type LossError struct {
	ServerJournal
	Dir string // where it should be
}

func (e *LossError) Error() string {
	since := "since it began"
	if e.SealedUntil != nil {
		since = "after " + e.SealedUntil.Format(time.RFC3339)
	}
	return fmt.Sprintf("what %s acknowledged %s is in its journal %s alone, which is not in %s: it would be lost; bring that directory back and start the server, or let it go with --accept-loss",
		e.Server, since, e.Journal, e.Dir)
}

// RetireServer takes a server that does not run out of the registry, so that no night waits for it, and returns the journals that it retired. What they hold is sealed
// first; where a journal is not there any more it errs with *LossError unless the loss is accepted. It refuses while the server is heard, but for the lost
// journal of one that began another. A retired server that is started again is one of the servers again.
func (l *Lake) RetireServer(ctx context.Context, server string, acceptLoss bool) ([]ServerJournal, error) {
	mine := func() (rest []ServerJournal, running bool, err error) {
		all, err := l.Servers(ctx)
		for _, s := range all {
			switch {
			case s.Server != server || s.Status == ServerRetired:
			case s.Status == ServerRunning:
				running = true
			default:
				rest = append(rest, s)
			}
		}
		return rest, running, err
	}
	rest, running, err := mine()
	switch {
	case err != nil:
		return nil, err
	case running && len(rest) == 0:
		return nil, fmt.Errorf("retire: server %s is running: stop it first, or wait a minute after it was killed", server)
	case len(rest) == 0:
		return nil, &features.InvalidError{Field: "server", Reason: fmt.Sprintf("%q is none of the servers that `perennial servers list` shows", server)}
	}
	o := l.o
	o.Server, o.Private = server, ""
	theirs, err := Open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("retire: %w", err)
	}
	if !running {
		err = theirs.sealSilent(ctx)
	}
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, fmt.Errorf("retire %s: %w", server, err)
	}
	if rest, _, err = mine(); err != nil {
		return nil, err
	}
	for _, s := range rest {
		if s.Status == ServerSilent && !acceptLoss {
			return nil, &LossError{s, theirs.journalDir()}
		}
	}
	for i, s := range rest {
		if _, err := l.db.ExecContext(ctx, `UPDATE journals SET retired_us = `+databaseClock+` WHERE journal_id = ?`, s.Journal); err != nil {
			return nil, fmt.Errorf("retire %s: %w", server, err)
		}
		rest[i].RetiredAt = new(time.Now().UTC())
	}
	return rest, nil
}

// sealSilent seals what the journal of a server holds that nobody hears, where it is in the data directory and no process holds it.
func (l *Lake) sealSilent(ctx context.Context) error {
	lock, ok, err := tryLock(filepath.Join(l.o.Private, "serve.lock"))
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("a process holds its journal and is not heard: end it first")
	}
	if err := lock.unlock(); err != nil {
		return err
	}
	return l.Seal(ctx)
}
