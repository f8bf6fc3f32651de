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
		cur, prev idTable
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
	return r
}

// idTable is a hash table of ids in one piece, so that an id costs one miss of the processor's cache and nothing at a garbage collection. Of
// the 128 bits it compares 96: at four million ids two share them with a probability of about 10⁻¹⁶.
type idTable struct {
	slots []idSlot
	n     int
}

type idSlot struct {
	hi    uint64
	lo    uint32
	batch uint32 // the low bits of the claiming batch's number, plus one; 0: empty
}

func slotOf(h xxh3.Uint128, batch uint64) idSlot {
	return idSlot{h.Hi, uint32(h.Lo >> 8), uint32(batch)%(1<<32-1) + 1}
}

// find returns the place of an id, or of the empty slot where it belongs; -1 in an empty table.
func (t *idTable) find(k idSlot) int {
	if len(t.slots) == 0 {
		return -1
	}
	mask := uint64(len(t.slots) - 1)
	for i := k.hi & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.batch == 0 || s.hi == k.hi && s.lo == k.lo {
			return int(i)
		}
	}
}

func (t *idTable) has(k idSlot) (batch uint32, ok bool) {
	i := t.find(k)
	if i < 0 || t.slots[i].batch == 0 {
		return 0, false
	}
	return t.slots[i].batch, true
}

// put enters an id that is not there.
func (t *idTable) put(k idSlot) {
	if t.n*4 >= len(t.slots)*3 {
		old := t.slots
		t.slots = make([]idSlot, max(64, 2*len(old)))
		for _, s := range old {
			if s.batch != 0 {
				t.slots[t.find(s)] = s
			}
		}
	}
	t.slots[t.find(k)] = k
	t.n++
}

// remove takes an id out and moves those behind it forward, so that they are found.
func (t *idTable) remove(k idSlot) {
	i := t.find(k)
	if i < 0 || t.slots[i].batch == 0 {
		return
	}
	mask := len(t.slots) - 1
	t.n--
	for j := (i + 1) & mask; t.slots[j].batch != 0; j = (j + 1) & mask {
		if home := int(t.slots[j].hi) & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i], i = t.slots[j], j
		}
	}
	t.slots[i] = idSlot{}
}

func hashID(id string) xxh3.Uint128 { return xxh3.HashString128(id) }

// claim enters an id for a batch; when it is there already, mine tells whether that same batch claimed it, and owner its mark.
func (r *recentIDs) claim(h xxh3.Uint128, batch uint64) (owner uint32, mine, fresh bool) {
	s := &r.shards[h.Lo%idShards]
	k := slotOf(h, batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	if owner, ok := s.prev.has(k); ok {
		return owner, owner == k.batch, false
	}
	if owner, ok := s.cur.has(k); ok {
		return owner, owner == k.batch, false
	}
	s.cur.put(k)
	return k.batch, true, true
}

// release takes back a claim whose commit failed.
func (r *recentIDs) release(h xxh3.Uint128, batch uint64) {
	s := &r.shards[h.Lo%idShards]
	k := slotOf(h, batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range []*idTable{&s.cur, &s.prev} {
		if owner, ok := t.has(k); ok && owner == k.batch {
			t.remove(k)
		}
	}
}

// known reports whether an id is remembered.
func (r *recentIDs) known(h xxh3.Uint128) bool {
	s := &r.shards[h.Lo%idShards]
	k := slotOf(h, 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.cur.has(k); ok {
		return true
	}
	_, ok := s.prev.has(k)
	return ok
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
		s.prev, s.cur = s.cur, idTable{slots: make([]idSlot, len(s.cur.slots))} // about as many will come again
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
		n += s.cur.n + s.prev.n
		s.mu.Unlock()
	}
	return n
}
