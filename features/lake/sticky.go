package lake

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/xxh3"
)

// Kept is a sticky first answer.
type Kept struct {
	Variant            string
	AllocationRevision int64
	PAssign            float64
	ScoreVersion       string
	Least              int64 `json:"-"`          // Keep replaces an answer of an older allocation revision than this
	Alone              bool  `json:",omitempty"` // servers share first answers, and the others do not know this one yet
}

// keepLocks serialise the first answers of units that share one.
var keepLocks [64]sync.Mutex

func keptHash(experiment, unit string) uint64 {
	return xxh3.HashStringSeed(unit, xxh3.HashString(experiment))
}

// Sticky returns the kept first answer of a unit in an experiment, without a lock and without I/O.
func (l *Lake) Sticky(experiment, unit string) (Kept, bool) {
	unit = l.o.Shop.Pseudonym(unit)
	e := l.kept.get(keptHash(experiment, unit), experiment, unit)
	if e == nil {
		return Kept{}, false
	}
	return e.kept, true
}

// Keep keeps a first answer if there is none yet (or one of an allocation revision below k.Least) and returns the one that stands; it is durable when Keep returns. It errs with
// ErrNotServing or ErrDiskFull and then keeps nothing. Of servers that share a database the first one's answer stands; while the database is away, each keeps its own, and what was first
// entered stands when it is back.
func (l *Lake) Keep(ctx context.Context, experiment, unit string, k Kept) (Kept, error) {
	unit = l.o.Shop.Pseudonym(unit)
	h := keptHash(experiment, unit)
	if e := l.kept.get(h, experiment, unit); e != nil && e.kept.AllocationRevision >= k.Least {
		return e.kept, nil
	}
	j, err := l.enter()
	if err != nil {
		return k, err
	}
	defer j.leave()
	if err := l.disk.check(l.o.Dir, l.o.Reserve, j.tailBytes.Load()); err != nil {
		return k, err
	}
	lock := &keepLocks[h>>58]
	lock.Lock()
	defer lock.Unlock()
	if e := l.kept.get(h, experiment, unit); e != nil && e.kept.AllocationRevision >= k.Least {
		return e.kept, nil
	}
	if l.o.Shared != nil {
		first, err := firstOfKept(strings.Clone(experiment), strings.Clone(unit), k)
		if err != nil {
			return k, err
		}
		if stands, ok := l.share(ctx, first); !ok {
			k.Alone = true
		} else if err := json.Unmarshal([]byte(stands[0].Doc), &k); err != nil {
			return k, fmt.Errorf("keep the answer of %s: %w", experiment, err)
		}
	}
	doc, err := json.Marshal(k)
	if err != nil {
		return k, err
	}
	if err := j.db.Set(keptKey(experiment, unit), doc, pebble.Sync); err != nil {
		return k, fmt.Errorf("keep the answer of %s: %w", experiment, err)
	}
	return l.kept.put(&keptEntry{h, experiment, unit, k}).kept, nil
}

// keptKey: an experiment's key holds no zero byte, so the cut is unambiguous whatever the unit is.
func keptKey(experiment, unit string) []byte {
	return []byte(string(keptPrefix) + experiment + "\x00" + unit)
}

// loadKept rebuilds the table from the journal.
func (l *Lake) loadKept(j *journal) error {
	return j.each(keptPrefix, func(key, value []byte) error {
		experiment, unit, ok := strings.Cut(string(key[1:]), "\x00")
		var k Kept
		if err := json.Unmarshal(value, &k); err != nil || !ok {
			return fmt.Errorf("journal: kept answer is damaged: %w", errRecord)
		}
		l.kept.put(&keptEntry{keptHash(experiment, unit), experiment, unit, k})
		if k.Alone && l.o.Shared != nil {
			k.Alone = false
			first, err := firstOfKept(experiment, unit, k)
			if err != nil {
				return err
			}
			l.sharing.wait(first)
		}
		return nil
	})
}
