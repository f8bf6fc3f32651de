package lake

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/xxh3"

	"perennial/features"
)

const (
	viewShards = 64
	viewQueue  = 1 << 16 // exposures that wait for the journal, at most
	viewPause  = 5 * time.Millisecond
)

// Exposure is the first time that a unit met its variant, as written by a single evaluation.
type Exposure struct {
	Unit, Experiment, Variant string
	By                        string // the id of the same person whose buckets decided; "": the unit's own
	AllocationRevision        int64
	PAssign                   float64
	Policy                    string
	ScoreVersion              string
	At                        time.Time
}

// exposures are the units that met their variant: a set in memory that every evaluation asks, and a queue that becomes one synced
// record every 5 ms at most. A crash may lose the last 5 ms, which the next evaluation writes again, since the set dies with it.
type exposures struct {
	shards [viewShards]hashSet

	mu      sync.Mutex
	queue   []waiting
	flushMu sync.Mutex // one flush at a time, in queue order
	wake    chan struct{}
}

// waiting is an exposure on its way to the journal with its entry in the set.
type waiting struct {
	Exposure
	hash uint64
	mark uint32
}

func (x *exposures) init() { x.wake = make(chan struct{}, 1) }

// viewHash names a unit's exposure to a revision of an experiment. It is stored, so it must never change.
func viewHash(unit, experiment string, revision int64) uint64 {
	h := xxh3.HashStringSeed(unit, xxh3.HashStringSeed(experiment, uint64(revision)))
	if h == 0 {
		h = 1
	}
	return h
}

// Exposed reports whether an exposure is recorded, or about to be, without a lock, an allocation or I/O.
func (l *Lake) Exposed(unit, experiment string, revision int64) bool {
	h := viewHash(l.o.Shop.Pseudonym(unit), experiment, revision)
	return l.views.shards[h>>58].has(h)
}

// Met returns when an id met a revision of an experiment by its own buckets, to the second. ok is false when it never did, or only as another id of
// its person: then that one's buckets decided.
func (l *Lake) Met(id, experiment string, revision int64) (at time.Time, ok bool) {
	h := viewHash(id, experiment, revision)
	mark, ok := l.views.shards[h>>58].get(h)
	return time.Unix(markEpoch+int64(mark>>1), 0).UTC(), ok && mark&1 == 1
}

// markEpoch is the first second that a mark can hold, 2020-01-01 UTC; the last is 68 years later.
const markEpoch = 1577836800

// markOf is the time of an exposure in seconds, above a bit that says that the id's own buckets decided.
func markOf(at time.Time, own bool) uint32 {
	mark := uint32(min(max(at.Unix()-markEpoch, 0), 1<<31-1)) << 1
	if own {
		mark |= 1
	}
	return mark
}

// Expose records an exposure once per unit, experiment and allocation revision. It returns at once; the record is synced within
// 5 ms, or before it returns when sync is true (then it errs when it cannot be). It never blocks on a full queue: it counts what it had to drop, errs with
// ErrBehind, and the next evaluation writes it again. Before Serve, and while the disk is full, exposures wait in the queue.
func (l *Lake) Expose(ctx context.Context, e Exposure, sync bool) error {
	e.Unit = l.o.Shop.Pseudonym(e.Unit)
	x := &l.views
	h := viewHash(e.Unit, e.Experiment, e.AllocationRevision)
	if !x.shards[h>>58].has(h) {
		if e.At.IsZero() {
			e.At = l.now()
		}
		own := e.By == "" || e.By == e.Unit
		w := waiting{e, h, markOf(e.At, own)}
		x.mu.Lock()
		if len(x.queue) >= viewQueue {
			x.mu.Unlock()
			l.counts.droppedViews.Add(1)
			return fmt.Errorf("exposures: %w", ErrBehind)
		}
		if x.shards[h>>58].add(h, w.mark) {
			x.queue = append(x.queue, w)
		}
		x.mu.Unlock()
		if !own { // her person met the experiment by that id
			by := viewHash(e.By, e.Experiment, e.AllocationRevision)
			x.shards[by>>58].add(by, w.mark|1)
		}
		select {
		case x.wake <- struct{}{}:
		default:
		}
	}
	if !sync {
		return nil
	}
	return l.flushViews(ctx)
}

// flushLoop packs what waits into one record at most every 5 ms until stop is closed.
func (l *Lake) flushLoop(stop <-chan struct{}) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for {
		select {
		case <-stop:
			return
		case <-l.views.wake:
		}
		pause.Reset(viewPause)
		select {
		case <-stop:
			return
		case <-pause.C:
		}
		if err := l.flushViews(context.Background()); err != nil {
			l.o.Logger.Warn("exposures wait", "error", err)
			select { // again when there is room or the journal answers
			case <-stop:
				return
			case <-time.After(time.Second):
				select {
				case l.views.wake <- struct{}{}:
				default:
				}
			}
		}
	}
}

