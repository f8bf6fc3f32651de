package lake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"

	"perennial/features"
)

// leaseLife is how long a lease protects files after its last heartbeat. It is measured on the machine's clock, never the shop's.
const leaseLife = 15 * time.Minute

// leases are the snapshots that this process holds. Many readers of one snapshot share one row of lake.db.
type leases struct {
	mu   sync.Mutex
	held map[int64]*lease // by snapshot id
	stop chan struct{}    // ends the heartbeat; nil while it does not run
}

type lease struct {
	row      int64
	readers  int
	snapshot Snapshot
}

func (s *leases) init() { s.held = map[int64]*lease{} }

// Snapshot returns the newest sealed state with a lease on its files.
func (l *Lake) Snapshot(ctx context.Context) (*Snapshot, error) {
	l.leases.mu.Lock()
	defer l.leases.mu.Unlock()
	var newest int64
	if err := l.db.GetContext(ctx, &newest, `SELECT snapshot FROM state`); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	h := l.leases.held[newest]
	if h == nil {
		var err error
		if h, err = l.claim(ctx); err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
		l.leases.held[h.snapshot.ID] = h
		l.dropIdle(ctx, h.snapshot.ID)
		if l.leases.stop == nil {
			l.leases.stop = make(chan struct{})
			go l.heartbeat(l.leases.stop)
		}
	}
	h.readers++
	s := h.snapshot
	s.release = func() error {
		l.leases.mu.Lock()
		defer l.leases.mu.Unlock()
		h.readers-- // the row stays for the next reader until a newer snapshot or the heartbeat drops it
		return nil
	}
	return &s, nil
}

// reread runs f over the newest segments, and again over newer ones when it fails because collection has removed a file in between. It takes no lease: one of a
// process that is killed meanwhile would hold collection up. f may be run twice.
func (l *Lake) reread(ctx context.Context, f func(sealed []Segment) error) error {
	for {
		var before, after int64
		if err := l.db.GetContext(ctx, &before, `SELECT snapshot FROM state`); err != nil {
			return err
		}
		sealed, err := l.segments(ctx, l.db, `removed IS NULL`)
		if err == nil {
			err = f(sealed)
		}
		if err == nil {
			return nil
		}
		if e := l.db.GetContext(ctx, &after, `SELECT snapshot FROM state`); e != nil || after == before {
			return errors.Join(err, e)
		}
	}
}

// claim reads the newest state and enters a lease on it in one transaction, so that no file can go in between.
func (l *Lake) claim(ctx context.Context) (*lease, error) {
	h := &lease{}
	err := l.inTx(ctx, func(tx transaction) error {
		if err := tx.GetContext(ctx, &h.snapshot.ID, `SELECT snapshot FROM state`); err != nil {
			return err
		}
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		if err := tx.GetContext(ctx, &h.row, `INSERT INTO leases (snapshot, owner, expires_at) VALUES (?, ?, ?) RETURNING id`,
			h.snapshot.ID, host+"/"+strconv.Itoa(os.Getpid()), time.Now().Add(leaseLife).Unix()); err != nil {
			return err
		}
		if h.snapshot.Segments, err = l.segments(ctx, tx, `removed IS NULL`); err != nil {
			return err
		}
		if h.snapshot.Tombstones, err = tombstones(ctx, tx); err != nil {
			return err
		}
		h.snapshot.Links, _, err = linksAfter(ctx, tx, 0)
		return err
	})
	return h, err
}

// segments reads manifest rows by a fixed condition, ordered by day and age.
func (l *Lake) segments(ctx context.Context, q sqlx.QueryerContext, where string, args ...any) ([]Segment, error) {
	var found []struct {
		Path     string       `db:"path"`
		Day      features.Day `db:"day"`
		Rows     int64        `db:"rows"`
		Bytes    int64        `db:"bytes"`
		FirstSeq int64        `db:"first_seq"`
		LastSeq  int64        `db:"last_seq"`
		Journal  string       `db:"journal_id"`
		Checksum string       `db:"checksum"`
		Added    int64        `db:"added"`
		MinIDDay features.Day `db:"min_id_day"`
		MaxIDDay features.Day `db:"max_id_day"`
	}
	if err := sqlx.SelectContext(ctx, q, &found, `SELECT path, day, rows, bytes, first_seq, last_seq, journal_id, checksum, added, min_id_day, max_id_day
		FROM segments WHERE `+where+` ORDER BY day, added, id`, args...); err != nil {
		return nil, err
	}
	segments := make([]Segment, len(found))
	for i, f := range found {
		segments[i] = Segment{Path: l.abs(f.Path), Day: f.Day, Rows: f.Rows, Bytes: f.Bytes, FirstSeq: f.FirstSeq, LastSeq: f.LastSeq,
			Checksum: f.Checksum, Journal: f.Journal, Added: f.Added, minIDDay: f.MinIDDay, maxIDDay: f.MaxIDDay}
	}
	return segments, nil
}

