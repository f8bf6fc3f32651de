// Package client asks a Perennial server which variant a unit gets. It keeps the definitions in memory and answers from them; experiments that need scores,
// kept answers or quotas are asked of the server. It sends exposures in the background, keeps the last good definitions on disk, and stands on the
// standard library: it imports neither a web framework nor a driver.
//
//	c, err := client.New(client.Options{URL: "https://perennial.example.com", Key: os.Getenv("PERENNIAL_KEY"), Dir: "/var/lib/shop/perennial"})
//	defer c.Close(ctx)
//	a, err := c.Assign(ctx, userID, client.Attributes{"country": "CN"}, "coupon-form") // also counts the exposure
//	if a.Variant == "spend-100-save-20" { … }
package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is what the server is asked after Close. Experiments that are answered locally go on.
var ErrClosed = errors.New("perennial: the client is closed")

// Options configures a Client. URL and Key are required, every other zero value has a default.
type Options struct {
	URL       string            // of the server
	Key       string            // an API key of role client
	Refresh   time.Duration     // between polls for changed definitions; default 15 s
	Timeout   time.Duration     // of one request; default 3 s
	Dir       string            // keeps the last good definitions and unsent exposures over restarts; "" keeps nothing
	Queue     int               // exposures that wait at most; more are dropped and counted; default 100,000
	Flush     time.Duration     // between sendings of exposures; default 1 s
	Transport http.RoundTripper // default http.DefaultTransport
	Logger    *slog.Logger      // default: nothing is logged; ids and keys never are
	Now       func() time.Time  // default time.Now
}

// Attributes is what the caller knows of a unit: texts, numbers and booleans. "userId" is the unit itself and cannot be set.
type Attributes map[string]any

// Assignment is the answer for one unit and one experiment. A unit that is not enrolled has no variant and the control's payload.
type Assignment struct {
	Experiment         string
	Variant            string
	Enrolled           bool
	Payload            Payload
	Reason             string  // of CONTRACT §5; answered locally "forced", "split", "not_enrolled" or "off"
	PAssign            float64 // probability of this variant among the enrolled; 0 when not enrolled
	AllocationRevision int64
	Local              bool // answered without asking the server
}

// Payload is what an app receives: raw JSON of a type, or nothing.
type Payload struct {
	Type  string          `json:"type"` // string number boolean json; "" without a payload
	Value json.RawMessage `json:"value"`
}

// Client is safe for concurrent use. Assign takes no lock for experiments that are answered locally but the short one of the exposure's queue.
type Client struct {
	o           Options
	base        *url.URL
	http        *http.Client
	definitions atomic.Pointer[definitions]
	ready       chan struct{}
	once        sync.Once // closes ready
	queue       queue
	ctx         context.Context // of the goroutines; ends at Close
	cancel      context.CancelFunc
	running     sync.WaitGroup
	closing     sync.Once
	fault       atomic.Pointer[string]
}

// New starts a client and returns at once, with the definitions that Dir keeps, if any; Ready waits for fresh ones. It errs on unusable options only.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("perennial: URL: %q is not an http or https address", o.URL)
	}
	if o.Key == "" {
		return nil, errors.New("perennial: Key is empty: `perennial keys create --role client` makes one")
	}
	o.Refresh = cmp.Or(o.Refresh, 15*time.Second)
	o.Timeout = cmp.Or(o.Timeout, 3*time.Second)
	o.Queue = cmp.Or(o.Queue, 100_000)
	o.Flush = cmp.Or(o.Flush, time.Second)
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Client{o: o, base: base, ready: make(chan struct{}), http: &http.Client{Transport: o.Transport, Timeout: o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}} // a redirect could carry the key away
	c.queue.init(o.Queue)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("perennial: Dir: %w", err)
		}
		c.loadLastGood()
		c.loadUnsent()
	}
	c.running.Go(c.poll)
	c.running.Go(c.send)
	return c, nil
}

// Ready waits until definitions have been fetched since New, or ctx ends.
func (c *Client) Ready(ctx context.Context) error {
	select {
	case <-c.ready:
		return nil
	case <-ctx.Done():
		if why := c.Fault(); why != "" {
			return fmt.Errorf("perennial: %w: %s", ctx.Err(), why)
		}
		return fmt.Errorf("perennial: %w", ctx.Err())
	}
}

// Fault says why the newest request in the background failed; "" when it did not.
func (c *Client) Fault() string {
	if text := c.fault.Load(); text != nil {
		return *text
	}
	return ""
}

// Assign answers one experiment for one unit at the moment of use, and counts the exposure of an enrolled unit. On an error the assignment is that of a unit which is
// not enrolled, so that a caller may go on with its default.
func (c *Client) Assign(ctx context.Context, unit string, attributes Attributes, experiment string) (Assignment, error) {
	return c.assign(ctx, unit, attributes, experiment, true)
}

// Peek is Assign without an exposure, for callers that look before the unit meets the variant; Expose counts it then.
func (c *Client) Peek(ctx context.Context, unit string, attributes Attributes, experiment string) (Assignment, error) {
	return c.assign(ctx, unit, attributes, experiment, false)
}

