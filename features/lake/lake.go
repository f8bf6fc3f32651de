// Package lake is the embedded event store: a journal (Pebble) that acknowledges, a sealer that turns it into immutable Parquet
// segments, and lake.db (SQLite) that publishes segments, runs and models to every process of the machine.
package lake

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"perennial/features"
)

// ErrBusy is returned when another process owns the journal.
var ErrBusy = errors.New("another process serves this data directory")

// ErrBehind is returned by Append when the journal's unsealed tail is at its bound; the caller answers 429.
var ErrBehind = errors.New("the lake is behind")

// ErrDiskFull is returned by Append when free space is below its reserve; the caller answers 503.
var ErrDiskFull = errors.New("disk full")

// ErrNotServing is returned by the journal's writers when this process does not own the journal (yet): call Serve first. It is an
// ErrBusy too, so that a caller's 503 covers both.
var ErrNotServing = fmt.Errorf("the journal is not open: %w", ErrBusy)

// Options of Open. The zero value of every optional field is usable.
type Options struct {
	Dir       string // the data directory
	Server    string // the name of one of several servers that share the data directory and Database; "" where there is one
	Database  string // the PostgreSQL of several servers, as pgx reads an address
	Private   string // directory of what belongs to the server alone: the journal, its lock and socket, temporary files; "" means Dir, or Dir/servers/SERVER
	Shop      features.Shop
	Now       func() time.Time // nil means time.Now; a shop clock for demos
	Logger    *slog.Logger     // nil discards
	Memory    int64            // bytes that DuckDB may use; 0 means 1 GiB
	Reserve   int64            // bytes of free space below which ingest is refused; 0 means 1 GiB
	MaxTail   int64            // unsealed events above which Append answers ErrBehind; 0 means 2,000,000
	SealEvery time.Duration    // age of the oldest unsealed event at which the owner seals by itself; 0 means 1 min
	Burst     int              // seals on request that start at once before they are spaced to one a second; 0 means 3
	Grace     time.Duration    // how long a file that compaction replaced stays, leases aside; 0 means 15 min
	Shared    Shared           // of several servers; nil for a server alone
}

// Lake is the store of one data directory. It is safe for concurrent use.
type Lake struct {
	o      Options
	db     manifest
	lockMu sync.Mutex // orders this process's takers of the lake lock
	duckMu sync.Mutex
	duck   *sql.DB
	feeds  feeds
	leases leases
	disk   disk
	seals  seals

	journal atomic.Pointer[journal] // nil unless this process owns it
	views   exposures
	kept    keptTable
	recent  recent
	people  people
	sharing sharing
	server  server
	counts  counters
	compact compactor

	quarantine quarantine
}

// Outcome of one event at the door.
type Outcome uint8

const (
	Accepted Outcome = iota
	Duplicate
	Rejected
)

// Status is the outcome of one event, with the field and the reason when it is Rejected.
type Status struct {
	Outcome Outcome
	Field   string
	Reason  string
}

// Segment is one sealed, immutable Parquet file: the events of one day.
type Segment struct {
	Path     string // absolute
	Day      features.Day
	Rows     int64
	Bytes    int64
	FirstSeq int64
	LastSeq  int64
	Checksum string // hex sha256
	Journal  string // id of the journal or import that the sequence numbers belong to
	Added    int64  // the snapshot that published it: newer than a run's snapshot means that its day is dirty

	minIDDay, maxIDDay features.Day
}

// Snapshot is a consistent set of segments. Close releases its lease; the files stay readable until then.
type Snapshot struct {
	ID       int64 // rises with every seal, import or compaction
	Segments []Segment
	// Tombstones holds the user ids that were erased and the time up to which their rows are hidden.
	Tombstones map[string]time.Time
	// Links holds which id stands for which user, and from when on that was known.
	Links []features.Link

	release func() error
}

// Paths returns the files of the snapshot.
func (s *Snapshot) Paths() []string {
	paths := make([]string, len(s.Segments))
	for i, g := range s.Segments {
		paths[i] = g.Path
	}
	return paths
}

// Close releases the lease. A second call does nothing.
func (s *Snapshot) Close() error {
	if s.release == nil {
		return nil
	}
	release := s.release
	s.release = nil
	return release()
}

// Run is a published, immutable directory: a feature or score snapshot of one date.
type Run struct {
	Kind    string // features, scores, tiles
	AsOf    features.Day
	Version string          // content-derived, such as the score_version
	Dir     string          // absolute
	Meta    json.RawMessage // run.json
}

// Open opens lake.db of a data directory, creating it when missing. It does not touch the journal.
func Open(ctx context.Context, o Options) (*Lake, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	o.Dir = dir
	if o.Private == "" && o.Server != "" {
		o.Private = filepath.Join(dir, "servers", o.Server)
	}
	if o.Private, err = filepath.Abs(cmp.Or(o.Private, dir)); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	o.Memory = cmp.Or(o.Memory, 1<<30)
	o.Reserve = cmp.Or(o.Reserve, 1<<30)
	o.MaxTail = cmp.Or(o.MaxTail, 2_000_000)
	o.SealEvery = cmp.Or(o.SealEvery, time.Minute)
	o.Burst = cmp.Or(o.Burst, 3)
	o.Grace = cmp.Or(o.Grace, 15*time.Minute)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, sub := range []string{filepath.Join(dir, "lake/tmp"), filepath.Join(dir, "lake/events"), filepath.Join(o.Private, "tmp")} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return nil, fmt.Errorf("data directory: %w", err)
		}
	}
	l := &Lake{o: o}
	l.leases.init()
	l.views.init()
	if o.Server != "" {
		l.db, err = openShared(ctx, o.Database)
	} else {
		l.db, err = openDB(filepath.Join(dir, "lake.db"))
	}
	if err != nil {
		return nil, fmt.Errorf("lake.db: %w", err)
	}
	if err := l.migrate(ctx); err != nil {
		return nil, errors.Join(err, l.db.Close())
	}
	return l, nil
}

// Close writes the exposures that wait, gives back the leases and closes everything that is open, sealing nothing.
func (l *Lake) Close() error {
	err := l.stopServing()
	err = errors.Join(err, l.releaseAll())
	l.duckMu.Lock()
	defer l.duckMu.Unlock()
	if l.duck != nil {
		err = errors.Join(err, l.duck.Close())
		l.duck = nil
	}
	return errors.Join(err, l.db.Close())
}

func (l *Lake) now() time.Time { return l.o.Now() }
