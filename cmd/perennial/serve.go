package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"perennial/api"
	"perennial/api/front"
	"perennial/api/web"
	"perennial/features/lake"
)

// Times of the server's life. Together the last two stay below the ten seconds that a SIGTERM gives.
const (
	journalWait  = 60 * time.Second        // for a batch that seals without a server
	pollChanges  = 200 * time.Millisecond  // definitions and keys
	pollScores   = time.Second             // published score runs
	readHead     = 10 * time.Second        // the head of a request
	idle         = 2 * time.Minute         // between two requests of a connection
	finishWithin = 3500 * time.Millisecond // open requests, after SIGTERM
	sealWithin   = 5 * time.Second         // the last seal; the journal keeps what it does not reach
)

// idleHeap is how much the heap may grow before the first garbage collection. A small server's few megabytes would otherwise be collected twenty times a
// second under load, a tenth of its processor time; above, the usual doubling holds.
const idleHeap = 64 << 20

type serveCmd struct {
	Addr string `help:"Address to listen on." default:":8080" env:"PERENNIAL_ADDR" placeholder:"HOST:PORT"`
}

// Help is shown by --help.
func (serveCmd) Help() string {
	return `Examples:
  perennial serve                               # http://localhost:8080, data in ./data
  perennial serve --addr 127.0.0.1:9000 --data /srv/perennial
  perennial keys create --role client           # a key for an app; works at once, also while the server runs

GET /healthz is 200 while the process lives, GET /readyz when it can take events. SIGTERM finishes open requests, seals and ends within ten seconds.`
}

// Run serves until it is told to stop.
func (c serveCmd) Run(ctx context.Context, a *App) (err error) {
	if err := refuseSecondServer(a.private()); err != nil {
		return err
	}
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var shared lake.Shared
	if a.Config.Database != "" {
		firsts, err := store.Firsts(ctx)
		if err != nil {
			return err
		}
		shared = sharedFirsts{firsts}
	}
	l, err := a.openSharedLake(ctx, shared)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	listener, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	defer listener.Close()

	ballast := make([]byte, idleHeap) // address space alone: nothing ever touches it
	defer runtime.KeepAlive(ballast)
	v := newLive(a, store, l)
	defer v.close()
	server, err := v.newServer(ctx)
	if err != nil {
		return err
	}
	hook, err := newWebhook(v)
	if err != nil {
		return err
	}
	h := &http.Server{Handler: server.Handler(), ReadHeaderTimeout: readHead, ReadTimeout: 2 * time.Minute, IdleTimeout: idle,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(a.Log.Handler(), slog.LevelWarn)}
	hot := front.Listen(listener, server, a.Log, readHead, idle)
	served := make(chan error, 1)
	go func() { served <- h.Serve(hot) }()
	a.Log.Info("listening", "addr", listener.Addr().String(), "data", a.Data, "version", version)

	background, stopBackground := context.WithCancel(ctx)
	defer stopBackground()
	go v.followChanges(background)
	go v.followScores(background)
	if hook != nil {
		go hook.run(background)
	}
	journal := make(chan error, 1)
	go func() { journal <- v.openJournal(background) }()

	select {
	case <-ctx.Done():
	case err = <-served:
	case err = <-journal:
		if err == nil {
			fmt.Fprintf(a.Err, "perennial: ready on %s (data %s)\n", address(listener.Addr()), a.Data)
			select {
			case <-ctx.Done():
			case err = <-served:
			}
		}
	}
	return errors.Join(err, finish(a, h, hot, l))
}

// finish stops accepting, lets open requests end and seals what fits.
func finish(a *App, h *http.Server, hot *front.Listener, l *lake.Lake) error {
	ctx, cancel := context.WithTimeout(context.Background(), finishWithin)
	defer cancel()
	if err := errors.Join(h.Shutdown(ctx), hot.Wait(ctx)); err != nil {
		a.Log.Warn("requests were cut off", "error", err)
		h.Close()
	}
	if !l.Stats().Serving {
		return nil
	}
	ctx, cancel = context.WithTimeout(context.Background(), sealWithin)
	defer cancel()
	if err := l.Seal(ctx); err != nil {
		a.Log.Warn("not everything is sealed; the journal keeps the rest", "error", err)
	}
	return nil
}

// refuseSecondServer says at once that a server runs here, instead of after the wait that a batch's seal may need.
func refuseSecondServer(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "serve.json"))
	if err != nil {
		return nil
	}
	var at struct {
		Socket string `json:"socket"`
		PID    int    `json:"pid"`
	}
	if json.Unmarshal(raw, &at) != nil {
		return nil
	}
	c, err := net.DialTimeout("unix", at.Socket, time.Second)
	if err != nil {
		return nil // it was killed: its lock is free
	}
	c.Close()
	return fmt.Errorf("serve: %w: process %d serves %s; stop it, or use another --data", lake.ErrBusy, at.PID, dir)
}

// address prints where a person can open the page.
func address(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("http://localhost:%d", tcp.Port)
	}
	return "http://" + a.String()
}

// openJournal opens the journal and returns nil when events can be taken. Only another server ends it with an error: on a full or failing disk
// assignments go on and it tries again.
func (v *live) openJournal(ctx context.Context) error {
	for {
		err := v.lake.Serve(ctx, journalWait)
		switch {
		case err == nil:
			if err := v.countQuotas(ctx); err != nil {
				v.a.Log.Error("quotas of offers are not fresh", "error", err)
			}
			go v.followQuotas(ctx)
			v.journal.Store(nil)
			return nil
		case errors.Is(err, lake.ErrBusy):
			return fmt.Errorf("%w: stop it, or use another --data", err)
		case ctx.Err() != nil:
			return nil
		}
		v.unready(&v.journal, "the journal cannot be opened: "+err.Error())
		v.a.Log.Error("journal", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(5 * time.Second):
		}
	}
}

// unready stores why the server is not ready.
func (v *live) unready(at *atomic.Pointer[string], why string) { at.Store(&why) }

// why is what /readyz says; "" when the server is ready.
func (v *live) why() string {
	for _, p := range []*atomic.Pointer[string]{&v.journal, &v.scores} {
		if why := p.Load(); why != nil {
			return *why
		}
	}
	return ""
}

// newServer loads the definitions and builds the HTTP handler.
func (v *live) newServer(ctx context.Context) (*api.Server, error) {
	if err := v.reload(ctx); err != nil {
		return nil, err
	}
	c := v.a.Config
	answers := newResults(v.a, v.store, v.lake, v.reader)
	answers.apart = true
	o := api.Options{Shop: c.Shop(), Now: v.a.Now, Simulated: !c.Clock.IsZero(), Logger: v.a.Log, CORSOrigins: c.CORSOrigins, Version: version,
		Store: v.store, Lake: v.lake, Snapshot: v.snapshot.Load, Reload: v.reload, Profiles: v.profiles.Load, OfferOut: v.quotas.out, Given: v.quotas.give, Unready: v.why,
		Web: web.FS(), Results: answers.Results, Look: answers.Look, Dataset: answers.Dataset, Holdout: answers.Holdout, Models: v.models, Promote: v.promote, Runs: v.runs, Why: v.moved, Changes: v.changes, Nightly: v.nightly, Rescore: v.rescore, UnitKey: []byte(c.UnitKey)}
	o.Lifecycle = &lifecycle{a: v.a, lake: v.lake, engine: v.reader}
	if err := v.watchUpstream(&o); err != nil {
		return nil, err
	}
	server, err := api.New(o)
	if err != nil {
		return nil, err
	}
	v.server.Store(server)
	return server, nil
}
