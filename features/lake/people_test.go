package lake_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// linked is an event that says that an alias is a user.
func linked(alias, user string, at time.Time) features.Event {
	return features.Event{EventID: "link-" + alias + "-" + user, Name: features.IdentityLinked, AnonymousID: alias, UserID: user, TS: at}
}

// mustBe checks who an id is.
func mustBe(t *testing.T, l *lake.Lake, what, id string, want ...string) {
	t.Helper()
	if got := l.Person(id); !slices.Equal(got, want) {
		t.Errorf("%s: Person(%s) = %v, want %v", what, id, got, want)
	}
}

func TestPersonIsEveryLinkedId(t *testing.T) {
	dir := t.TempDir()
	l := serve(t, dir)
	mustBe(t, l, "before any link", "a")
	if _, err := l.Append(t.Context(), []features.Event{linked("a", "u", start), order("o1", "u", start, 1)}); err != nil {
		t.Fatal(err)
	}
	mustBe(t, l, "acknowledged", "a", "u", "a")
	mustBe(t, l, "acknowledged", "u", "u", "a")
	mustBe(t, l, "a stranger", "v")
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, e := range []features.Event{linked("b", "u", start), linked("a", "v", start), linked("w", "w2", start), linked("u", "w", start), linked("b", "x", start)} {
		if _, err := l.Append(t.Context(), []features.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	all := []string{"w2", "w", "u", "a", "b"} // a and b stay with u: only the first link of an id counts
	for _, id := range all {
		mustBe(t, l, "a chain", id, all...)
	}
	mustBe(t, l, "the second user of a device", "v")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = serve(t, dir) // two links are sealed, the others in the tail
	for _, id := range all {
		mustBe(t, l, "after a restart", id, all...)
	}
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := l.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if people := features.NewPeople(s.Links, time.Time{}); people.Root("a") != "w2" || people.Root("b") != "w2" || people.Root("v") != "v" {
		t.Errorf("a snapshot's links are %v", s.Links)
	}
	if err := s.Close(); err != nil { // an erasure waits for who reads the replaced files
		t.Fatal(err)
	}
	if _, err := l.Erase(t.Context(), "u"); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string][]string{"u": nil, "a": nil, "b": nil, "w": {"w2", "w"}} {
		mustBe(t, l, "after the erasure of the user between", id, want...)
	}
	if s, err = l.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if people := features.NewPeople(s.Links, time.Time{}); len(people.Aliases()) != 1 {
		t.Errorf("links after the erasure: %v", s.Links)
	}
}

// A link that an import brings is followed by the server within a second; an older one than is known wins.
func TestImportedLinks(t *testing.T) {
	dir := t.TempDir()
	l := serve(t, dir)
	if _, err := l.Append(t.Context(), []features.Event{linked("a", "late", start)}); err != nil {
		t.Fatal(err)
	}
	mustBe(t, l, "live", "a", "late", "a")
	other := open(t, dir)
	early := linked("a", "early", start.Add(-time.Hour))
	early.AvailableAt = early.TS
	if _, _, err := other.Load(t.Context(), []features.Event{early}); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if slices.Equal(l.Person("a"), []string{"early", "a"}) {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("Person(a) = %v ten seconds after the import of an earlier link", l.Person("a"))
		}
	}
	mustBe(t, l, "no longer linked", "late")
}

// Met tells an exposure by an id's own buckets from one that another id of its person decided, also after a restart.
func TestMetRemembersWhoDecided(t *testing.T) {
	dir := t.TempDir()
	l := serve(t, dir)
	at := start.Add(-time.Hour)
	for _, e := range []lake.Exposure{{Unit: "a", Experiment: "x", Variant: "v", AllocationRevision: 1, At: at},
		{Unit: "u", By: "a", Experiment: "x", Variant: "v", AllocationRevision: 1, At: at.Add(time.Minute)},
		{Unit: "b", By: "w", Experiment: "x", Variant: "v", AllocationRevision: 1, At: at.Add(time.Minute)}} {
		if err := l.Expose(t.Context(), e, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, round := range []string{"at once", "after a restart"} {
		for id, want := range map[string]time.Time{"a": at, "u": {}, "b": {}, "w": at.Add(time.Minute), "stranger": {}} {
			if got, ok := l.Met(id, "x", 1); ok == want.IsZero() || ok && !got.Equal(want) {
				t.Errorf("%s: Met(%s) = %v, %v, want %v", round, id, got, ok, want)
			}
		}
		if !l.Exposed("u", "x", 1) || !l.Exposed("b", "x", 1) {
			t.Errorf("%s: an exposure that another id decided is not recorded", round)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = serve(t, dir)
	}
}

// A synced exposure that does not fit into the queue errs: its caller must not believe that it is on disk.
func TestFullQueueRefusesSyncedExposures(t *testing.T) {
	l := open(t, t.TempDir()) // no journal takes them
	for i := range 1 << 16 {
		if err := l.Expose(t.Context(), lake.Exposure{Unit: string(rune('a' + i)), Experiment: "x", Variant: "v", AllocationRevision: int64(i)}, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Expose(t.Context(), lake.Exposure{Unit: "one more", Experiment: "x", Variant: "v", AllocationRevision: 1}, true); !errors.Is(err, lake.ErrBehind) {
		t.Errorf("a synced exposure on a full queue = %v, want ErrBehind", err)
	}
}
