package sqlstore

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"perennial/experiments"
)

// Live keeps the newest compiled definitions in memory. Readers take no lock and never see half a change; while the store is down they go on with the last
// good snapshot. It is safe for concurrent use.
type Live struct {
	store      *Store
	attributes func() []string
	log        *slog.Logger
	snapshot   atomic.Pointer[experiments.Snapshot]
	loading    sync.Mutex
	known      []string // the attributes of the snapshot
	down       bool
	done       chan struct{}
}

// Watch loads the definitions and polls the store's version until ctx ends; every 0 means 250 ms, so that a change by another server or by the
// command line shows within half a second. attributes gives the names that only the server may give (the columns of the newest
// scores), nil for none; when they change the definitions are compiled again.
func (s *Store) Watch(ctx context.Context, every time.Duration, attributes func() []string, log *slog.Logger) (*Live, error) {
	if every <= 0 {
		every = 250 * time.Millisecond
	}
	if attributes == nil {
		attributes = func() []string { return nil }
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &Live{store: s, attributes: attributes, log: log, done: make(chan struct{})}
	if err := l.Reload(ctx); err != nil {
		return nil, err
	}
	go l.poll(ctx, every)
	return l, nil
}

// Snapshot returns the newest good snapshot; it is never nil.
func (l *Live) Snapshot() *experiments.Snapshot { return l.snapshot.Load() }

// Done is closed when the watching has ended.
func (l *Live) Done() <-chan struct{} { return l.done }

// Reload reads and compiles the definitions now, so that a writer's next request sees its own write.
func (l *Live) Reload(ctx context.Context) error {
	l.loading.Lock()
	defer l.loading.Unlock()
	return l.load(ctx)
}

func (l *Live) load(ctx context.Context) error {
	source, err := l.store.Source(ctx)
	if err != nil {
		return err
	}
	names := l.attributes()
	source.ServerAttributes = names
	snapshot, err := experiments.Compile(source)
	if err != nil {
		return err
	}
	l.snapshot.Store(snapshot)
	l.known = names
	return nil
}

// check loads when something has changed.
func (l *Live) check(ctx context.Context) error {
	l.loading.Lock()
	defer l.loading.Unlock()
	version, err := l.store.Version(ctx)
	if err != nil {
		return err
	}
	if version == l.snapshot.Load().Version() && slices.Equal(l.known, l.attributes()) {
		return nil
	}
	return l.load(ctx)
}

// poll says once that the store is down, and once that it is back.
func (l *Live) poll(ctx context.Context, every time.Duration) {
	defer close(l.done)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		step, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := l.check(step)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !l.down:
			l.log.Error("definitions cannot be read; the last good ones stay", "error", err, "version", l.Snapshot().Version())
		case err == nil && l.down:
			l.log.Info("definitions can be read again", "version", l.Snapshot().Version())
		}
		l.down = err != nil
	}
}
