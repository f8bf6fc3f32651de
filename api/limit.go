package api

import (
	"sync"
	"time"
)

// A frontend key is public: it stands in a page that anyone can read. Its requests are limited per key, generously for a shop and little for an abuser.
const (
	frontendRate  = 500.0  // requests a second, on average
	frontendBurst = 2000.0 // requests at once
)

// limiter is a token bucket. It is safe for concurrent use.
type limiter struct {
	mu          sync.Mutex
	rate, burst float64
	tokens      float64
	last        time.Time
}

func newLimiter(rate, burst float64) *limiter {
	return &limiter{rate: rate, burst: burst, tokens: burst}
}

// take takes one token, or returns how long to wait for one.
func (l *limiter) take(now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() {
		l.tokens = min(l.burst, l.tokens+max(0, now.Sub(l.last).Seconds())*l.rate)
	}
	l.last = now
	if l.tokens < 1 {
		return time.Duration((1 - l.tokens) / l.rate * float64(time.Second))
	}
	l.tokens--
	return 0
}
