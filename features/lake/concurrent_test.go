package lake_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// Sixteen writers and a reader that seals and looks: what was acknowledged before a seal is in the snapshot after it. A seal of
// "everything up to the newest sequence number" loses sight of batches that commit late.
func TestSealSeesEveryAcknowledgedEvent(t *testing.T) {
	l := serve(t, t.TempDir(), func(o *lake.Options) { o.Now, o.Burst, o.SealEvery = time.Now, 1<<30, 10*time.Millisecond })
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 16 {
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				events := make([]features.Event, 5)
				for i := range events {
					events[i] = order(fmt.Sprintf("%d-%d-%d", w, n, i), "u", time.Now().Add(-time.Second), 1)
				}
				if _, err := l.Append(context.Background(), events); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for i := range events {
					acknowledged[events[i].EventID] = true
				}
				mu.Unlock()
			}
		})
	}
	for range 12 {
		mu.Lock()
		before := make([]string, 0, len(acknowledged))
		for id := range acknowledged {
			before = append(before, id)
		}
		mu.Unlock()
		if err := l.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := stored(t, l)
		missing := 0
		for _, id := range before {
			if got[id] != 1 {
				missing++
			}
		}
		if missing > 0 {
			t.Fatalf("%d of %d acknowledged events are not in the snapshot after the seal", missing, len(before))
		}
	}
	close(stop)
	writers.Wait()
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, l); len(got) != len(acknowledged) {
		t.Errorf("%d ids stored, %d acknowledged", len(got), len(acknowledged))
	}
}

// The same ids from many writers at once: each is accepted by exactly one, and every answer comes after the original is durable.
func TestOneOfManyResendsIsAccepted(t *testing.T) {
	l := serve(t, t.TempDir(), func(o *lake.Options) { o.Now = time.Now })
	const ids, writers = 400, 8
	var accepted [ids]atomic.Int32
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for from := 0; from < ids; from += 20 {
				var events []features.Event
				for i := from; i < from+20; i++ {
					events = append(events, order(fmt.Sprint("e", (i*(w+1))%ids), "u", time.Now().Add(-time.Second), 1))
				}
				got, err := l.Append(context.Background(), events)
				if err != nil {
					t.Error(err)
					return
				}
				for i, s := range got {
					if s.Outcome == lake.Accepted {
						var n int
						fmt.Sscanf(events[i].EventID, "e%d", &n)
						accepted[n].Add(1)
					}
				}
			}
		})
	}
	all.Wait()
	for i := range accepted {
		if n := accepted[i].Load(); n > 1 {
			t.Errorf("e%d was accepted %d times", i, n)
		}
	}
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, n := range stored(t, l) {
		if n != 1 {
			t.Errorf("%s is stored %d times", id, n)
		}
	}
}

// A resend after a restart is called a duplicate at the door, from the tail and from sealed segments, and one that the memory has
// forgotten is found by the anti-join of the seal.
func TestResendsAfterRestart(t *testing.T) {
	dir := t.TempDir()
	l := serve(t, dir)
	appendAll := func(want lake.Outcome, ids ...string) {
		t.Helper()
		for _, id := range ids {
			got, err := l.Append(t.Context(), []features.Event{order(id, "u", start, 1)})
			if err != nil || got[0].Outcome != want {
				t.Errorf("Append(%s) = %v, %v; want outcome %d", id, got, err, want)
			}
		}
	}
	appendAll(lake.Accepted, "sealed")
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	appendAll(lake.Accepted, "tail")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = serve(t, dir)
	appendAll(lake.Duplicate, "sealed", "tail")
	if _, _, err := l.Load(t.Context(), []features.Event{order("imported", "u", start, 1), order("tail", "u", start, 1)}); err != nil {
		t.Fatal(err)
	}
	appendAll(lake.Accepted, "imported") // another journal's: the door does not know it, the seal does
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, l); len(got) != 3 || got["imported"] != 1 || got["tail"] != 1 || got["sealed"] != 1 {
		t.Errorf("stored %v, want three ids once", got)
	}
	if n := l.Stats().LateDuplicates; n != 1 {
		t.Errorf("%d late duplicates counted, want 1", n)
	}
}

