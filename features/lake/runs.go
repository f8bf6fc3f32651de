package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"perennial/features"
)

var kindName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
var versionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// runKinds are the kinds of runs that hold users: an erasure rewrites them, and what their writers left behind is swept.
var runKinds = []string{"features", "scores", "tiles", "training"}

// WorkDir is the private directory of a run that a killed writer goes on with: the same kind and version give the same directory. An erasure
// covers it, Publish moves it to its final name, and it is swept when nobody has touched it for a day.
func (l *Lake) WorkDir(kind, version string) (string, error) {
	if !kindName.MatchString(kind) || !versionName.MatchString(version) {
		return "", &features.InvalidError{Field: "version", Reason: fmt.Sprintf("%q of %q is no run", version, kind)}
	}
	return filepath.Join(l.runRoot(kind), ".new-"+version), nil
}

// runRoot is where the runs of a kind are published.
func (l *Lake) runRoot(kind string) string {
	if kind == "tiles" {
		return filepath.Join(l.o.Dir, "lake", "tiles")
	}
	return filepath.Join(l.o.Dir, kind)
}

// NewRunDir returns a new empty private directory beside the published runs of a kind; Publish moves it to its final name.
func (l *Lake) NewRunDir(kind string, asOf features.Day) (string, error) {
	if !kindName.MatchString(kind) {
		return "", &features.InvalidError{Field: "kind", Reason: fmt.Sprintf("%q is not a run kind", kind)}
	}
	root := l.runRoot(kind)
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(root, ".new-"+asOf.String()+"-*")
}

