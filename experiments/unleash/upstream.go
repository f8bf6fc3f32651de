package unleash

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/Unleash/unleash-client-go/v4"
	"github.com/Unleash/unleash-client-go/v4/api"
)

// UpstreamOptions says which Unleash server to watch. Only URL is required.
type UpstreamOptions struct {
	URL         string            // of the server's API, such as https://unleash.example.com/api
	Token       string            // of kind client
	AppName     string            // default "perennial"
	Environment string            // default "default"
	Refresh     time.Duration     // default 15 s
	Timeout     time.Duration     // of one request; default 5 s
	Transport   http.RoundTripper // default http.DefaultTransport
	LastGood    string            // file that keeps the last good answer over restarts; "" keeps it in memory only
	Logger      *slog.Logger
}

// Upstream watches the flags of an existing Unleash server through unleash-client-go/v4, which stays off every hot path: a goroutine asks it for all
// flags after each fetch and publishes the answers, On only reads them; what the server sent is kept as a Document beside them. The defects of that SDK that were reproduced cannot reach a caller: it starts without waiting for the
// server, requests time out, nothing is written to a shared temporary directory, metrics are off, a panic in an evaluation leaves the flag as it was, and
// after Close the last good answers stay.
type Upstream struct {
	o        UpstreamOptions
	flags    atomic.Pointer[map[string]Flag]
	document atomic.Pointer[Document]
	wake     chan struct{} // a fetch has ended; holds one
	quit     chan struct{}
	done     chan struct{}
	stop     sync.Once
	fault    atomic.Pointer[string]
}

// Flag is what the upstream server says of one flag, asked without a user: a flag that rolls out by user id is a poor kill switch.
type Flag struct {
	Name     string   `json:"name"`
	Enabled  bool     `json:"enabled"`
	Variants []string `json:"variants,omitempty"` // of the flag or of its strategies, in their order, without repeats
}

// NewUpstream starts to watch and returns at once; it errs only on unusable options.
func NewUpstream(o UpstreamOptions) (*Upstream, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("unleash_url: %q is not an http or https address", o.URL)
	}
	o.AppName = cmp.Or(o.AppName, "perennial")
	o.Environment = cmp.Or(o.Environment, "default")
	o.Refresh = cmp.Or(o.Refresh, 15*time.Second)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	up := &Upstream{o: o, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	up.loadLastGood()
	up.loadMirror()
	go up.run()
	return up, nil
}

// On tells whether a flag is on. Before the first answer ever every flag is: an Unleash server that is down must not move the units of running
// experiments. Once there was an answer, a flag that it does not have is off, as in every Unleash SDK.
func (u *Upstream) On(flag string) bool {
	flags := u.flags.Load()
	return flags == nil || (*flags)[flag].Enabled
}

// Flags returns the last good answer by name; nil before the first.
func (u *Upstream) Flags() []Flag {
	flags := u.flags.Load()
	if flags == nil {
		return nil
	}
	names := slices.Sorted(maps.Keys(*flags))
	out := make([]Flag, len(names))
	for i, name := range names {
		out[i] = (*flags)[name]
	}
	return out
}

// Fault says why the newest fetch failed; "" when it did not.
func (u *Upstream) Fault() string {
	if text := u.fault.Load(); text != nil {
		return *text
	}
	return ""
}

// Close ends the watching and waits for it, at most about one request's timeout. On and Flags go on giving the last good answers.
func (u *Upstream) Close() {
	u.stop.Do(func() { close(u.quit) })
	<-u.done
}

// run owns the SDK's client: nobody else calls it, so nobody calls it after its Close.
func (u *Upstream) run() {
	defer close(u.done)
	headers := http.Header{}
	if u.o.Token != "" {
		headers.Set("Authorization", u.o.Token)
	}
	client, err := sdk.NewClient(sdk.WithUrl(u.o.URL), sdk.WithAppName(u.o.AppName), sdk.WithEnvironment(u.o.Environment),
		sdk.WithHttpClient(&http.Client{Timeout: u.o.Timeout, Transport: mirror{u.o.Transport, u}}), sdk.WithStorage(&memory{}), sdk.WithListener(listener{u}),
		sdk.WithDisableMetrics(true), sdk.WithRefreshInterval(u.o.Refresh), sdk.WithCustomHeaders(headers))
	if err != nil {
		u.failed(err)
		<-u.quit
		return
	}
	defer client.Close()
	for {
		select {
		case <-u.quit:
			return
		case <-u.wake:
			u.publish(client)
		}
	}
}

