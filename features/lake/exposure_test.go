package lake_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

func TestExposureOnceAsAnEvent(t *testing.T) {
	dir := t.TempDir()
	l := serve(t, dir)
	v := lake.Exposure{Unit: "u1", Experiment: "coupon", Variant: `say "hi"`, AllocationRevision: 3, PAssign: 0.25, Policy: "split", ScoreVersion: "s1", At: start.Add(-time.Minute)}
	if l.Exposed("u1", "coupon", 3) {
		t.Error("exposed before")
	}
	for range 3 {
		if err := l.Expose(t.Context(), v, false); err != nil {
			t.Fatal(err)
		}
	}
	other := v
	other.AllocationRevision = 4
	if err := l.Expose(t.Context(), other, true); err != nil {
		t.Fatal(err)
	}
	if !l.Exposed("u1", "coupon", 3) || !l.Exposed("u1", "coupon", 4) || l.Exposed("u1", "coupon", 5) || l.Exposed("u1", "coupo", 3) {
		t.Error("Exposed is wrong about what was exposed")
	}
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := l.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows := query(t, s, `concat_ws('|', user_id, event, ts, currency, properties)`)
	want := `u1|Experiment Viewed|2026-11-22 11:59:00|CNY|{"experiment":"coupon","variant":"say \"hi\"","allocation_revision":3,"p_assign":0.25,"policy":"split","score_version":"s1"}`
	if len(rows) != 2 || rows[0] != want && rows[1] != want {
		t.Errorf("stored exposures %q, want two, one of them %s", rows, want)
	}
	// The set outlives a restart, the tail sealed or not.
	if err := l.Expose(t.Context(), lake.Exposure{Unit: "u2", Experiment: "coupon", Variant: "a", AllocationRevision: 3}, true); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = serve(t, dir)
	if !l.Exposed("u1", "coupon", 3) || !l.Exposed("u2", "coupon", 3) {
		t.Error("exposures are forgotten after a restart")
	}
}

func TestExposuresWaitForTheJournal(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	if err := l.Expose(t.Context(), lake.Exposure{Unit: "early", Experiment: "x", Variant: "a", AllocationRevision: 1, At: start}, false); err != nil {
		t.Fatal(err)
	}
	if err := l.Expose(t.Context(), lake.Exposure{Unit: "sync", Experiment: "x", Variant: "a", AllocationRevision: 1, At: start}, true); !errors.Is(err, lake.ErrNotServing) {
		t.Errorf("a synced exposure without a journal = %v, want ErrNotServing", err)
	}
	if err := l.Serve(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(stored(t, l)); n != 2 {
		t.Errorf("%d exposures stored, want the 2 that waited", n)
	}
}

func TestFullExposureQueueIsCounted(t *testing.T) {
	l := open(t, t.TempDir()) // no journal takes them
	const queue = 1 << 16
	for i := range queue + 10 {
		err := l.Expose(t.Context(), lake.Exposure{Unit: fmt.Sprint(i), Experiment: "x", Variant: "a", AllocationRevision: 1}, false)
		if full := i >= queue; errors.Is(err, lake.ErrBehind) != full || !full && err != nil {
			t.Fatalf("exposure %d: %v", i, err)
		}
	}
	if s := l.Stats(); s.DroppedViews != 10 || s.WaitingViews != queue {
		t.Errorf("%d dropped and %d waiting, want 10 and %d", s.DroppedViews, s.WaitingViews, queue)
	}
	if l.Exposed(fmt.Sprint(queue+1), "x", 1) {
		t.Error("a dropped exposure counts as exposed, so that nobody would write it again")
	}
}

func TestExposedDoesNotAllocate(t *testing.T) {
	l := open(t, t.TempDir())
	unit, experiment := fmt.Sprint("u", 1), fmt.Sprint("x", 1)
	if n := testing.AllocsPerRun(100, func() { l.Exposed(unit, experiment, 7); l.Sticky(experiment, unit); l.Recent(unit) }); n != 0 {
		t.Errorf("Exposed, Sticky and Recent allocate %v times", n)
	}
}

func TestStickyFirstAnswerStands(t *testing.T) {
	dir := t.TempDir()
	l := serve(t, dir)
	var all sync.WaitGroup
	answers := make([]lake.Kept, 8)
	for i := range answers {
		all.Go(func() {
			k, err := l.Keep(t.Context(), "x", "u", lake.Kept{Variant: fmt.Sprint("v", i), AllocationRevision: int64(i), PAssign: 0.5, ScoreVersion: "s"})
			if err != nil {
				t.Error(err)
			}
			answers[i] = k
		})
	}
	all.Wait()
	for i := range answers {
		if answers[i] != answers[0] {
			t.Errorf("two first answers: %v and %v", answers[0], answers[i])
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = serve(t, dir)
	if k, ok := l.Sticky("x", "u"); !ok || k != answers[0] {
		t.Errorf("after a restart the kept answer is %v, %v; want %v", k, ok, answers[0])
	}
	if _, ok := l.Sticky("u", "x"); ok {
		t.Error("experiment and unit are confused")
	}
	// An answer below the least revision is replaced, durably; one that is not stands.
	later := lake.Kept{Variant: "later", AllocationRevision: 9, Least: 9}
	for i, want := range []lake.Kept{{Variant: "later", AllocationRevision: 9}, {Variant: "later", AllocationRevision: 9}} {
		k, err := l.Keep(t.Context(), "x", "u", later)
		if k.Least = 0; err != nil || k != want {
			t.Errorf("Keep %d with a least revision = %v, %v, want %v", i, k, err, want)
		}
		later.Variant = "latest"
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if k, ok := serve(t, dir).Sticky("x", "u"); !ok || k.Variant != "later" {
		t.Errorf("after a restart the replaced answer is %v, %v", k, ok)
	}
}

func TestRecentCountsToday(t *testing.T) {
	dir, now := t.TempDir(), start
	clock := func(o *lake.Options) { o.Now = func() time.Time { return now } }
	l := serve(t, dir, clock)
	cart := features.Event{EventID: "c1", UserID: "u", Name: features.ProductAdded, TS: start}
	if _, err := l.Append(t.Context(), []features.Event{order("a", "u", start.Add(-2*time.Hour), 1), order("b", "u", start.Add(-3*time.Hour), 1), order("a", "u", start, 1), cart}); err != nil {
		t.Fatal(err)
	}
	check := func(what string, orders, carts int, ok bool) {
		t.Helper()
		o, c, last, found := l.Recent("u")
		if o != orders || c != carts || found != ok || ok && !last.Equal(start.Add(-2*time.Hour)) {
			t.Errorf("%s: Recent = %d, %d, %v, %v; want %d, %d, %v", what, o, c, last, found, orders, carts, ok)
		}
	}
	check("in the tail", 2, 1, true)
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("sealed", 2, 1, true)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = serve(t, dir, clock)
	check("after a restart", 2, 1, true)
	now = start.Add(5 * time.Hour) // 01:00 of the next day in Shanghai
	check("after midnight", 0, 0, false)
}
