package features_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"perennial/features"
)

var linkedFrom = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// links are given as alias, user; each is known a minute after the one before.
func links(pairs ...string) []features.Link {
	var out []features.Link
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, features.Link{Alias: pairs[i], User: pairs[i+1], KnownAt: linkedFrom.Add(time.Duration(i/2) * time.Minute)})
	}
	return out
}

func TestPeople(t *testing.T) {
	for _, c := range []struct {
		name   string
		links  []features.Link
		before time.Duration
		id     string
		want   string
	}{
		{"nobody is linked", nil, 0, "u", "u"},
		{"anonymous to user", links("a", "u"), 0, "a", "u"},
		{"the user herself", links("a", "u"), 0, "u", "u"},
		{"not yet known", links("a", "u"), 0, "b", "b"},
		{"two devices", links("a", "u", "b", "u"), 0, "b", "u"},
		{"a chain", links("a", "u", "u", "v"), 0, "a", "v"},
		{"a chain from its end", links("u", "v", "a", "u"), 0, "a", "v"},
		{"a shared device stays with the first user", links("a", "u", "a", "v"), 0, "a", "u"},
		{"a circle of two", links("a", "u", "u", "a"), 0, "u", "u"},
		{"a circle, then another user", links("a", "u", "u", "a", "u", "v"), 0, "u", "u"},
		{"a circle of three", links("a", "b", "b", "c", "c", "a"), 0, "c", "c"},
		{"before the link was known", links("a", "u"), 0, "a", "u"},
		{"a cut between two links", links("a", "u", "u", "v"), 30 * time.Second, "a", "u"},
		{"a cut at the very instant", links("a", "u", "u", "v"), time.Minute, "a", "u"},
	} {
		var before time.Time
		if c.before > 0 {
			before = linkedFrom.Add(c.before)
		}
		if got := features.NewPeople(c.links, before).Root(c.id); got != c.want {
			t.Errorf("%s: Root(%q) = %q, want %q", c.name, c.id, got, c.want)
		}
	}
	if got := features.NewPeople(links("a", "u"), linkedFrom).Root("a"); got != "a" {
		t.Errorf("a link known at the cut is used before it: Root(a) = %q", got)
	}
}

// What is folded does not depend on the order in which links come, whatever circles and repetitions they hold.
func TestPeopleDependOnTheSetAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	name := func() string { return string(rune('a' + rng.IntN(12))) }
	for range 300 {
		var list []features.Link
		for i := range 20 {
			list = append(list, features.Link{Alias: name(), User: name(), KnownAt: linkedFrom.Add(time.Duration(i/3) * time.Minute)})
		}
		want := features.NewPeople(list, time.Time{})
		for range 3 {
			rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			got := features.NewPeople(list, time.Time{})
			for c := 'a'; c < 'a'+12; c++ {
				if x, y := got.Root(string(c)), want.Root(string(c)); x != y {
					t.Fatalf("Root(%c) = %q or %q by order of %v", c, x, y, list)
				}
			}
		}
	}
}

func TestLinkOf(t *testing.T) {
	at := linkedFrom
	for _, c := range []struct {
		name string
		e    features.Event
		ok   bool
	}{
		{"link", features.Event{Name: features.IdentityLinked, AnonymousID: "a", UserID: "u", AvailableAt: at}, true},
		{"itself", features.Event{Name: features.IdentityLinked, AnonymousID: "u", UserID: "u", AvailableAt: at}, false},
		{"no alias", features.Event{Name: features.IdentityLinked, UserID: "u", AvailableAt: at}, false},
		{"another event with both ids", features.Event{Name: features.OrderCompleted, AnonymousID: "a", UserID: "u", AvailableAt: at}, false},
	} {
		if l, ok := features.LinkOf(&c.e); ok != c.ok || ok && l != (features.Link{Alias: "a", User: "u", KnownAt: at}) {
			t.Errorf("%s: LinkOf = %v, %v, want %v", c.name, l, ok, c.ok)
		}
	}
}
