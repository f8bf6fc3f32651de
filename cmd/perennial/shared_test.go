package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perennial/experiments/sqlstore"
	"perennial/features"
	"perennial/features/lake"
)

// severed is the shared database behind a line that can be cut.
type severed struct {
	lake.Shared
	cut atomic.Bool
}

var errCut = errors.New("the line is cut")

func (s *severed) Enter(ctx context.Context, rows []lake.First) ([]lake.First, error) {
	if s.cut.Load() {
		return nil, errCut
	}
	return s.Shared.Enter(ctx, rows)
}

func (s *severed) Since(ctx context.Context) ([]lake.First, bool, error) {
	if s.cut.Load() {
		return nil, false, errCut
	}
	return s.Shared.Since(ctx)
}

// Of servers that share a database the first answer stands on all of them; one that is cut off keeps its own and takes over what stands when it is back,
// also after kill and restart; erased ids are gone.
func TestFirstAnswersOfSeveralServers(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	open := func(name string) (*lake.Lake, *severed) {
		t.Helper()
		db, err := sqlstore.OpenSQLite(filepath.Join(dir, "control.db"))
		if err != nil {
			t.Fatal(err)
		}
		store, err := sqlstore.New(ctx, db, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		firsts, err := store.Firsts(ctx)
		if err != nil {
			t.Fatal(err)
		}
		line := &severed{Shared: sharedFirsts{firsts}}
		l, err := lake.Open(ctx, lake.Options{Dir: filepath.Join(dir, name), Shared: line, Reserve: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Serve(ctx, time.Second); err != nil {
			t.Fatal(err)
		}
		return l, line
	}
	keep := func(l *lake.Lake, unit, variant string) string {
		t.Helper()
		k, err := l.Keep(ctx, "coupon", unit, lake.Kept{Variant: variant, AllocationRevision: 1})
		if err != nil {
			t.Fatal(err)
		}
		return k.Variant
	}
	knows := func(l *lake.Lake, unit, variant string) func() bool {
		return func() bool { k, ok := l.Sticky("coupon", unit); return ok && k.Variant == variant }
	}
	one, _ := open("one")
	two, line := open("two")

	// Everybody asks at once: one answer.
	var group sync.WaitGroup
	answers := make([]sync.Map, 50)
	for i := range answers {
		for name, l := range map[string]*lake.Lake{"a": one, "b": two} {
			group.Go(func() { answers[i].Store(keep(l, fmt.Sprint("unit-", i), name), true) })
		}
	}
	group.Wait()
	for i := range answers {
		n := 0
		answers[i].Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Errorf("unit-%d was told %d variants", i, n)
		}
	}
	if keep(one, "u", "first") != "first" {
		t.Fatal("the first answer is not kept")
	}
	soon(t, "server two follows", 5*time.Second, knows(two, "u", "first"))

	// Cut off: two keeps its own at once, one gives another first, and that stands when the line is back, also over a restart in between.
	line.cut.Store(true)
	if keep(two, "apart", "late") != "late" || keep(two, "only-two", "mine") != "mine" {
		t.Fatal("a server that is cut off keeps nothing")
	}
	if keep(one, "apart", "early") != "early" {
		t.Fatal("server one knows what it cannot know")
	}
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	two, line = open("two")
	soon(t, "what stands on server two", 5*time.Second, knows(two, "apart", "early"))
	soon(t, "what only two knew on server one", 5*time.Second, knows(one, "only-two", "mine"))
	line.cut.Store(true)
	soon(t, "server two is cut off", 5*time.Second, func() bool { return keep(two, "again", "x") == "x" && !knows(one, "again", "x")() })
	line.cut.Store(false)
	soon(t, "it is entered without a restart", 5*time.Second, knows(one, "again", "x"))

	// A link that one server acknowledged makes one person everywhere, and the one that was known first stands.
	link := func(l *lake.Lake, id, alias, user string) {
		t.Helper()
		if _, err := l.Append(ctx, []features.Event{{EventID: id, UserID: user, AnonymousID: alias, Name: features.IdentityLinked, TS: time.Now().Add(-time.Minute)}}); err != nil {
			t.Fatal(err)
		}
	}
	link(one, "e1", "visitor", "customer")
	soon(t, "the person on server two", 5*time.Second, func() bool { p := two.Person("visitor"); return len(p) == 2 && p[0] == "customer" })
	link(two, "e2", "visitor", "stranger")
	if p := two.Person("visitor"); len(p) != 2 || p[0] != "customer" {
		t.Errorf("a later link of another user makes %v", p)
	}

	if _, err := one.Erase(ctx, "apart"); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*lake.Lake{one, two} {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	three, _ := open("three")
	defer three.Close()
	if _, ok := three.Sticky("coupon", "apart"); ok {
		t.Error("an erased unit's answer is still shared")
	}
	if !knows(three, "u", "first")() || len(three.Person("customer")) != 2 {
		t.Error("a new server does not know what the others gave")
	}
}

// The same over HTTP and PostgreSQL, with definitions that change in between: a promised coupon stays whichever server is asked, and who signs in at one server
// is known to the other.
func TestPromisesHoldOnBothServers(t *testing.T) {
	one, two, db, marketer, client := twoServers(t)
	one.must(marketer, "POST", "/v1/experiments", `{"key":"coupon","name":"Coupon","control":"a","sticky":true,"variants":[{"key":"a","weight":1},{"key":"b","weight":1}]}`)
	one.must(marketer, "POST", "/v1/experiments/coupon/start", `{}`)
	soon(t, "the experiment on server two", 10*time.Second, func() bool { v, _ := two.assigned(client, "somebody"); return v != "" })
	const units = 40
	given := map[string]string{}
	for i := range units {
		unit := fmt.Sprint("unit-", i)
		given[unit], _ = one.assigned(client, unit)
	}
	one.must(client, "POST", "/v1/alias", `{"messageId":"l","previousId":"unit-1","userId":"customer"}`)
	two.must(marketer, "PATCH", "/v1/experiments/coupon", `{"variants":[{"key":"a","weight":1},{"key":"b","weight":9}]}`)
	moved := 0
	for unit, want := range given {
		if got, _ := two.assigned(client, unit); got != want {
			t.Errorf("%s was promised %s on one server and gets %s on the other", unit, want, got)
		}
		if want == "a" {
			moved++
		}
	}
	if moved == 0 {
		t.Error("nobody was in a: the test shows nothing")
	}
	// Only looked at: a customer who is asked for before the link is here gets, and keeps, an answer of her own.
	soon(t, "the sign-in is known on server two", 5*time.Second, func() bool {
		return two.must(marketer, "POST", "/v1/assignments/explain", `{"unit_id":"customer","experiment":"coupon"}`)["step"] == "sticky"
	})
	if got, _ := two.assigned(client, "customer"); got != given["unit-1"] {
		t.Errorf("the customer gets %s, the visitor was promised %s", got, given["unit-1"])
	}

	if err := db.Control("stop"); err != nil {
		t.Fatal(err)
	}
	asked := time.Now()
	alone, _ := two.assigned(client, "while-down")
	if alone == "" || time.Since(asked) > 3*time.Second {
		t.Errorf("while the database is down server two answers %q after %v", alone, time.Since(asked))
	}
	asked = time.Now()
	for i := range 20 {
		two.assigned(client, fmt.Sprint("while-down-", i))
	}
	if took := time.Since(asked); took > 2*time.Second {
		t.Errorf("20 first answers without the database took %v: each waits for it", took)
	}
	if err := db.Control("start"); err != nil {
		t.Fatal(err)
	}
	soon(t, "the answer of the outage on server one", 20*time.Second, func() bool {
		return one.must(marketer, "POST", "/v1/assignments/explain", `{"unit_id":"while-down","experiment":"coupon"}`)["step"] == "sticky"
	})
	weights := map[string]string{"a": `{"variants":[{"key":"a","weight":0},{"key":"b","weight":1}]}`, "b": `{"variants":[{"key":"a","weight":1},{"key":"b","weight":0}]}`}[alone]
	soon(t, "a change after the outage", 20*time.Second, func() bool {
		status, _ := one.ask(marketer, "PATCH", "/v1/experiments/coupon", weights)
		return status == 200
	})
	if got, _ := one.assigned(client, "while-down"); got != alone {
		t.Errorf("server one gives %s, server two promised %s during the outage", got, alone)
	}
}
