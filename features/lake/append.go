package lake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/xxh3"

	"perennial/features"
)

// Append makes events durable and returns their outcomes in order; it returns after a synced commit. Only the owner of the
// journal may call it. ReceivedAt, AvailableAt, BizDay and KnownDay are set here, and IDDay where the decoder has not. A duplicate
// is said only after its original is durable. It errs with ErrNotServing, ErrBehind or ErrDiskFull without writing anything.
// The slice's events get their server fields; the slice is not kept.
func (l *Lake) Append(ctx context.Context, events []features.Event) ([]Status, error) {
	j, err := l.enter()
	if err != nil {
		return nil, err
	}
	defer j.leave()
	if err := l.disk.check(l.o.Private, l.o.Reserve, j.tailBytes.Load()); err != nil {
		return nil, err
	}
	if j.tailEvents.Load() >= l.o.MaxTail {
		l.server.poke()
		return nil, ErrBehind
	}
	statuses := make([]Status, len(events))
	open := make([]int, 0, len(events))
	for i := range events {
		if err := events[i].Validate(l.o.Shop); err != nil {
			statuses[i] = rejected(err)
			continue
		}
		open = append(open, i)
	}
	for len(open) > 0 {
		lot := open[:min(len(open), recordEvents)]
		again, err := l.appendLot(ctx, j, events, lot, statuses)
		if err != nil {
			return nil, err
		}
		open = append(again, open[len(lot):]...)
	}
	l.counts.outcome(statuses)
	return statuses, nil
}

func rejected(err error) Status {
	var invalid *features.InvalidError
	if errors.As(err, &invalid) {
		return Status{Rejected, invalid.Field, invalid.Reason}
	}
	return Status{Rejected, "", err.Error()}
}

// appendLot commits the events at the given places. It returns those that another batch in flight claimed and then failed to
// commit: they are tried again.
func (l *Lake) appendLot(ctx context.Context, j *journal, events []features.Event, lot []int, statuses []Status) (again []int, err error) {
	type awaited struct {
		place int
		other *flight
	}
	var waits []awaited
	f := j.begin(len(lot), l.now())
	fresh := make([]int, 0, len(lot))
	claims := make([]xxh3.Uint128, 0, len(lot))
	days := dayCache{shop: l.o.Shop}
	for _, i := range lot {
		e := &events[i]
		e.ReceivedAt, e.AvailableAt = f.received, f.received
		if e.TS.Sub(f.received) > features.MaxFuture {
			statuses[i] = Status{Rejected, "ts", "in the future"}
			continue
		}
		h := hashID(e.EventID)
		owner, mine, first := j.ids.claim(h, f.number)
		switch {
		case first:
			days.set(e)
			statuses[i] = Status{Outcome: Accepted}
			fresh, claims = append(fresh, i), append(claims, h)
		case mine: // repeated within this batch
			statuses[i] = Status{Outcome: Duplicate}
		default:
			statuses[i] = Status{Outcome: Duplicate}
			if other := j.flying(owner); other != nil {
				waits = append(waits, awaited{i, other})
			}
		}
	}
	if len(fresh) > 0 {
		err = l.commit(j, f, events, fresh, nil)
	}
	if err != nil {
		for _, h := range claims {
			j.ids.release(h, f.number)
		}
	}
	j.end(f)
	if err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	j.ids.grew(len(fresh))
	for _, i := range fresh {
		l.recent.add(&events[i])
		l.people.learn(&events[i])
	}
	l.shareLinks(ctx, events, fresh)
	for _, w := range waits {
		select {
		case <-w.other.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		// Its batch is over: either the id is durable now, or the claim was taken back and this event is new after all.
		if !j.ids.known(hashID(events[w.place].EventID)) {
			again = append(again, w.place)
		}
	}
	return again, nil
}

// maxPooledRecord is the largest buffer that is kept for the next record.
const maxPooledRecord = 256 << 10

var records = sync.Pool{New: func() any { return new([]byte) }}

// commit writes one synced record with the events at the given places, and the view hashes that belong to them.
func (l *Lake) commit(j *journal, f *flight, events []features.Event, places []int, views []byte) error {
	buffer := records.Get().(*[]byte)
	defer func() {
		if cap(*buffer) <= maxPooledRecord {
			records.Put(buffer)
		}
	}()
	record := appendRecordHead((*buffer)[:0], f.received, len(places))
	for _, i := range places {
		record = appendEvent(record, &events[i])
	}
	*buffer = record
	b := j.db.NewBatch()
	defer b.Close()
	if err := b.Set(recordKey(eventPrefix, f.first), record, nil); err != nil {
		return err
	}
	if len(views) > 0 {
		if err := b.Set(recordKey(viewPrefix, f.first), views, nil); err != nil {
			return err
		}
	}
	l.disk.wrote(len(record) + len(views))
	reached("append: to commit")
	if err := b.Commit(pebble.Sync); err != nil {
		return err
	}
	reached("append: committed")
	j.tailEvents.Add(int64(len(places)))
	j.tailBytes.Add(int64(len(record)))
	j.oldest.CompareAndSwap(0, time.Now().UnixNano())
	return nil
}
