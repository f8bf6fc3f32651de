package lake

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"perennial/features"
)

// Load imports a batch of already decoded history (AvailableAt = TS + lag) straight into segments, a transaction a lot, and returns how many were new and how
// many were there already. Where a server owns the journal it writes them: the lots go to it through serve.sock, one in its memory at a time. Without one, or
// where this process is the server, they are written here. Days and ReceivedAt are set at the writing; an event that is not valid is an error of its whole
// lot, as its decoder should have kept it aside. The slice is not changed.
func (l *Lake) Load(ctx context.Context, events []features.Event) (accepted, duplicate int, err error) {
	return l.viaServer(ctx, "events", len(events), importRows,
		func(dst []byte, i int) ([]byte, error) { return appendImported(dst, &events[i]), nil },
		func(from, to int) (int, int, error) { return l.load(ctx, slices.Clone(events[from:to])) })
}

// load writes a lot of an import in this process. The server's tail is sealed first, and what arrives there meanwhile is compared with the new segments at its
// own seal. The events get their server fields.
func (l *Lake) load(ctx context.Context, events []features.Event) (accepted, duplicate int, err error) {
	if len(events) == 0 {
		return 0, 0, nil
	}
	if err := l.Seal(ctx); err != nil {
		return 0, 0, fmt.Errorf("seal before the import: %w", err)
	}
	now := l.now().UTC().Truncate(time.Microsecond)
	b := lot{journal: newJournalID(), first: 1, last: int64(len(events)), events: events, seqs: make([]int64, len(events))}
	for i := range b.events {
		e := &b.events[i]
		if err := e.Validate(l.o.Shop); err != nil {
			return 0, 0, fmt.Errorf("event %d: %w", i, err)
		}
		e.ReceivedAt = now
		if e.AvailableAt.IsZero() {
			e.AvailableAt = e.TS
		}
		l.setDays(e)
		b.seqs[i] = int64(i + 1)
	}
	var w written
	err = l.locked(ctx, func(ctx context.Context) error {
		w, err = l.write(ctx, b, nil)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	l.compactSoon()
	if l.journal.Load() != nil {
		if err := l.heed(ctx, w); err != nil {
			return 0, 0, err
		}
	}
	duplicate = w.duplicates + w.hidden
	return len(events) - duplicate, duplicate, nil
}

// heed takes into the server's memory what an import brought: links, and what became known today, as recallToday finds it at a start.
func (l *Lake) heed(ctx context.Context, w written) error {
	today := l.o.Shop.DayOf(l.now())
	for _, i := range w.fresh {
		if e := &w.events[i]; e.KnownDay == today && e.BizDay >= today-7 {
			l.recent.add(e)
		}
	}
	return l.followLinks(ctx)
}

// setDays computes the days of an event in the shop's time zone, once and at the door.
func (l *Lake) setDays(e *features.Event) {
	e.BizDay, e.KnownDay = l.o.Shop.DayOf(e.TS), l.o.Shop.DayOf(e.AvailableAt)
	if e.IDDay == 0 {
		e.IDDay = features.Shop{}.DayOf(e.TS)
	}
}

// dayCache computes the days of events like setDays and remembers the last two, as a batch's events fall on few: a zone's rules cost more than
// all else about a day.
type dayCache struct {
	shop  features.Shop
	known [2]struct {
		from, to int64 // unix seconds of the day's bounds
		day      features.Day
	}
	last int
}

func (c *dayCache) of(t time.Time) features.Day {
	s := t.Unix()
	for i := range c.known {
		if k := &c.known[i]; s >= k.from && s < k.to {
			return k.day
		}
	}
	d := c.shop.DayOf(t)
	c.last = 1 - c.last
	k := &c.known[c.last]
	k.from, k.to, k.day = c.shop.Midnight(d).Unix(), c.shop.Midnight(d+1).Unix(), d
	if s < k.from || s >= k.to { // a day that begins twice: its bounds are not trusted
		k.from, k.to = 0, 0
	}
	return d
}

// set computes the days of an event as setDays does.
func (c *dayCache) set(e *features.Event) {
	e.BizDay, e.KnownDay = c.of(e.TS), c.of(e.AvailableAt)
	if e.IDDay == 0 {
		e.IDDay = features.Shop{}.DayOf(e.TS)
	}
}

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// newJournalID returns 64 random bits: two journals, or two imports, never share a segment's name.
func newJournalID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
