package lake

import (
	"sync"

	"github.com/zeebo/xxh3"
)

// idShards is how many locks the recent event ids have.
const idShards = 256

// recentIDs remembers the ids of the newest events, in memory and without pointers, by 128-bit hash. An id is claimed by its batch
// before the commit; another batch that brings it meanwhile waits for that commit before it says `duplicate`. Two generations bound
// the memory; from floor on, every sequence number's id is known, so a seal needs no anti-join with those segments.
type recentIDs struct {
	shards [idShards]struct {
		mu        sync.Mutex
		cur, prev map[xxh3.Uint128]uint64 // id hash → batch number
	}
	limit int // ids in a generation

	mu         sync.Mutex
	n          int
	curFloor   int64 // first sequence number whose ids are all in cur
	prevFloor  int64
	nextSeq    func() int64
	generation int
}

func newRecentIDs(limit int, nextSeq func() int64) *recentIDs {
	r := &recentIDs{limit: limit, nextSeq: nextSeq}
	for i := range r.shards {
		r.shards[i].cur = map[xxh3.Uint128]uint64{}
		r.shards[i].prev = map[xxh3.Uint128]uint64{}
	}
	return r
}

func hashID(id string) xxh3.Uint128 { return xxh3.HashString128(id) }

// claim enters an id for a batch; when it is there already it returns that batch's number and false.
func (r *recentIDs) claim(h xxh3.Uint128, batch uint64) (owner uint64, fresh bool) {
	s := &r.shards[h.Lo%idShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if owner, ok := s.cur[h]; ok {
		return owner, false
	}
	if owner, ok := s.prev[h]; ok {
		return owner, false
	}
	s.cur[h] = batch
	return batch, true
}

// release takes back a claim whose commit failed.
func (r *recentIDs) release(h xxh3.Uint128, batch uint64) {
	s := &r.shards[h.Lo%idShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range []map[xxh3.Uint128]uint64{s.cur, s.prev} {
		if m[h] == batch {
			delete(m, h)
		}
	}
}

// grew counts n new ids and starts a new generation when the current one is full. The floor of the new generation is read after
// every shard has turned: a batch that took its numbers from there on began later and finds the new maps.
func (r *recentIDs) grew(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n += n; r.n < r.limit {
		return
	}
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		s.prev, s.cur = s.cur, make(map[xxh3.Uint128]uint64, r.limit/idShards)
		s.mu.Unlock()
	}
	r.n = 0
	r.prevFloor, r.curFloor = r.curFloor, r.nextSeq()
	r.generation++
}

// floor is the first sequence number from which on every id is remembered.
func (r *recentIDs) floor() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.prevFloor
}

func (r *recentIDs) len() int {
	n := 0
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		n += len(s.cur) + len(s.prev)
		s.mu.Unlock()
	}
	return n
}
