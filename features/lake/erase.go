package lake

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"perennial/features"
)

// Proof is what an erasure did and found. Files are read decompressed; Left counts rows and journal entries that still hold the id
// (0 when Complete), Waiting the replaced files that readers' leases still keep.
type Proof struct {
	Before   time.Time `json:"before"`
	Rows     int64     `json:"rows"`  // events that were removed
	Files    int       `json:"files"` // segments and run files that were rewritten
	Left     int64     `json:"left"`
	Waiting  int       `json:"waiting"`
	Complete bool      `json:"complete"`
}

// Erase forgets a user and every id that was linked to her: what was received of them until now is hidden from every new snapshot at once, refused when it is replayed,
// and rewritten out of segments, runs, sticky answers, exposures, rejects and the journal. A user who comes back is new. Replaced files go when
// the last reader's lease does (at most 15 minutes after its last heartbeat); Erase waits for that until ctx ends and then returns
// a proof with Waiting > 0: call it again to finish. The owner of the journal erases; another process asks it through serve.sock.
// Recorded looks and other aggregates stay.
func (l *Lake) Erase(ctx context.Context, user string) (Proof, error) {
	if user == "" || len(user) > features.MaxIDBytes {
		return Proof{}, &features.InvalidError{Field: "user_id", Reason: "missing or longer than 256 bytes"}
	}
	user = l.o.Shop.Pseudonym(user)
	if l.journal.Load() != nil {
		return l.erase(ctx, user)
	}
	var p Proof
	err := l.byOwner(ctx, "erase", func(lock *fileLock) (err error) {
		p, err = l.eraseAlone(ctx, user, lock)
		return err
	}, func() (bool, error) {
		answer, done, err := l.ask(ctx, "erase "+hex.EncodeToString([]byte(user)))
		if done && err == nil {
			err = json.Unmarshal([]byte(answer), &p)
		}
		return done, err
	})
	return p, err
}

// eraseAlone owns the journal for one erasure.
func (l *Lake) eraseAlone(ctx context.Context, user string, lock *fileLock) (Proof, error) {
	j, err := l.openJournal(ctx, lock)
	if err != nil {
		return Proof{}, errors.Join(err, lock.unlock())
	}
	l.journal.Store(j)
	p, err := l.erase(ctx, user)
	l.seals.mu.Lock()
	defer l.seals.mu.Unlock()
	if j = l.journal.Swap(nil); j != nil {
		err = errors.Join(err, j.shut(), l.markEmpty(ctx, j))
	}
	return p, errors.Join(err, lock.unlock())
}

// erase runs in the owner of the journal. The ids that stand for the user go first, the farthest in front, so that a killed erasure finds the others when it is asked for again.
func (l *Lake) erase(ctx context.Context, user string) (Proof, error) {
	if err := l.followLinks(ctx); err != nil {
		return Proof{}, fmt.Errorf("erase: %w", err)
	}
	all := Proof{Complete: true}
	for _, id := range append(l.people.below(user), user) {
		p, err := l.eraseID(ctx, id)
		all.Before, all.Rows, all.Files, all.Left, all.Waiting, all.Complete = p.Before, all.Rows+p.Rows, all.Files+p.Files, all.Left+p.Left, all.Waiting+p.Waiting, all.Complete && p.Complete
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// eraseID erases one id.
func (l *Lake) eraseID(ctx context.Context, user string) (p Proof, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("erase: %w", err)
		}
	}()
	if l.o.Shared != nil {
		if err := l.o.Shared.Forget(ctx, user); err != nil {
			return p, err
		}
		l.sharing.forget(user)
	}
	waiting := ctx
	ctx = context.WithoutCancel(ctx) // the work is not left half done; only the wait for readers ends with the caller's context
	views, err := l.viewsOf(ctx, user)
	if err != nil {
		return p, err
	}
	now := l.now().UTC().Truncate(time.Microsecond)
	if j := l.journal.Load(); j != nil {
		j.mu.Lock()
		if j.clock.After(now) {
			now = j.clock
		}
		j.mu.Unlock()
	}
	p.Before = now
	if err := l.inTx(ctx, func(tx transaction) error {
		if _, err := nextSnapshot(ctx, tx); err != nil {
			return err
		}
		if err := eraseTraits(ctx, tx, user); err != nil {
			return err
		}
		if err := eraseLinks(ctx, tx, user); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM consents WHERE user_id = ?`, user); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO tombstones (user_id, before_us) VALUES (?, ?)
			ON CONFLICT (user_id) DO UPDATE SET before_us = CASE WHEN tombstones.before_us > excluded.before_us THEN tombstones.before_us ELSE excluded.before_us END`, user, now.UnixMicro())
		return err
	}); err != nil {
		return p, err
	}
	reached("erase: hidden")
	if err := l.Seal(ctx); err != nil { // what came in between
		return p, err
	}
	if err := l.eraseSegments(ctx, user, &p); err != nil {
		return p, err
	}
	reached("erase: segments")
	if err := l.eraseRuns(ctx, user, &p); err != nil {
		return p, err
	}
	if err := l.eraseRejects(user); err != nil {
		return p, err
	}
	if err := l.eraseJournal(ctx, user, views); err != nil {
		return p, err
	}
	reached("erase: journal rewritten")
	return p, l.prove(ctx, waiting, user, &p)
}