func (c *Client) assign(ctx context.Context, unit string, attributes Attributes, experiment string, expose bool) (Assignment, error) {
	if unit == "" {
		return Assignment{Experiment: experiment}, errors.New("perennial: the unit's id is empty")
	}
	if d := c.definitions.Load(); d != nil {
		if a, ok := d.answer(unit, attributes, experiment, c.o.Now()); ok {
			if expose {
				c.Expose(unit, a)
			}
			return a, nil
		}
	}
	return c.ask(ctx, unit, attributes, experiment, expose)
}

// Expose counts that a unit has met its variant; units that are not enrolled, or forced, are not counted, and a unit that was counted for this allocation is not again.
func (c *Client) Expose(unit string, a Assignment) {
	if !a.Enrolled || a.Reason == "forced" {
		return
	}
	c.queue.add(exposure{unit: unit, experiment: a.Experiment, variant: a.Variant, revision: a.AllocationRevision, pAssign: a.PAssign, policy: a.Reason, at: c.o.Now()})
}

// Stats says how exposures fare.
type Stats struct {
	Waiting int    // not yet at the server
	Sent    uint64 // accepted by the server, or known there
	Dropped uint64 // the queue was full, or the server refused them for good
}

// Stats returns the counts since New.
func (c *Client) Stats() Stats { return c.queue.stats() }

// Close sends what waits until ctx ends, keeps the rest in Dir, and ends both goroutines. Experiments that are answered locally go on with the last good definitions.
func (c *Client) Close(ctx context.Context) error {
	var err error
	c.closing.Do(func() {
		c.cancel()
		c.running.Wait()
		for err == nil && c.queue.stats().Waiting > 0 {
			_, err = c.sendBatch(ctx)
		}
		err = errors.Join(err, c.keepUnsent())
	})
	return err
}

// ask asks the server for what cannot be answered locally.
func (c *Client) ask(ctx context.Context, unit string, attributes Attributes, experiment string, expose bool) (Assignment, error) {
	none := Assignment{Experiment: experiment}
	if c.ctx.Err() != nil {
		return none, ErrClosed
	}
	body, err := json.Marshal(map[string]any{"unit_id": unit, "attributes": attributes, "experiments": []string{experiment}, "expose": expose})
	if err != nil {
		return none, fmt.Errorf("perennial: attributes: %w", err)
	}
	status, raw, _, err := c.do(ctx, http.MethodPost, "/v1/assignments", body, nil)
	if err != nil {
		return none, err
	}
	if status != http.StatusOK {
		return none, fmt.Errorf("perennial: POST /v1/assignments: status %d: %s", status, detail(raw))
	}
	var answer struct {
		Assignments []struct {
			Variant            *string  `json:"variant"`
			Enrolled           bool     `json:"enrolled"`
			Payload            *Payload `json:"payload"`
			Reason             string   `json:"reason"`
			PAssign            *float64 `json:"p_assign"`
			AllocationRevision *int64   `json:"allocation_revision"`
		} `json:"assignments"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil || len(answer.Assignments) != 1 {
		return none, fmt.Errorf("perennial: POST /v1/assignments: not an answer of a Perennial server")
	}
	x := answer.Assignments[0]
	a := Assignment{Experiment: experiment, Enrolled: x.Enrolled, Reason: x.Reason}
	if x.Variant != nil {
		a.Variant = *x.Variant
	}
	if x.Payload != nil {
		a.Payload = *x.Payload
	}
	if x.PAssign != nil {
		a.PAssign = *x.PAssign
	}
	if x.AllocationRevision != nil {
		a.AllocationRevision = *x.AllocationRevision
	}
	return a, nil
}

const maxAnswer = 64 << 20 // bytes

// do sends one request with the key and reads the whole answer.
func (c *Client) do(ctx context.Context, method, path string, body []byte, headers http.Header) (status int, raw []byte, answer http.Header, err error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), strings.NewReader(string(body)))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("perennial: %s %s: %w", method, path, err)
	}
	for name, values := range headers {
		r.Header[name] = values
	}
	if r.Header.Get("Content-Type") == "" && len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+c.o.Key)
	w, err := c.http.Do(r)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("perennial: %w", err)
	}
	defer w.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(w.Body, maxAnswer))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("perennial: %s %s: %w", method, path, err)
	}
	return w.StatusCode, raw, w.Header, nil
}

// detail is the detail of a problem document, or nothing.
func detail(raw []byte) string {
	var problem struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(raw, &problem) != nil || problem.Detail == "" {
		return "no detail"
	}
	return problem.Detail
}

// failed logs the first of a row of equal faults.
func (c *Client) failed(doing string, err error) {
	text := err.Error()
	if old := c.fault.Swap(&text); old == nil || *old != text {
		c.o.Logger.Warn("perennial: "+doing, "error", text)
	}
}

// replace writes a file at once: a reader finds the old one or the new one.
func replace(path string, raw []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