// heartbeat keeps the leases of this process alive until stop is closed.
func (l *Lake) heartbeat(stop chan struct{}) {
	tick := time.NewTicker(leaseLife / 5)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			l.beat(ctx)
			cancel()
		}
	}
}

// beat prolongs the leases that have readers and drops the others.
func (l *Lake) beat(ctx context.Context) {
	l.leases.mu.Lock()
	defer l.leases.mu.Unlock()
	l.dropIdle(ctx, -1)
	for _, h := range l.leases.held {
		if _, err := l.db.ExecContext(ctx, `UPDATE leases SET expires_at = ? WHERE id = ?`, time.Now().Add(leaseLife).Unix(), h.row); err != nil {
			l.o.Logger.Warn("lease not renewed", "snapshot", h.snapshot.ID, "error", err)
		}
	}
}

// dropIdle gives back leases without readers, but that of snapshot keep. leases.mu is held.
func (l *Lake) dropIdle(ctx context.Context, keep int64) {
	for id, h := range l.leases.held {
		if h.readers > 0 || id == keep {
			continue
		}
		if _, err := l.db.ExecContext(ctx, `DELETE FROM leases WHERE id = ?`, h.row); err != nil {
			l.o.Logger.Warn("lease not given back", "snapshot", id, "error", err)
			continue
		}
		delete(l.leases.held, id)
	}
}

// releaseAll ends the heartbeat and gives every lease back.
func (l *Lake) releaseAll() error {
	l.leases.mu.Lock()
	defer l.leases.mu.Unlock()
	if l.leases.stop != nil {
		close(l.leases.stop)
		l.leases.stop = nil
	}
	var err error
	for id, h := range l.leases.held {
		_, e := l.db.ExecContext(context.Background(), `DELETE FROM leases WHERE id = ?`, h.row)
		err = errors.Join(err, e)
		delete(l.leases.held, id)
	}
	return err
}

// Collect deletes the files of segments that were replaced longer than the grace ago and that no live lease can still read, and
// what crashed writers left behind. It returns how many files went. The caller does not hold the lake lock.
func (l *Lake) Collect(ctx context.Context) (int, error) {
	gone := 0
	err := l.locked(ctx, func(ctx context.Context) error {
		now := time.Now()
		if _, err := l.db.ExecContext(ctx, `DELETE FROM leases WHERE expires_at < ?`, now.Unix()); err != nil {
			return err
		}
		dead, err := l.segments(ctx, l.db, `removed_at <= ? AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.snapshot < segments.removed)`, now.Add(-l.o.Grace).Unix())
		if err != nil {
			return err
		}
		for _, g := range dead {
			if err := os.RemoveAll(filepath.Dir(g.Path)); err != nil {
				return err
			}
			reached("collect: file removed")
			path, err := l.rel(g.Path)
			if err != nil {
				return err
			}
			if _, err := l.db.ExecContext(ctx, `DELETE FROM segments WHERE path = ?`, path); err != nil {
				return err
			}
			gone++
		}
		n, err := l.sweep(ctx)
		gone += n
		return err
	})
	return gone, err
}

// sweep removes work directories and segment directories that no manifest row names: a writer died between its rename and its
// commit. The lake lock is held, so no writer of this machine is in between now.
func (l *Lake) sweep(ctx context.Context) (int, error) {
	work, err := filepath.Glob(filepath.Join(l.o.Dir, "lake", "tmp", "seg-*"))
	if err != nil {
		return 0, err
	}
	var known []string
	if err := l.db.SelectContext(ctx, &known, `SELECT path FROM segments`); err != nil {
		return 0, err
	}
	named := make(map[string]bool, len(known))
	for _, p := range known {
		named[filepath.Dir(l.abs(p))] = true
	}
	dirs, err := filepath.Glob(filepath.Join(l.o.Dir, "lake", "events", "day=*", "seg=*"))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, d := range append(work, dirs...) {
		if named[d] {
			continue
		}
		if err := os.RemoveAll(d); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