func TestReceivedAtNeverGoesBack(t *testing.T) {
	dir, now := t.TempDir(), start
	clock := func(o *lake.Options) { o.Now = func() time.Time { return now } }
	l := serve(t, dir, clock)
	var last time.Time
	for i := range 20 {
		if i == 10 { // over a restart with a sealed, empty journal
			if err := l.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = serve(t, dir, clock)
		}
		now = start.Add(-time.Duration(i) * time.Minute)
		e := []features.Event{order(fmt.Sprint("e", i), "u", start.Add(-time.Hour), 1)}
		if _, err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if !e[0].ReceivedAt.After(last) {
			t.Errorf("event %d was received at %v, the one before at %v", i, e[0].ReceivedAt, last)
		}
		last = e[0].ReceivedAt
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := serve(t, dir)
	other := open(t, dir)
	if err := other.Serve(t.Context(), 50*time.Millisecond); !errors.Is(err, lake.ErrBusy) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second Serve = %v, want ErrBusy that names the directory", err)
	}
	if _, err := other.Append(t.Context(), nil); !errors.Is(err, lake.ErrNotServing) {
		t.Errorf("Append without the journal = %v, want ErrNotServing", err)
	}
	// A seal from elsewhere goes through the socket.
	if _, err := l.Append(t.Context(), []features.Event{order("a", "u", start, 1)}); err != nil {
		t.Fatal(err)
	}
	if err := other.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, other); got["a"] != 1 {
		t.Errorf("after a seal through serve.sock the other process sees %v", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := other.Serve(t.Context(), time.Second); err != nil {
		t.Errorf("Serve after the first has closed: %v", err)
	}
}

// socket returns the path of a server's socket.
func socket(t *testing.T, dir string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "serve.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), `"socket":"`)
	path, _, _ := strings.Cut(rest, `"`)
	return path
}

func dial(t *testing.T, dir string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", socket(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestSocketIsPrivate(t *testing.T) {
	for _, c := range []struct{ name, dir string }{{"short", t.TempDir()}, {"longer than a socket's path may be", filepath.Join(t.TempDir(), strings.Repeat("d", 120))}} {
		t.Run(c.name, func(t *testing.T) {
			l := serve(t, c.dir)
			path := socket(t, c.dir)
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("socket %s: %v, %v; want mode 0600", path, info, err)
			}
			conn := dial(t, c.dir)
			fmt.Fprintln(conn, "drop everything")
			answer := make([]byte, 100)
			n, _ := conn.Read(answer)
			conn.Close()
			if !strings.HasPrefix(string(answer[:n]), "error unknown") {
				t.Errorf("an unknown request is answered %q", answer[:n])
			}
			if _, err := l.Append(t.Context(), []features.Event{order("a", "u", start, 1)}); err != nil {
				t.Fatal(err)
			}
			if err := open(t, c.dir).Seal(t.Context()); err != nil {
				t.Error(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is still there after Close: %v", err)
			}
		})
	}
}

func TestBackPressure(t *testing.T) {
	l := serve(t, t.TempDir(), func(o *lake.Options) { o.MaxTail, o.SealEvery = 50, time.Hour })
	seen := false
	for i := range 20 {
		_, err := l.Append(t.Context(), batch(10, int64(i*10)+1_000_000_000))
		if errors.Is(err, lake.ErrBehind) {
			seen = true
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !seen {
		t.Fatal("a tail at its bound is not refused")
	}
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := l.Append(t.Context(), batch(1, 2_000_000_000))
		if err == nil {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("the tail is never sealed: %v", err)
		}
	}
}