// flushViews makes the exposures that wait durable. What cannot be written stays in the queue.
func (l *Lake) flushViews(ctx context.Context) error {
	j, err := l.enter()
	if err != nil {
		return err
	}
	defer j.leave()
	x := &l.views
	x.flushMu.Lock()
	defer x.flushMu.Unlock()
	for {
		x.mu.Lock()
		n := min(len(x.queue), recordEvents)
		queue := x.queue[:n:n]
		x.mu.Unlock()
		if n == 0 {
			return nil
		}
		if err := l.disk.check(l.o.Private, l.o.Reserve, j.tailBytes.Load()); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.writeViews(j, queue); err != nil {
			return err
		}
		x.mu.Lock()
		if x.queue = x.queue[n:]; len(x.queue) == 0 {
			x.queue = nil
		}
		x.mu.Unlock()
	}
}

// viewBytes is what an entry of the set takes in the journal: its hash and its mark.
const viewBytes = 12

// writeViews commits exposures as `Experiment Viewed` events and their entries of the set in one record.
func (l *Lake) writeViews(j *journal, queue []waiting) error {
	f := j.begin(len(queue), l.now())
	events := make([]features.Event, 0, len(queue))
	places := make([]int, 0, len(queue))
	views := make([]byte, 0, viewBytes*len(queue))
	for i := range queue {
		w := &queue[i]
		views = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(views, w.hash), w.mark)
		if w.mark&1 == 0 {
			by := viewHash(w.By, w.Experiment, w.AllocationRevision)
			views = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(views, by), w.mark|1)
		}
		e := viewEvent(&w.Exposure, l.o.Shop.Currency)
		e.ReceivedAt, e.AvailableAt = f.received, f.received
		if e.TS.IsZero() || e.TS.After(f.received) {
			e.TS = f.received
		}
		l.setDays(&e)
		if _, _, fresh := j.ids.claim(hashID(e.EventID), f.number); fresh {
			places = append(places, len(events))
		}
		events = append(events, e)
	}
	err := l.commit(j, f, events, places, views)
	if err != nil {
		for _, i := range places {
			j.ids.release(hashID(events[i].EventID), f.number)
		}
	}
	j.end(f)
	if err == nil {
		j.ids.grew(len(places))
		l.counts.views.Add(int64(len(places)))
	}
	return err
}

// viewEvent is the stored form of an exposure (CONTRACT §3). Its id follows from unit, experiment and revision: written twice, it
// is one event.
func viewEvent(v *Exposure, currency string) features.Event {
	p := []byte(`{"experiment":`)
	p = appendJSON(p, v.Experiment)
	p = appendJSON(append(p, `,"variant":`...), v.Variant)
	p = strconv.AppendInt(append(p, `,"allocation_revision":`...), v.AllocationRevision, 10)
	p = strconv.AppendFloat(append(p, `,"p_assign":`...), v.PAssign, 'g', -1, 64)
	if v.Policy != "" {
		p = appendJSON(append(p, `,"policy":`...), v.Policy)
	}
	if v.ScoreVersion != "" {
		p = appendJSON(append(p, `,"score_version":`...), v.ScoreVersion)
	}
	return features.Event{
		EventID: features.DeriveID("exposure", v.Unit, v.Experiment, strconv.FormatInt(v.AllocationRevision, 10)),
		UserID:  v.Unit, Name: features.ExperimentViewed, TS: v.At.UTC().Truncate(time.Microsecond), Currency: currency, Properties: append(p, '}'),
	}
}

func appendJSON(dst []byte, text string) []byte {
	if plain(text) {
		return append(append(append(dst, '"'), text...), '"')
	}
	quoted, err := json.Marshal(text)
	if err != nil { // a Go string always has a JSON form
		return append(dst, `""`...)
	}
	return append(dst, quoted...)
}

// plain reports whether encoding/json writes a text as it is.
func plain(text string) bool {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// loadViews rebuilds the set from the journal.
func (l *Lake) loadViews(j *journal) error {
	return j.each(viewPrefix, func(_, value []byte) error {
		for ; len(value) >= viewBytes; value = value[viewBytes:] {
			h := binary.BigEndian.Uint64(value)
			l.views.shards[h>>58].add(h, binary.BigEndian.Uint32(value[8:]))
		}
		return nil
	})
}

// each calls f with every key and value under a prefix.
func (j *journal) each(prefix byte, f func(key, value []byte) error) error {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = f(it.Key(), value)
		}
		if err != nil {
			it.Close()
			return err
		}
	}
	if err := it.Error(); err != nil {
		it.Close()
		return err
	}
	return it.Close()
}
