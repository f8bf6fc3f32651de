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

// BenchmarkSnapshotLoad500 reads 500 experiments from SQLite and compiles them, as a server does at its start and after each change: bar 50 ms.
func BenchmarkSnapshotLoad500(b *testing.B) {
	ctx := b.Context()
	db, err := sqlstore.OpenSQLite(filepath.Join(b.TempDir(), "control.db"))
	if err != nil {
		b.Fatal(err)
	}
	store, err := sqlstore.New(ctx, db, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	for i := range 500 {
		if _, err := store.Create(ctx, experiments.Definition{Key: fmt.Sprintf("experiment-%d", i), Control: "a",
			Variants:  []experiments.Variant{{Key: "a", Weight: 1}, {Key: "b", Weight: 1, Payload: &experiments.Payload{Type: "json", Value: []byte(`{"threshold":100,"off":20}`)}}},
			Targeting: []experiments.Constraint{{Attribute: "country", Operator: "IN", Values: []string{"CN", "DE"}}, {Attribute: "mail", Operator: "REGEX", Values: []string{`^[^@]+@example\.com$`}}},
		}, "bench"); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		source, err := store.Source(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if s, err := experiments.Compile(source); err != nil || len(s.Keys()) != 500 {
			b.Fatalf("%v", err)
		}
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(used.Microseconds())/1000/float64(b.N), "cpu-ms/op")
}
