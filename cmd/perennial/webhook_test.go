package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// The example of Standard Webhooks' own libraries (github.com/standard-webhooks/standard-webhooks, libraries/*/test).
func TestWebhookSignatureIsTheStandards(t *testing.T) {
	key, err := webhookKey(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	got := signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	for _, weak := range []string{"", "secret", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
		if _, err := webhookKey(weak); err == nil {
			t.Errorf("secret %q is taken", weak)
		}
	}
}

// receiver is somebody's endpoint: it answers each request with the next status, 0 hanging up, then 200, and keeps what it has accepted.
type receiver struct {
	mu       sync.Mutex
	statuses []int
	ids      []string
	accepted []change
	faults   []string
	done     func(accepted int)
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := http.StatusOK
	if len(r.statuses) > 0 {
		status, r.statuses = r.statuses[0], r.statuses[1:]
	}
	body, err := io.ReadAll(req.Body)
	key, _ := webhookKey(hookSecret)
	if want := "v1," + signature(key, req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp"), body); err != nil || req.Header.Get("webhook-signature") != want {
		r.faults = append(r.faults, fmt.Sprintf("signature %q, want %q (%v)", req.Header.Get("webhook-signature"), want, err))
	}
	r.ids = append(r.ids, req.Header.Get("webhook-id"))
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	if w.WriteHeader(status); status/100 != 2 {
		return
	}
	var m changeMessage
	if err := json.Unmarshal(body, &m); err != nil || m.Type != "scores.changed" || m.Data.ScoreVersion == "" {
		r.faults = append(r.faults, fmt.Sprintf("body %.200s: %v", body, err))
	}
	r.accepted = append(r.accepted, m.Data.Changes...)
	if r.done != nil {
		r.done(len(r.accepted))
	}
}

// TestWebhookDelivers: in order, again after every kind of failure with waits that double, from where it was after a restart.
func TestWebhookDelivers(t *testing.T) {
	day := func(text string) features.Day {
		d, err := features.ParseDay(text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	changes := map[string][]change{}
	published := func(asOf, version string, n int) lake.Run {
		for i := range n {
			changes[version] = append(changes[version], change{"score.band.changed", fmt.Sprintf("u%04d", i), asOf, "low", "high", version})
		}
		return lake.Run{Kind: "scores", AsOf: day(asOf), Version: version}
	}
	r := &receiver{}
	server := httptest.NewServer(r)
	defer server.Close()
	key, _ := webhookKey(hookSecret)
	runs := []lake.Run{published("2026-01-01", "scores-a", 7)}
	var waits []time.Duration
	mine := true
	start := func() *webhook {
		return &webhook{url: server.URL, key: key, cursor: filepath.Join(t.TempDir(), "webhook.json"), client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
			log: slog.New(slog.DiscardHandler), now: time.Now, alone: func(context.Context) (func(), bool, error) { return func() {}, mine, nil }, runs: func(context.Context) ([]lake.Run, error) { return runs, nil },
			read: func(_ context.Context, run lake.Run) ([]change, error) { return changes[run.Version], nil }}
	}
	w := start()
	// until runs the worker until the receiver has everything that is published, and two polls more.
	until := func(w *webhook, want int) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		more := 2
		w.wait = func(_ context.Context, d time.Duration) bool {
			if waits = append(waits, d); d == webhookPoll && len(r.accepted) >= want {
				more--
			}
			return more > 0 && len(waits) < 100
		}
		waits, r.accepted, r.ids = nil, nil, nil
		w.run(ctx)
		if len(r.faults) > 0 {
			t.Fatal(r.faults)
		}
		if len(r.accepted) != want {
			t.Fatalf("%d changes were accepted, want %d", len(r.accepted), want)
		}
	}
	until(w, 0) // what was there before the webhook is not told

	runs = append([]lake.Run{published("2026-01-02", "scores-b", 1203)}, runs...)
	mine = false
	until(w, 0) // another server delivers
	mine, r.statuses = true, []int{500, 0, 302, 200, 429, 200, 200}
	until(w, 1203)
	for i, c := range r.accepted {
		if c != changes["scores-b"][i] {
			t.Fatalf("change %d is %+v, want %+v", i, c, changes["scores-b"][i])
		}
	}
	if id := r.ids; id[0] != id[3] || id[3] == id[4] || id[4] != id[5] || id[5] == id[6] {
		t.Errorf("ids %v: those of one message must be equal, those of two not", id)
	}
	for i, least := range []time.Duration{1, 2, 4, 1} {
		if least *= time.Second; waits[i] < least || waits[i] > least*6/5 {
			t.Errorf("wait %d is %s, want %s to %s", i, waits[i], least, least*6/5)
		}
	}

	// The process died after the receiver's answer, before its own note: the last message comes again, under its old id.
	last := r.ids[len(r.ids)-1]
	if err := w.store(delivered{"2026-01-02", "scores-b", 1000, false}); err != nil {
		t.Fatal(err)
	}
	until(w, 203)
	if r.ids[0] != last {
		t.Errorf("the second delivery has id %s, the first had %s", r.ids[0], last)
	}
	// A backfill is not told; the same date with new facts is, from its beginning; so is the next day.
	runs = []lake.Run{published("2026-01-03", "scores-d", 2), published("2026-01-02", "scores-c", 3), runs[0], published("2025-12-01", "scores-old", 5)}
	until(w, 5)
	if got := r.accepted[0].ScoreVersion + " " + r.accepted[4].ScoreVersion; got != "scores-c scores-d" {
		t.Errorf("told %s", got)
	}
	if got := backoff(60); got < webhookLongest || got > webhookLongest*6/5 {
		t.Errorf("the longest wait is %s", got)
	}
}

func TestWebhookConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no secret":  {WebhookURL: "https://example.com"},
		"no scheme":  {WebhookURL: "example.com", WebhookSecret: hookSecret},
		"other kind": {WebhookURL: "ftp://example.com", WebhookSecret: hookSecret},
	} {
		if err := checkWebhook(c); err == nil || !strings.Contains(err.Error(), "config: webhook_") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkWebhook(Config{WebhookURL: "https://example.com/hook?token=1", WebhookSecret: hookSecret}); err != nil {
		t.Error(err)
	}
}

// deliversWhileServing starts the real server with a webhook that knows the first night and waits for the changes of the second.
func deliversWhileServing(t *testing.T, data, first, version string, want []change) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r := &receiver{done: func(accepted int) {
		if accepted >= len(want) {
			stop()
		}
	}}
	endpoint := httptest.NewServer(r)
	defer endpoint.Close()
	t.Setenv("PERENNIAL_WEBHOOK_URL", endpoint.URL)
	t.Setenv("PERENNIAL_WEBHOOK_SECRET", hookSecret)
	hook := &webhook{cursor: filepath.Join(data, "webhook.json")}
	if err := hook.store(delivered{AsOf: first, Version: version}); err != nil {
		t.Fatal(err)
	}
	var out, said strings.Builder
	late := time.AfterFunc(time.Minute, stop)
	defer late.Stop()
	run(ctx, []string{"serve", "--addr", "127.0.0.1:0", "--data", data}, &out, &said)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults) > 0 || len(r.accepted) != len(want) {
		t.Fatalf("%d changes were accepted, want %d; %v\n%s", len(r.accepted), len(want), r.faults, said.String())
	}
	for i := range want {
		if r.accepted[i] != want[i] {
			t.Fatalf("change %d is %+v, want %+v", i, r.accepted[i], want[i])
		}
	}
}
