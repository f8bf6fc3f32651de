package lake

import (
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
	shards [recentShards]struct {
		mu    sync.RWMutex
		users map[string]today
	}
}

type today struct {
	orders, carts int
	lastOrder     time.Time
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
	s := &r.shards[xxh3.HashString(e.UserID)%recentShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == nil {
		s.users = map[string]today{}
	}
	t := s.users[e.UserID]
	if e.Name == features.ProductAdded {
		t.carts++
	} else {
		t.orders++
		if e.TS.After(t.lastOrder) {
			t.lastOrder = e.TS
		}
	}
	s.users[e.UserID] = t
}

// Recent returns what became known of a user since the last local midnight, unsealed events included: orders and cart additions,
// and the time of the newest of those orders (zero without one). ok is false when there is nothing. It allocates nothing.
func (l *Lake) Recent(user string) (orders, carts int, lastOrder time.Time, ok bool) {
	if l.recent.day.Load() != int64(l.o.Shop.DayOf(l.now()))+1 {
		return 0, 0, time.Time{}, false
	}
	s := &l.recent.shards[xxh3.HashString(user)%recentShards]
	s.mu.RLock()
	t, ok := s.users[user]
	s.mu.RUnlock()
	return t.orders, t.carts, t.lastOrder, ok
}
