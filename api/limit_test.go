package api

import (
	"testing"
	"time"
)

// TestLimiter lets a burst through, then the average rate, and never lends more than a burst after a pause; a clock that jumps back does no harm.
func TestLimiter(t *testing.T) {
	l := newLimiter(10, 5)
	now := time.Unix(1000, 0)
	for i := range 5 {
		if wait := l.take(now); wait != 0 {
			t.Fatalf("request %d of the burst waits %s", i, wait)
		}
	}
	if wait := l.take(now); wait != 100*time.Millisecond {
		t.Errorf("after the burst: wait %s, want 100ms", wait)
	}
	if wait := l.take(now.Add(100 * time.Millisecond)); wait != 0 {
		t.Errorf("a tenth of a second later: wait %s", wait)
	}
	passed := 0
	for range 20 {
		if l.take(now.Add(time.Hour)) == 0 {
			passed++
		}
	}
	if passed != 5 {
		t.Errorf("%d pass after an hour, want the burst of 5", passed)
	}
	if wait := l.take(now); wait <= 0 || wait > time.Second {
		t.Errorf("a clock that jumps back: wait %s", wait)
	}
}
