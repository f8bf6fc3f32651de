package lake

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/murmur3"

	"perennial/features"
)

// Buckets is how many user buckets a segment's user_bucket column has.
const Buckets = 64

// UserBucket returns murmur3_x86_32(user) mod 64: the unit of memory, resume and sharding of everything computed per user. No engine
// has that hash, so it is stored with every row.
func UserBucket(user string) int32 { return int32(murmur3.StringSum32(user) % Buckets) }

// lot is what one seal or import writes: events with their sequence numbers in one journal.
type lot struct {
	journal     string
	first, last int64 // bounds of the sequence range, which names the segments
	events      []features.Event
	seqs        []int64
	covered     func(journal string, firstSeq int64) bool // segments whose ids are known not to be in the lot; nil: none
	unique      bool                                      // no id stands in the lot twice: the door has seen them all
}

// written is the result of writing a lot.
type written struct {
	segments   []Segment
	duplicates int
	hidden     int              // rows of erased users
	events     []features.Event // of the lot, without those
	fresh      []int            // the places of the events that were new
}

// write anti-joins a lot against the sealed ids, writes one segment for each day and publishes them in one transaction, in which
// also runs. The caller holds the lake lock. Order: COPY, fsync, rename, fsync of the directory, commit.
func (l *Lake) write(ctx context.Context, b lot, also func(tx transaction) error) (written, error) {
	var w written
	b, hidden, err := l.withoutErased(ctx, b)
	if err != nil {
		return w, fmt.Errorf("erased users: %w", err)
	}
	w.hidden = hidden
	if len(b.events) == 0 {
		return w, l.inTx(ctx, func(tx transaction) error {
			if also == nil {
				return nil
			}
			return also(tx)
		})
	}
	duck, err := l.engine(ctx)
	if err != nil {
		return w, err
	}
	conn, err := duck.Conn(ctx)
	if err != nil {
		return w, err
	}
	defer conn.Close()
	fresh, err := l.antiJoin(ctx, conn, b)
	if err != nil {
		return w, fmt.Errorf("find duplicates: %w", err)
	}
	w.duplicates, w.events, w.fresh = len(b.events)-len(fresh), b.events, fresh
	if w.segments, err = l.copyDays(ctx, conn, b, fresh); err != nil {
		return w, err
	}
	err = l.inTx(ctx, func(tx transaction) error {
		if err := l.publish(ctx, tx, w.segments); err != nil {
			return err
		}
		if err := publishLinks(ctx, tx, b.events); err != nil {
			return err
		}
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		if err := putConsents(ctx, tx, b.events, fresh); err != nil {
			return err
		}
		reached("manifest: to commit")
		return nil
	})
	return w, err
}

// publish enters new segments in the manifest under the next snapshot number.
func (l *Lake) publish(ctx context.Context, tx transaction, segments []Segment) error {
	if len(segments) == 0 {
		return nil
	}
	id, err := nextSnapshot(ctx, tx)
	if err != nil {
		return err
	}
	for i := range segments {
		g := &segments[i]
		g.Added = id
		path, err := l.rel(g.Path)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO segments (path, day, rows, bytes, journal_id, first_seq, last_seq, min_id_day, max_id_day, checksum, added)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, path, g.Day, g.Rows, g.Bytes, g.Journal, g.FirstSeq, g.LastSeq, g.minIDDay, g.maxIDDay, g.Checksum, id); err != nil {
			return fmt.Errorf("publish %s: %w", path, err)
		}
	}
	return nil
}

// antiJoin returns the places of the events whose id is not sealed yet in its id_day, the first of each id within the lot.
func (l *Lake) antiJoin(ctx context.Context, conn *sql.Conn, b lot) (fresh []int, err error) {
	var lo, hi features.Day = b.events[0].IDDay, b.events[0].IDDay
	for i := range b.events {
		lo, hi = min(lo, b.events[i].IDDay), max(hi, b.events[i].IDDay)
	}
	again := make([]bool, len(b.events))
	if !b.unique {
		seen := make(map[string]struct{}, len(b.events))
		for i := range b.events {
			id := b.events[i].EventID
			if _, again[i] = seen[id]; !again[i] {
				seen[id] = struct{}{}
			}
		}
	}
	var sealed []struct {
		Path     string `db:"path"`
		Journal  string `db:"journal_id"`
		FirstSeq int64  `db:"first_seq"`
	}
	if err := l.db.SelectContext(ctx, &sealed, `SELECT path, journal_id, first_seq FROM segments
		WHERE removed IS NULL AND min_id_day <= ? AND max_id_day >= ? ORDER BY path`, hi, lo); err != nil {
		return nil, err
	}
	var paths []string
	for _, g := range sealed {
		if b.covered == nil || !b.covered(g.Journal, g.FirstSeq) {
			paths = append(paths, l.abs(g.Path))
		}
	}
	if len(paths) > 0 {
		if err := l.findSealed(ctx, conn, b, paths, lo, hi, again); err != nil {
			return nil, err
		}
	}
	fresh = make([]int, 0, len(b.events))
	for i := range again {
		if !again[i] {
			fresh = append(fresh, i)
		}
	}
	return fresh, nil
}