// Publish fsyncs the directory's files, renames it to its final name and commits it in lake.db. Publishing a version that is
// already there removes dir and succeeds.
func (l *Lake) Publish(ctx context.Context, r Run) (Run, error) {
	if !kindName.MatchString(r.Kind) {
		return r, &features.InvalidError{Field: "kind", Reason: fmt.Sprintf("%q is not a run kind", r.Kind)}
	}
	if !versionName.MatchString(r.Version) {
		return r, &features.InvalidError{Field: "version", Reason: fmt.Sprintf("%q is not a version", r.Version)}
	}
	if len(r.Meta) == 0 {
		r.Meta = json.RawMessage("{}")
	}
	if err := syncTree(r.Dir); err != nil {
		return r, fmt.Errorf("publish %s %s: %w", r.Kind, r.Version, err)
	}
	err := l.locked(ctx, func(ctx context.Context) error {
		there, ok, err := l.FindRun(ctx, r.Kind, r.AsOf, r.Version)
		if err != nil {
			return err
		}
		if ok && there.AsOf == r.AsOf {
			work := r.Dir
			r = there
			return os.RemoveAll(work)
		}
		final := filepath.Join(l.runRoot(r.Kind), "as_of="+r.AsOf.String(), r.Version)
		if err := mkdirSync(l.o.Dir, filepath.Dir(final)); err != nil {
			return err
		}
		err = renameNew(r.Dir, final)
		if errors.Is(err, os.ErrExist) { // left by a crash before its commit: nobody reads it
			if err := os.RemoveAll(final); err != nil {
				return err
			}
			err = renameNew(r.Dir, final)
		}
		if err != nil {
			return err
		}
		if err := syncFile(filepath.Dir(final)); err != nil {
			return err
		}
		r.Dir = final
		dir, err := l.rel(final)
		if err != nil {
			return err
		}
		return l.inTx(ctx, func(tx transaction) error {
			var n int64
			if err := tx.GetContext(ctx, &n, `SELECT coalesce(max(published), 0) + 1 FROM runs`); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO runs (kind, as_of, version, dir, meta, published) VALUES (?, ?, ?, ?, ?, ?)`,
				r.Kind, r.AsOf, r.Version, dir, string(r.Meta), n)
			return err
		})
	})
	if err != nil {
		return r, fmt.Errorf("publish %s %s: %w", r.Kind, r.Version, err)
	}
	return r, nil
}

// syncTree fsyncs every file and directory below dir and dir itself.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || d.Type().IsRegular() {
			return syncFile(path)
		}
		return fmt.Errorf("%s is neither a file nor a directory", path)
	})
}

// FindRun returns the newest published run of a kind for a date, or of a version when version is not empty; asOf 0 means any date,
// the newest. ok is false when there is none.
func (l *Lake) FindRun(ctx context.Context, kind string, asOf features.Day, version string) (r Run, ok bool, err error) {
	runs, err := l.findRuns(ctx, `kind = ? AND (? = 0 OR as_of = ?) AND (? = '' OR version = ?) ORDER BY as_of DESC, published DESC LIMIT 1`,
		kind, asOf, asOf, version, version)
	if err != nil || len(runs) == 0 {
		return Run{}, false, err
	}
	return runs[0], true, nil
}

// Runs returns the published runs of a kind, newest date first and within a date newest first.
func (l *Lake) Runs(ctx context.Context, kind string) ([]Run, error) {
	return l.findRuns(ctx, `kind = ? ORDER BY as_of DESC, published DESC`, kind)
}

func (l *Lake) findRuns(ctx context.Context, where string, args ...any) ([]Run, error) {
	var found []struct {
		Kind    string       `db:"kind"`
		AsOf    features.Day `db:"as_of"`
		Version string       `db:"version"`
		Dir     string       `db:"dir"`
		Meta    string       `db:"meta"`
	}
	if err := l.db.SelectContext(ctx, &found, `SELECT kind, as_of, version, dir, meta FROM runs WHERE `+where, args...); err != nil {
		return nil, fmt.Errorf("runs: %w", err)
	}
	runs := make([]Run, len(found))
	for i, f := range found {
		runs[i] = Run{Kind: f.Kind, AsOf: f.AsOf, Version: f.Version, Dir: l.abs(f.Dir), Meta: json.RawMessage(f.Meta)}
	}
	return runs, nil
}

// Retire removes the published runs of a kind but the newest so many. Their files are gone at once: a reader that has not opened them yet errs.
func (l *Lake) Retire(ctx context.Context, kind string, keep int) error {
	return l.locked(ctx, func(ctx context.Context) error {
		old, err := l.findRuns(ctx, `kind = ? ORDER BY published DESC`, kind)
		if err != nil || len(old) <= keep {
			return err
		}
		for _, r := range old[keep:] {
			if _, err := l.db.ExecContext(ctx, `DELETE FROM runs WHERE kind = ? AND as_of = ? AND version = ?`, r.Kind, r.AsOf, r.Version); err != nil {
				return fmt.Errorf("retire %s: %w", r.Version, err)
			}
			if err := os.RemoveAll(r.Dir); err != nil {
				return fmt.Errorf("retire %s: %w", r.Version, err)
			}
		}
		return nil
	})
}

// PutRecord stores a small JSON document under (kind, key) in lake.db: models, night steps, jobs.
func (l *Lake) PutRecord(ctx context.Context, kind, key string, doc any) error {
	raw, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("record %s %s: %w", kind, key, err)
	}
	if _, err := l.db.ExecContext(ctx, `INSERT INTO records (kind, key, doc) VALUES (?, ?, ?)
		ON CONFLICT (kind, key) DO UPDATE SET doc = excluded.doc`, kind, key, string(raw)); err != nil {
		return fmt.Errorf("record %s %s: %w", kind, key, err)
	}
	return nil
}

// Records returns the documents of a kind by key.
func (l *Lake) Records(ctx context.Context, kind string) (map[string]json.RawMessage, error) {
	var found []struct {
		Key string `db:"key"`
		Doc string `db:"doc"`
	}
	if err := l.db.SelectContext(ctx, &found, `SELECT key, doc FROM records WHERE kind = ?`, kind); err != nil {
		return nil, fmt.Errorf("records %s: %w", kind, err)
	}
	records := make(map[string]json.RawMessage, len(found))
	for _, f := range found {
		records[f.Key] = json.RawMessage(f.Doc)
	}
	return records, nil
}

// sweepRuns removes private run directories that their writers left behind more than a day ago.
func (l *Lake) sweepRuns() error {
	var all error
	for _, kind := range runKinds {
		dirs, err := filepath.Glob(filepath.Join(l.runRoot(kind), ".new-*"))
		all = errors.Join(all, err)
		for _, d := range dirs {
			if info, err := os.Stat(d); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
				all = errors.Join(all, os.RemoveAll(d))
			}
		}
	}
	return all
}