// publish asks the SDK for every flag that it knows.
func (u *Upstream) publish(client *sdk.Client) {
	old := map[string]Flag{}
	if flags := u.flags.Load(); flags != nil {
		old = *flags
	}
	next := map[string]Flag{}
	for _, f := range client.ListFeatures() {
		on, err := u.ask(client, f.Name)
		if err != nil {
			u.o.Logger.Warn("unleash: a flag cannot be evaluated; it stays as it was", "flag", f.Name, "error", err)
			on = old[f.Name].Enabled
		}
		next[f.Name] = Flag{f.Name, on, variantNames(f)}
	}
	if u.fault.Swap(nil) != nil {
		u.o.Logger.Info("unleash: flags are fetched again")
	}
	if maps.EqualFunc(old, next, func(a, b Flag) bool { return a.Enabled == b.Enabled && slices.Equal(a.Variants, b.Variants) }) && u.flags.Load() != nil {
		return
	}
	u.flags.Store(&next)
	if err := u.saveLastGood(next); err != nil {
		u.o.Logger.Warn("unleash: the last good flags cannot be kept", "error", err)
	}
}

// ask evaluates one flag; the SDK panics on documents that other SDKs accept.
func (u *Upstream) ask(client *sdk.Client, flag string) (on bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the SDK panicked: %v", r)
		}
	}()
	return client.IsEnabled(flag), nil
}

func variantNames(f api.Feature) []string {
	var names []string
	add := func(list []api.VariantInternal) {
		for _, v := range list {
			if !slices.Contains(names, v.Name) {
				names = append(names, v.Name)
			}
		}
	}
	add(f.Variants)
	for _, s := range f.Strategies {
		add(s.Variants)
	}
	return names
}

// failed logs the first of a row of equal faults.
func (u *Upstream) failed(err error) {
	text := err.Error()
	if old := u.fault.Swap(&text); old == nil || *old != text {
		u.o.Logger.Error("unleash: flags cannot be fetched; the last good ones stay", "error", text)
	}
}

// listener never blocks: the SDK calls it from the loop that all of its callers share.
type listener struct{ u *Upstream }

func (l listener) OnReady()  { l.signal() }
func (l listener) OnUpdate() { l.signal() }
func (l listener) signal() {
	select {
	case l.u.wake <- struct{}{}:
	default: // the one that waits will see this fetch too
	}
}

func (l listener) OnError(err error)   { l.u.failed(err) }
func (l listener) OnWarning(err error) { l.u.o.Logger.Warn("unleash", "warning", err) }

// memory is the SDK's storage without its file in a shared temporary directory. The SDK holds its own lock around every call.
type memory struct{ data map[string]any }

func (m *memory) Init(string, string)                     {}
func (m *memory) Reset(data map[string]any, _ bool) error { m.data = data; return nil }
func (m *memory) Load() error                             { return nil }
func (m *memory) Persist() error                          { return nil }
func (m *memory) Get(name string) (any, bool)             { v, ok := m.data[name]; return v, ok }
func (m *memory) List() []any                             { return slices.Collect(maps.Values(m.data)) }

// loadLastGood reads the kept answer; none, or one that cannot be read, leaves every flag on.
func (u *Upstream) loadLastGood() {
	if u.o.LastGood == "" {
		return
	}
	raw, err := os.ReadFile(u.o.LastGood)
	var list []Flag
	if err == nil {
		err = json.Unmarshal(raw, &list)
	}
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			u.o.Logger.Warn("unleash: the last good flags cannot be read", "error", err)
		}
		return
	}
	flags := make(map[string]Flag, len(list))
	for _, f := range list {
		flags[f.Name] = f
	}
	u.flags.Store(&flags)
}

// saveLastGood keeps the flags.
func (u *Upstream) saveLastGood(flags map[string]Flag) error {
	if u.o.LastGood == "" {
		return nil
	}
	raw, err := json.Marshal(slices.SortedFunc(maps.Values(flags), func(a, b Flag) int { return cmp.Compare(a.Name, b.Name) }))
	if err != nil {
		return err
	}
	return replaceFile(u.o.LastGood, raw)
}

// replaceFile replaces a file at once: a reader finds the old one or the new one.
func replaceFile(path string, raw []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".unleash-*")
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
