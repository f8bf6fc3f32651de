package sqlstore_test

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"perennial/experiments"
	"perennial/experiments/sqlstore"
)

// BenchmarkSnapshotLoad500 reads 500 experiments from SQLite and compiles them, as a server does at its start: bar 50 ms.
func BenchmarkSnapshotLoad500(b *testing.B) {
	open := storeOf500(b)
	benchmarkLoad(b, func(int) (*experiments.Snapshot, error) {
		store := open()
		defer store.Close()
		source, err := store.Source(b.Context())
		if err != nil {
			return nil, err
		}
		return experiments.Compile(source)
	})
}

// BenchmarkSnapshotChange500 is what a server does after a change of one experiment of 500.
func BenchmarkSnapshotChange500(b *testing.B) {
	store := storeOf500(b)()
	defer store.Close()
	var now *experiments.Snapshot
	benchmarkLoad(b, func(i int) (*experiments.Snapshot, error) {
		if _, err := store.Change(b.Context(), "experiment-7", "patch", fmt.Appendf(nil, `{"name":"take %d"}`, i), 0, "bench"); err != nil {
			return nil, err
		}
		source, err := store.Source(b.Context())
		if err == nil {
			now, err = experiments.Recompile(now, source)
		}
		return now, err
	})
}

// storeOf500 fills a database with 500 experiments and returns what opens it.
func storeOf500(b *testing.B) (open func() *sqlstore.Store) {
	ctx, path := b.Context(), filepath.Join(b.TempDir(), "control.db")
	open = func() *sqlstore.Store {
		db, err := sqlstore.OpenSQLite(path)
		if err != nil {
			b.Fatal(err)
		}
		store, err := sqlstore.New(ctx, db, time.Now)
		if err != nil {
			b.Fatal(err)
		}
		return store
	}
	store := open()
	defer store.Close()
	for i := range 500 {
		if _, err := store.Create(ctx, experiments.Definition{Key: fmt.Sprintf("experiment-%d", i), Control: "a",
			Variants:  []experiments.Variant{{Key: "a", Weight: 1}, {Key: "b", Weight: 1, Payload: &experiments.Payload{Type: "json", Value: []byte(`{"threshold":100,"off":20}`)}}},
			Targeting: []experiments.Constraint{{Attribute: "country", Operator: "IN", Values: []string{"CN", "DE"}}, {Attribute: "mail", Operator: "REGEX", Values: []string{`^[^@]+@example\.com$`}}},
		}, "bench"); err != nil {
			b.Fatal(err)
		}
	}
	return open
}

// benchmarkLoad reports the processor time of load beside the time.
func benchmarkLoad(b *testing.B, load func(i int) (*experiments.Snapshot, error)) {
	b.ReportAllocs()
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		if s, err := load(i); err != nil || len(s.Keys()) != 500 {
			b.Fatalf("%v", err)
		}
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(used.Microseconds())/1000/float64(b.N), "cpu-ms/op")
}
