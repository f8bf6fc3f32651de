package client_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perennial/api/client"
	"perennial/experiments"
	"perennial/experiments/unleash"
)

var now = time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)

// server answers the three doors that the client uses from a real snapshot.
type server struct {
	*httptest.Server
	snapshot atomic.Pointer[experiments.Snapshot]
	down     atomic.Bool
	asked    atomic.Int32
	refuse   atomic.Int32 // status of /v1/events instead of 202
	mu       sync.Mutex
	events   map[string]map[string]any
}

func newServer(t *testing.T, source experiments.Source) *server {
	t.Helper()
	s := &server{events: map[string]map[string]any{}}
	s.serve(t, source)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/client/features", func(w http.ResponseWriter, r *http.Request) {
		body, etag := unleash.EncodeFeatures(s.snapshot.Load(), r.Header.Get("Unleash-Client-Spec"))
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Write(body)
	})
	mux.HandleFunc("POST /v1/assignments", s.assignments)
	mux.HandleFunc("POST /v1/events", s.take)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case s.down.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Header.Get("Authorization") != "Bearer pk_client_x":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(t *testing.T, source experiments.Source) {
	t.Helper()
	snapshot, err := experiments.Compile(source)
	if err != nil {
		t.Fatal(err)
	}
	s.snapshot.Store(snapshot)
}

