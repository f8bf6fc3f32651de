package lake

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"perennial/features"
)

// tombstones reads the users whose erasure is under way with the time up to which their rows are hidden.
func tombstones(ctx context.Context, q sqlx.QueryerContext) (map[string]time.Time, error) {
	var found []struct {
		User   string `db:"user_id"`
		Before int64  `db:"before_us"`
	}
	if err := sqlx.SelectContext(ctx, q, &found, `SELECT user_id, before_us FROM tombstones`); err != nil {
		return nil, err
	}
	stones := make(map[string]time.Time, len(found))
	for _, f := range found {
		stones[f.User] = time.UnixMicro(f.Before).UTC()
	}
	return stones, nil
}

// withoutErased returns the lot without rows of erased users: what was received before the erasure, and replays of what happened
// before it.
func (l *Lake) withoutErased(ctx context.Context, b lot) (lot, int, error) {
	stones, err := tombstones(ctx, l.db)
	if err != nil {
		return b, 0, err
	}
	var done []struct {
		Hash   string `db:"user_hash"`
		Before int64  `db:"before_us"`
	}
	if err := l.db.SelectContext(ctx, &done, `SELECT user_hash, before_us FROM erasures`); err != nil {
		return b, 0, err
	}
	if len(stones)+len(done) == 0 {
		return b, 0, nil
	}
	hashes := make(map[string]time.Time, len(done))
	for _, d := range done {
		hashes[d.Hash] = time.UnixMicro(d.Before).UTC()
	}
	var key []byte
	if len(done) > 0 {
		if key, err = l.erasureKey(ctx); err != nil {
			return b, 0, err
		}
	}
	gone := func(user string, e *features.Event) bool {
		before, ok := stones[user]
		if !ok && len(hashes) > 0 && user != "" {
			before, ok = hashes[userHash(key, user)]
		}
		return ok && (!e.ReceivedAt.After(before) || !e.TS.After(before))
	}
	kept := b
	kept.events, kept.seqs = make([]features.Event, 0, len(b.events)), make([]int64, 0, len(b.seqs))
	for i := range b.events {
		e := b.events[i]
		if gone(e.UserID, &e) {
			continue
		}
		if gone(e.AnonymousID, &e) {
			if e.UserID == "" {
				continue
			}
			e.AnonymousID = ""
		}
		kept.events, kept.seqs = append(kept.events, e), append(kept.seqs, b.seqs[i])
	}
	return kept, len(b.events) - len(kept.events), nil
}

// DropBefore ends the retention of whole days: the segments of days before a day leave the manifest, and their files go after the
// grace and the last lease. It returns how many segments it dropped.
func (l *Lake) DropBefore(ctx context.Context, day features.Day) (int, error) {
	dropped := 0
	err := l.locked(ctx, func(ctx context.Context) error {
		old, err := l.segments(ctx, l.db, `removed IS NULL AND day < ?`, day)
		if err != nil || len(old) == 0 {
			return err
		}
		dropped = len(old)
		return l.inTx(ctx, func(tx transaction) error { return l.replace(ctx, tx, old, nil) })
	})
	if err != nil {
		return 0, fmt.Errorf("drop events before %s: %w", day, err)
	}
	return dropped, nil
}