// findSealed marks the events whose id stands in one of the files.
func (l *Lake) findSealed(ctx context.Context, conn *sql.Conn, b lot, paths []string, lo, hi features.Day, again []bool) error {
	source, done := l.feeds.offer(idFeed(b))
	defer done()
	rows, err := conn.QueryContext(ctx, fmt.Sprintf(`SELECT s.place FROM read_parquet(%s) p JOIN %s s ON s.event_id = p.event_id
		WHERE p.id_day BETWEEN DATE '%s' AND DATE '%s'`, list(paths), source, lo, hi))
	if err != nil {
		return err
	}
	for rows.Next() {
		var place int64
		if err := rows.Scan(&place); err != nil {
			return errors.Join(err, rows.Close())
		}
		again[place] = true
	}
	return errors.Join(rows.Err(), rows.Close())
}

// sortPlaces orders places by day, user, time and id of their events. Most pairs differ in what stands in the keys, which lie side by side.
func sortPlaces(events []features.Event, places []int) {
	type key struct {
		day    features.Day
		place  int
		hi, lo uint64 // the first 16 bytes of user_id, big-endian
	}
	keys := make([]key, len(places))
	for i, p := range places {
		var head [16]byte
		copy(head[:], events[p].UserID)
		keys[i] = key{events[p].BizDay, p, binary.BigEndian.Uint64(head[:8]), binary.BigEndian.Uint64(head[8:])}
	}
	slices.SortFunc(keys, func(a, b key) int {
		if c := cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo)); c != 0 {
			return c
		}
		p, q := &events[a.place], &events[b.place]
		return cmp.Or(strings.Compare(p.UserID, q.UserID), p.TS.Compare(q.TS), strings.Compare(p.EventID, q.EventID))
	})
	for i := range keys {
		places[i] = keys[i].place
	}
}

// copyDays writes the events at the given places as one durable segment directory for each day, in day order, sorted by user, time
// and id.
func (l *Lake) copyDays(ctx context.Context, conn *sql.Conn, b lot, places []int) ([]Segment, error) {
	feedOf := eventFeeds(b)
	sortPlaces(b.events, places)
	var segments []Segment
	for from := 0; from < len(places); {
		day, to := b.events[places[from]].BizDay, from
		g := Segment{FirstSeq: b.first, LastSeq: b.last, Journal: b.journal, Day: day}
		g.minIDDay, g.maxIDDay = b.events[places[from]].IDDay, b.events[places[from]].IDDay
		for ; to < len(places) && b.events[places[to]].BizDay == day; to++ {
			id := b.events[places[to]].IDDay
			g.minIDDay, g.maxIDDay = min(g.minIDDay, id), max(g.maxIDDay, id)
		}
		g.Rows = int64(to - from)
		f := feedOf(day, places[from:to])
		source, done := l.feeds.offer(f)
		name := fmt.Sprintf("seg=%s-%d-%d", b.journal, b.first, b.last)
		err := l.copySegment(ctx, conn, "SELECT "+f.list()+" FROM "+source, name, &g)
		done()
		if err != nil {
			return nil, fmt.Errorf("write segment %s of %s: %w", name, day, err)
		}
		segments = append(segments, g)
		from = to
	}
	return segments, nil
}

// copySegment writes a query's rows as events/day=D/NAME/part.parquet, durable before it returns, and fills in the
// segment's path, bytes and checksum. A name that is taken is compared by checksum: the same bytes are what a crash before the
// commit left; others, which the manifest may not know either, are never overwritten.
func (l *Lake) copySegment(ctx context.Context, conn *sql.Conn, query, name string, g *Segment) error {
	work, err := os.MkdirTemp(filepath.Join(l.o.Dir, "lake", "tmp"), "seg-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	file := filepath.Join(work, "part.parquet")
	if _, err := conn.ExecContext(ctx, fmt.Sprintf(`COPY (%s) TO %s (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)`, query, quote(file))); err != nil {
		return err
	}
	reached("segment: written")
	if err := errors.Join(syncFile(file), syncFile(work)); err != nil {
		return err
	}
	reached("segment: synced")
	if g.Checksum, g.Bytes, err = checksum(file); err != nil {
		return err
	}
	day := filepath.Join(l.o.Dir, "lake", "events", "day="+g.Day.String())
	if err := mkdirSync(l.o.Dir, day); err != nil {
		return err
	}
	for try := 0; ; try++ {
		target := filepath.Join(day, name)
		if try > 0 {
			target = fmt.Sprintf("%s-%d", target, try)
		}
		g.Path = filepath.Join(target, "part.parquet")
		err := renameNew(work, target)
		if errors.Is(err, os.ErrExist) {
			if sum, _, err := checksum(g.Path); err != nil || sum != g.Checksum {
				continue
			}
		} else if err != nil {
			return err
		}
		reached("segment: renamed")
		return syncFile(day)
	}
}
