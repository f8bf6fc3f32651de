package lake

import (
	"sync/atomic"
	"time"
)

// counters of this process since it started.
type counters struct {
	accepted, duplicates, rejected, sealed, lateDuplicates, views, droppedViews atomic.Int64
}

func (c *counters) outcome(statuses []Status) {
	var n [3]int64
	for _, s := range statuses {
		n[s.Outcome]++
	}
	c.accepted.Add(n[Accepted])
	c.duplicates.Add(n[Duplicate])
	c.rejected.Add(n[Rejected])
}

// Stats is the lake's state for /metrics. Counters begin at the start of the process.
type Stats struct {
	Serving        bool
	TailEvents     int64         // acknowledged and not yet sealed
	TailBytes      int64         // of the journal's records
	TailAge        time.Duration // since the tail was last empty
	FreeBytes      int64         // of the data directory's file system; looked at once a second
	DiskFull       bool          // ingest is refused
	Accepted       int64
	Duplicates     int64 // told at the door
	LateDuplicates int64 // found by the anti-join of a seal
	Rejected       int64
	Sealed         int64 // events that a seal wrote
	Exposures      int64
	DroppedViews   int64 // exposures dropped because the queue was full
	WaitingViews   int64 // exposures in the queue
	Exposed        int   // members of the exposure set
	RecentIDs      int
}

// Stats returns the state of the lake. It may be called at any time.
func (l *Lake) Stats() Stats {
	s := Stats{Accepted: l.counts.accepted.Load(), Duplicates: l.counts.duplicates.Load(), LateDuplicates: l.counts.lateDuplicates.Load(),
		Rejected: l.counts.rejected.Load(), Sealed: l.counts.sealed.Load(), Exposures: l.counts.views.Load(), DroppedViews: l.counts.droppedViews.Load()}
	l.views.mu.Lock()
	s.WaitingViews = int64(len(l.views.queue))
	l.views.mu.Unlock()
	for i := range l.views.shards {
		s.Exposed += l.views.shards[i].len()
	}
	if free, err := l.disk.look(l.o.Private, l.o.Reserve/16); err == nil {
		s.FreeBytes = free
	}
	tail := int64(0)
	if j := l.journal.Load(); j != nil {
		s.Serving, s.TailEvents, s.TailBytes, s.RecentIDs = true, j.tailEvents.Load(), j.tailBytes.Load(), j.ids.len()
		if since := j.oldest.Load(); since != 0 {
			s.TailAge = time.Since(time.Unix(0, since))
		}
		tail = s.TailBytes
	}
	s.DiskFull = s.FreeBytes < max(l.o.Reserve, 2*tail)
	return s
}