// quoteUser is the condition under which a row of the erased past names a user.
func quoteUser(user string, before time.Time) string {
	return fmt.Sprintf("((user_id = %[1]s OR anonymous_id = %[1]s) AND received_at <= TIMESTAMP '%[2]s')", quote(user), before.UTC().Format("2006-01-02 15:04:05.999999"))
}

// hers is the condition under which such a row is hers. A row of somebody else that names her as anonymous_id, as on a shared device, loses the name.
func hers(user string, before time.Time) string {
	return "(" + quoteUser(user, before) + " AND (user_id = " + quote(user) + " OR coalesce(user_id, '') = ''))"
}

// namelessColumns is columnNames without a user's id as anonymous_id in rows of the erased past.
func namelessColumns(user string, before time.Time) string {
	return strings.Replace(columnNames, "anonymous_id", "CASE WHEN "+quoteUser(user, before)+" AND anonymous_id = "+quote(user)+" THEN NULL ELSE anonymous_id END AS anonymous_id", 1)
}

// viewsOf returns the hashes of a user's exposures, so that she is exposed anew when she comes back.
func (l *Lake) viewsOf(ctx context.Context, user string) (map[uint64]bool, error) {
	if err := l.Seal(ctx); err != nil {
		return nil, err
	}
	live, err := l.segments(ctx, l.db, `removed IS NULL`)
	if err != nil || len(live) == 0 {
		return nil, err
	}
	duck, err := l.engine(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := duck.QueryContext(ctx, `SELECT properties FROM read_parquet(`+list((&Snapshot{Segments: live}).Paths())+`) WHERE user_id = ? AND event = ?`, user, features.ExperimentViewed)
	if err != nil {
		return nil, err
	}
	hashes := map[uint64]bool{}
	for rows.Next() {
		var text string
		var v struct {
			Experiment         string `json:"experiment"`
			AllocationRevision int64  `json:"allocation_revision"`
		}
		if err := rows.Scan(&text); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		if json.Unmarshal([]byte(text), &v) == nil {
			hashes[viewHash(user, v.Experiment, v.AllocationRevision)] = true
		}
	}
	return hashes, errors.Join(rows.Err(), rows.Close())
}

// eraseSegments rewrites the segments that hold the user, a day at a time.
func (l *Lake) eraseSegments(ctx context.Context, user string, p *Proof) error {
	return l.locked(ctx, func(ctx context.Context) error {
		live, err := l.segments(ctx, l.db, `removed IS NULL`)
		if err != nil {
			return err
		}
		byDay := map[features.Day][]Segment{}
		for _, g := range live {
			n, err := l.countRows(ctx, g.Path, quoteUser(user, p.Before))
			if err != nil {
				return err
			}
			if n > 0 {
				byDay[g.Day] = append(byDay[g.Day], g)
				p.Files++
			}
		}
		for day, old := range byDay {
			dropped, err := l.rewrite(ctx, day, old, namelessColumns(user, p.Before), "NOT coalesce("+hers(user, p.Before)+", false)", true)
			if err != nil {
				return fmt.Errorf("%s: %w", day, err)
			}
			p.Rows += dropped
		}
		// Replaced files of an erasure wait for leases only, not for the grace.
		_, err = l.db.ExecContext(ctx, `UPDATE segments SET removed_at = 0 WHERE removed IS NOT NULL`)
		return err
	})
}

func (l *Lake) countRows(ctx context.Context, path, where string) (n int64, err error) {
	duck, err := l.engine(ctx)
	if err != nil {
		return 0, err
	}
	err = duck.QueryRowContext(ctx, `SELECT count(*) FROM read_parquet(`+list([]string{path})+`) WHERE `+where).Scan(&n)
	return n, err
}

// runFiles returns the Parquet files of the published runs.
func (l *Lake) runFiles() ([]string, error) {
	var files []string
	for _, kind := range runKinds {
		err := filepath.WalkDir(l.runRoot(kind), func(path string, d os.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err == nil && strings.HasSuffix(path, ".parquet") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// eraseRuns rewrites the run files that hold the user, keeping the order of the rows. A reader that has the old file open keeps
// reading it.
func (l *Lake) eraseRuns(ctx context.Context, user string, p *Proof) error {
	files, err := l.runFiles()
	if err != nil || len(files) == 0 {
		return err
	}
	duck, err := openDuck(ctx, filepath.Join(l.o.Private, "tmp"), l.o.Memory, 1, l.o.Dir)
	if err != nil {
		return err
	}
	defer duck.Close()
	for _, f := range files {
		var n int64
		if err := duck.QueryRowContext(ctx, `SELECT count(*) FROM read_parquet(`+list([]string{f})+`) WHERE user_id = ?`, user).Scan(&n); err != nil {
			if strings.Contains(err.Error(), "user_id") { // a file without users
				continue
			}
			return err
		}
		if n == 0 {
			continue
		}
		work := f + ".erasing"
		if _, err := duck.ExecContext(ctx, fmt.Sprintf(`COPY (SELECT * EXCLUDE (file_row_number) FROM read_parquet(%s, file_row_number = true) WHERE user_id <> %s ORDER BY file_row_number)
			TO %s (FORMAT parquet, COMPRESSION zstd)`, list([]string{f}), quote(user), quote(work))); err != nil {
			return err
		}
		if err := errors.Join(syncFile(work), os.Rename(work, f), syncFile(filepath.Dir(f))); err != nil {
			return err
		}
		p.Files++
	}
	return nil
}

// eraseRejects drops the kept-aside rows that hold the id.
func (l *Lake) eraseRejects(user string) error {
	quoted, err := json.Marshal(user)
	if err != nil {
		return err
	}
	id := quoted[1 : len(quoted)-1]
	files, err := filepath.Glob(filepath.Join(l.o.Dir, "rejects", "*.ndjson"))
	if err != nil {
		return err
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if !bytes.Contains(raw, id) {
			continue
		}
		var left []byte
		for line := range bytes.Lines(raw) {
			if !bytes.Contains(line, id) {
				left = append(left, line...)
			}
		}
		work := f + ".erasing"
		if err := errors.Join(os.WriteFile(work, left, 0o600), syncFile(work), os.Rename(work, f)); err != nil {
			return err
		}
	}
	return nil
}

// eraseJournal takes the user's sticky answers and exposures out, and rewrites the store: what DeleteRange removed stays in old
// write-ahead files until the store is closed and opened again.
func (l *Lake) eraseJournal(ctx context.Context, user string, views map[uint64]bool) error {
	l.seals.mu.Lock()
	defer l.seals.mu.Unlock()
	j := l.journal.Load()
	if j == nil {
		return ErrNotServing
	}
	b := j.db.NewBatch()
	err := j.each(keptPrefix, func(key, _ []byte) error {
		if _, unit, ok := strings.Cut(string(key[1:]), "\x00"); ok && unit == user {
			return b.Delete(key, nil)
		}
		return nil
	})
	if err == nil && len(views) > 0 {
		err = j.each(viewPrefix, func(key, value []byte) error {
			left := make([]byte, 0, len(value))
			for v := value; len(v) >= viewBytes; v = v[viewBytes:] {
				if !views[binary.BigEndian.Uint64(v)] {
					left = append(left, v[:viewBytes]...)
				}
			}
			switch {
			case len(left) == len(value):
				return nil
			case len(left) == 0:
				return b.Delete(key, nil)
			}
			return b.Set(key, left, nil)
		})
	}
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	if err = errors.Join(err, b.Close()); err != nil {
		return err
	}
	l.journal.Store(nil) // writers are told to come back in a moment
	j.use.Lock()
	err = j.db.Flush()
	if err == nil {
		err = j.db.Compact(ctx, []byte{0}, []byte{0xff}, false)
	}
	j.use.Unlock()
	if err = errors.Join(err, j.shut()); err != nil {
		return err
	}
	for h := range views {
		l.views.shards[h>>58].remove(h)
	}
	l.kept.without(func(e *keptEntry) bool { return e.unit == user })
	l.people.forget(user)
	fresh, err := l.openJournal(ctx, j.lock)
	if err != nil {
		return err
	}
	l.journal.Store(fresh)
	return nil
}