func (s *server) assignments(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	var in struct {
		Unit        string         `json:"unit_id"`
		Attributes  map[string]any `json:"attributes"`
		Experiments []string       `json:"experiments"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a := s.snapshot.Load().Assign(&experiments.Unit{ID: in.Unit, Sent: attributes(in.Attributes), Now: now}, in.Experiments[0])
	out := map[string]any{"experiment": a.Experiment, "variant": nil, "enrolled": a.Enrolled, "payload": a.Payload, "reason": a.Reason, "p_assign": nil, "allocation_revision": a.AllocationRevision}
	if a.Enrolled {
		out["variant"], out["p_assign"] = a.Variant, a.PAssign
	}
	raw, err := experiments.Marshal(map[string]any{"unit_id": in.Unit, "assignments": []any{out}})
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Write(raw)
}

func (s *server) take(w http.ResponseWriter, r *http.Request) {
	if status := s.refuse.Load(); status != 0 {
		w.WriteHeader(int(status))
		return
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var batch []map[string]any
	if err := json.NewDecoder(z).Decode(&batch); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range batch {
		s.events[e["event_id"].(string)] = e
	}
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, `{"accepted":%d,"duplicate":0,"rejected":[]}`, len(batch))
}

func (s *server) stored() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events)
}

type attributes map[string]any

func (a attributes) Attribute(name string) experiments.Value {
	switch v := a[name].(type) {
	case string:
		return experiments.Value{Kind: experiments.Text_, Text: v}
	case float64:
		return experiments.Value{Kind: experiments.Number, Num: v}
	case bool:
		return experiments.Value{Kind: experiments.Boolean, Num: map[bool]float64{true: 1}[v]}
	}
	return experiments.Value{}
}

func experiment(t *testing.T, key string, change func(d *experiments.Definition)) experiments.Experiment {
	t.Helper()
	payload := func(kind, raw string) *experiments.Payload {
		return &experiments.Payload{Type: kind, Value: json.RawMessage(raw)}
	}
	d := experiments.Definition{Key: key, Salt: "salt-" + key, Control: "a", Variants: []experiments.Variant{
		{Key: "a", Weight: 1, Payload: payload("number", "2.0")}, {Key: "b", Weight: 2, Payload: payload("boolean", "false")}, {Key: "c", Weight: 1, Payload: payload("string", `"满减 <b>"`)}}}
	if change != nil {
		change(&d)
	}
	e, err := experiments.NewExperiment(d, now)
	if err != nil {
		t.Fatal(err)
	}
	e.Status = experiments.Running
	return *e
}

func start(t *testing.T, s *server, o client.Options) *client.Client {
	t.Helper()
	o.URL, o.Key, o.Refresh, o.Flush, o.Now = s.URL, "pk_client_x", 5*time.Millisecond, 5*time.Millisecond, func() time.Time { return now }
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func ready(t *testing.T, c *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Since(start) > 5*time.Second {
			t.Fatalf("%s: not within five seconds", what)
		}
	}
}

func source(t *testing.T) experiments.Source {
	half := 0.5
	return experiments.Source{
		Experiments: []*experiments.Experiment{
			new(experiment(t, "plain", func(d *experiments.Definition) { d.Coverage, d.Forced = &half, map[string]string{"qa": "c"} })),
			new(experiment(t, "targeted", func(d *experiments.Definition) {
				d.Targeting = []experiments.Constraint{{Attribute: "age", Operator: "NUM_GTE", Values: []string{"18"}}, {Attribute: "vip", Operator: "IN", Values: []string{"true"}}, {Attribute: "mail", Operator: "REGEX", Values: []string{"@"}}}
			})),
			new(experiment(t, "scored", func(d *experiments.Definition) {
				d.Targeting = []experiments.Constraint{{Attribute: "stage", Operator: "IN", Values: []string{"prospect"}}}
			})),
		},
		Holdouts: []experiments.Holdout{{Key: "global", Salt: "g", Allocation: experiments.HoldoutShare(0.2)}},
	}
}

// The client says what the server says, whoever answers: variant, payload, p_assign and revision.
func TestAssignEqualsServer(t *testing.T) {
	s := newServer(t, source(t))
	c := start(t, s, client.Options{})
	ready(t, c)
	snapshot := s.snapshot.Load()
	for i := range 600 {
		unit := fmt.Sprintf("u%d", i)
		if i == 0 {
			unit = "qa"
		}
		sent := client.Attributes{"age": float64(i % 40), "vip": i%3 > 0, "mail": "a@b"}
		for _, key := range snapshot.Keys() {
			want := snapshot.Assign(&experiments.Unit{ID: unit, Sent: attributes(sent), Now: now}, key)
			got, err := c.Assign(t.Context(), unit, sent, key)
			if err != nil {
				t.Fatal(err)
			}
			if got.Variant != want.Variant || got.Enrolled != want.Enrolled || got.PAssign != want.PAssign || got.AllocationRevision != want.AllocationRevision ||
				got.Payload.Type != want.Payload.Type || string(got.Payload.Value) != string(want.Payload.Value) || got.Local != (key != "scored") {
				t.Fatalf("%s of %s = %+v, the server says %+v payload %s", key, unit, got, want, want.Payload.Value)
			}
		}
	}
	if n := s.asked.Load(); n != 600 {
		t.Errorf("the server was asked %d times, want 600: once for each unit of the experiment that needs it", n)
	}
	if a, err := c.Assign(t.Context(), "u", nil, "none"); err != nil || a.Reason != "unknown_experiment" {
		t.Errorf("Assign(none) = %+v, %v", a, err)
	}
	if _, err := c.Assign(t.Context(), "", nil, "plain"); err == nil {
		t.Error("Assign without a unit = nil, want an error")
	}
}

// Each enrolled unit leaves one exposure, forced units and peeks none; what the server refuses for a while is sent later.
func TestExposures(t *testing.T) {
	s := newServer(t, source(t))
	c := start(t, s, client.Options{})
	ready(t, c)
	s.refuse.Store(http.StatusTooManyRequests)
	want := 0
	for i := range 300 {
		unit := fmt.Sprintf("u%d", i)
		for range 3 {
			a, err := c.Assign(t.Context(), unit, nil, "plain")
			if err != nil {
				t.Fatal(err)
			}
			if a.Enrolled {
				want++
			}
		}
		if _, err := c.Peek(t.Context(), "peek-"+unit, nil, "plain"); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := c.Assign(t.Context(), "qa", nil, "plain"); err != nil || a.Reason != "forced" {
		t.Errorf("forced = %+v, %v", a, err)
	}
	want /= 3
	until(t, "the refusal shows", func() bool { return c.Fault() != "" })
	if x := c.Stats(); x.Waiting != want || x.Sent != 0 || x.Dropped != 0 {
		t.Errorf("Stats = %+v, want %d waiting", x, want)
	}
	s.refuse.Store(0)
	until(t, "all are sent", func() bool { return c.Stats().Sent == uint64(want) })
	if n := s.stored(); n != want {
		t.Errorf("%d exposures are stored, want %d", n, want)
	}
	for _, e := range s.events {
		p := e["properties"].(map[string]any)
		if e["event"] != "Experiment Viewed" || p["experiment"] != "plain" || p["allocation_revision"] != 1.0 || p["p_assign"].(float64) <= 0 || p["variant"] == "" {
			t.Fatalf("event %v", e)
		}
	}
}

func TestFullQueueDropsAndCounts(t *testing.T) {
	s := newServer(t, experiments.Source{Experiments: []*experiments.Experiment{new(experiment(t, "e", nil))}})
	c := start(t, s, client.Options{Queue: 10})
	ready(t, c)
	s.refuse.Store(http.StatusServiceUnavailable)
	until(t, "the queue is full", func() bool {
		for i := range 50 {
			if _, err := c.Assign(t.Context(), fmt.Sprintf("u%d", i), nil, "e"); err != nil {
				t.Fatal(err)
			}
		}
		return c.Stats().Dropped >= 40
	})
	if x := c.Stats(); x.Waiting != 10 {
		t.Errorf("Stats = %+v, want 10 waiting", x)
	}
	s.refuse.Store(http.StatusBadRequest)
	until(t, "a batch refused for good goes", func() bool { return c.Stats().Waiting == 0 })
}

// Definitions follow the server, outlive it, outlive the process, and outlive Close; exposures that could not be sent wait on disk.
func TestOutageRestartAndClose(t *testing.T) {
	s := newServer(t, source(t))
	dir := t.TempDir()
	c := start(t, s, client.Options{Dir: dir})
	ready(t, c)
	in := func(c *client.Client) string {
		for i := 0; ; i++ {
			unit := fmt.Sprintf("u%d", i)
			if a, _ := c.Peek(t.Context(), unit, nil, "plain"); a.Enrolled {
				return unit
			}
		}
	}
	unit := in(c)
	changed := source(t)
	changed.Experiments[0].Status = experiments.Stopped
	s.serve(t, changed)
	until(t, "a stop", func() bool {
		a, _ := c.Peek(t.Context(), unit, nil, "plain")
		return !a.Enrolled && string(a.Payload.Value) == "2.0"
	})
	s.serve(t, source(t))
	until(t, "a start", func() bool { a, _ := c.Peek(t.Context(), unit, nil, "plain"); return a.Enrolled })

	s.down.Store(true)
	until(t, "the outage shows", func() bool { return c.Fault() != "" })
	if a, err := c.Assign(t.Context(), unit, nil, "plain"); err != nil || !a.Enrolled {
		t.Errorf("Assign in an outage = %+v, %v", a, err)
	}
	if a, err := c.Assign(t.Context(), unit, nil, "scored"); err == nil || a.Enrolled {
		t.Errorf("Assign of what the server must answer = %+v, nil, want an error", a)
	}
	if err := c.Close(t.Context()); err == nil {
		t.Error("Close with an exposure that cannot be sent = nil, want its error")
	}
	if a, err := c.Peek(t.Context(), unit, nil, "plain"); err != nil || !a.Enrolled {
		t.Errorf("after Close = %+v, %v", a, err)
	}
	if _, err := c.Peek(t.Context(), unit, nil, "scored"); !errors.Is(err, client.ErrClosed) {
		t.Errorf("after Close the server is asked: %v, want ErrClosed", err)
	}

	later := start(t, s, client.Options{Dir: dir})
	if a, err := later.Peek(t.Context(), unit, nil, "plain"); err != nil || !a.Enrolled {
		t.Errorf("after a restart in an outage = %+v, %v", a, err)
	}
	s.down.Store(false)
	until(t, "the kept exposure is sent", func() bool { return s.stored() == 1 })
	if err := later.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsGoroutines(t *testing.T) {
	s := newServer(t, source(t))
	before := runtime.NumGoroutine()
	transport := &http.Transport{}
	for range 5 {
		c := start(t, s, client.Options{Transport: transport})
		if err := errors.Join(c.Close(t.Context()), c.Close(t.Context())); err != nil {
			t.Error(err)
		}
	}
	transport.CloseIdleConnections()
	until(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestOptions(t *testing.T) {
	for _, o := range []client.Options{{}, {URL: "shop.example.com", Key: "k"}, {URL: "https://x"}, {URL: "ftp://x", Key: "k"}} {
		if _, err := client.New(o); err == nil {
			t.Errorf("New(%+v) = nil, want an error", o)
		}
	}
	s := newServer(t, source(t))
	c, err := client.New(client.Options{URL: s.URL, Key: "wrong", Refresh: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ready with a wrong key = %v", err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
