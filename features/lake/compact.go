package lake

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"perennial/features"
)

// compactAbove is how many segments of a day make it worth one.
const compactAbove = 16

type compactor struct{ due atomic.Bool }

// compactSoon tells the owner's background loop to look for days in pieces.
func (l *Lake) compactSoon() { l.compact.due.Store(true) }

// keepHouse merges days in pieces and deletes what nobody can read any more.
func (l *Lake) keepHouse(ctx context.Context) error {
	if _, err := l.Compact(ctx); err != nil {
		return err
	}
	if _, err := l.Collect(ctx); err != nil {
		return err
	}
	return l.sweepRuns()
}

// Compact merges the segments of every day that has more than 16 into one, a day at a time, and returns how many days it merged.
// Readers keep the files of their snapshots; old ones are deleted after the grace and the last lease.
func (l *Lake) Compact(ctx context.Context) (int, error) {
	var days []features.Day
	if err := l.db.SelectContext(ctx, &days, `SELECT day FROM segments WHERE removed IS NULL GROUP BY day HAVING count(*) > ? ORDER BY day`, compactAbove); err != nil {
		return 0, fmt.Errorf("compact: %w", err)
	}
	for i, day := range days {
		if err := l.compactDay(ctx, day); err != nil {
			return i, fmt.Errorf("compact %s: %w", day, err)
		}
	}
	return len(days), nil
}

func (l *Lake) compactDay(ctx context.Context, day features.Day) error {
	return l.locked(ctx, func(ctx context.Context) error {
		old, err := l.segments(ctx, l.db, `removed IS NULL AND day = ?`, day)
		if err != nil || len(old) < 2 {
			return err
		}
		_, err = l.rewrite(ctx, day, old, columnNames, "true", false)
		return err
	})
}

// rewrite replaces segments of one day by one that holds columns (a select list) of their rows where keep (SQL) is true. The
// lake lock is held. changed says that the day's content is another: Added is then the new snapshot, so that what was computed
// from the day is computed again; otherwise it stays that of the newest old segment. It returns how many rows went.
func (l *Lake) rewrite(ctx context.Context, day features.Day, old []Segment, columns, keep string, changed bool) (dropped int64, err error) {
	duck, err := l.engine(ctx)
	if err != nil {
		return 0, err
	}
	conn, err := duck.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	merged := Segment{Day: day, Journal: old[0].Journal, FirstSeq: old[0].FirstSeq, LastSeq: old[0].LastSeq, minIDDay: old[0].minIDDay, maxIDDay: old[0].maxIDDay}
	paths := make([]string, len(old))
	rows := int64(0)
	for i, g := range old {
		paths[i], rows = g.Path, rows+g.Rows
		if g.Journal != merged.Journal {
			merged.Journal = newJournalID() // of several journals: its sequence range means nothing
		}
		if !changed {
			merged.Added = max(merged.Added, g.Added)
		}
		merged.FirstSeq, merged.LastSeq = min(merged.FirstSeq, g.FirstSeq), max(merged.LastSeq, g.LastSeq)
		merged.minIDDay, merged.maxIDDay = min(merged.minIDDay, g.minIDDay), max(merged.maxIDDay, g.maxIDDay)
	}
	source := "read_parquet(" + list(paths) + ") WHERE " + keep
	if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM "+source).Scan(&merged.Rows); err != nil {
		return 0, err
	}
	var fresh []Segment
	if merged.Rows > 0 {
		name := fmt.Sprintf("seg=%s-%d-%d-c%s", merged.Journal, merged.FirstSeq, merged.LastSeq, newJournalID()[:6])
		if err := l.copySegment(ctx, conn, "SELECT "+columns+" FROM "+source+" ORDER BY user_id, ts, event_id", name, &merged); err != nil {
			return 0, err
		}
		fresh = []Segment{merged}
	}
	err = l.inTx(ctx, func(tx transaction) error {
		err := l.replace(ctx, tx, old, fresh)
		reached("replace: to commit")
		return err
	})
	reached("replace: committed")
	return rows - merged.Rows, err
}

// replace swaps segments in the manifest under one new snapshot number.
func (l *Lake) replace(ctx context.Context, tx transaction, old, fresh []Segment) error {
	id, err := nextSnapshot(ctx, tx)
	if err != nil {
		return err
	}
	for _, g := range old {
		path, err := l.rel(g.Path)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE segments SET removed = ?, removed_at = ? WHERE path = ? AND removed IS NULL`, id, time.Now().Unix(), path); err != nil {
			return err
		}
	}
	for i := range fresh {
		g := &fresh[i]
		path, err := l.rel(g.Path)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO segments (path, day, rows, bytes, journal_id, first_seq, last_seq, min_id_day, max_id_day, checksum, added)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, path, g.Day, g.Rows, g.Bytes, g.Journal, g.FirstSeq, g.LastSeq, g.minIDDay, g.maxIDDay, g.Checksum, cmp.Or(g.Added, id)); err != nil {
			return err
		}
	}
	return nil
}
