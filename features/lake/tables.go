package lake

import (
	"sync"
	"sync/atomic"
)

// hashSet is a growing set of non-zero 64-bit hashes, each with a mark. get takes no lock and allocates nothing; add is serialised. A member takes 16 to 32
// bytes: 12 in tables that are between three and six eighths full. Two different members share a hash with a probability of about n²/2⁶⁵ (3·10⁻⁶ at ten
// million): what is lost then is one exposure row.
type hashSet struct {
	mu    sync.Mutex
	table atomic.Pointer[hashTable]
	n     int
}

// hashTable is a power of two of slots. A mark is stored before its hash, so that who sees the hash sees the mark.
type hashTable struct {
	hashes []atomic.Uint64
	marks  []atomic.Uint32
}

func newHashTable(size int) *hashTable {
	return &hashTable{make([]atomic.Uint64, size), make([]atomic.Uint32, size)}
}

func (t *hashTable) place(h uint64, mark uint32) {
	mask := uint64(len(t.hashes) - 1)
	i := h & mask
	for t.hashes[i].Load() != 0 {
		i = (i + 1) & mask
	}
	t.marks[i].Store(mark)
	t.hashes[i].Store(h)
}

func (s *hashSet) has(h uint64) bool {
	_, ok := s.get(h)
	return ok
}

// get returns the mark of a member.
func (s *hashSet) get(h uint64) (mark uint32, ok bool) {
	t := s.table.Load()
	if t == nil {
		return 0, false
	}
	mask := uint64(len(t.hashes) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch t.hashes[i].Load() {
		case h:
			return t.marks[i].Load(), true
		case 0:
			return 0, false
		}
	}
}

// add puts h in and reports whether it was new; a member keeps the mark that it has.
func (s *hashSet) add(h uint64, mark uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has(h) {
		return false
	}
	t := s.table.Load()
	if t == nil || s.n*4 >= len(t.hashes)*3 {
		size := 256
		if t != nil {
			size = len(t.hashes) * 2
		}
		t = s.grown(size, 0)
		t.place(h, mark)
		s.table.Store(t)
	} else {
		t.place(h, mark)
	}
	s.n++
	return true
}

// grown copies the members but one into a table of that size.
func (s *hashSet) grown(size int, without uint64) *hashTable {
	t := newHashTable(size)
	if old := s.table.Load(); old != nil {
		for i := range old.hashes {
			if h := old.hashes[i].Load(); h != 0 && h != without {
				t.place(h, old.marks[i].Load())
			}
		}
	}
	return t
}

// remove rebuilds the set without h.
func (s *hashSet) remove(h uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.has(h) {
		return
	}
	s.table.Store(s.grown(len(s.table.Load().hashes), h))
	s.n--
}

func (s *hashSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// keptTable holds the sticky first answers. get takes no lock; keys are compared whole, so that a hash collision never gives one
// unit the coupon of another.
type keptTable struct {
	mu    sync.Mutex
	table atomic.Pointer[[]atomic.Pointer[keptEntry]]
	n     int
}

type keptEntry struct {
	hash             uint64
	experiment, unit string
	kept             Kept
}

func (t *keptTable) get(hash uint64, experiment, unit string) *keptEntry {
	p := t.table.Load()
	if p == nil {
		return nil
	}
	slots := *p
	mask := uint64(len(slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		e := slots[i].Load()
		if e == nil {
			return nil
		}
		if e.hash == hash && e.unit == unit && e.experiment == experiment {
			return e
		}
	}
}

// put inserts an entry that is not there yet, or whose allocation revision is below e's least, and returns the one that stands.
func (t *keptTable) put(e *keptEntry) *keptEntry {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.table.Load()
	if old := t.get(e.hash, e.experiment, e.unit); old != nil {
		if old.kept.AllocationRevision >= e.kept.Least {
			return old
		}
		slots := *p
		for i := e.hash & uint64(len(slots)-1); ; i = (i + 1) & uint64(len(slots)-1) {
			if slots[i].CompareAndSwap(old, e) {
				return e
			}
		}
	}
	if p == nil || t.n*2 >= len(*p) {
		size := 1024
		if p != nil {
			size = len(*p) * 2
		}
		grown := make([]atomic.Pointer[keptEntry], size)
		if p != nil {
			for i := range *p {
				if old := (*p)[i].Load(); old != nil {
					placeKept(grown, old)
				}
			}
		}
		placeKept(grown, e)
		t.table.Store(&grown)
	} else {
		placeKept(*p, e)
	}
	t.n++
	return e
}

// without rebuilds the table without the entries that drop selects.
func (t *keptTable) without(drop func(*keptEntry) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.table.Load()
	if p == nil {
		return
	}
	left := make([]atomic.Pointer[keptEntry], len(*p))
	t.n = 0
	for i := range *p {
		if e := (*p)[i].Load(); e != nil && !drop(e) {
			placeKept(left, e)
			t.n++
		}
	}
	t.table.Store(&left)
}

func placeKept(slots []atomic.Pointer[keptEntry], e *keptEntry) {
	mask := uint64(len(slots) - 1)
	i := e.hash & mask
	for slots[i].Load() != nil {
		i = (i + 1) & mask
	}
	slots[i].Store(e)
}
