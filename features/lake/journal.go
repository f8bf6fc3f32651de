package lake

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/xxh3"

	"perennial/features"
)

// Keys of the journal: one letter and, for records, the first sequence number of a batch (big-endian). Meta keys are words.
const (
	eventPrefix = 'e' // a batch of events: codec.go
	viewPrefix  = 'v' // a batch of exposures: the hash and the mark of each, 12 bytes (what 'x' held had no marks; it is not read)
	keptPrefix  = 's' // a sticky first answer
	metaID      = "m:journal_id"
	metaClock   = "m:clock" // last received_at, µs; newer records carry their own
	metaSeq     = "m:seq"   // first sequence number not given out when the tail was last emptied
)

// recordEvents is how many events one journal record holds at most.
const recordEvents = 10_000

// journal is the open Pebble store of this process, its owner.
type journal struct {
	id   string
	db   *pebble.DB
	ids  *recentIDs
	lock *fileLock

	use    sync.RWMutex // held for reading by whoever writes to db, for writing to close it
	closed bool

	now     func() time.Time
	repeats bool // an id stands in the replayed tail twice: seals look for it

	mu       sync.Mutex
	next     int64     // next sequence number
	clock    time.Time // last received_at
	inflight map[uint64]*flight
	flights  uint64

	sealed     atomic.Int64 // last sealed sequence number
	tailEvents atomic.Int64
	tailBytes  atomic.Int64
	oldest     atomic.Int64 // unix ns when the tail stopped being empty, by the machine's clock; 0: empty
}

// flight is a batch between its sequence numbers and the end of its commit.
type flight struct {
	number   uint64
	first, n int64
	received time.Time
	done     chan struct{}
}

// quietLogger keeps Pebble's chatter out of the log. Fatalf is what Pebble calls when its write-ahead file cannot be written: the
// process must not go on acknowledging, so it ends; the free-space reserve keeps a full disk from getting there.
type quietLogger struct{ log *slog.Logger }

func (q quietLogger) Infof(string, ...any) {}
func (q quietLogger) Errorf(format string, args ...any) {
	q.log.Error("journal: " + fmt.Sprintf(format, args...))
}
func (q quietLogger) Fatalf(format string, args ...any) {
	text := "journal: " + fmt.Sprintf(format, args...)
	q.log.Error(text)
	panic(text)
}

