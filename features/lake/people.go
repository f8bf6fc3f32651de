package lake

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/zeebo/xxh3"

	"perennial/features"
)

// people knows which ids belong to one person: every link that was acknowledged here or published in lake.db.
type people struct {
	any    atomic.Bool // somebody is linked
	shards [recentShards]struct {
		mu  sync.RWMutex
		ids map[string][]string // id → every id of its person, the user first; shared by all of them and never changed
	}

	mu    sync.Mutex // one writer
	links map[string]features.Link
	last  time.Time // of the newest link
	fold  *features.People

	following sync.Mutex
	seen      int64 // number of the newest link of lake.db that is in
}

// Person returns every id of the person that an id belongs to: the user that it was linked to first, then the aliases in the order in which they
// were linked. It is nil for an id that was never linked. The slice is shared: it must not be changed.
func (l *Lake) Person(id string) []string {
	if !l.people.any.Load() {
		return nil
	}
	s := &l.people.shards[xxh3.HashString(id)%recentShards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ids[id]
}

func (p *people) set(id string, members []string) {
	s := &p.shards[xxh3.HashString(id)%recentShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[string][]string{}
	}
	s.ids[id] = members
}

// learn follows the link of an event, if it makes one. The event's texts are cloned: they may share a whole body's memory.
func (p *people) learn(e *features.Event) {
	if link, ok := features.LinkOf(e); ok {
		link.Alias, link.User = strings.Clone(link.Alias), strings.Clone(link.User)
		p.add([]features.Link{link})
	}
}

// add follows links. Those that are older than what is known already, as an import brings them, make everything be folded anew.
func (p *people) add(links []features.Link) {
	if len(links) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.links == nil {
		p.links, p.fold = map[string]features.Link{}, features.NewPeople(nil, time.Time{})
	}
	late := false
	for _, link := range links {
		if old, ok := p.links[link.Alias]; ok && !link.KnownAt.Before(old.KnownAt) {
			continue
		}
		p.links[link.Alias] = link
		if late = late || link.KnownAt.Before(p.last); late {
			continue
		}
		p.last = link.KnownAt
		p.join(link)
	}
	if late {
		p.refold()
	}
}

// join makes one person of two. The caller holds mu.
func (p *people) join(link features.Link) {
	if !p.fold.Add(link) {
		return
	}
	members := append(slices.Clone(p.members(p.fold.Root(link.User))), p.members(link.Alias)...)
	for _, id := range members {
		p.set(id, members)
	}
	p.any.Store(true)
}

func (p *people) members(id string) []string {
	s := &p.shards[xxh3.HashString(id)%recentShards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	if m := s.ids[id]; m != nil {
		return m
	}
	return []string{id}
}

// below returns the ids that stand for an id, directly or through others, the farthest first.
func (p *people) below(id string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	near := map[string][]string{}
	for alias := range p.links {
		if user := p.fold.Parent(alias); user != "" {
			near[user] = append(near[user], alias)
		}
	}
	for next := near[id]; len(next) > 0; next = next[1:] {
		ids, next = append(ids, next[0]), append(next, near[next[0]]...)
	}
	slices.Reverse(ids)
	return ids
}

// refold folds every link from the first on. The caller holds mu.
func (p *people) refold() {
	sorted := make([]features.Link, 0, len(p.links))
	for _, link := range p.links {
		sorted = append(sorted, link)
	}
	slices.SortFunc(sorted, func(a, b features.Link) int {
		if c := a.KnownAt.Compare(b.KnownAt); c != 0 {
			return c
		}
		return strings.Compare(a.Alias, b.Alias)
	})
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		s.ids = nil
		s.mu.Unlock()
	}
	p.fold, p.last = features.NewPeople(nil, time.Time{}), time.Time{}
	for _, link := range sorted {
		p.last = link.KnownAt
		p.join(link)
	}
}

// forget takes every link of an erased user away.
func (p *people) forget(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.links)
	for alias, link := range p.links {
		if alias == user || link.User == user {
			delete(p.links, alias)
		}
	}
	if len(p.links) < n {
		p.refold()
	}
}

// followLinks takes in what other processes published: imports, and what was sealed before this process began.
func (l *Lake) followLinks(ctx context.Context) error {
	p := &l.people
	p.following.Lock()
	defer p.following.Unlock()
	found, last, err := linksAfter(ctx, l.db, p.seen)
	if err != nil {
		return err
	}
	p.add(found)
	p.seen = last
	return nil
}

// linksAfter reads the links of lake.db with a higher number, and the highest number.
func linksAfter(ctx context.Context, q sqlx.QueryerContext, after int64) ([]features.Link, int64, error) {
	var rows []struct {
		ID    int64  `db:"id"`
		Alias string `db:"alias"`
		User  string `db:"user_id"`
		Known int64  `db:"known_us"`
	}
	if err := sqlx.SelectContext(ctx, q, &rows, `SELECT id, alias, user_id, known_us FROM links WHERE id > ? ORDER BY known_us, alias`, after); err != nil {
		return nil, after, err
	}
	links := make([]features.Link, len(rows))
	for i, r := range rows {
		links[i] = features.Link{Alias: r.Alias, User: r.User, KnownAt: time.UnixMicro(r.Known).UTC()}
		after = max(after, r.ID)
	}
	return links, after, nil
}

// publishLinks enters the links of a lot of events in lake.db. An alias keeps the link that was known first.
func publishLinks(ctx context.Context, tx transaction, events []features.Event) error {
	for i := range events {
		link, ok := features.LinkOf(&events[i])
		if !ok {
			continue
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM links WHERE alias = ? AND known_us > ?`, link.Alias, link.KnownAt.UnixMicro()); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO links (alias, user_id, known_us) VALUES (?, ?, ?) ON CONFLICT (alias) DO NOTHING`,
			link.Alias, link.User, link.KnownAt.UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

// eraseLinks takes every link of an erased user out of lake.db.
func eraseLinks(ctx context.Context, tx transaction, user string) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM links WHERE alias = ? OR user_id = ?`, user, user)
	return err
}
