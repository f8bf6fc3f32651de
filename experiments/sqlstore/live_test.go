package sqlstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"perennial/experiments"
	"perennial/experiments/sqlstore"
)

// until polls a condition for at most a second, the promise between two servers.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > time.Second {
			t.Fatalf("%s: not within a second", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestLiveShowsChangesOfAnotherServer(t *testing.T) {
	eachStore(t, fixed, func(t *testing.T, open func() *sqlstore.Store) {
		a, b := open(), open()
		ctx, stop := context.WithCancel(t.Context())
		names := make(chan []string, 1)
		names <- nil
		attributes := func() []string { n := <-names; names <- n; return n }
		live, err := b.Watch(ctx, 0, attributes, nil)
		if err != nil {
			t.Fatal(err)
		}
		d := definition("coupon")
		d.Targeting = []experiments.Constraint{{Attribute: "loyalty", Operator: "NUM_GT", Values: []string{"1"}}}
		if _, err := a.Create(t.Context(), d, ""); err != nil {
			t.Fatal(err)
		}
		until(t, "a new experiment", func() bool { _, ok := live.Snapshot().Experiment("coupon"); return ok })
		if live.Snapshot().NeedsServer("coupon") {
			t.Error("an attribute that apps send needs the server")
		}
		<-names
		names <- []string{"loyalty"}
		until(t, "a new column of the scores", func() bool { return live.Snapshot().NeedsServer("coupon") })
		if _, err := b.Change(t.Context(), "coupon", "start", nil, 0, ""); err != nil {
			t.Fatal(err)
		}
		if err := live.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e, _ := live.Snapshot().Experiment("coupon"); e.Status != experiments.Running {
			t.Errorf("after Reload the writer's server says %s, want running", e.Status)
		}
		stop()
		<-live.Done()
	})
}

// A reader never meets half a change: weights and allocation of one revision always belong together.
func TestLiveNeverShowsHalfAChange(t *testing.T) {
	eachStore(t, fixed, func(t *testing.T, open func() *sqlstore.Store) {
		a, b := open(), open()
		if _, err := a.Create(t.Context(), definition("coupon"), ""); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		live, err := b.Watch(ctx, time.Millisecond, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i <= 30; i++ {
			coverage := float64(i) / 30
			if _, err := a.Change(t.Context(), "coupon", "ramp", json.RawMessage(fmt.Sprintf(`{"coverage":%v}`, coverage)), 0, ""); err != nil {
				t.Fatal(err)
			}
			e, _ := live.Snapshot().Experiment("coupon")
			if got, want := experiments.Covered(e.Allocation), experiments.Covered(experiments.Allocate(e.Variants, *e.Coverage)); got != want {
				t.Fatalf("revision %d covers %d buckets at coverage %v, want %d", e.Revision, got, *e.Coverage, want)
			}
		}
		stop()
		<-live.Done()
	})
}

func TestLiveOutlivesPostgreSQL(t *testing.T) {
	startOnce(t)
	name := newDatabase(t)
	s := openPostgres(t, name, fixed)
	if _, err := s.Create(t.Context(), definition("coupon"), ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	live, err := s.Watch(ctx, 20*time.Millisecond, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := postgres.control("stop"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Version(t.Context()); err == nil {
		t.Error("the stopped server answers")
	}
	if err := live.Reload(t.Context()); err == nil {
		t.Error("Reload without a server = nil, want its error")
	}
	if _, ok := live.Snapshot().Experiment("coupon"); !ok {
		t.Error("the last good snapshot is gone while the store is down")
	}
	if err := postgres.control("start"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), definition("later"), ""); err != nil {
		t.Fatal(err)
	}
	until(t, "a change after the outage", func() bool { _, ok := live.Snapshot().Experiment("later"); return ok })
	cancel()
	<-live.Done()
}
