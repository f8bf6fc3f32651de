package features

import (
	"cmp"
	"slices"
	"time"
)

// Link says that an id that was used before (an anonymous id, as a rule) is a user, and from when on that is known.
type Link struct {
	Alias, User string
	KnownAt     time.Time
}

// LinkOf returns the link that an event makes; ok is false for every event that makes none.
func LinkOf(e *Event) (l Link, ok bool) {
	if e.Name != IdentityLinked || e.AnonymousID == "" || e.UserID == "" || e.AnonymousID == e.UserID {
		return Link{}, false
	}
	return Link{e.AnonymousID, e.UserID, e.AvailableAt}, true
}

// People folds ids into people: each id into the user that it was linked to first, whatever comes later. A device that several users share stays with the
// first of them, and a first link that would close a circle means nothing, so that what is folded is a function of the first link of every id alone.
type People struct{ parent map[string]string }

// NewPeople folds by the links known before an instant; the zero time takes all. The slice is not changed.
func NewPeople(links []Link, before time.Time) *People {
	p := &People{parent: map[string]string{}}
	for _, l := range SortLinks(links) {
		if before.IsZero() || l.KnownAt.Before(before) {
			p.Add(l)
		}
	}
	return p
}

// SortLinks returns the links in the order in which they became known.
func SortLinks(links []Link) []Link {
	sorted := slices.Clone(links)
	slices.SortFunc(sorted, func(a, b Link) int {
		return cmp.Or(a.KnownAt.Compare(b.KnownAt), cmp.Compare(a.Alias, b.Alias), cmp.Compare(a.User, b.User))
	})
	return sorted
}

// Add follows a link that is not older than those before; it reports whether it joined two people.
func (p *People) Add(l Link) bool {
	if _, linked := p.parent[l.Alias]; linked {
		return false
	}
	if p.Root(l.User) == l.Alias {
		p.parent[l.Alias] = ""
		return false
	}
	p.parent[l.Alias] = l.User
	return true
}

// Parent returns the id that an id was linked to; "" when it was never linked.
func (p *People) Parent(id string) string { return p.parent[id] }

// Root returns the user that an id stands for: itself when it was never linked.
func (p *People) Root(id string) string {
	for {
		user := p.parent[id]
		if user == "" {
			return id
		}
		id = user
	}
}

// Aliases returns every id that stands for another one, in byte order.
func (p *People) Aliases() []string {
	out := make([]string, 0, len(p.parent))
	for alias, user := range p.parent {
		if user != "" {
			out = append(out, alias)
		}
	}
	slices.Sort(out)
	return out
}
