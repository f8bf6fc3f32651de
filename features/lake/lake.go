// Package lake is the embedded event store: a journal (Pebble) that acknowledges, a sealer that turns it into immutable Parquet
// segments, and lake.db (SQLite) that publishes segments, runs and models to every process of the machine.
package lake

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"perennial/features"
)

// ErrBusy is returned when another process owns the journal.
var ErrBusy = errors.New("another process serves this data directory")

// ErrBehind is returned by Append when the journal's unsealed tail is at its bound; the caller answers 429.
var ErrBehind = errors.New("the lake is behind")

// ErrDiskFull is returned by Append when free space is below its reserve; the caller answers 503.
var ErrDiskFull = errors.New("disk full")

// Options of Open. The zero value of every optional field is usable.
type Options struct {
	Dir    string // the data directory
	Shop   features.Shop
	Now    func() time.Time // nil means time.Now; a shop clock for demos
	Logger *slog.Logger     // nil discards
	Memory int64            // bytes that DuckDB may use; 0 means 1 GiB
}

// Lake is the store of one data directory. It is safe for concurrent use.
type Lake struct{ o Options }

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
	Checksum string
}

// Snapshot is a consistent set of segments. Close releases its lease; the files stay readable until then.
type Snapshot struct {
	ID       int64 // rises with every seal, import or compaction
	Segments []Segment
	// Tombstones holds the user ids that were erased and the time up to which their rows are hidden.
	Tombstones map[string]time.Time
}

// Paths returns the files of the snapshot.
func (s *Snapshot) Paths() []string {
	paths := make([]string, len(s.Segments))
	for i, g := range s.Segments {
		paths[i] = g.Path
	}
	return paths
}

// Close releases the lease.
func (s *Snapshot) Close() error { return nil }

// Run is a published, immutable directory: a feature or score snapshot of one date.
type Run struct {
	Kind    string // features, scores, tiles
	AsOf    features.Day
	Version string          // content-derived, such as the score_version
	Dir     string          // absolute
	Meta    json.RawMessage // run.json
}

// Open opens lake.db of a data directory, creating it when missing. It does not touch the journal.
func Open(ctx context.Context, o Options) (*Lake, error) { panic("lake: Open") }

// Close closes everything that is open, sealing nothing.
func (l *Lake) Close() error { panic("lake: Close") }

// Serve opens the journal as its owner, replays what a crash left, starts the background sealer and listens on DIR/serve.sock.
// It waits up to wait for another process that holds the journal and then returns ErrBusy.
func (l *Lake) Serve(ctx context.Context, wait time.Duration) error { panic("lake: Serve") }

// Append makes events durable and returns their outcomes in order; it returns after a synced commit. Only the owner of the
// journal may call it. ReceivedAt, AvailableAt, IDDay, BizDay and KnownDay are set here. A duplicate is said only after its original is durable.
func (l *Lake) Append(ctx context.Context, events []features.Event) ([]Status, error) {
	panic("lake: Append")
}

// Seal makes every event acknowledged before the call visible to Snapshot. It seals in this process when it owns the journal or nobody
// does, and asks the owner through serve.sock otherwise. Concurrent calls share one seal.
func (l *Lake) Seal(ctx context.Context) error { panic("lake: Seal") }

// Snapshot returns the newest sealed state with a lease on its files.
func (l *Lake) Snapshot(ctx context.Context) (*Snapshot, error) { panic("lake: Snapshot") }

// Load imports a batch of already decoded history (AvailableAt = TS + lag) straight into segments, in one transaction, and
// returns how many were new and how many were there already.
func (l *Lake) Load(ctx context.Context, events []features.Event) (accepted, duplicate int, err error) {
	panic("lake: Load")
}

// NewRunDir returns a new empty private directory beside the published runs of a kind; Publish moves it to its final name.
func (l *Lake) NewRunDir(kind string, asOf features.Day) (string, error) { panic("lake: NewRunDir") }

// Publish fsyncs the directory's files, renames it to its final name and commits it in lake.db. Publishing a version that is already there removes dir and succeeds.
func (l *Lake) Publish(ctx context.Context, r Run) (Run, error) { panic("lake: Publish") }

// FindRun returns the newest published run of a kind for a date, or of a version when version is not empty; ok is false when there is none.
func (l *Lake) FindRun(ctx context.Context, kind string, asOf features.Day, version string) (r Run, ok bool, err error) {
	panic("lake: FindRun")
}

// Runs returns the published runs of a kind, newest date first.
func (l *Lake) Runs(ctx context.Context, kind string) ([]Run, error) { panic("lake: Runs") }

// PutRecord stores a small JSON document under (kind, key) in lake.db: models, night steps, jobs.
func (l *Lake) PutRecord(ctx context.Context, kind, key string, doc any) error {
	panic("lake: PutRecord")
}

// Records returns the documents of a kind by key.
func (l *Lake) Records(ctx context.Context, kind string) (map[string]json.RawMessage, error) {
	panic("lake: Records")
}

// Exposure is the first time that a unit met its variant, as written by a single evaluation.
type Exposure struct {
	Unit, Experiment, Variant string
	AllocationRevision        int64
	PAssign                   float64
	Policy                    string
	ScoreVersion              string
	At                        time.Time
}

// Expose records an exposure once per unit, experiment and allocation revision. It returns at once; the record is synced within
// 5 ms, or before it returns when sync is true. It never blocks on a full queue: it counts what it had to drop and the next evaluation writes it again.
func (l *Lake) Expose(ctx context.Context, e Exposure, sync bool) error { panic("lake: Expose") }

// Kept is a sticky first answer.
type Kept struct {
	Variant            string
	AllocationRevision int64
	PAssign            float64
	ScoreVersion       string
}

// Sticky returns the kept first answer of a unit in an experiment, without a lock and without I/O.
func (l *Lake) Sticky(experiment, unit string) (Kept, bool) { panic("lake: Sticky") }

// Keep keeps a first answer if there is none yet and returns the one that stands.
func (l *Lake) Keep(ctx context.Context, experiment, unit string, k Kept) (Kept, error) {
	panic("lake: Keep")
}
