package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"perennial/features/lake"
)

// Times and sizes of the delivery.
const (
	webhookBatch   = 500              // changes a message
	webhookTimeout = 15 * time.Second // one attempt
	webhookPoll    = 5 * time.Second  // for newly published runs
	webhookFirst   = time.Second      // the wait after the first failure; it doubles up to webhookLongest
	webhookLongest = 5 * time.Minute
)

// webhook delivers changes of band and stage to one URL, in the order of the feed, at least once: its cursor is stored after the receiver has
// answered 2xx. Messages are signed as Standard Webhooks 1.0 says (github.com/standard-webhooks/standard-webhooks), so any of its libraries
// checks them.
type webhook struct {
	url    string
	key    []byte
	cursor string // its file
	client *http.Client
	log    *slog.Logger
	now    func() time.Time
	alone  func(context.Context) (release func(), ok bool, err error) // of several servers one delivers
	runs   func(context.Context) ([]lake.Run, error)                  // published score runs, newest first
	read   func(context.Context, lake.Run) ([]change, error)          // the changes of one
	wait   func(ctx context.Context, d time.Duration) (over bool)     // false when ctx ended first
}

// delivered is how far the receiver has been told: of the run, so many changes.
type delivered struct {
	AsOf    string `json:"as_of"`
	Version string `json:"score_version"`
	Sent    int    `json:"sent"`
	Whole   bool   `json:"whole"` // these are all that the run has
}

// changeMessage is the body of a message.
type changeMessage struct {
	Type      string    `json:"type"` // scores.changed
	Timestamp time.Time `json:"timestamp"`
	Data      struct {
		AsOf         string   `json:"as_of"`
		ScoreVersion string   `json:"score_version"`
		Changes      []change `json:"changes"`
	} `json:"data"`
}

// newWebhook returns the configured delivery, or nil.
func newWebhook(v *live) (*webhook, error) {
	c := v.a.Config
	if c.WebhookURL == "" {
		return nil, nil
	}
	key, err := webhookKey(c.WebhookSecret)
	if err != nil {
		return nil, err
	}
	return &webhook{url: c.WebhookURL, key: key, cursor: filepath.Join(v.a.Data, "webhook.json"), log: v.a.Log, now: time.Now,
		client: &http.Client{Timeout: webhookTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		alone:  func(ctx context.Context) (func(), bool, error) { return v.lake.Exclusive(ctx, "webhook") },
		runs:   func(ctx context.Context) ([]lake.Run, error) { return v.lake.Runs(ctx, "scores") },
		read: func(ctx context.Context, r lake.Run) ([]change, error) {
			e, err := v.reader(ctx)
			if err != nil {
				return nil, err
			}
			return changesOf(ctx, e, r)
		},
		wait: func(ctx context.Context, d time.Duration) bool {
			select {
			case <-ctx.Done():
				return false
			case <-time.After(d):
				return true
			}
		}}, nil
}

// webhookKey reads a secret of the form whsec_BASE64 of 24 to 64 bytes.
func webhookKey(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, usagef("config: webhook_secret: wants whsec_ and 24 to 64 random bytes in base64, such as the output of: echo whsec_$(openssl rand -base64 32)")
	}
	return key, nil
}

func checkWebhook(c Config) error {
	if c.WebhookURL == "" {
		return nil
	}
	if u, err := url.Parse(c.WebhookURL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return usagef("config: webhook_url: is no http or https URL")
	}
	_, err := webhookKey(c.WebhookSecret)
	return err
}

// run delivers until ctx ends. A failure is said once, when it begins; the waits between attempts that bring nothing double.
func (w *webhook) run(ctx context.Context) {
	failed := 0
	for {
		pause := webhookPoll
		switch sent, err := w.deliver(ctx); {
		case err != nil && ctx.Err() == nil:
			if failed == 0 {
				w.log.Warn("changes cannot be delivered; they wait", "error", err)
			} else if sent > 0 {
				failed = 0
			}
			failed++
			pause = backoff(failed)
		case failed > 0:
			w.log.Info("changes are delivered again")
			failed = 0
		}
		if !w.wait(ctx, pause) {
			return
		}
	}
}

