package lake

import (
	"sync"
	"sync/atomic"
)

// hashSet is a growing set of non-zero 64-bit hashes. has takes no lock and allocates nothing; add is serialised. Two different
// members share a hash with a probability of about n²/2⁶⁵ (3·10⁻⁶ at ten million): what is lost then is one exposure row.
type hashSet struct {
	mu    sync.Mutex
	table atomic.Pointer[[]atomic.Uint64]
	n     int
}

func (s *hashSet) has(h uint64) bool {
	t := s.table.Load()
	if t == nil {
		return false
	}
	slots := *t
	mask := uint64(len(slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch slots[i].Load() {
		case h:
			return true
		case 0:
			return false
		}
	}
}

// add puts h in and reports whether it was new.
func (s *hashSet) add(h uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has(h) {
		return false
	}
	t := s.table.Load()
	if t == nil || s.n*2 >= len(*t) {
		size := 1024
		if t != nil {
			size = len(*t) * 2
		}
		grown := make([]atomic.Uint64, size)
		if t != nil {
			for i := range *t {
				if old := (*t)[i].Load(); old != 0 {
					place(grown, old)
				}
			}
		}
		place(grown, h)
		s.table.Store(&grown)
	} else {
		place(*t, h)
	}
	s.n++
	return true
}

// remove rebuilds the set without h.
func (s *hashSet) remove(h uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.has(h) {
		return
	}
	old := *s.table.Load()
	left := make([]atomic.Uint64, len(old))
	for i := range old {
		if v := old[i].Load(); v != 0 && v != h {
			place(left, v)
		}
	}
	s.n--
	s.table.Store(&left)
}

func (s *hashSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func place(slots []atomic.Uint64, h uint64) {
	mask := uint64(len(slots) - 1)
	i := h & mask
	for slots[i].Load() != 0 {
		i = (i + 1) & mask
	}
	slots[i].Store(h)
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
