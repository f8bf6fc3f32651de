package lake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"perennial/features"
)

// sealLot is how many events one segment transaction takes at most: it bounds the sealer's memory.
const sealLot = 250_000

// seals orders the seals of this process and spaces those on request.
type seals struct {
	mu     sync.Mutex
	tokens float64
	filled time.Time
}

// Seal makes every event acknowledged before the call visible to Snapshot. It seals in this process when it owns the journal or nobody
// does, and asks the owner through serve.sock otherwise. Concurrent calls share one seal.
func (l *Lake) Seal(ctx context.Context) error {
	if j := l.journal.Load(); j != nil {
		if err := l.flushViews(ctx); err != nil && !errors.Is(err, ErrDiskFull) && !errors.Is(err, ErrNotServing) {
			return err
		}
		return l.sealJournal(ctx, j, true)
	}
	if _, err := os.Stat(l.journalDir()); errors.Is(err, os.ErrNotExist) {
		return nil // nothing was ever acknowledged here
	}
	return l.byOwner(ctx, "seal", func(lock *fileLock) error { return l.sealAlone(ctx, lock) }, func() (bool, error) {
		_, done, err := l.ask(ctx, "seal")
		return done, err
	})
}

// sealAlone opens the journal for one seal while no server runs.
func (l *Lake) sealAlone(ctx context.Context, lock *fileLock) (err error) {
	defer func() { err = errors.Join(err, lock.unlock()) }()
	var known, full int
	if err := l.db.QueryRowxContext(ctx, `SELECT count(*), count(*) FILTER (WHERE empty = 0) FROM journals WHERE name = ?`, l.o.Server).Scan(&known, &full); err != nil {
		return err
	}
	if known > 0 && full == 0 { // its last owner sealed everything before it closed
		return nil
	}
	db, err := l.openJournal(ctx, lock)
	if err != nil {
		return err
	}
	err = l.sealJournal(ctx, db, false)
	if err == nil {
		err = l.markEmpty(ctx, db)
	}
	return errors.Join(err, db.shut())
}

// markEmpty notes that a journal that is about to be closed holds no unsealed event.
func (l *Lake) markEmpty(ctx context.Context, j *journal) error {
	if j.tailEvents.Load() > 0 {
		return nil
	}
	return l.enterJournal(ctx, j, 1)
}

// sealJournal seals everything that was acknowledged before the call. A caller that waited for the seal of another finds its own
// events sealed and returns.
func (l *Lake) sealJournal(ctx context.Context, j *journal, space bool) error {
	upper, through, err := j.settled(ctx)
	if err != nil {
		return err
	}
	l.seals.mu.Lock()
	defer l.seals.mu.Unlock()
	for j.sealed.Load() < upper {
		if j.closed { // its owner stops; what is left waits in the journal
			return ErrNotServing
		}
		if space && j.tailEvents.Load() > 0 {
			if err := l.seals.pause(ctx, l.o.Burst); err != nil {
				return err
			}
			if upper, through, err = j.settled(ctx); err != nil { // what came meanwhile comes along
				return err
			}
		}
		space = false
		if err := l.sealLot(ctx, j, upper); err != nil {
			return fmt.Errorf("seal: %w", err)
		}
	}
	return l.markThrough(ctx, j, through)
}

// pause lets a burst of seals on request start at once and then one a second, so that a page that polls does not shred the day.
func (s *seals) pause(ctx context.Context, burst int) error {
	now := time.Now()
	if s.filled.IsZero() {
		s.tokens = float64(burst)
	}
	s.tokens = min(float64(burst), s.tokens+now.Sub(s.filled).Seconds())
	s.filled = now
	s.tokens--
	if s.tokens >= 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(-s.tokens * float64(time.Second))):
		return nil
	}
}

// sealLot seals one lot of the journal, at most up to upper. Order: segments durable, manifest and sealed_seq committed together,
// only then the records deleted.
func (l *Lake) sealLot(ctx context.Context, j *journal, upper int64) error {
	b := lot{journal: j.id, first: j.sealed.Load() + 1, last: upper}
	b.events = make([]features.Event, 0, min(j.tailEvents.Load(), sealLot)+100)
	var bytes int64
	err := j.records(b.first, upper, func(first int64, record []byte) (bool, error) {
		if len(b.events) >= sealLot {
			b.last = first - 1
			return false, nil
		}
		from := len(b.events)
		var err error
		if b.events, err = decodeRecord(b.events, record); err != nil {
			return false, err
		}
		for i := range b.events[from:] {
			b.seqs = append(b.seqs, first+int64(i))
		}
		bytes += int64(len(record))
		return true, nil
	})
	if err != nil {
		return err
	}
	floor := j.ids.floor()
	b.unique = floor <= b.first && !j.repeats
	b.covered = func(id string, firstSeq int64) bool { return id == j.id && firstSeq >= floor }
	var w written
	err = l.locked(ctx, func(ctx context.Context) error {
		w, err = l.write(ctx, b, func(tx transaction) error { return markSealed(ctx, tx, j.id, b.last) })
		return err
	})
	if err != nil {
		return err
	}
	reached("seal: committed")
	j.sealed.Store(b.last)
	j.tailBytes.Add(-bytes)
	if j.tailEvents.Add(-int64(len(b.events))) == 0 {
		j.oldest.Store(0)
	}
	l.counts.sealed.Add(int64(len(b.events) - w.duplicates - w.hidden))
	l.counts.lateDuplicates.Add(int64(w.duplicates))
	if err := j.forget(b.last); err != nil {
		return err
	}
	reached("seal: journal emptied")
	l.compactSoon()
	return nil
}
