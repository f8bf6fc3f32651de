package lake_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// batch returns n fresh events of about 350 bytes of JSON each.
func batch(n int, from int64) []features.Event {
	events := make([]features.Event, n)
	for i := range events {
		id := strconv.FormatInt(from+int64(i), 10)
		events[i] = features.Event{EventID: "0192f1c2-7d7e-7000-8000-" + id, UserID: "user-" + id[max(0, len(id)-4):], Name: features.OrderCompleted,
			TS: start.Add(-time.Minute), Value: features.AmountOf(128_500_000), Margin: features.AmountOf(40_100_000), Discount: features.AmountOf(20_000_000),
			OrderID: "o" + id, Category: "food", Channel: "wechat", CouponID: "100-20", Properties: []byte(`{"page":"/checkout","agent":"mini-program 8.0.50"}`)}
	}
	return events
}

// BenchmarkAppend measures synced batches of 100 events from 16 writers; the time is per event.
func BenchmarkAppend(b *testing.B) {
	l := serve(b, b.TempDir(), func(o *lake.Options) { o.MaxTail, o.SealEvery, o.Now = 1<<40, time.Hour, time.Now })
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			events := batch(100, next.Add(100)+1_000_000_000)
			for i := range events {
				events[i].TS = time.Now()
			}
			if _, err := l.Append(b.Context(), events); err != nil {
				b.Fatal(err)
			}
			for range 99 { // b.N counts events
				if !pb.Next() {
					return
				}
			}
		}
	})
}

// BenchmarkSealOnRequest measures one event's way from its acknowledgement to a snapshot.
func BenchmarkSealOnRequest(b *testing.B) {
	l := serve(b, b.TempDir(), func(o *lake.Options) { o.SealEvery, o.Burst = time.Hour, 1<<30 })
	for n := int64(1_000_000_000); b.Loop(); n += 100 {
		if _, err := l.Append(b.Context(), batch(100, n)); err != nil {
			b.Fatal(err)
		}
		if err := l.Seal(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSeal seals lots of 250,000 acknowledged events; the processor time is per event and leaves out their way into the journal.
func BenchmarkSeal(b *testing.B) {
	const lot = 250_000
	l := serve(b, b.TempDir(), func(o *lake.Options) { o.MaxTail, o.SealEvery, o.Burst, o.Now = 1<<40, time.Hour, 1<<30, time.Now })
	var spent time.Duration
	next := int64(1_000_000_000)
	for range b.N {
		for range lot / 1000 {
			events := batch(1000, next)
			next += 1000
			for i := range events {
				events[i].TS = time.Now()
			}
			if _, err := l.Append(b.Context(), events); err != nil {
				b.Fatal(err)
			}
		}
		before := processorTime(b)
		if err := l.Seal(b.Context()); err != nil {
			b.Fatal(err)
		}
		spent += processorTime(b) - before
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N)/lot, "cpu-µs/event")
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkExposed asks for a recorded exposure among a million.
func BenchmarkExposed(b *testing.B) {
	l := open(b, b.TempDir())
	units := make([]string, 1024)
	for i := range units {
		units[i] = fmt.Sprint("user-", i)
		if err := l.Expose(b.Context(), lake.Exposure{Unit: units[i], Experiment: "coupon", Variant: "a", AllocationRevision: 1}, false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if !l.Exposed(units[i&1023], "coupon", 1) {
			b.Fatal("not exposed")
		}
	}
}

// BenchmarkExpose records new exposures; their way to the disk is shared by all of 5 ms.
func BenchmarkExpose(b *testing.B) {
	l := serve(b, b.TempDir(), func(o *lake.Options) { o.MaxTail = 1 << 40 })
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := l.Expose(b.Context(), lake.Exposure{Unit: strconv.Itoa(i), Experiment: "coupon", Variant: "a", AllocationRevision: 1, At: start}, false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(l.Stats().DroppedViews), "dropped")
}
