package lake

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"perennial/features"
)

// First is a value that several servers give once: the first that is entered under (Kind, Space, ID) stands until one comes whose Floor is above its Rank.
type First struct {
	Kind, Space, ID, Owner string
	Rank, Floor            int64
	Doc                    string
}

// Shared is where servers that share a database keep first answers and identity links.
type Shared interface {
	// Enter enters values and returns those that stand, in the same order.
	Enter(ctx context.Context, rows []First) ([]First, error)
	// Since returns what all servers have entered since the last call, and everything at the first; more tells that there is more.
	Since(ctx context.Context) (rows []First, more bool, err error)
	// Forget deletes everything of an id.
	Forget(ctx context.Context, id string) error
}

const (
	firstKept   = "kept"
	firstLink   = "link"
	followEvery = 250 * time.Millisecond
	shareWithin = time.Second // an answer waits no longer for the shared database
	shareLot    = 500
)

// sharing is this server's part in what servers share. While the database is away, answers and links are kept here alone and wait; it then costs no
// request anything.
type sharing struct {
	away atomic.Bool

	mu      sync.Mutex
	waiting map[firstID]First // kept here and not entered yet
}

type firstID struct{ kind, space, id string }

func (r *First) key() firstID { return firstID{r.Kind, r.Space, r.ID} }

func firstOfKept(experiment, unit string, k Kept) (First, error) {
	doc, err := json.Marshal(k)
	return First{Kind: firstKept, Space: experiment, ID: unit, Owner: unit, Rank: k.AllocationRevision, Floor: k.Least, Doc: string(doc)}, err
}

// firstOfLink ranks links so that the one that was known first stands.
func firstOfLink(link features.Link) First {
	early := -link.KnownAt.UnixMicro()
	return First{Kind: firstLink, ID: link.Alias, Owner: link.User, Rank: early, Floor: early, Doc: link.KnownAt.UTC().Format(time.RFC3339Nano)}
}

// share enters values before an answer. ok is false when they could not be: then they wait.
func (l *Lake) share(ctx context.Context, rows ...First) (stands []First, ok bool) {
	s := &l.sharing
	if !s.away.Load() {
		within, cancel := context.WithTimeout(ctx, shareWithin)
		defer cancel()
		stands, err := l.o.Shared.Enter(within, rows)
		if err == nil {
			return stands, true
		}
		if ctx.Err() == nil && !s.away.Swap(true) {
			l.o.Logger.Error("first answers and links are kept on this server alone until the database is back", "error", err)
		}
	}
	s.wait(rows...)
	return nil, false
}

// wait lets values wait for the database.
func (s *sharing) wait(rows ...First) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		s.waiting = map[firstID]First{}
	}
	for _, r := range rows {
		s.waiting[r.key()] = r
	}
}

// forget drops what waits of an id.
func (s *sharing) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, r := range s.waiting {
		if r.ID == id || r.Owner == id {
			delete(s.waiting, key)
		}
	}
}

// shareLinks enters the links of acknowledged events.
func (l *Lake) shareLinks(ctx context.Context, events []features.Event, places []int) {
	if l.o.Shared == nil {
		return
	}
	var rows []First
	for _, i := range places {
		if link, ok := features.LinkOf(&events[i]); ok {
			link.Alias, link.User = strings.Clone(link.Alias), strings.Clone(link.User)
			rows = append(rows, firstOfLink(link))
		}
	}
	if len(rows) == 0 {
		return
	}
	stands, _ := l.share(ctx, rows...)
	l.learnFirsts(stands)
}

// shareLoop follows the other servers and enters what waits, until stop is closed.
func (l *Lake) shareLoop(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-stop; cancel() }()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		err := l.followFirsts(ctx)
		if err == nil {
			err = l.enterWaiting(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !l.sharing.away.Swap(true):
			l.o.Logger.Error("first answers and links are kept on this server alone until the database is back", "error", err)
		case err == nil && l.sharing.away.Swap(false):
			l.o.Logger.Info("first answers and links are shared again")
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// followFirsts takes in what was entered since the last time.
func (l *Lake) followFirsts(ctx context.Context) error {
	for {
		rows, more, err := l.o.Shared.Since(ctx)
		if err != nil {
			return err
		}
		l.learnFirsts(rows)
		if !more {
			return nil
		}
	}
}

// learnFirsts makes this server say what stands.
func (l *Lake) learnFirsts(rows []First) {
	var links []features.Link
	for _, r := range rows {
		switch r.Kind {
		case firstKept:
			var k Kept
			if err := json.Unmarshal([]byte(r.Doc), &k); err != nil {
				l.o.Logger.Error("a shared first answer is damaged", "experiment", r.Space, "error", err)
				continue
			}
			k.Least = math.MaxInt64 // it stands whatever is kept here
			h := keptHash(r.Space, r.ID)
			if e := l.kept.get(h, r.Space, r.ID); e == nil || e.kept.Variant != k.Variant || e.kept.AllocationRevision != k.AllocationRevision {
				l.kept.put(&keptEntry{h, r.Space, r.ID, k})
			}
		case firstLink:
			at, err := time.Parse(time.RFC3339Nano, r.Doc)
			if err != nil {
				l.o.Logger.Error("a shared link is damaged", "error", err)
				continue
			}
			links = append(links, features.Link{Alias: r.ID, User: r.Owner, KnownAt: at})
		}
	}
	l.people.add(links)
}

// enterWaiting enters what was kept while the database was away. What others were given first then stands here too.
func (l *Lake) enterWaiting(ctx context.Context) error {
	for {
		s := &l.sharing
		s.mu.Lock()
		lot := make([]First, 0, min(len(s.waiting), shareLot))
		for _, r := range s.waiting {
			if lot = append(lot, r); len(lot) == shareLot {
				break
			}
		}
		s.mu.Unlock()
		if len(lot) == 0 {
			return nil
		}
		stands, err := l.o.Shared.Enter(ctx, lot)
		if err != nil {
			return err
		}
		l.learnFirsts(stands)
		if err := l.settle(stands); err != nil {
			return err
		}
		s.mu.Lock()
		for _, r := range lot {
			if s.waiting[r.key()] == r {
				delete(s.waiting, r.key())
			}
		}
		s.mu.Unlock()
	}
}

// settle writes first answers that stand over those that the journal holds as waiting.
func (l *Lake) settle(stands []First) error {
	j, err := l.enter()
	if errors.Is(err, ErrNotServing) {
		return nil // an erasure holds the journal: after the next start they are entered once more, which changes nothing
	}
	if err != nil {
		return err
	}
	defer j.leave()
	b := j.db.NewBatch()
	defer b.Close()
	for _, r := range stands {
		if r.Kind != firstKept {
			continue
		}
		if err := b.Set(keptKey(r.Space, r.ID), []byte(r.Doc), nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.NoSync)
}

// beginSharing reads what stands, at the start, and lets the links that only this server knows wait for the loop.
func (l *Lake) beginSharing(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := l.followFirsts(within); err != nil {
		l.sharing.away.Store(true)
		l.o.Logger.Error("first answers and links of other servers are not known yet", "error", err)
	}
	l.people.mu.Lock()
	links := make([]First, 0, len(l.people.links))
	for _, link := range l.people.links {
		links = append(links, firstOfLink(link))
	}
	l.people.mu.Unlock()
	l.sharing.wait(links...)
}
