package lake

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"

	"perennial/features"
)

// recentShards is how many locks the overlay has.
const recentShards = 64

// recent counts what became known today, by user: what last night's snapshot cannot hold, and what targeting on "orders today" or
// "days since last order" needs within a second. At local midnight it starts again, as the night then knows it.
type recent struct {
	day    atomic.Int64 // the day that is counted, as day+1; 0 before the first event
	shards [recentShards]recentShard
}

type recentShard struct {
	mu    sync.RWMutex
	users map[uint64]today // by hash: no garbage collection looks into it; two of a million users share one with a probability of 3·10⁻⁸
}

type today struct {
	orders, carts int32
	lastOrder     int64 // µs; 0: none
}

// add counts an event. Events of an older known day are ignored; one of a newer day empties the table first.
func (r *recent) add(e *features.Event) {
	if e.Name != features.OrderCompleted && e.Name != features.ProductAdded {
		return
	}
	day := int64(e.KnownDay) + 1
	for {
		have := r.day.Load()
		if day < have {
			return
		}
		if day == have {
			break
		}
		if r.day.CompareAndSwap(have, day) {
			for i := range r.shards {
				s := &r.shards[i]
				s.mu.Lock()
				s.users = nil
				s.mu.Unlock()
			}
		}
	}
	counted := today{orders: 1, lastOrder: e.TS.UnixMicro()}
	if e.Name == features.ProductAdded {
		counted = today{carts: 1}
	}
	r.count(e.UserID, counted)
}

// count adds to what is counted of a user.
func (r *recent) count(user string, more today) {
	h := xxh3.HashString(user)
	s := &r.shards[h%recentShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == nil {
		s.users = map[uint64]today{}
	}
	t := s.users[h]
	t.orders += more.orders
	t.carts += more.carts
	t.lastOrder = max(t.lastOrder, more.lastOrder)
	s.users[h] = t
}

// reset empties the table.
func (r *recent) reset() {
	r.day.Store(0)
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		s.users = nil
		s.mu.Unlock()
	}
}

// put enters sealed counts of today beside those of the tail.
func (r *recent) put(day features.Day, user string, sealed today) {
	r.day.Store(int64(day) + 1)
	r.count(user, sealed)
}

// recallToday adds what was sealed since the last local midnight, of the business days of the last week.
func (l *Lake) recallToday(ctx context.Context, sealed []Segment) error {
	day := l.o.Shop.DayOf(l.now())
	if have := l.recent.day.Load(); have != 0 && have != int64(day)+1 {
		l.recent.reset()
	}
	var paths []string
	for _, g := range sealed {
		if g.Day >= day-7 {
			paths = append(paths, g.Path)
		}
	}
	if len(paths) == 0 {
		return nil
	}
	duck, err := l.engine(ctx)
	if err != nil {
		return err
	}
	rows, err := duck.QueryContext(ctx, fmt.Sprintf(`SELECT user_id, count(*) FILTER (WHERE event = '%[1]s'), count(*) FILTER (WHERE event = '%[2]s'),
		max(ts) FILTER (WHERE event = '%[1]s') FROM read_parquet(%[3]s) WHERE known_day = DATE '%[4]s' AND event IN ('%[1]s', '%[2]s') GROUP BY user_id`,
		features.OrderCompleted, features.ProductAdded, list(paths), day))
	if err != nil {
		return err
	}
	type counted struct {
		user string
		today
	}
	var found []counted
	for rows.Next() {
		var t counted
		var last sql.NullTime
		if err := rows.Scan(&t.user, &t.orders, &t.carts, &last); err != nil {
			return errors.Join(err, rows.Close())
		}
		if last.Valid {
			t.lastOrder = last.Time.UnixMicro()
		}
		found = append(found, t)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, t := range found {
		l.recent.put(day, t.user, t.today)
	}
	return nil
}

// Recent returns what became known of a user since the last local midnight, unsealed events included: orders and cart additions,
// and the time of the newest of those orders (zero without one). ok is false when there is nothing. It allocates nothing.
func (l *Lake) Recent(user string) (orders, carts int, lastOrder time.Time, ok bool) {
	if l.recent.day.Load() != int64(l.o.Shop.DayOf(l.now()))+1 {
		return 0, 0, time.Time{}, false
	}
	h := xxh3.HashString(l.o.Shop.Pseudonym(user))
	s := &l.recent.shards[h%recentShards]
	s.mu.RLock()
	t, ok := s.users[h]
	s.mu.RUnlock()
	if t.lastOrder != 0 {
		lastOrder = time.UnixMicro(t.lastOrder).UTC()
	}
	return int(t.orders), int(t.carts), lastOrder, ok
}
