package client

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	maxBatch = 1_000   // events of one request
	maxSeen  = 500_000 // exposures that are remembered as counted, in each of two generations
)

type exposure struct {
	unit, experiment, variant, policy string
	revision                          int64
	pAssign                           float64
	at                                time.Time
}

// id depends on unit, experiment and allocation alone: the same exposure from two processes, or sent twice, is one event.
func (e exposure) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "exposure\x00%s\x00%d\x00%s", e.experiment, e.revision, e.unit))
	return hex.EncodeToString(sum[:16])
}

// event is the exposure as the server takes it (CONTRACT §3).
func (e exposure) event() map[string]any {
	return map[string]any{"event_id": e.id(), "user_id": e.unit, "event": "Experiment Viewed", "ts": e.at.UTC().Format(time.RFC3339Nano),
		"properties": map[string]any{"experiment": e.experiment, "variant": e.variant, "allocation_revision": e.revision, "p_assign": e.pAssign, "policy": e.policy, "score_version": nil}}
}

type seenKey struct {
	unit, experiment string
	revision         int64
}

// queue holds encoded events that wait. A caller holds its lock for a map lookup and an append; encoding happens before.
type queue struct {
	mu            sync.Mutex
	limit         int
	waiting       []json.RawMessage
	seen, before  map[seenKey]struct{} // two generations, so that memory is bounded
	sent, dropped uint64
}

func (q *queue) init(limit int) { q.limit, q.seen = limit, map[seenKey]struct{}{} }

// add counts an exposure once. When the queue is full it is dropped, counted, and may come again later.
func (q *queue) add(e exposure) {
	key := seenKey{e.unit, e.experiment, e.revision}
	q.mu.Lock()
	_, known := q.seen[key]
	if !known {
		_, known = q.before[key]
	}
	if known || len(q.waiting) >= q.limit {
		if !known {
			q.dropped++
		}
		q.mu.Unlock()
		return
	}
	if len(q.seen) >= maxSeen {
		q.before, q.seen = q.seen, map[seenKey]struct{}{}
	}
	q.seen[key] = struct{}{}
	q.mu.Unlock()
	raw, err := json.Marshal(e.event())
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil || len(q.waiting) >= q.limit {
		delete(q.seen, key)
		q.dropped++
		return
	}
	q.waiting = append(q.waiting, raw)
}

// next returns the oldest events without removing them.
func (q *queue) next(n int) []json.RawMessage {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting[:min(n, len(q.waiting)):min(n, len(q.waiting))]
}

// done removes the n oldest events: they were sent, or refused for good.
func (q *queue) done(n int, accepted bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	if accepted {
		q.sent += uint64(n)
	} else {
		q.dropped += uint64(n)
	}
}

func (q *queue) stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{len(q.waiting), q.sent, q.dropped}
}

// send empties the queue every Flush; after a failure it waits twice as long, up to a minute.
func (c *Client) send() {
	wait := c.o.Flush
	for {
		timer := time.NewTimer(wait)
		select {
		case <-c.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		more, err := true, error(nil)
		for more && err == nil && c.ctx.Err() == nil {
			more, err = c.sendBatch(c.ctx)
		}
		switch {
		case err == nil:
			wait = c.o.Flush
		case c.ctx.Err() == nil:
			c.failed("exposures cannot be sent; they wait", err)
			wait = min(2*wait, max(time.Minute, c.o.Flush))
		}
	}
}

// sendBatch sends the oldest events; more tells that others wait. An error keeps them for the next try.
func (c *Client) sendBatch(ctx context.Context) (more bool, err error) {
	batch := c.queue.next(maxBatch)
	if len(batch) == 0 {
		return false, nil
	}
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	if err := errors.Join(json.NewEncoder(z).Encode(batch), z.Close()); err != nil {
		return false, fmt.Errorf("perennial: %w", err)
	}
	status, raw, _, err := c.do(ctx, http.MethodPost, "/v1/events", body.Bytes(), http.Header{"Content-Encoding": {"gzip"}, "Content-Type": {"application/json"}})
	switch {
	case err != nil:
		return false, err
	case status >= 200 && status < 300:
		var answer struct {
			Rejected []json.RawMessage `json:"rejected"`
		}
		if json.Unmarshal(raw, &answer) == nil && len(answer.Rejected) > 0 {
			c.o.Logger.Warn("perennial: the server refused exposures", "count", len(answer.Rejected))
		}
		refused := min(len(answer.Rejected), len(batch))
		c.queue.done(refused, false)
		c.queue.done(len(batch)-refused, true)
	case status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge || status == http.StatusUnprocessableEntity: // sent again they would fail again
		c.o.Logger.Error("perennial: the server refused a batch of exposures", "count", len(batch), "status", status, "detail", detail(raw))
		c.queue.done(len(batch), false)
	default:
		return false, fmt.Errorf("perennial: POST /v1/events: status %d: %s", status, detail(raw))
	}
	return len(batch) == maxBatch, nil
}

// keepUnsent writes what waits to Dir; loadUnsent takes it up again.
func (c *Client) keepUnsent() error {
	waiting := c.queue.next(c.o.Queue)
	if c.o.Dir == "" {
		if len(waiting) > 0 {
			return fmt.Errorf("perennial: %d exposures were not sent, and no Dir keeps them", len(waiting))
		}
		return nil
	}
	if len(waiting) == 0 {
		if err := os.Remove(c.path("exposures.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	raw, err := json.Marshal(waiting)
	if err != nil {
		return err
	}
	return replace(c.path("exposures.json"), raw)
}

// loadUnsent leaves the file where it is until the next Close: events that are sent twice are duplicates, lost ones are lost.
func (c *Client) loadUnsent() {
	raw, err := os.ReadFile(c.path("exposures.json"))
	if err == nil {
		err = json.Unmarshal(raw, &c.queue.waiting)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.o.Logger.Warn("perennial: the kept exposures cannot be read", "error", err)
	}
}
