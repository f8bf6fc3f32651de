package sqlstore_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"perennial/experiments"
	"perennial/experiments/sqlstore"
)

// What one server has committed the other sees at once: its version has risen and its definitions are whole, weights and allocation of one revision.
func TestChangesAreSeenWhole(t *testing.T) {
	eachStore(t, fixed, func(t *testing.T, open func() *sqlstore.Store) {
		a, b := open(), open()
		ctx := t.Context()
		if _, err := a.Create(ctx, definition("coupon"), ""); err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		done := make(chan error)
		go func() {
			var err error
			for i := 1; err == nil; i++ {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				_, err = a.Change(ctx, "coupon", "ramp", json.RawMessage(fmt.Sprintf(`{"coverage":%v}`, float64(i%100)/100)), 0, "")
			}
			done <- err
		}()
		last := int64(0)
		for range 50 {
			source, err := b.Source(ctx)
			if err != nil {
				t.Fatal(err)
			}
			e := source.Experiments[0]
			if got, want := experiments.Covered(e.Allocation), experiments.Covered(experiments.Allocate(e.Variants, *e.Coverage)); got != want || source.Version < last {
				t.Fatalf("revision %d of version %d covers %d buckets at coverage %v, want %d", e.Revision, source.Version, got, *e.Coverage, want)
			}
			last = source.Version
		}
		close(stop)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		x, err := a.Version(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if y, err := b.Version(ctx); err != nil || x != y {
			t.Errorf("versions %d and %d, %v: a commit is not seen at once", x, y, err)
		}
	})
}

// While PostgreSQL is down every call says so and nothing hangs; afterwards the same store goes on.
func TestOutageOfPostgreSQL(t *testing.T) {
	startOnce(t)
	s := openPostgres(t, newDatabase(t), fixed)
	ctx := t.Context()
	if _, err := s.Create(ctx, definition("coupon"), ""); err != nil {
		t.Fatal(err)
	}
	if err := postgres.server.Control("stop"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Version(ctx); err == nil {
		t.Error("Version without a server = nil, want its error")
	}
	if _, err := s.Change(ctx, "coupon", "start", nil, 0, ""); err == nil {
		t.Error("Change without a server = nil, want its error")
	}
	if err := postgres.server.Control("start"); err != nil {
		t.Fatal(err)
	}
	e, err := s.Change(ctx, "coupon", "start", nil, 0, "")
	if err != nil || e.Revision != 2 {
		t.Errorf("Change after the outage = %+v, %v, want revision 2", e, err)
	}
}