// backoff is the wait after so many failures in a row, with a fifth of chance so that senders do not march in step.
func backoff(failed int) time.Duration {
	d := min(webhookFirst<<min(failed-1, 16), webhookLongest)
	return d + rand.N(d/5)
}

// deliver sends what the receiver does not have yet and returns how many changes it took. A server that has never delivered begins after the runs
// that are there; a run of an earlier date than one that was delivered is a backfill and passed over.
func (w *webhook) deliver(ctx context.Context) (sent int, err error) {
	release, ok, err := w.alone(ctx)
	if err != nil || !ok {
		return 0, err
	}
	defer release()
	runs, err := w.runs(ctx)
	if err != nil {
		return 0, err
	}
	runs = slices.CompactFunc(runs, func(a, b lake.Run) bool { return a.AsOf == b.AsOf }) // newest first within a date
	slices.Reverse(runs)
	at, ok, err := w.load()
	if err != nil {
		return 0, err
	}
	if !ok && len(runs) > 0 {
		newest := runs[len(runs)-1]
		at = delivered{AsOf: newest.AsOf.String(), Version: newest.Version, Whole: true}
	}
	for _, run := range runs {
		switch day := run.AsOf.String(); {
		case day < at.AsOf, day == at.AsOf && run.Version == at.Version && at.Whole:
			continue
		case day > at.AsOf || run.Version != at.Version:
			at = delivered{AsOf: day, Version: run.Version}
		}
		told, err := w.read(ctx, run)
		if err != nil {
			return sent, err
		}
		for at.Sent < len(told) {
			some := told[at.Sent:min(at.Sent+webhookBatch, len(told))]
			if err := w.send(ctx, at, some); err != nil {
				return sent, err
			}
			at.Sent, sent = at.Sent+len(some), sent+len(some)
			if err := w.store(at); err != nil {
				return sent, err
			}
		}
		at.Whole = true
	}
	return sent, w.store(at)
}

// send posts one message. Its id is a function of what it holds, so that a receiver knows a second delivery.
func (w *webhook) send(ctx context.Context, at delivered, some []change) error {
	m := changeMessage{Type: "scores.changed", Timestamp: w.now().UTC()}
	m.Data.AsOf, m.Data.ScoreVersion, m.Data.Changes = at.AsOf, at.Version, some
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d", at.AsOf, at.Version, at.Sent))
	id, seconds := "msg_"+hex.EncodeToString(sum[:12]), strconv.FormatInt(m.Timestamp.Unix(), 10)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "perennial/"+version)
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", seconds)
	req.Header.Set("webhook-signature", "v1,"+signature(w.key, id, seconds, body))
	resp, err := w.client.Do(req)
	var whole *url.Error
	if errors.As(err, &whole) {
		return fmt.Errorf("webhook: %w", whole.Err) // without the URL, which may hold a token
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("webhook: %s answered %s", req.URL.Host, resp.Status)
	}
	return nil
}

// signature is base64(HMAC-SHA256(key, id.timestamp.body)).
func signature(key []byte, id, seconds string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + seconds + "."))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (w *webhook) load() (at delivered, ok bool, err error) {
	raw, err := os.ReadFile(w.cursor)
	if errors.Is(err, os.ErrNotExist) {
		return at, false, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &at)
	}
	if err != nil {
		return at, false, fmt.Errorf("webhook: cursor: %w", err)
	}
	return at, true, nil
}

func (w *webhook) store(at delivered) error {
	raw, err := json.Marshal(at)
	if err == nil {
		err = writeFile(w.cursor, append(raw, '\n'))
	}
	if err != nil {
		return fmt.Errorf("webhook: cursor: %w", err)
	}
	return nil
}