// openJournal opens the journal whose lock the caller holds, forgets what is sealed already and rebuilds the counters and recent
// ids from the tail.
func (l *Lake) openJournal(ctx context.Context, lock *fileLock) (_ *journal, err error) {
	// A table in memory that is larger than a seal's lot is emptied by the deletion of what was sealed before it is written out.
	cache := pebble.NewCache(16 << 20)
	defer cache.Unref()
	db, err := pebble.Open(l.journalDir(), &pebble.Options{
		Cache: cache, MemTableSize: 64 << 20, MemTableStopWritesThreshold: 4, MaxOpenFiles: 256,
		FormatMajorVersion: pebble.FormatNewest, Logger: quietLogger{l.o.Logger},
	})
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	l.recent.reset()
	j := &journal{db: db, lock: lock, now: l.now, next: 1, inflight: map[uint64]*flight{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	if err := j.readMeta(); err != nil {
		return nil, err
	}
	var sealed int64
	if err := l.db.GetContext(ctx, &sealed, `SELECT coalesce(max(sealed_seq), 0) FROM journals WHERE journal_id = ?`, j.id); err != nil {
		return nil, err
	}
	j.sealed.Store(sealed)
	j.next = max(j.next, sealed+1)
	// What a crash between the manifest's commit and this deletion left is sealed: it goes, and is never sealed again.
	if err := db.DeleteRange(recordKey(eventPrefix, 0), recordKey(eventPrefix, sealed+1), pebble.Sync); err != nil {
		return nil, err
	}
	j.ids = newRecentIDs(2_000_000, func() int64 {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.next
	})
	j.ids.prevFloor, j.ids.curFloor = j.next, j.next
	if err := l.replay(ctx, j); err != nil {
		return nil, err
	}
	return j, nil
}

func (l *Lake) journalDir() string { return filepath.Join(l.o.Private, "journal") }

// readMeta reads the journal's id, making it with a new journal, and the persisted clock and sequence.
func (j *journal) readMeta() error {
	id, err := j.get(metaID)
	if err != nil {
		return err
	}
	if id == nil {
		id = []byte(newJournalID())
		if err := j.db.Set([]byte(metaID), id, pebble.Sync); err != nil {
			return err
		}
	}
	j.id = string(id)
	for key, set := range map[string]func(int64){
		metaClock: func(v int64) { j.clock = time.UnixMicro(v).UTC() },
		metaSeq:   func(v int64) { j.next = max(j.next, v) },
	} {
		raw, err := j.get(key)
		if err != nil {
			return err
		}
		if len(raw) == 8 {
			set(int64(binary.BigEndian.Uint64(raw)))
		}
	}
	return nil
}

func (j *journal) get(key string) ([]byte, error) {
	raw, closer, err := j.db.Get([]byte(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := append([]byte{}, raw...)
	return out, closer.Close()
}

func recordKey(prefix byte, seq int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, uint64(seq))
}

// records calls f with each event record whose first sequence number is in [from, to], in order, until f returns false.
func (j *journal) records(from, to int64, f func(first int64, record []byte) (more bool, err error)) error {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: recordKey(eventPrefix, from), UpperBound: recordKey(eventPrefix, to+1)})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		raw, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(err, it.Close())
		}
		more, err := f(int64(binary.BigEndian.Uint64(it.Key()[1:])), raw)
		if err != nil {
			return errors.Join(fmt.Errorf("journal record %d: %w", binary.BigEndian.Uint64(it.Key()[1:]), err), it.Close())
		}
		if !more {
			break
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// replay rebuilds what the tail means in memory: counters, recent ids, today's overlay, and the exposures and kept answers.
func (l *Lake) replay(ctx context.Context, j *journal) error {
	first := int64(0)
	var events []features.Event
	err := j.records(j.sealed.Load()+1, 1<<62, func(seq int64, record []byte) (bool, error) {
		var err error
		if events, err = decodeRecord(events[:0], record); err != nil {
			return false, err
		}
		if first == 0 {
			first = seq
		}
		for i := range events {
			if _, _, fresh := j.ids.claim(hashID(events[i].EventID), 0); !fresh {
				j.repeats = true
			}
			l.recent.add(&events[i])
			l.people.learn(&events[i])
		}
		if len(events) > 0 && events[0].ReceivedAt.After(j.clock) {
			j.clock = events[0].ReceivedAt
		}
		j.next = max(j.next, seq+int64(len(events)))
		j.tailEvents.Add(int64(len(events)))
		j.tailBytes.Add(int64(len(record)))
		j.oldest.CompareAndSwap(0, time.Now().UnixNano())
		return true, nil
	})
	if err != nil {
		return err
	}
	if first == 0 {
		first = j.next
	}
	j.ids.n = int(j.tailEvents.Load())
	j.ids.prevFloor, j.ids.curFloor = first, first
	if err := l.reread(ctx, func(sealed []Segment) error {
		if err := l.recallSealed(ctx, j, first, sealed); err != nil {
			return err
		}
		return l.recallToday(ctx, sealed)
	}); err != nil {
		return err
	}
	if err := l.followLinks(ctx); err != nil {
		return err
	}
	if err := l.loadViews(j); err != nil {
		return err
	}
	return l.loadKept(j)
}

// recallSealed takes the ids of the newest sealed events of this journal into memory, so that a resend after a restart is called a
// duplicate at the door.
func (l *Lake) recallSealed(ctx context.Context, j *journal, first int64, sealed []Segment) error {
	var own []Segment
	for _, g := range sealed {
		if g.Journal == j.id {
			own = append(own, g)
		}
	}
	if len(own) == 0 {
		return nil
	}
	floor, rows := first, int64(0)
	for floor > 1 && rows < 300_000 { // one seal after the other, newest first, while they join
		var lot int64
		for _, g := range own {
			if g.LastSeq < floor {
				lot = max(lot, g.LastSeq)
			}
		}
		if lot == 0 {
			break
		}
		next := floor
		var paths []string
		for _, g := range own {
			if g.LastSeq == lot {
				paths, next, rows = append(paths, g.Path), min(next, g.FirstSeq), rows+g.Rows
			}
		}
		if err := l.recallIDs(ctx, j, paths); err != nil {
			return err
		}
		if next >= floor {
			break
		}
		floor = next
	}
	j.ids.n += int(rows)
	j.ids.prevFloor, j.ids.curFloor = floor, floor
	return nil
}

func (l *Lake) recallIDs(ctx context.Context, j *journal, paths []string) error {
	duck, err := l.engine(ctx)
	if err != nil {
		return err
	}
	rows, err := duck.QueryContext(ctx, `SELECT event_id FROM read_parquet(`+list(paths)+`)`)
	if err != nil {
		return err
	}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return errors.Join(err, rows.Close())
		}
		j.ids.claim(hashID(id), 0)
	}
	return errors.Join(rows.Err(), rows.Close())
}

