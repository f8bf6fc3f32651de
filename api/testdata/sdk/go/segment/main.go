// segment is Segment's Go client: ORDERS orders of 12.5 each in batches; run.py reads from the store what has arrived.
package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"

	"gopkg.in/segmentio/analytics-go.v3"

	"perennial-sdk/world"
)

// statuses notes what every request of a client was answered.
type statuses struct {
	mu   sync.Mutex
	seen []int
}

// RoundTrip sends a request.
func (s *statuses) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen = append(s.seen, answer.StatusCode)
	}
	return answer, err
}

// outcome counts what a client says of its messages.
type outcome struct {
	mu              sync.Mutex
	arrived, failed int
}

// Success is called for every message that a 200 answered.
func (o *outcome) Success(analytics.Message) { o.mu.Lock(); o.arrived++; o.mu.Unlock() }

// Failure is called for every message that was given up.
func (o *outcome) Failure(analytics.Message, error) { o.mu.Lock(); o.failed++; o.mu.Unlock() }

func client(key string, s *statuses, o *outcome) analytics.Client {
	c, err := analytics.NewWithConfig(key, analytics.Config{Endpoint: os.Getenv("BASE_URL"), BatchSize: 20, Transport: s, Callback: o, Logger: quiet{}})
	if err != nil {
		panic(err)
	}
	return c
}

// quiet keeps the client from writing what the test expects.
type quiet struct{}

// Logf drops a line.
func (quiet) Logf(string, ...any) {}

// Errorf drops a line.
func (quiet) Errorf(string, ...any) {}

func main() {
	t, s, o := &world.Tally{}, &statuses{}, &outcome{}
	orders, err := strconv.Atoi(os.Getenv("ORDERS"))
	if err != nil {
		panic(err)
	}
	c := client(os.Getenv("CLIENT_KEY"), s, o)
	for i := range orders {
		if err := c.Enqueue(analytics.Track{UserId: fmt.Sprintf("segment-go-%d", i%7), Event: "Order Completed", Properties: analytics.NewProperties().
			SetOrderId(fmt.Sprintf("go-%d", i)).SetRevenue(12.5).SetCurrency("CNY").SetProducts(analytics.Product{ID: "p", Name: "红茶"})}); err != nil {
			panic(err)
		}
	}
	t.Check("the client closes", c.Close() == nil, nil)
	ok := len(s.seen) > 0
	for _, status := range s.seen {
		ok = ok && status == http.StatusOK
	}
	t.Check("every batch is answered 200", ok, s.seen)
	t.Check("no message was given up", o.arrived == orders && o.failed == 0, o)
	refused := &statuses{}
	stranger := client("wrong", refused, &outcome{})
	if err := stranger.Enqueue(analytics.Track{UserId: "u", Event: "Stranger"}); err != nil {
		panic(err)
	}
	stranger.Close()
	t.Check("a wrong key", len(refused.seen) > 0 && refused.seen[0] == http.StatusUnauthorized, refused.seen)
	t.Finish()
}
