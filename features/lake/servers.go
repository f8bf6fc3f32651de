package lake

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Several servers share a data directory (a shared file system) and a PostgreSQL that publishes. Each has its own journal, which it alone seals; the night
// waits at a barrier until everybody has sealed what was received before the cut.

// IncompleteError names the servers whose journals are not sealed up to the cut.
type IncompleteError struct {
	Servers []string
	Until   time.Time
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("incomplete: %s: events received before %s are not sealed there; start the server, or go on without it with --without NAME where its journal is lost",
		strings.Join(e.Servers, ", "), e.Until.Format(time.RFC3339))
}

// enterJournal registers a journal under the server's name; empty is 1 for one that is about to be closed with everything sealed.
func (l *Lake) enterJournal(ctx context.Context, j *journal, empty int) error {
	_, err := l.db.ExecContext(ctx, `INSERT INTO journals (journal_id, sealed_seq, empty, name) VALUES (?, ?, ?, ?)
		ON CONFLICT (journal_id) DO UPDATE SET empty = excluded.empty, name = excluded.name`, j.id, j.sealed.Load(), empty, l.o.Server)
	return err
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
// in without, which is not waited for.
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
		var found []struct {
			Name   string `db:"name"`
			Empty  bool   `db:"empty"`
			Sealed int64  `db:"sealed_us"`
		}
		if err := l.db.SelectContext(ctx, &found, `SELECT name, empty = 1 AS empty, sealed_us FROM journals ORDER BY name, sealed_us`); err != nil {
			return nil, fmt.Errorf("barrier: %w", err)
		}
		marks, late := map[string]time.Time{}, &IncompleteError{Until: until}
		for _, f := range found {
			marks[f.Name] = time.UnixMicro(f.Sealed).UTC()
			if !f.Empty && f.Sealed < until.UnixMicro() && !slices.Contains(without, f.Name) {
				late.Servers = append(late.Servers, f.Name)
			}
		}
		if len(late.Servers) == 0 {
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