// begin gives a batch of n events its sequence numbers and its time at the door: max(now, last + 1 µs).
func (j *journal) begin(n int, now time.Time) *flight {
	j.mu.Lock()
	defer j.mu.Unlock()
	now = now.UTC().Truncate(time.Microsecond)
	if !now.After(j.clock) {
		now = j.clock.Add(time.Microsecond)
	}
	j.clock = now
	j.flights++
	f := &flight{number: j.flights, first: j.next, n: int64(n), received: now, done: make(chan struct{})}
	j.next += f.n
	j.inflight[f.number] = f
	return f
}

// end takes a batch out of flight, committed or failed.
func (j *journal) end(f *flight) {
	j.mu.Lock()
	delete(j.inflight, f.number)
	j.mu.Unlock()
	close(f.done)
}

// flying returns the batch that claimed with that mark when it is still in flight.
func (j *journal) flying(mark uint32) *flight {
	j.mu.Lock()
	defer j.mu.Unlock()
	for number, f := range j.inflight {
		if slotOf(xxh3.Uint128{}, number).batch == mark {
			return f
		}
	}
	return nil
}

// settled waits for every batch that began before the call and returns the highest sequence number below which no batch is in
// flight: a seal may go up to there and not further, or it would lose sight of a batch that commits late. No event above it was, or will be, received
// up to the time that it returns.
func (j *journal) settled(ctx context.Context) (upper int64, through time.Time, err error) {
	j.mu.Lock()
	begun := make([]*flight, 0, len(j.inflight))
	for _, f := range j.inflight {
		begun = append(begun, f)
	}
	j.mu.Unlock()
	for _, f := range begun {
		select {
		case <-f.done:
		case <-ctx.Done():
			return 0, through, ctx.Err()
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if now := j.now().UTC().Truncate(time.Microsecond); now.After(j.clock) {
		j.clock = now
	}
	upper, through = j.next-1, j.clock
	for _, f := range j.inflight {
		if upper = min(upper, f.first-1); !f.received.After(through) {
			through = f.received.Add(-time.Microsecond)
		}
	}
	return upper, through, nil
}

// forget deletes the sealed records and remembers the clock and the sequence, which the records carried until now.
func (j *journal) forget(upTo int64) error {
	j.mu.Lock()
	next, clock := j.next, j.clock
	j.mu.Unlock()
	b := j.db.NewBatch()
	defer b.Close()
	if err := b.DeleteRange(recordKey(eventPrefix, 0), recordKey(eventPrefix, upTo+1), nil); err != nil {
		return err
	}
	for key, v := range map[string]int64{metaClock: clock.UnixMicro(), metaSeq: next} {
		if err := b.Set([]byte(key), binary.BigEndian.AppendUint64(nil, uint64(v)), nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.NoSync) // redone at the next start when it is lost: rule 1
}

// markSealed is the journal's part of the transaction that publishes its segments.
func markSealed(ctx context.Context, tx transaction, id string, upTo int64) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO journals (journal_id, sealed_seq) VALUES (?, ?)
		ON CONFLICT (journal_id) DO UPDATE SET sealed_seq = CASE WHEN journals.sealed_seq > excluded.sealed_seq THEN journals.sealed_seq ELSE excluded.sealed_seq END, empty = 0`, id, upTo)
	return err
}

// enter returns the open journal and keeps it open until leave is called; ErrNotServing when there is none.
func (l *Lake) enter() (*journal, error) {
	j := l.journal.Load()
	if j == nil {
		return nil, ErrNotServing
	}
	j.use.RLock()
	if j.closed {
		j.use.RUnlock()
		return nil, ErrNotServing
	}
	return j, nil
}

func (j *journal) leave() { j.use.RUnlock() }

// shut closes the store when the last writer has left; the lock stays.
func (j *journal) shut() error {
	j.use.Lock()
	defer j.use.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	return j.db.Close()
}
